"""Matrices given as frames: wide or long, of pandas, polars and pyarrow, are the numbers that they hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from factor_metrics import evaluate_predictions, rank_ic, rank_ic_by_horizon, turnover

DAYS, SYMBOLS = pd.date_range("2024-01-02", periods=12, freq="B"), [f"S{number:02d}" for number in range(15)]


def frame(seed: int) -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(size=(len(DAYS), len(SYMBOLS)))
    values[3, 4] = np.nan
    return pd.DataFrame(values, index=pd.Index(DAYS, name="timestamp"), columns=pd.Index(SYMBOLS, name="symbol"))


def long(table: pd.DataFrame) -> pd.DataFrame:
    return table.stack(future_stack=True).dropna().rename("value").reset_index()


def polars_of(table: pd.DataFrame) -> Any:
    return pytest.importorskip("polars").from_pandas(table)


SHAPES = {
    "series": lambda table: long(table).set_index(["timestamp", "symbol"])["value"],
    "series, symbol first": lambda table: long(table).set_index(["symbol", "timestamp"])["value"],
    "indexed frame": lambda table: long(table).set_index(["timestamp", "symbol"]),
    "long": long,
    "long, categories": lambda table: long(table).astype({"symbol": "category"}),
    "wide with a column of dates": lambda table: table.reset_index(),
    "pyarrow, wide": lambda table: pa.Table.from_pandas(table.reset_index(), preserve_index=False),
    "pyarrow, long": lambda table: pa.Table.from_pandas(long(table), preserve_index=False),
    "pyarrow, dictionary": lambda table: pa.Table.from_pandas(long(table).astype({"symbol": "category"})),
    "polars, wide": lambda table: polars_of(table.reset_index()),
    "polars, long": lambda table: polars_of(long(table)),
    "polars, zoned": lambda table: polars_of(long(table)).with_columns(
        pytest.importorskip("polars").col("timestamp").dt.replace_time_zone("Asia/Tokyo")
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_frame_of_any_shape_is_the_matrix_that_it_holds(shape: str) -> None:
    prediction, label = frame(0), frame(1)
    expected = rank_ic(prediction.to_numpy(), label.to_numpy())
    made = SHAPES[shape]
    np.testing.assert_array_equal(rank_ic(made(prediction), made(label)), expected)
    np.testing.assert_array_equal(turnover(made(prediction)), turnover(prediction.to_numpy()))
    judged: Any = evaluate_predictions(made(prediction), made(label), horizon=1, num_bootstrap=20)
    np.testing.assert_array_equal(judged.rank_ic, expected)


def test_frames_in_lists_are_read_too() -> None:
    prediction, label = frame(0), frame(1)
    wide = SHAPES["pyarrow, wide"]
    found = rank_ic_by_horizon(wide(prediction), [wide(label), wide(prediction)])  # type: ignore[arg-type, list-item]
    np.testing.assert_array_equal(found, rank_ic_by_horizon(prediction, np.stack([label, prediction])))


@pytest.mark.parametrize("shape", ["pyarrow, wide", "polars, wide", "polars, long", "series"])
def test_other_symbols_or_dates_are_refused_in_every_library(shape: str) -> None:
    prediction, label = SHAPES[shape](frame(0)), frame(1)
    for other in (label[SYMBOLS[::-1]], label.iloc[1:]):
        if shape == "polars, long" and other.shape == label.shape:
            continue  # a long table has no order of symbols: they are sorted
        with pytest.raises(ValueError, match="prediction and label must have the same labels in the same order"):
            rank_ic(prediction, SHAPES[shape](other))
    numbers = (
        polars_of(frame(0)) if shape.startswith("polars") else pa.Table.from_pandas(frame(0), preserve_index=False)
    )
    with pytest.raises(ValueError, match="their columns come in another order"):
        rank_ic(numbers, polars_of(label[SYMBOLS[::-1]]))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (long(frame(0)).assign(other=1.0), r"prediction has columns \['timestamp', 'symbol', 'value', .*: a long"),
        (long(frame(0)).assign(other=DAYS[0]), r"prediction has 2 columns of stamps, \['timestamp', 'other'\]"),
        (pd.concat([long(frame(0))] * 2), r"prediction has 179 rows that come twice, first \(Timestamp"),
        (long(frame(0)).assign(symbol=lambda table: table["symbol"].mask(table.index == 3)), "whose date or symbol is"),
        (frame(0).reset_index().iloc[[0, 0, 1]], "prediction has the date 2024-01-02 00:00:00 twice"),
        (SHAPES["indexed frame"](frame(0)).assign(other=1.0), r"prediction has 2 columns, \['value', 'other'\]"),
    ],
)  # fmt: skip
def test_what_is_no_matrix_is_named(value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        turnover(value) if "prediction" in said else rank_ic(value, value)


@pytest.mark.parametrize("shape", ["long", "wide with a column of dates"])
def test_frames_with_their_keys_in_columns_are_never_paired_by_the_place_of_a_row(shape: str) -> None:
    one, other, spread = frame(1), frame(2), SHAPES[shape]
    expected = rank_ic(one, other)
    shuffled = spread(other).sample(frac=1, random_state=0).reset_index(drop=True)
    np.testing.assert_array_equal(rank_ic(spread(one), shuffled), expected)
    later = other.set_axis(DAYS + pd.Timedelta(days=7), axis=0)
    for foreign in (later.rename_axis(index="timestamp"), other.rename(columns={"S00": "X00"})):
        with pytest.raises(ValueError, match="must have the same labels in the same order"):
            rank_ic(spread(one), spread(foreign))
    with pytest.raises(ValueError, match=r"prediction and label|label and prediction"):
        rank_ic(spread(one), later)
