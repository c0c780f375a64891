"""Records that one stage writes and another reads: what comes back is what was written, to the bit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from factor_data import FeatureStore, Panel
from factor_metrics import Gate, OrderedMatrix, evaluate_predictions
from factor_metrics.report import Contribution, DriftRow, Subject, floor_rows
from market_samples import make_store, returns_over
from metrics.report_example import book, rested_on, taken_apart
from stages.judging.floors import floor_signals, judge_floors
from stages.judging.judge import ordered_outcomes, profile, row_counts
from stages.judging.pages import Books, ModelPage, StackedLabel, StackPage
from stages.judging.time_series import BY_DATE
from stages.params.evaluate import EvaluateParams
from stages.records import read_record, write_record

CONFIG = EvaluateParams(quantiles=3, min_symbols=5, confidence=0.95, bootstrap=100, seed=0)
AWKWARD = [0.1, 1 / 3, np.nextafter(1.0, 2.0), 5e-324, -0.0, 1.7976931348623157e308, np.pi * 1e-9]


@dataclass(frozen=True, kw_only=True, eq=False)
class Inner:
    """A part."""

    name: str
    value: float
    count: int
    is_set: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Outer:
    """Every kind of field that a page has."""

    number: float
    series: NDArray[np.float64]
    table: NDArray[np.float64]
    whole: NDArray[np.int64]
    dates: NDArray[np.datetime64]
    inner: Inner
    parts: tuple[Inner, ...]
    listed: Sequence[float]
    by_name: Mapping[str, Inner]
    by_number: Mapping[int, NDArray[np.float64]]
    nested: Mapping[str, Mapping[str, float | None]]
    maybe_series: NDArray[np.float64] | None
    maybe_inner: Inner | None
    text: str | None


def outer() -> Outer:
    inner = Inner(name='ÿ "quoted"', value=float("nan"), count=3, is_set=True)
    return Outer(
        number=0.1,
        series=np.array([*AWKWARD, np.nan]),
        table=np.array([[1.0, np.nan], [2.0, 0.3]]),
        whole=np.array([3, -1, 2**40]),
        dates=np.array(["2024-01-02T09:30", "1999-12-31"], dtype="datetime64[ns]"),
        inner=inner,
        parts=(inner, replace(inner, value=1 / 3, is_set=False)),
        listed=[1.5, float("nan")],
        by_name={"a": inner, "b": replace(inner, count=-7)},
        by_number={5: np.array([0.1]), 20: np.array([np.nan, 2.0])},
        nested={"h1": {"ic": 0.1, "t": None}},
        maybe_series=np.array([0.25]),
        maybe_inner=inner,
        text="x",
    )


def assert_same(one: Any, other: Any) -> None:
    """Equal in every bit, NaN included, and of the same types."""
    if is_dataclass(one):
        assert type(other) is type(one)
        for field in fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, np.ndarray):
        assert (other.dtype, other.shape) == (one.dtype, one.shape)
        known = ~np.isnan(one)
        np.testing.assert_array_equal(known, ~np.isnan(other))
        assert one[known].tobytes() == other[known].tobytes()
    elif isinstance(one, Mapping):
        assert [(type(key), key) for key in other] == [(type(key), key) for key in one]
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, tuple | list):
        assert len(other) == len(one)
        for mine, its in zip(one, other, strict=True):
            assert_same(mine, its)
    elif isinstance(one, float):
        assert np.array(other).tobytes() == np.array(one).tobytes() or (np.isnan(one) and np.isnan(other))
    else:
        assert other == one
        assert type(other) is type(one)


def test_every_kind_of_field_comes_back_to_the_bit(tmp_path: Path) -> None:
    written = outer()
    write_record(tmp_path / "record.json", written)
    assert_same(written, read_record(tmp_path / "record.json", Outer))


def test_what_may_be_missing_comes_back_missing(tmp_path: Path) -> None:
    written = replace(outer(), maybe_series=None, maybe_inner=None, text=None, parts=(), by_name={})
    write_record(tmp_path / "record.json", written)
    assert_same(written, read_record(tmp_path / "record.json", Outer))


@pytest.mark.parametrize("values", [[], [np.nan], [np.nan, np.nan], [1.0, 2.0], [0.0, -0.0]])
def test_floats_stay_floats_whatever_they_hold(values: list[float], tmp_path: Path) -> None:
    """No value, nothing but NaN, and whole numbers."""
    written = replace(outer(), series=np.array(values, dtype=np.float64))
    write_record(tmp_path / "record.json", written)
    assert_same(written.series, read_record(tmp_path / "record.json", Outer).series)


def test_the_file_is_json_for_any_reader(tmp_path: Path) -> None:
    write_record(tmp_path / "record.json", outer())
    text = (tmp_path / "record.json").read_text()
    assert "NaN" not in text
    document = json.loads(text)
    assert document["inner"]["value"] is None
    assert document["dates"][0].startswith("2024-01-02T09:30:00")
    assert list(document) == [field.name for field in fields(Outer)]


def test_a_record_is_the_same_file_each_time_it_is_written(tmp_path: Path) -> None:
    write_record(tmp_path / "one.json", outer())
    write_record(tmp_path / "two.json", read_record(tmp_path / "one.json", Outer))
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> tuple[Subject, FeatureStore]:
    """A judged forecast of a small market; nothing is attainable there, and one symbol is never predicted."""
    store = make_store(tmp_path_factory.mktemp("store"), 12, returns_over(1, 5))
    dates = store.dates[-40:]
    label = store.matrix(store.labels[:, 1], dates)
    prediction = np.nan_to_num(label) + np.random.default_rng(0).normal(0.0, 0.05, size=label.shape)
    prediction[:, 0] = np.nan
    panel = Panel.load(store.directory / "panel")
    ordered, outcomes = OrderedMatrix(prediction), ordered_outcomes(["h1", "h5"], dates, store, BY_DATE)
    one = Subject(
        name="knowing",
        label="h5",
        overlap=5,
        dates=dates,
        judged=evaluate_predictions(prediction, label, horizon=5, config=CONFIG),
        floors=judge_floors(
            {name: OrderedMatrix(signal) for name, signal in floor_signals(panel, dates, 0).items()},
            ordered,
            outcomes["h5"],
            store.overlap("h5"),
            CONFIG,
        ),
        attainable=None,
        profile=profile(ordered, label, "h5", outcomes, store, CONFIG),
        row_counts=row_counts(prediction, "h5", dates, store, panel),
    )
    return one, store


def test_the_page_of_a_model_comes_back_to_the_bit(subject: tuple[Subject, FeatureStore], tmp_path: Path) -> None:
    one, store = subject
    page = ModelPage(
        subjects=(one, replace(one, attainable=np.full(40, 0.5))),
        floors=tuple(floor_rows({"knowing": one.judged}, one.floors, label="h5", overlap=5, config=CONFIG)),
        metrics={"h5": {"rank_ic": one.judged.rank_ic_summary.mean, "undefined": None}},
        valid={"h5": np.array([[0.1, np.nan], [np.nan, 0.2]])},
        fold_of_date=np.repeat([0, 1], 20),
        calendar=store.dates,
        left_out={1: ("a", "b")},
        drift=(DriftRow(what="input", name="a", fold=0, psi=0.1, distance=float("nan"), adjusted_p_value=1.0),),
        anatomies={"h5": taken_apart()},
        books=Books(found={"h5": book()}, without={"h1": "no prices"}),
        origin={"plan": "0a1b"},
        importances={"h5": rested_on("a")},
    )
    write_record(tmp_path / "page.json", page)
    assert_same(page, read_record(tmp_path / "page.json", ModelPage))


def test_the_page_of_the_stack_comes_back_to_the_bit(subject: tuple[Subject, FeatureStore], tmp_path: Path) -> None:
    one, store = subject
    page = StackPage(
        labels=(
            StackedLabel(
                subject=one,
                models={"knowing": one.judged},
                folds=(0, 1),
                weights=np.array([[1.0], [1.0]]),
                learners=("equal", "ridge"),
                present=np.array([[0.5], [1.0]]),
                pruned=("lstm in fold 1: rank correlation 0.97 with gru",),
                equal=one.judged,
                correlation=np.eye(1),
                errors=np.full((1, 1), np.nan),
                contributions=(
                    Contribution(
                        name="knowing",
                        weight=1.0,
                        present=0.5,
                        rank_ic=0.1,
                        without=float("nan"),
                        difference=float("nan"),
                        low=float("nan"),
                        high=float("nan"),
                    ),
                ),
            ),
        ),
        gates=(Gate(name="rows", passed=False, value=float("nan"), threshold=10.0, rule="at least 10"),),
        floors=(),
        valid={"knowing": {"h5": {"rank_ic": 0.1}}},
        calendar=store.dates,
        left_out={"lstm": "no signal"},
        origin={"plan": "0a1b"},
        drift=(),
        anatomies={},
        books=Books(found={}, without={"h5": "no stack"}),
    )
    write_record(tmp_path / "page.json", page)
    assert_same(page, read_record(tmp_path / "page.json", StackPage))
