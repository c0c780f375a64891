"""The simulated market as files of others: what they hold, by another way, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factor_data import FeatureMatrix, MarketConfig, Panel, compute_features, import_data, read_bars, simulate_market
from factor_data.cli import main
from factor_data.simulate import files
from factor_data.simulate.files import SIMULATED_FILES, write_files

SYMBOLS, DAYS = 12, 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("files") / "days"
    size = ["--symbols", str(SYMBOLS), "--days", str(DAYS), "--seed", "3"]
    assert main(["simulate", "factors_daily", str(target), *size]) == 0
    return target


@pytest.fixture(scope="module")
def bars(folder: Path) -> pd.DataFrame:
    """What is read of the folder."""
    return read_bars(folder).to_pandas()


@pytest.fixture(scope="module")
def close() -> pd.DataFrame:
    """Adjusted closes of the same market, (240 half hours, 12 symbols)."""
    config = MarketConfig(symbols=SYMBOLS, bars=8 * DAYS, frequency="30min", signals="impulses", seed=3, horizons=(1,))
    market = simulate_market(config)
    return market.bars.pivot_table(index="timestamp", columns="symbol", values="adj_close").reindex(market.dates)


def test_half_hours_have_eight_bars_a_session_and_hours_go_around_the_clock() -> None:
    half = pd.DatetimeIndex(simulate_market(MarketConfig(symbols=10, bars=160, frequency="30min")).dates)
    assert sorted({f"{stamp:%H:%M}" for stamp in half}) == [
        "10:00", "10:30", "11:00", "11:30", "13:30", "14:00", "14:30", "15:00",
    ]  # fmt: skip
    assert set(half.dayofweek) == {0, 1, 2, 3, 4}
    hours = pd.DatetimeIndex(simulate_market(MarketConfig(symbols=10, bars=240, frequency="hour")).dates)
    assert set(np.diff(hours)) == {np.timedelta64(1, "h")}
    assert set(hours.dayofweek) == set(range(7))


def test_a_file_a_day_under_names_of_both_kinds_with_two_rows_a_symbol(folder: Path, bars: pd.DataFrame) -> None:
    names = sorted(path.name for path in folder.glob("*.parquet"))
    assert len(names) == DAYS
    assert {len(name) for name in names} == {len("20150102.parquet"), len("2015-01-05.parquet")}
    first = pd.read_parquet(folder / "20150102.parquet")
    factors = [str(number) for number in range(100)]
    assert list(first.columns) == ["sid", "time", *factors, "intra30m", "nextT1d", "ema1d", "luld", "ADV50"]
    assert set(first["time"]) == {"11:30:00", "15:00:00"}
    assert first.groupby("sid").size().max() == 2
    assert len(bars) == sum(len(pd.read_parquet(path)) for path in folder.glob("*.parquet"))


def test_targets_are_the_returns_that_follow_the_next_bar(bars: pd.DataFrame, close: pd.DataFrame) -> None:
    found = {name: bars.pivot(index="timestamp", columns="symbol", values=name) for name in
             ("intra30m", "nextT1d", "ema1d", "luld")}  # fmt: skip
    prices = close.set_axis([str(int(name[1:])) for name in close.columns], axis=1)
    rows = prices.index.get_indexer(found["luld"].index)
    weights = [0.5 ** (7 - k) for k in range(8)]
    for symbol in found["luld"].columns:
        p = prices[symbol].to_numpy()
        is_bar = ~np.isnan(p[rows])  # where there is none, there is no row
        assert is_bar.any()
        expected: dict[str, list[float]] = {"intra30m": [], "nextT1d": [], "ema1d": []}
        for row in rows[is_bar]:
            expected["intra30m"].append(p[row + 2] / p[row + 1] - 1 if row + 2 < len(p) else np.nan)
            expected["nextT1d"].append(p[row + 9] / p[row + 1] - 1 if row + 9 < len(p) else np.nan)
            steps = [p[row + k + 1] / p[row + k] - 1 for k in range(1, 9)] if row + 9 < len(p) else [np.nan] * 8
            expected["ema1d"].append(sum(w * s for w, s in zip(weights, steps, strict=True)) / sum(weights))
        for name, values in expected.items():
            np.testing.assert_allclose(found[name][symbol].to_numpy()[is_bar], values, rtol=1e-6, atol=1e-12)


def test_a_bar_is_at_its_limit_where_it_is_far_from_the_last_price_of_the_day_before(
    bars: pd.DataFrame, close: pd.DataFrame
) -> None:
    limit = bars.pivot(index="timestamp", columns="symbol", values="luld")
    last = close.ffill().groupby(close.index.normalize()).last().shift(1)
    before = last.loc[close.index.normalize()].set_axis(close.index)
    expected = ((close / before - 1).abs() >= 0.05).astype(float)
    expected = expected.set_axis([str(int(name[1:])) for name in close.columns], axis=1).loc[limit.index, limit.columns]
    known = limit.notna()
    assert 0 < limit.to_numpy()[known].mean() < 0.2
    assert (limit.to_numpy()[known] == expected.to_numpy()[known]).all()


def test_volume_is_that_of_days_before(bars: pd.DataFrame) -> None:
    assert bars[bars["timestamp"] < "2015-01-03"]["ADV50"].isna().all(), "nothing was known on the first day"
    assert bars[bars["timestamp"] > "2015-01-06"]["ADV50"].notna().mean() > 0.9
    assert (bars.groupby([bars["timestamp"].dt.normalize(), "symbol"])["ADV50"].nunique() <= 1).all()


@pytest.mark.parametrize("name", list(SIMULATED_FILES))
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(name: str, tmp_path: Path) -> None:
    for target, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        days = "100" if SIMULATED_FILES[name].frequency == "day" else "15"
        size = ["--symbols", "3", "--days", days, "--seed", seed]
        assert main(["simulate", name, str(tmp_path / target), *size]) == 0
    a, b, c = (files_of(tmp_path / one) for one in "abc")
    assert a == b
    assert {Path(name).parts[0] for name in a} == {Path(name).parts[0] for name in c}
    assert a != c


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_factors_are_computed_of_a_few_symbols_at_a_time(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = []

    def counted(panel: Panel, names: Sequence[str]) -> FeatureMatrix:
        largest.append(panel.num_rows)
        return compute_features(panel, names)

    monkeypatch.setattr(files, "SYMBOLS_AT_ONCE", 5)
    monkeypatch.setattr(files, "compute_features", counted)
    write_files("factors_daily", tmp_path / "days", symbols=SYMBOLS, days=DAYS, seed=3)
    assert len(largest) == 3
    assert max(largest) <= 5 * DAYS * 8
    assert files_of(tmp_path / "days") == files_of(folder)


def test_kline_is_one_csv_of_kronos_and_news_are_folders_of_csmd(tmp_path: Path) -> None:
    assert main(["simulate", "kline", str(tmp_path / "kline"), "--symbols", "3", "--days", "15"]) == 0
    lines = (tmp_path / "kline" / "kline.csv").read_text().splitlines()
    assert lines[0] == "timestamps,ticker,open,high,low,close,volume"
    assert lines[1].startswith("2015/1/2 9:35,S0000,")
    assert main(["simulate", "news", str(tmp_path / "news"), "--symbols", "3", "--days", "100"]) == 0
    names = sorted(files_of(tmp_path / "news"))
    assert {"dataset.yaml", "price/S0000.csv"} < set(names)
    assert all(re.fullmatch(r"news/S\d{4}/\d{4}-\d\d-\d\d\.csv", name) for name in names if name.startswith("news"))
    for folder in ("kline", "news"):
        summary = import_data(tmp_path / folder, tmp_path / "imported" / folder)
        assert summary.num_symbols == 3
        assert bool(summary.num_documents) == (folder == "news")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--symbols", "0"], "symbols must be at least 1, got 0"),
        (["--days", "2"], "bars must be at least 100"),
        (["--signal", "9"], "signal must lie in [0, 5], got 9.0"),
    ],
)
def test_impossible_sizes_are_refused_in_a_line_and_nothing_is_written(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "factors_daily", str(tmp_path / "new"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "factors_daily", str(tmp_path)]) == 2
    assert "exists already; name a new folder" in capsys.readouterr().err
