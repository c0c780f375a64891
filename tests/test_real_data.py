"""On real NASDAQ bars: known floors come out, and one command puts them in the place of the simulated market."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from checkout import make_checkout
from factor_data import Panel, clean_bars, compute_features, forward_return, read_bars
from factor_metrics import rank_ic

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def panel(real_data: Path) -> Panel:
    return clean_bars(read_bars(real_data / "us_eod" / "nasdaq.parquet"))[0]


@pytest.mark.parametrize(
    ("feature", "sign", "expected"),
    [("return_1", -1.0, 0.0325), ("close_to_mean_5", -1.0, 0.0214)],
)
def test_floors_on_the_published_test_days_come_out(
    feature: str, sign: float, expected: float, panel: Panel, real_data: Path
) -> None:
    """Rank IC with the next day's return on the 237 test days of the RSR protocol, computed elsewhere before."""
    published = pd.read_csv(real_data / "us_eod" / "rsr_nasdaq_trading_dates.csv", parse_dates=["timestamp"])
    days = published.loc[published["timestamp"] >= "2013-01-02", "timestamp"].to_numpy()
    test_days = np.isin(panel.dates, days[1008:])
    signal = panel.to_matrix(sign * compute_features(panel, [feature]).values[:, 0])
    label = panel.to_matrix(forward_return(panel, horizon=1, delay=0))
    per_date = rank_ic(signal, label)[test_days]
    assert np.nanmean(per_date) == pytest.approx(expected, abs=0.002)


def test_one_command_replaces_the_simulated_market(real_data: Path, tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "factorcast")
    done = checkout.run("python", "-m", "stages.commands.use_data", str(real_data / "us_eod"))
    assert "1,026 symbols, 2008-01-02 to 2017-12-11" in done.stdout
    assert done.stdout.count("left out rsr_nasdaq") == 2
    split = checkout.stage("split")
    assert split.returncode == 0, split.stderr
    quality = (checkout.path / "results" / "split" / "quality.html").read_text()
    assert "9,052" in quality, "the opens of zero are counted"
