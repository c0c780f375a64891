"""Frames whose labels differ are refused, by every public function that takes more than one matrix or series."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import factor_metrics
from factor_metrics import evaluate_predictions, floor_table, grouped_ic, rank_ic, rank_ic_by_horizon
from factor_metrics.labels import same_labels

DATES, SYMBOLS = pd.date_range("2024-01-02", periods=30, freq="B"), [f"S{i:02d}" for i in range(20)]
NOT_PAIRED = {
    "compare_samples": "two samples over different dates",
    "drift": "two samples of any length",
    "from_qlib": "joins both by their index",
    "surely_lost": "two samples over different dates",
    "to_neuralforecast": "one matrix and its axes",
    "to_orders": "one matrix and its axes",
    "to_qlib": "takes no matrix",
    "to_signals": "one matrix and its axes",
}
"""Public functions with two array arguments that do not belong together cell by cell."""


def frame(seed: int = 0) -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(size=(len(DATES), len(SYMBOLS)))
    return pd.DataFrame(values, index=DATES, columns=SYMBOLS)


def public_callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every function of the package's face, and every public method of its classes."""
    for name in sorted(factor_metrics.__all__):
        found = getattr(factor_metrics, name)
        if inspect.isclass(found):
            for method, function in inspect.getmembers(found, inspect.isfunction):
                if not method.startswith("_") and function.__module__.startswith("factor_metrics"):
                    yield f"{name}.{method}", function
        elif inspect.isfunction(found):
            yield name, found


def arrays_of(function: Callable[..., Any]) -> list[str]:
    """Parameters that take an array, or a mapping or sequence of arrays, as their annotations say."""
    words = ("ArrayLike", "NDArray", "Matrix", "Series", "DataFrame")
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if any(word in str(parameter.annotation) for word in words)
    ]


PAIRED = [
    (name, function) for name, function in public_callables() if len(arrays_of(function)) > 1 and name not in NOT_PAIRED
]


def test_the_list_of_functions_that_take_two_matrices_is_long_enough_to_be_the_whole() -> None:
    assert {"rank_ic", "backtest", "LiveICReporter.add", "evaluate_predictions"} < {name for name, _ in PAIRED}
    assert len(PAIRED) > 35


@pytest.mark.parametrize(("name", "function"), PAIRED, ids=[name for name, _ in PAIRED])
def test_every_public_function_refuses_two_arguments_with_other_labels(name: str, function: Callable[..., Any]) -> None:
    """The check comes first, so that the other arguments play no part."""
    paired = getattr(function, "same_labels", ())
    assert len(paired) > 1, f"{name} takes {arrays_of(function)}: say by @same_labels which of them belong together"
    arguments: dict[str, Any] = dict.fromkeys(inspect.signature(function).parameters)
    for other in paired[1:]:
        one, two = frame(0), frame(1)
        for changed in (two[SYMBOLS[::-1]], two.shift(freq="B"), two.iloc[1:], two.iloc[:, 1:]):
            with pytest.raises(ValueError, match=rf"^{paired[0]} and {other} must have the same labels in the same"):
                function(**arguments | {paired[0]: one, other: changed})


def test_the_same_numbers_in_another_order_are_never_compared_symbol_by_wrong_symbol() -> None:
    prediction = frame(0)
    label = prediction + frame(1)
    expected = rank_ic(prediction.to_numpy(), label.to_numpy())
    np.testing.assert_array_equal(rank_ic(prediction, label), expected)
    with pytest.raises(ValueError, match="their columns come in another order, first at 0: S00 and S19; reindex"):
        rank_ic(prediction, label[SYMBOLS[::-1]])
    with pytest.raises(ValueError, match=r"30 \(2024-01-02.* as rows, 29 of them in both"):
        rank_ic(prediction, label.shift(freq="B"))
    np.testing.assert_array_equal(rank_ic(prediction, label[SYMBOLS[::-1]].reindex_like(prediction)), expected)


def test_one_labelled_argument_beside_plain_numbers_is_taken_as_it_is() -> None:
    prediction, label = frame(0), frame(1)
    np.testing.assert_array_equal(rank_ic(prediction, label.to_numpy()), rank_ic(prediction, label))


def test_labels_inside_lists_and_mappings_are_looked_at_as_well() -> None:
    prediction, label = frame(0), frame(1)
    with pytest.raises(ValueError, match=r"prediction and labels\[1\] must have the same labels"):
        rank_ic_by_horizon(prediction, [label, label[SYMBOLS[::-1]]])  # type: ignore[list-item]
    series = {"a": prediction["S00"], "b": prediction["S01"]}
    assert len(floor_table(series, {"floor": label["S00"]})) == 2
    with pytest.raises(ValueError, match=r"model_ics\['a'\] and floor_ics\['floor'\] must have the same labels"):
        floor_table(series, {"floor": label["S00"].iloc[::-1]})


def test_a_series_fits_the_dates_or_the_symbols_of_a_matrix() -> None:
    prediction, label = frame(0), frame(1)
    group = pd.Series(["x", "y"] * 10, index=SYMBOLS)
    assert grouped_ic(prediction, label, group).groups == ("x", "y")
    with pytest.raises(ValueError, match="prediction and group must have the same labels"):
        grouped_ic(prediction, label, group.iloc[::-1])


def test_arrays_with_dims_and_indexes_are_labelled_like_frames() -> None:
    class Labelled(SimpleNamespace):
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
            return np.asarray(self.values, dtype=dtype)

    def labelled(table: pd.DataFrame) -> Any:
        return Labelled(dims=("date", "symbol"), indexes={"date": table.index, "symbol": table.columns}, values=table)

    prediction, label = frame(0), frame(1)
    np.testing.assert_array_equal(rank_ic(labelled(prediction), labelled(label)), rank_ic(prediction, label))
    with pytest.raises(ValueError, match="must have the same labels"):
        rank_ic(labelled(prediction), labelled(label[SYMBOLS[::-1]]))


def test_frames_are_judged_like_their_numbers_and_refused_if_they_differ() -> None:
    prediction, label = frame(0), frame(1)
    judged: Any = evaluate_predictions(prediction, label, horizon=1, num_bootstrap=100)  # type: ignore[arg-type]
    np.testing.assert_array_equal(judged.rank_ic, rank_ic(prediction, label))


def test_a_parameter_that_is_not_there_cannot_be_named() -> None:
    def function(prediction: object) -> None: ...

    with pytest.raises(TypeError, match="has no parameter label"):
        same_labels("prediction", "label")(function)
