"""Schemes of folds: exact indices by hand, labels kept apart by brute force, refusals; the picture."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from factor_data import (
    Fold,
    FoldConfig,
    check_labels_apart,
    check_tested_once,
    cpcv_paths,
    fold_picture,
    make_folds,
    walk_forward,
)

DAYS = np.arange("2020-01-01", "2020-02-10", dtype="datetime64[D]").astype("datetime64[ns]")  # 40 days
BUSINESS = pd.bdate_range("2015-03-02", "2020-06-30").to_numpy().astype("datetime64[ns]")
LEFT_OUT = ("purge", "embargo")


def places(dates: np.ndarray, calendar: np.ndarray = DAYS) -> list[int]:
    return np.searchsorted(calendar, dates).tolist()


def folds_of(num_dates: int = 40, horizons: tuple[int, ...] = (1,), delay: int = 1, **config: Any) -> list[Fold]:
    return make_folds(DAYS[:num_dates], FoldConfig(**config), reach=delay + max(horizons))


def months(fold: Fold, segment: str) -> list[str]:
    return np.unique(getattr(fold, segment).astype("datetime64[M]")).astype(str).tolist()


@pytest.mark.parametrize("scheme", ["rolling", "expanding"])
def test_rolling_and_expanding_are_walk_forward_with_the_derived_purge(scheme: str) -> None:
    lengths = {"train": 5, "valid": 2, "test": 3, "step": 4}
    folds = folds_of(scheme=scheme, horizons=(1, 3), delay=1, **lengths)
    expected = walk_forward(DAYS, **lengths, purge=4, embargo=0, expanding=scheme == "expanding")
    assert len(folds) == len(expected) == 6
    for fold, same in zip(folds, expected, strict=True):
        for name in ("train", "valid", "test", "purge", "embargo"):
            np.testing.assert_array_equal(getattr(fold, name), getattr(same, name))


def test_fixed_dates_include_both_ends_and_lose_only_the_purge() -> None:
    (fold,) = folds_of(
        scheme="fixed", horizons=(2,), delay=1,
        train_range=("2020-01-01", "2020-01-10"), valid_range=("2020-01-11", "2020-01-20"),
        test_range=("2020-01-22", "2020-02-01"),
    )  # fmt: skip
    assert places(fold.train) == list(range(7))  # 7, 8, 9 are purged
    assert places(fold.valid) == list(range(10, 18))  # a free day lies before the test: 18, 19 are purged
    assert places(fold.test) == list(range(21, 32))
    assert places(fold.purge) == [7, 8, 9, 18, 19]


def test_the_last_day_of_a_range_includes_its_bars() -> None:
    stamps = np.sort((DAYS[:6, None] + np.array([10, 15]) * np.timedelta64(3_600_000_000_000, "ns")).ravel())
    config = FoldConfig(
        scheme="fixed", train_range=("2020-01-01", "2020-01-03"), valid_range=("2020-01-04", "2020-01-05T12:00"),
        test_range=("2020-01-05T12:00:01", "2020-01-06"),
    )  # fmt: skip
    (fold,) = make_folds(stamps, config, reach=1)
    assert [len(fold.train), len(fold.valid), len(fold.test)] == [5, 2, 3]


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"valid_range": ("2020-01-10", "2020-01-20")}, "2020-01-01 .. 2020-01-10 must end before valid 2020-01-10"),
        ({"test_range": ("2020-01-15", "2020-02-01")}, "2020-01-11 .. 2020-01-20 must end before test 2020-01-15"),
        ({"test_range": ("2019-01-01", "2019-02-01")}, "valid 2020-01-11 .. 2020-01-20 must end before test 2019"),
        ({"train_range": ("2020-01-10", "2020-01-01")}, "train: first 2020-01-10 is after last 2020-01-01"),
        ({"test_range": ("2021-01-01", "2021-02-01")}, "test 2021-01-01 .* has no date; the dates are 2020-01-01"),
        ({"test_range": ("2020-01-21", "2020-02-30")}, "test: .*2020-02-30.* must be two ISO dates"),
    ],
)  # fmt: skip
def test_ranges_that_overlap_or_miss_the_data_are_refused(ranges: dict, message: str) -> None:
    given_ranges = {
        "train_range": ("2020-01-01", "2020-01-10"), "valid_range": ("2020-01-11", "2020-01-20"),
        "test_range": ("2020-01-21", "2020-02-01"),
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        folds_of(scheme="fixed", **(given_ranges | ranges))


def test_ratio_cuts_by_dates() -> None:
    (fold,) = folds_of(num_dates=20, scheme="ratio", ratios=(0.7, 0.15, 0.15), horizons=(1,), delay=0)
    assert (places(fold.train), places(fold.valid), places(fold.test)) == (
        list(range(13)),
        [14, 15],
        [17, 18, 19],
    )
    for shares in ((0.7, 0.2, 0.2), (1.0, 0.0, 0.0), (0.8, 0.3, -0.1)):
        with pytest.raises(ValueError, match="ratios must be three shares, train positive"):
            folds_of(scheme="ratio", ratios=shares)
    with pytest.raises(ValueError, match="3 dates cannot be split"):
        folds_of(num_dates=3, scheme="ratio", ratios=(0.8, 0.1, 0.1))


def test_without_a_test_share_the_later_half_of_valid_is_tested() -> None:
    (fold,) = folds_of(num_dates=40, scheme="ratio", ratios=(0.9, 0.1, 0.0), horizons=(1,), delay=0)
    assert (places(fold.train), places(fold.valid), places(fold.test)) == (list(range(35)), [36], [38, 39])


def test_ratio_of_tenths_is_not_a_date_short() -> None:
    (fold,) = folds_of(num_dates=10, scheme="ratio", ratios=(0.7, 0.2, 0.1), horizons=(1,), delay=0)
    assert places(fold.test) == [9]


def test_yearly_folds_follow_the_hand_made_table() -> None:
    config = FoldConfig(scheme="yearly", max_train_years=3, min_train_years=2, valid_months=2, min_test=200)
    folds = make_folds(BUSINESS, config, reach=6)
    rows = [
        (
            fold.describe()["train_first"],
            months(fold, "train")[-1],
            months(fold, "valid"),
            months(fold, "test")[0][:4],
        )
        for fold in folds
    ]
    assert rows == [
        ("2015-03-02", "2016-10", ["2016-11", "2016-12"], "2017"),
        ("2015-03-02", "2017-10", ["2017-11", "2017-12"], "2018"),
        ("2016-01-01", "2018-10", ["2018-11", "2018-12"], "2019"),
    ]  # 2020 has fewer than 200 dates
    for fold in folds:
        assert [len(months(fold, "test")), len(fold.purge)] == [12, 12]
        position = places(fold.train, BUSINESS)[-1]
        assert places(fold.valid, BUSINESS)[0] - position == 7  # six dates lie between
    (only, *_) = make_folds(BUSINESS, FoldConfig(scheme="yearly", min_train_years=5, valid_months=12), reach=1)
    assert (months(only, "train")[-1], months(only, "valid")[0], months(only, "test")[-1]) == (
        "2018-12",
        "2019-01",
        "2020-06",
    )


def test_yearly_embargo_follows_every_earlier_test_year() -> None:
    config = FoldConfig(scheme="yearly", min_train_years=2, valid_months=2, embargo=3)
    folds = make_folds(BUSINESS, config, reach=2)
    assert [len(fold.embargo) for fold in folds] == [0, 0, 3, 6]
    assert folds[2].embargo.astype("datetime64[D]").astype(str).tolist() == [
        "2018-01-01",
        "2018-01-02",
        "2018-01-03",
    ]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"min_train_years": 9, "valid_months": 2}, "no year can be tested: 9 earlier years"),
        ({"min_train_years": 2, "valid_months": 24}, "valid_months 24 leave nothing of min_train_years 2"),
        (
            {"min_train_years": 2, "max_train_years": 1, "valid_months": 2},
            "max_train_years 1 must be at least",
        ),
    ],
)
def test_yearly_refuses_what_cannot_be(config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_folds(BUSINESS, FoldConfig(scheme="yearly", **config), reach=2)


def test_combinatorial_folds_are_purged_on_both_sides_and_embargoed_after() -> None:
    folds = folds_of(
        num_dates=20,
        scheme="cpcv",
        num_groups=4,
        num_test_groups=2,
        valid_groups=0,
        horizons=(1,),
        delay=0,
        embargo=1,
    )
    # groups 0-4, 5-9, 10-14, 15-19; one date is purged before a test range, two leave training after it
    assert [(places(f.train), places(f.test), places(f.purge), places(f.embargo)) for f in folds] == [
        ([12, 13, 14, 15, 16, 17, 18, 19], [*range(10)], [10], [11]),
        ([7, 8, 16 + 1, 18, 19], [0, 1, 2, 3, 4, 10, 11, 12, 13, 14], [5, 9, 15], [6, 16]),
        ([7, 8, 9, 10, 11, 12, 13], [0, 1, 2, 3, 4, 15, 16, 17, 18, 19], [5, 14], [6]),
        ([0, 1, 2, 3, 17, 18, 19], [*range(5, 15)], [4, 15], [16]),
        ([0, 1, 2, 3, 12, 13], [5, 6, 7, 8, 9, 15, 16, 17, 18, 19], [4, 10, 14], [11]),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8], [*range(10, 20)], [9], []),
    ]
    assert all(len(fold.valid) == 0 for fold in folds)


def test_the_group_after_the_last_tested_one_validates() -> None:
    folds = folds_of(num_dates=20, scheme="cpcv", num_groups=4, num_test_groups=1, horizons=(1,), delay=0, embargo=0)
    assert [(places(f.train), places(f.valid), places(f.test)) for f in folds] == [
        ([11, 12, 13, 14, 15, 16, 17, 18, 19], [6, 7, 8, 9], [0, 1, 2, 3, 4]),
        ([0, 1, 2, 3, 16, 17, 18, 19], [11, 12, 13, 14], [5, 6, 7, 8, 9]),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8], [16, 17, 18, 19], [10, 11, 12, 13, 14]),
        ([6, 7, 8, 9, 10, 11, 12, 13], [0, 1, 2, 3, 4], [15, 16, 17, 18, 19]),
    ]


def test_uneven_groups_differ_by_one_date() -> None:
    folds = folds_of(num_dates=11, scheme="cpcv", num_groups=3, num_test_groups=1, valid_groups=0, purge=1, delay=0)
    assert [places(fold.test) for fold in folds] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]


@pytest.mark.parametrize(("groups", "tested"), [(4, 2), (6, 2), (5, 3), (6, 1)])
def test_paths_test_every_group_once_and_use_every_test_once(groups: int, tested: int) -> None:
    choices = list(combinations(range(groups), tested))
    paths = cpcv_paths(groups, tested)
    assert len(paths) == len(choices) * tested // groups  # 5 paths of 15 folds for 6 and 2
    used = {(int(fold), group) for path in paths for group, fold in enumerate(path)}
    assert used == {(fold, group) for fold, choice in enumerate(choices) for group in choice}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"num_groups": 4, "num_test_groups": 3},
            "num_groups 4 leaves nothing to train on: 3 are tested, 1 validates",
        ),
        ({"num_groups": 41, "num_test_groups": 2}, "40 dates cannot be cut into 41 groups"),
        ({"num_groups": 4, "num_test_groups": 2, "valid_groups": 2}, "valid_groups must be 0 or 1, got 2"),
        ({"num_groups": 20, "num_test_groups": 10}, "leave none of the"),
    ],
)
def test_combinatorial_folds_that_cannot_be_are_refused(config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        folds_of(scheme="cpcv", **config)


CONFIGS = st.one_of(
    st.fixed_dictionaries({
        "scheme": st.sampled_from(["rolling", "expanding"]), "train": st.integers(1, 30), "valid": st.integers(1, 9),
        "test": st.integers(1, 12), "step": st.integers(1, 20),
    }),
    st.just({"scheme": "ratio", "ratios": (0.6, 0.2, 0.2)}),
    st.just({
        "scheme": "fixed", "train_range": ("2020-01-01", "2020-01-31"), "valid_range": ("2020-02-03", "2020-02-20"),
        "test_range": ("2020-02-21", "2020-03-31"),
    }),
    st.fixed_dictionaries({
        "scheme": st.just("cpcv"), "num_groups": st.integers(3, 6), "num_test_groups": st.integers(1, 3),
        "valid_groups": st.integers(0, 1),
    }),
    st.fixed_dictionaries({
        "scheme": st.just("yearly"), "min_train_years": st.integers(1, 2), "valid_months": st.integers(1, 5),
    }),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    config=CONFIGS,
    horizons=st.lists(st.integers(1, 8), min_size=1, max_size=3),
    delay=st.integers(0, 3),
    more_purge=st.one_of(st.none(), st.integers(0, 3)),
    embargo=st.one_of(st.none(), st.integers(0, 4)),
    daily=st.booleans(),
)
def test_no_label_takes_a_price_of_another_segment(
    config: dict, horizons: list[int], delay: int, more_purge: int | None, embargo: int | None, daily: bool
) -> None:
    """By brute force: the dates of every label of every horizon against the dates of the other segments."""
    calendar = (
        BUSINESS[::13]
        if config["scheme"] == "yearly"
        else np.arange("2020-01-01", "2020-04-01" if daily else "2020-05-20", dtype="datetime64[D]")
    )
    purge = None if more_purge is None else delay + max(horizons) + more_purge
    try:
        reach = delay + max(horizons)
        folds = make_folds(calendar, FoldConfig(**config, purge=purge, embargo=embargo), reach=reach)
    except ValueError as error:
        if not re.search("leave none|too short|leaves nothing|would have none|leave nothing", str(error)):
            raise
        reject()
    for fold in folds:
        position = {
            name: places(getattr(fold, name), calendar.astype("datetime64[ns]"))
            for name in ("train", "valid", "test", *LEFT_OUT)
        }
        every = [place for found in position.values() for place in found]
        assert len(every) == len(set(every))  # no date is in two of them
        assert position["train"]
        assert position["test"]
        for first, second in (("train", "valid"), ("train", "test"), ("valid", "test"), ("test", "train")):
            others = set(position[second])
            for place in position[first]:
                for horizon in horizons:
                    assert others.isdisjoint(range(place + 1, place + delay + horizon + 1))
    assert [fold.index for fold in folds] == list(range(len(folds)))


def test_a_purge_that_is_too_small_is_refused_and_one_that_is_larger_is_kept() -> None:
    lengths = {"scheme": "rolling", "train": 10, "valid": 4, "test": 4, "step": 4}
    with pytest.raises(ValueError, match="the longest reach of a label, 6 dates, got 5"):
        folds_of(**lengths, purge=5, horizons=(1, 5))
    fold = folds_of(**lengths, purge=7, horizons=(1, 5))[0]
    assert places(fold.valid)[0] - places(fold.train)[-1] == 8


def test_a_label_that_reaches_nowhere_has_no_purge() -> None:
    with pytest.raises(ValueError, match="reach must be at least 1 date, got 0"):
        folds_of(scheme="rolling", train=10, valid=4, test=4, step=4, purge=5, horizons=(0,), delay=0)


def test_folds_whose_labels_meet_are_refused_with_the_dates() -> None:
    folds = walk_forward(DAYS, train=10, valid=4, test=4, step=4, purge=3, embargo=0)
    check_labels_apart(folds, DAYS, 3)
    with pytest.raises(
        ValueError,
        match=r"fold 0: the train label of 2020-01-10 takes prices up to 4 dates later, and valid has 2020-01-14",
    ):
        check_labels_apart(folds, DAYS, 4)
    behind = Fold(index=4, train=DAYS[20:], valid=DAYS[:0], test=DAYS[5:18])
    with pytest.raises(ValueError, match=r"fold 4: the test label of 2020-01-18 .* and train has 2020-01-21"):
        check_labels_apart([behind], DAYS, 4)


def test_the_derived_embargo_follows_the_labels_where_training_follows_a_test() -> None:
    fold = folds_of(scheme="cpcv", num_groups=4, num_test_groups=1, valid_groups=0, horizons=(1, 2), delay=1)[0]
    assert (places(fold.purge), places(fold.embargo), places(fold.train)[0]) == (
        [10, 11, 12],
        [13, 14, 15],
        16,
    )
    forward = folds_of(scheme="expanding", train=10, valid=4, test=4, step=4, horizons=(1, 2))
    assert all(len(fold.embargo) == 0 for fold in forward)


def test_segments_shorter_than_asked_are_refused() -> None:
    lengths = {"scheme": "rolling", "train": 10, "valid": 4, "test": 4, "step": 4}
    folds_of(**lengths, min_train=10, min_valid=4, min_test=4)
    for segment, fewest in (("train", 11), ("valid", 5), ("test", 5)):
        with pytest.raises(
            ValueError,
            match=f"fold 0: {segment} has .* dates after purge and embargo, min_{segment} is {fewest}",
        ):
            folds_of(**lengths, **{f"min_{segment}": fewest})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"scheme": "random"}, "scheme must be one of .*'cpcv'.*, got 'random'"),
        ({"scheme": "rolling", "train": 5, "test": 2}, "scheme rolling needs valid, step"),
        ({"scheme": "ratio", "ratios": (0.5, 0.3, 0.2), "step": 5}, "scheme ratio has no step"),
        ({"scheme": "ratio", "ratios": (0.5, 0.3, 0.2), "purge": -1}, "purge must be at least 0, got -1"),
        ({"scheme": "ratio", "ratios": (0.5, 0.3, 0.2), "min_test": 0}, "min_test must be at least 1, got 0"),
        (
            {"scheme": "rolling", "train": 0, "valid": 1, "test": 1, "step": 1},
            "train must be at least 1, got 0",
        ),
    ],
)
def test_a_configuration_is_checked_when_it_is_made(config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FoldConfig(**config)


def test_a_date_that_is_tested_twice_is_named() -> None:
    check_tested_once(walk_forward(DAYS, train=5, valid=2, test=3, step=3, purge=1, embargo=0))
    with pytest.raises(ValueError, match="2020-01-12 is tested in fold 0 and in fold 1"):
        check_tested_once(walk_forward(DAYS, train=5, valid=2, test=3, step=2, purge=1, embargo=0))


def test_the_picture_draws_every_range_where_its_dates_are() -> None:
    folds = walk_forward(DAYS, train=10, valid=4, test=5, step=5, purge=2, embargo=3)
    picture = fold_picture(folds, DAYS)
    svg = ElementTree.fromstring(picture)
    assert svg.attrib["aria-label"] == f"{len(folds)} folds over 40 dates, 2020-01-01 to 2020-02-09"
    titles = [title.text for title in svg.iter("title")]
    assert "fold 0 train: 2020-01-01 .. 2020-01-10 (10 dates)" in titles
    assert "fold 3 embargo: 2020-01-24 .. 2020-01-25 (2 dates)" in titles or any("embargo" in t for t in titles)
    assert {text.text for text in svg.iter("text")} >= {
        "train",
        "purge",
        "valid",
        "test",
        "embargo",
        "fold 0",
    }
    drawn = {rect.find("title").text: rect for rect in svg.iter("rect") if rect.find("title") is not None}
    rect = drawn["fold 0 valid: 2020-01-13 .. 2020-01-16 (4 dates)"]
    width = 900 - 64 - 8
    assert float(rect.attrib["x"]) == pytest.approx(64 + width * 12 / 40, abs=0.01)
    assert float(rect.attrib["width"]) == pytest.approx(width * 4 / 40, abs=0.01)
    assert "http" not in picture
    assert "<script" not in picture
    with pytest.raises(ValueError, match="needs folds and dates, got 0 and 40"):
        fold_picture([], DAYS)
