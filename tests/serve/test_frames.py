"""Bars that arrive as frames of other libraries are the panel that they are as pandas'."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from factor_serve.arrivals import panel_of


def test_bars_of_polars_and_pyarrow_arrive_like_those_of_pandas() -> None:
    days = pd.DatetimeIndex(["2024-01-02", "2024-01-03"], tz="America/New_York")
    bars = pd.DataFrame({"timestamp": days.repeat(2), "symbol": ["A", "B"] * 2})
    bars = bars.assign(open=1.0, high=2.0, low=0.5, close=1.5, volume=[1.0, None, 3.0, 4.0])
    expected = panel_of(bars)
    polars = pytest.importorskip("polars")
    for frame in (pa.Table.from_pandas(bars), polars.from_pandas(bars)):
        panel = panel_of(frame)
        np.testing.assert_array_equal(panel.dates, expected.dates)
        assert panel.symbol.tolist() == expected.symbol.tolist()
        np.testing.assert_array_equal(panel.columns["volume"], expected.columns["volume"])
    with pytest.raises(ValueError, match="bars: column 'symbol' is missing; they have"):
        panel_of(polars.from_pandas(bars).rename({"symbol": "ticker"}))
    with pytest.raises(TypeError, match=r"bars must be a frame .*LazyFrame; collect\(\) it first"):
        panel_of(polars.from_pandas(bars).lazy())
