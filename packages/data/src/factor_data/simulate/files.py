"""The simulated market written as files of others: one set of files for each preset that reads such a layout.

`factor-data simulate NAME DST` calls them, `make use-data SRC=DST` reads them back, `make preset NAME=NAME` has the
settings that go with them. Nothing in the files says that they are simulated, but for their dataset.yaml.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.atomic import new_folder
from factor_data.exporting import export_bars
from factor_data.features.alpha158_names import ALPHA158_NAMES
from factor_data.features.compute import compute_features
from factor_data.panel.panel import Panel
from factor_data.parquet import write_parquet
from factor_data.simulate.config import BARS_PER_DAY, MarketConfig
from factor_data.simulate.market import SimulatedMarket, simulate_market

MIN_FREE_BYTES = 64 * 2**20
NUM_FACTORS = 100
FACTORS = tuple(ALPHA158_NAMES[place * len(ALPHA158_NAMES) // NUM_FACTORS] for place in range(NUM_FACTORS))
"""What the columns 0 to 99 are: an even choice of Alpha158."""
ROWS_OF_DAY = (3, 7)
"""Bars of a day of eight that have a row: those that end at 11:30 and at 15:00."""
SYMBOLS_AT_ONCE = 16
LIMIT = 0.05
"""A bar is at its limit where its price is so far from the last one of the day before."""
DECAY = 0.5 ** np.arange(8)[::-1]
"""Weights of the bars of a day in `ema1d`, the last one counts most."""


class Files(NamedTuple):
    """One set of files: of which market, and what writes it into a folder."""

    frequency: str
    symbols: int
    days: int
    write: Callable[[SimulatedMarket, Path], None]


def write_files(
    name: str,
    target: str | Path,
    *,
    symbols: int | None = None,
    days: int | None = None,
    signal: float = 1.0,
    seed: int = 7,
) -> int:
    """Simulate a market and write it into the new folder `target`, which appears whole or not at all.

    Parameters
    ----------
    name : one of `SIMULATED_FILES`; its number of symbols and days stand for None
    target : folder that must not exist
    signal, seed : as in `MarketConfig`

    Returns
    -------
    The number of files, dataset.yaml included.

    Raises
    ------
    ValueError for an unknown name, a target that exists, or numbers out of range
    """
    if name not in SIMULATED_FILES:
        raise ValueError(f"there are no simulated files {name!r}, only {', '.join(SIMULATED_FILES)}")
    target, files = Path(target), SIMULATED_FILES[name]
    if target.exists():
        raise ValueError(f"{target}: exists already; name a new folder")
    count = files.symbols if symbols is None else symbols
    if count < 1:
        raise ValueError(f"symbols must be at least 1, got {count}")
    config = MarketConfig(
        symbols=max(count, FEWEST),
        bars=(files.days if days is None else days) * BARS_PER_DAY[files.frequency],
        frequency=files.frequency,  # type: ignore[arg-type]
        signal=signal,
        signals="impulses",
        seed=seed,
        changing_share=0.2 if count >= FEWEST else 0.0,
        horizons=(1,),
    )
    market = simulate_market(config)
    with new_folder(target, MIN_FREE_BYTES) as folder:
        files.write(_first_symbols(market, count), folder)
        described = {
            "name": f"simulated market, {name}",
            "frequency": files.frequency,
            "universe": "every symbol listed at any time, delisted ones included: no survivorship",
            "simulated": True,
        }
        text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in described.items())  # JSON is YAML too
        (folder / "dataset.yaml").write_text(text, encoding="utf-8")
        return sum(path.is_file() for path in folder.rglob("*"))


FEWEST = 10
"""The smallest market: signals are relative to a cross-section. Of a smaller one the first symbols are written."""


def _first_symbols(market: SimulatedMarket, count: int) -> SimulatedMarket:
    kept = market.symbols[:count]
    bars, news = (frame[frame["symbol"].isin(kept)].reset_index(drop=True) for frame in (market.bars, market.news))
    return SimulatedMarket(**{**vars(market), "bars": bars, "news": news, "symbols": kept})


def write_factor_days(market: SimulatedMarket, folder: Path) -> None:
    """Write a Parquet file per day: sid, time, factors 0 to 99, three targets, luld and ADV50; no price.

    Two rows a day and symbol of a market of half-hour bars. Files are named YYYYMMDD and YYYY-MM-DD by turns. The
    targets of bar t are entered at the close of t + 1: `intra30m` is the return over the next bar, `nextT1d` over
    the next eight, `ema1d` the mean return of these eight bars, weighted towards the last. Missing where a bar is.
    """
    panel = Panel.from_frame(market.bars, market.dates)
    kept = np.isin(panel.date_code % BARS_PER_DAY["30min"], ROWS_OF_DAY)
    symbol, bar = panel.symbol_code[kept], panel.date_code[kept]
    frame = pd.DataFrame(_factors(panel, kept), columns=[str(number) for number in range(NUM_FACTORS)])
    frame.insert(0, "sid", np.char.lstrip(panel.symbols, "S").astype(np.int64)[symbol])
    frame.insert(1, "time", pd.DatetimeIndex(panel.dates).strftime("%H:%M:%S").to_numpy()[bar])
    for name, values in _columns_of_rows(panel).items():
        frame[name] = values[bar, symbol]
    order = np.lexsort((symbol, bar))
    frame = frame.iloc[order]
    days = bar[order] // BARS_PER_DAY["30min"]
    for number in np.unique(days).tolist():
        first, last = np.searchsorted(days, (number, number + 1))
        date = f"{market.dates[number * BARS_PER_DAY['30min']]!s:.10}"
        name = date if number % 2 else date.replace("-", "")
        write_parquet(folder / f"{name}.parquet", frame[first:last].reset_index(drop=True), compression="zstd")


def _factors(panel: Panel, kept: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the factors of the rows that are kept, (num_kept, 100), of a few symbols at a time.

    Alpha158 of every bar of 500 symbols and 1,500 days would be 6 GB, of which a fifth is written.
    """
    parts = []
    for first in range(0, panel.num_symbols, SYMBOLS_AT_ONCE):
        rows = (panel.symbol_code >= first) & (panel.symbol_code < first + SYMBOLS_AT_ONCE)
        parts.append(compute_features(panel.select(rows), FACTORS).values[kept[rows]])
    return np.concatenate(parts)


def write_hours(market: SimulatedMarket, folder: Path) -> None:
    """Write a CSV per symbol with hourly bars around the clock: timestamp, open, high, low, close, volume.

    Prices and volumes are adjusted for splits, which coins do not have.
    """
    panel = Panel.from_frame(market.bars, market.dates)
    columns = {name: panel.adjusted(name) for name in ("open", "high", "low", "close", "volume")}
    stamps = pd.DatetimeIndex(panel.dates).strftime("%Y-%m-%d %H:%M:%S").to_numpy()
    frame = pd.DataFrame({"timestamp": stamps[panel.date_code], **{k: np.round(v, 6) for k, v in columns.items()}})
    for code, symbol in enumerate(panel.symbols):
        frame[panel.symbol_code == code].to_csv(folder / f"{symbol}.csv", index=False)


def _columns_of_rows(panel: Panel) -> dict[str, NDArray[np.float64]]:
    """Targets, limit flag and volume, each (num_dates, num_symbols)."""
    per_day = BARS_PER_DAY["30min"]
    close = panel.to_matrix(panel.adjusted("close"))
    steps = _ahead(close, 1) / close - 1.0
    following = np.stack([_ahead(steps, lag) for lag in range(1, per_day + 1)], axis=-1)
    last = np.repeat(_filled(close)[per_day - 1 :: per_day], per_day, axis=0)[: len(close) - per_day]
    before = np.vstack([np.full((per_day, close.shape[1]), np.nan), last])
    volume = np.nan_to_num(panel.to_matrix(panel.columns["volume"]))
    by_day = pd.DataFrame(volume.reshape(-1, per_day, close.shape[1]).sum(axis=1)).replace(0.0, np.nan)
    usual = by_day.rolling(50, min_periods=1).mean().shift(1).to_numpy()  # the days before
    return {
        "intra30m": _ahead(close, 2) / _ahead(close, 1) - 1.0,
        "nextT1d": _ahead(close, 1 + per_day) / _ahead(close, 1) - 1.0,
        "ema1d": following @ (DECAY / DECAY.sum()),
        "luld": (np.abs(close / before - 1.0) >= LIMIT).astype(np.float64),
        "ADV50": np.repeat(usual, per_day, axis=0),
    }


def _ahead(values: NDArray[np.float64], bars: int) -> NDArray[np.float64]:
    """Return what each row has `bars` later; NaN where there is none."""
    moved = np.full_like(values, np.nan)
    moved[: len(values) - bars] = values[bars:]
    return moved


def _filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each value, or the last known one before it."""
    return pd.DataFrame(values).ffill().to_numpy()


def write_kline(market: SimulatedMarket, folder: Path) -> None:
    """Write kline.csv, the bars of all symbols in the form of Kronos' examples."""
    _export(market, folder, "kronos")


def write_csmd(market: SimulatedMarket, folder: Path) -> None:
    """Write price/<stock>.csv and news/<stock>/<day>.csv, as CSMD has them."""
    _export(market, folder, "csmd")


def _export(market: SimulatedMarket, folder: Path, layout: str) -> None:
    with TemporaryDirectory(prefix=".simulated-", dir=folder) as aside:
        own, made = Path(aside) / "own", Path(aside) / "made"
        for name, frame in (("bars", market.bars), ("news", market.news)):
            (own / name).mkdir(parents=True)
            write_parquet(own / name / "all.parquet", frame)
        export_bars(own, made, layout)
        for path in made.iterdir():
            path.rename(folder / path.name)


SIMULATED_FILES: dict[str, Files] = {
    "factors_daily": Files("30min", 60, 240, write_factor_days),
    "direction_hourly": Files("hour", 12, 200, write_hours),
    "kline": Files("5min", 20, 100, write_kline),
    "news": Files("day", 30, 700, write_csmd),
}
