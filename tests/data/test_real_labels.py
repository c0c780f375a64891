"""Labels of the published next-day movement protocol on real bars: the same samples, one by one counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factor_data import CleanRules, clean_bars, direction, forward_return, label_report, read_bars

REAL = Path(__file__).parents[3] / "shared" / "data" / "acl18"

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not REAL.is_dir(), reason=f"real market data not found at {REAL}"),
]


def test_the_published_numbers_of_samples_are_reproduced() -> None:
    """StockNet and Adv-ALSTM: 87 stocks, moves of at least +0.55 % or at most -0.5 %, windows of 5 days.

    A segment holds the samples whose label, the move of the next day, falls on its dates. Each of the 5 days up to t
    needs 30 earlier closes for the longest mean, hence 34 bars up to t. Bars without volume count there.
    """
    bars = read_bars(REAL / "bars.parquet")
    bars = bars.select(bars.symbol != "GMRE")
    trading = pd.read_csv(REAL / "adv_alstm_trading_dates.csv", header=None)[0].to_numpy("datetime64[ns]")
    panel, _ = clean_bars(bars, CleanRules(min_history=34, actions={"suspended": "flag"}))
    move = forward_return(panel, horizon=1, delay=0)
    label = direction(move, up=0.0055, down=-0.005)
    day_of_label = panel.dates[np.minimum(panel.date_code + 1, panel.num_dates - 1)]
    found = {}
    for name, first, end in (
        ("train", "2014-01-02", "2015-08-03"),
        ("valid", "2015-08-03", "2015-10-01"),
        ("test", "2015-10-01", "2016-01-01"),
    ):
        dates = trading[(trading >= np.datetime64(first)) & (trading < np.datetime64(end))]
        inside = panel.in_universe & np.isin(day_of_label, dates)
        found[name] = label_report(name, label, in_universe=inside, source=move)
    assert {name: report.used for name, report in found.items()} == {
        "train": 20_315,
        "valid": 2_555,
        "test": 3_720,
    }
    assert found["test"].unknown == 0
    assert round(found["test"].dropped / found["test"].rows, 2) == 0.33  # the accuracy is conditional on the other 67 %
    inside = panel.in_universe & np.isin(day_of_label, trading[trading >= np.datetime64("2015-10-01")])
    assert round(max(np.nanmean(label[inside]), 1 - np.nanmean(label[inside])), 4) == 0.5129  # the majority class
