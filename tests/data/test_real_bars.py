"""Real bars, where they lie beside the checkout: read, clean, features without look-ahead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factor_data import (
    CleanRules,
    Panel,
    assert_no_lookahead,
    clean_bars,
    compute_features,
    read_bars,
    read_news,
)

REAL = Path(__file__).parents[3] / "shared" / "data" / "acl18"
NASDAQ = REAL.parent / "us_eod" / "nasdaq.parquet"

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not REAL.is_dir(), reason=f"real market data not found at {REAL}"),
]


def test_88_stocks_are_read_and_their_three_empty_bars_dropped() -> None:
    panel = read_bars(REAL / "bars.parquet")
    assert panel.num_symbols == 88
    cleaned, report = clean_bars(panel)
    assert report.count("close_unusable") == 3
    assert cleaned.num_rows == panel.num_rows - 3
    assert len(read_news(REAL / "news.parquet", calendar=panel.dates)) == 106_338


def test_features_of_real_bars_do_not_look_ahead() -> None:
    panel, _ = clean_bars(read_bars(REAL / "bars.parquet"))
    assert_no_lookahead(compute_features, panel, panel.dates[700])
    values = compute_features(panel).values
    assert not np.isinf(values).any()
    assert np.isnan(values[panel.columns["in_universe"] == 1.0]).mean() < 0.01


@pytest.mark.skipif(not NASDAQ.exists(), reason=f"real market data not found at {NASDAQ}")
def test_the_defects_of_nasdaq_bars_are_counted_as_pandas_counts_them() -> None:
    """Suspicious bars of 1,026 stocks: no figure here comes from the rules themselves."""
    frame = pd.read_parquet(NASDAQ)
    cleaned, report = clean_bars(Panel.from_frame(frame), CleanRules(min_history=252))
    positive = frame[frame["close"] > 0].sort_values(["symbol", "timestamp"])
    symbol, move = positive["symbol"], positive.groupby("symbol")["close"].pct_change()
    place = np.searchsorted(np.unique(frame["timestamp"]), positive["timestamp"])
    gap = pd.Series(place, index=positive.index).groupby(symbol).diff().dropna() - 1
    expected = {
        "close_unusable": len(frame) - len(positive),
        "open_unusable": (positive["open"] <= 0).sum(),
        "suspended": (positive["volume"] <= 0).sum(),
        "large_move": (move.abs() > 0.35).sum(),
        "calendar_gap": gap.sum(),
        "short_history": (positive.groupby("symbol").cumcount() < 251).sum(),
    }
    assert {name: report.count(name) for name in expected} == expected
    assert min(expected.values()) > 0
    out = (positive.groupby("symbol").cumcount() < 251) | (positive["volume"] <= 0)
    np.testing.assert_array_equal(cleaned.in_universe, ~out.to_numpy())
