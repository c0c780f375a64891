"""Walk-forward folds: exact layouts, purge and embargo as properties, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from factor_data import Panel, check_folds, check_purge, read_folds, walk_forward, write_folds

DAYS = np.arange("2020-01-01", "2020-02-10", dtype="datetime64[D]").astype("datetime64[ns]")  # 40 days


def places(dates: np.ndarray) -> list[int]:
    return np.searchsorted(DAYS, dates).tolist()


def test_rolling_layout_is_train_purge_valid_purge_test() -> None:
    folds = walk_forward(DAYS[:20], train=5, valid=2, test=3, step=4, purge=2, embargo=0)
    assert [(places(f.train), places(f.valid), places(f.test)) for f in folds] == [
        ([0, 1, 2, 3, 4], [7, 8], [11, 12, 13]),
        ([4, 5, 6, 7, 8], [11, 12], [15, 16, 17]),
    ]


def test_expanding_keeps_the_first_train_date() -> None:
    folds = walk_forward(DAYS[:20], train=5, valid=2, test=3, step=4, purge=2, embargo=0, expanding=True)
    assert places(folds[1].train) == list(range(9))
    assert places(folds[1].test) == [15, 16, 17]


def test_embargo_takes_the_dates_right_after_earlier_tests_out_of_later_training() -> None:
    folds = walk_forward(DAYS, train=10, valid=1, test=2, step=5, purge=0, embargo=3)
    assert places(folds[0].test) == [11, 12]
    assert places(folds[1].test) == [16, 17]
    assert places(folds[2].train) == [
        10,
        11,
        12,
        16,
        17,
    ]  # after the tests 13, 14, 15 and 18, 19 are left out
    assert places(folds[3].train) == [16, 17, 21, 22]


def test_a_fold_describes_its_dates_and_what_was_left_out() -> None:
    folds = walk_forward(DAYS, train=10, valid=1, test=2, step=5, purge=2, embargo=3)
    assert folds[3].describe() == {
        "fold": 3,
        "train_first": "2020-01-16", "train_last": "2020-01-22", "train_dates": 4,
        "valid_first": "2020-01-28", "valid_last": "2020-01-28", "valid_dates": 1,
        "test_first": "2020-01-31", "test_last": "2020-02-01", "test_dates": 2,
        "purge_dates": 4, "embargo_dates": 6,
    }  # fmt: skip
    assert places(folds[3].purge) == [25, 26, 28, 29]
    assert places(folds[3].embargo) == [17, 18, 19, 22, 23, 24]


def test_only_full_test_ranges_are_made() -> None:
    assert len(walk_forward(DAYS[:13], train=5, valid=2, test=2, step=1, purge=1, embargo=0)) == 3
    assert len(walk_forward(DAYS[:12], train=5, valid=2, test=2, step=2, purge=1, embargo=0)) == 1


@settings(max_examples=60, deadline=None)
@given(
    train=st.integers(3, 12), valid=st.integers(1, 4), test=st.integers(1, 5), step=st.integers(1, 6),
    purge=st.integers(0, 4), embargo=st.integers(0, 2), expanding=st.booleans(),
)  # fmt: skip
def test_segments_never_meet_and_purge_keeps_label_intervals_apart(
    train: int, valid: int, test: int, step: int, purge: int, embargo: int, expanding: bool
) -> None:
    assume(embargo < step)
    folds = walk_forward(DAYS, train, valid, test, step, purge, embargo, expanding)
    for fold in folds:
        assert places(fold.valid)[0] - places(fold.train)[-1] > purge
        assert places(fold.test)[0] - places(fold.valid)[-1] > purge
        assert len(fold.valid) == valid
        assert len(fold.test) == test
        for earlier in folds[: fold.index]:
            after = set(range(places(earlier.test)[-1] + 1, places(earlier.test)[-1] + 1 + embargo))
            assert not after & set(places(fold.train))


@pytest.mark.parametrize("name", ["train", "test", "step"])
def test_lengths_that_are_not_positive_are_refused(name: str) -> None:
    lengths = {"train": 5, "valid": 2, "test": 2, "step": 2, "purge": 0, "embargo": 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        walk_forward(DAYS, **{**lengths, name: 0})
    with pytest.raises(ValueError, match="purge must be at least 0, got -1"):
        walk_forward(DAYS, **{**lengths, "purge": -1})


def test_a_history_too_short_says_how_much_is_needed_and_present() -> None:
    with pytest.raises(ValueError, match="need 51 dates, 40 are present"):
        walk_forward(DAYS, train=30, valid=10, test=5, step=5, purge=3, embargo=0)


def test_an_embargo_that_eats_the_training_is_refused() -> None:
    with pytest.raises(ValueError, match="fold 5: purge 0 and embargo 20 leave none of the 3 train dates"):
        walk_forward(DAYS, train=3, valid=1, test=1, step=1, purge=0, embargo=20)


def test_purge_must_cover_the_longest_reach() -> None:
    check_purge(21, reach=21)
    with pytest.raises(ValueError, match="the longest reach of a label, 21 dates, got 20"):
        check_purge(20, reach=21)


def test_rows_of_a_fold_are_the_bars_of_its_dates(panel: Panel) -> None:
    fold = walk_forward(panel.dates, 60, 20, 30, 10, 5, 0)[1]
    for segment in ("train", "valid", "test"):
        expected = [stamp in set(fold.dates(segment)) for stamp in panel.timestamp]
        assert fold.rows(panel, segment).tolist() == expected
    with pytest.raises(ValueError, match="segment must be one of"):
        fold.rows(panel, "oos")


def test_a_segment_without_bars_is_refused_by_name(panel: Panel) -> None:
    folds = walk_forward(panel.dates, 60, 20, 30, 10, 5, 0)
    check_folds(panel, folds)
    empty = panel.select(~folds[1].rows(panel, "valid"))
    with pytest.raises(ValueError, match=r"fold \d: segment valid \(2020-.* has no bar"):
        check_folds(empty, folds[1:])


def test_folds_survive_a_file_to_the_nanosecond(tmp_path: Path) -> None:
    stamps = DAYS + np.arange(40) % 3 * np.timedelta64(34_200_000_000_001, "ns")
    folds = walk_forward(np.sort(stamps), 10, 3, 4, 5, 2, 1)
    write_folds(tmp_path / "folds.json", folds)
    for fold, again in zip(folds, read_folds(tmp_path / "folds.json"), strict=True):
        assert fold.index == again.index
        for name in ("train", "valid", "test", "purge", "embargo"):
            np.testing.assert_array_equal(getattr(fold, name), getattr(again, name))
    assert [len(fold.embargo) for fold in folds] == [0, 0, 0, 1]
