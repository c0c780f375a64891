"""Frames of every library and shape make the same panel, go out again, and what does not fit is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from factor_data import Panel, as_pandas, compute_features, long_frame

DAYS = pd.date_range("2024-01-02", periods=30, freq="B")
SYMBOLS = ["A", "B", "C"]
FIELDS = ["open", "high", "low", "close", "volume"]


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    """Long bars with a gap, a missing volume and rows out of order."""
    generator = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([DAYS, SYMBOLS], names=["timestamp", "symbol"])
    prices = 100 * np.exp(np.cumsum(0.01 * generator.standard_normal(len(index))))
    frame = pd.DataFrame(dict.fromkeys(FIELDS[:4], prices) | {"volume": 1e4 * prices}, index=index).reset_index()
    frame.loc[7, "volume"] = np.nan
    return frame.drop(index=11).sample(frac=1, random_state=1).reset_index(drop=True)


def assert_equal(one: Panel, other: Panel) -> None:
    assert one.symbols.tolist() == other.symbols.tolist()
    np.testing.assert_array_equal(one.dates, other.dates)
    np.testing.assert_array_equal(one.row_key, other.row_key)
    assert list(one.columns) == list(other.columns)
    for name, values in one.columns.items():
        np.testing.assert_array_equal(values, other.columns[name])


def indexed(bars: pd.DataFrame) -> pd.DataFrame:
    return bars.set_index(["timestamp", "symbol"])


SHAPES = {
    "index": indexed,
    "index without names": lambda bars: indexed(bars).rename_axis([None, None]),
    "index, symbol first": lambda bars: bars.set_index(["symbol", "timestamp"]).rename_axis(["asset", "date"]),
    "stamps as index": lambda bars: bars.set_index("timestamp"),
    "wide by field": lambda bars: indexed(bars).unstack("symbol"),
    "wide by symbol": lambda bars: indexed(bars).unstack("symbol").swaplevel(axis=1),
    "wide, capitals": lambda bars: indexed(bars).rename(columns=str.capitalize).unstack("symbol"),
    "mapping": lambda bars: {name: indexed(bars)[name].unstack("symbol") for name in FIELDS},
    "categories": lambda bars: bars.astype({"symbol": "category"}),
    "nullable": lambda bars: bars.convert_dtypes(),
    "pyarrow": pa.Table.from_pandas,
    "pyarrow, dictionary": lambda bars: pa.Table.from_pandas(bars.astype({"symbol": "category"})),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_the_same_bars_makes_the_same_panel(shape: str, bars: pd.DataFrame) -> None:
    assert_equal(Panel.from_frame(SHAPES[shape](bars)), Panel.from_frame(bars))


def test_decimals_are_numbers(bars: pd.DataFrame) -> None:
    exact = bars.assign(open=bars["open"].round(4))
    cents = pa.Table.from_pandas(bars).set_column(2, "open", pa.array(exact["open"]).cast(pa.decimal128(12, 4)))
    assert_equal(Panel.from_frame(cents), Panel.from_frame(exact))


def test_polars_in_and_out(bars: pd.DataFrame) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.from_pandas(bars)
    panel = Panel.from_frame(bars)
    assert_equal(Panel.from_frame(frame), panel)
    assert_equal(Panel.from_frame(frame.with_columns(polars.col("symbol").cast(polars.Categorical))), panel)
    assert frame["volume"].null_count() == 1
    out = polars.DataFrame(panel)
    assert out["volume"].null_count() == 1
    assert_equal(Panel.from_frame(out), panel)
    zoned = frame.with_columns(polars.col("timestamp").dt.replace_time_zone("America/New_York"))
    assert_equal(Panel.from_frame(zoned), panel)
    days = frame.with_columns(polars.col("timestamp").cast(polars.Date))
    assert_equal(Panel.from_frame(days), panel)
    with pytest.raises(TypeError, match=r"got polars.*LazyFrame; collect\(\) it first"):
        Panel.from_frame(frame.lazy())
    with pytest.raises(ValueError, match="perhaps rename 'ticker' to 'symbol'"):
        Panel.from_frame(frame.rename({"symbol": "ticker"}))


def test_arrow_out_is_the_frame_with_nulls(bars: pd.DataFrame) -> None:
    panel = Panel.from_frame(bars)
    table = pa.table(panel)
    assert table["volume"].null_count == 1
    assert_equal(Panel.from_frame(table), panel)
    pd.testing.assert_frame_equal(
        table.to_pandas().astype({"symbol": "str"}), panel.to_pandas().astype({"symbol": "str"})
    )
    features = compute_features(panel, ["return_1"])
    out = as_pandas(features)
    np.testing.assert_array_equal(out["return_1"].to_numpy(np.float32), features.values[:, 0])


def test_zones_keep_their_wall_clock(bars: pd.DataFrame) -> None:
    zoned = bars.assign(timestamp=bars["timestamp"].dt.tz_localize("Asia/Tokyo"))
    for frame in (zoned, pa.Table.from_pandas(zoned), indexed(zoned)):
        np.testing.assert_array_equal(Panel.from_frame(frame).dates, DAYS.to_numpy())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda bars: bars.rename(columns={"symbol": "Ticker", "timestamp": "Date"}),
         r"frame has no column 'timestamp', 'symbol'; it has \['Date', 'Ticker', 'open', .*\]; "
         "perhaps rename 'Date' to 'timestamp', 'Ticker' to 'symbol'"),
        (lambda bars: bars.rename(columns=lambda name: name.capitalize() if name in FIELDS else name),
         "no column 'open', 'high', 'low', 'close', 'volume'; .* perhaps rename 'Open' to 'open', 'High' to 'high'"),
        (lambda bars: bars.rename(columns={"volume": "vol"}), "perhaps rename 'vol' to 'volume'"),
        (lambda bars: bars.rename(columns={"symbol": "symbl"}), "perhaps rename 'symbl' to 'symbol'"),
        (lambda bars: bars.drop(columns="volume"), r"no column 'volume'; it has \[.*'close'\]$"),
        (lambda bars: indexed(bars)["close"].unstack("symbol"), "holds one field: give a mapping of fields to such"),
        (lambda bars: bars.assign(sector="tech"), "column 'sector' holds 'tech' in row 1: a panel holds numbers"),
        (lambda bars: bars.assign(symbol=bars["symbol"].mask(bars.index == 4)), "symbol is missing in row 5"),
        (lambda bars: indexed(bars)[[]].unstack("symbol"), "has columns of two levels"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_a_proposal(change: Any, said: str, bars: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=said):
        Panel.from_frame(change(bars))


def test_what_is_no_frame_is_refused() -> None:
    for value in (np.zeros((2, 2)), [1, 2], pd.Series([1.0])):
        with pytest.raises(TypeError, match="must be a frame of pandas or of a library that speaks Arrow"):
            long_frame(value)
    with pytest.raises(ValueError, match="frame is empty"):
        long_frame({})


def test_a_panel_and_features_are_told_in_a_line_and_shown_in_a_notebook(bars: pd.DataFrame) -> None:
    panel = Panel.from_frame(bars.assign(**{"<b>x": 1.0}))
    assert repr(panel) == (
        "Panel(89 bars, 3 symbols, 30 dates 2024-01-02T00:00 .. 2024-02-12T00:00, "
        "columns open, high, low, close, volume, <b>x)"
    )
    page = panel._repr_html_()
    assert "&lt;b&gt;x" in page
    assert "<b>x" not in page
    features = compute_features(panel, ["return_1"])
    assert repr(features) == "FeatureMatrix(89 rows, 1 features: return_1)"
    assert "return_1" in features._repr_html_()


def test_an_index_that_is_no_symbol_does_not_take_the_place_of_the_column(bars: pd.DataFrame) -> None:
    numbered = bars.assign(row=np.arange(len(bars))).set_index(["timestamp", "row"])
    with pytest.raises(ValueError, match=r"column 'symbol' and a level 'row' of its index .* they differ"):
        Panel.from_frame(numbered)
    assert_equal(Panel.from_frame(bars.set_index(["timestamp", "symbol"], drop=False)), Panel.from_frame(bars))


def test_a_symbol_may_have_the_name_of_a_field(bars: pd.DataFrame) -> None:
    named = bars.replace({"symbol": {"A": "LOW", "B": "OPEN"}})
    assert_equal(Panel.from_frame(indexed(named).unstack()), Panel.from_frame(named))


def test_the_close_never_stands_for_an_adjusted_one_that_is_there(bars: pd.DataFrame) -> None:
    adjusted = bars.assign(adj_close=bars["close"] / 2)
    vendor = adjusted.rename(columns={"adj_close": "Adj Close"})
    assert_equal(Panel.from_frame(indexed(vendor).unstack()), Panel.from_frame(adjusted))
    with pytest.raises(ValueError, match=r"column 'Adj Close', which a panel calls 'adj_close': rename it"):
        Panel.from_frame(vendor)


def test_dates_and_columns_that_come_twice_are_no_numbers(bars: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"column 'listed' holds datetime64"):
        Panel.from_frame(bars.assign(listed=bars["timestamp"]))
    with pytest.raises(ValueError, match=r"2 columns 'close': keep one"):
        Panel.from_frame(pd.concat([bars, bars[["close"]]], axis=1))


def test_a_number_and_its_text_are_not_two_symbols_of_one_name(bars: pd.DataFrame) -> None:
    mixed = bars.assign(symbol=bars["symbol"].map({"A": 1, "B": "1", "C": "2"}))
    with pytest.raises(ValueError, match=r"two symbols are '1' when written as text"):
        Panel.from_frame(mixed)
