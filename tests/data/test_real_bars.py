"""Real bars, where they lie beside the checkout: read, clean, features without look-ahead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from factor_data import assert_no_lookahead, clean_bars, compute_features, read_bars, read_news

REAL = Path(__file__).parents[3] / "shared" / "data" / "acl18"

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
