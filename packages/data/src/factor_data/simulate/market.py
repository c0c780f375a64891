"""The simulated market: bars, news, and the truth about what could be known.

A market and sector factor model with fat tails, volatility clustering and leverage; listings, delistings,
splits and defects; and planted signals of many kinds whose expected returns are known exactly. See the
modules beside this one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from factor_data.parquet import write_parquet
from factor_data.simulate.bars import build_bars, calendar, symbol_names, to_frame
from factor_data.simulate.config import MarketConfig
from factor_data.simulate.returns import simulate_paths
from factor_data.simulate.texts import draw_tones, write_texts
from factor_data.simulate.truth import attainable, expectation_frame, expected_returns
from factor_data.sums import write_sums


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedMarket:
    """A simulated market.

    Attributes
    ----------
    bars : DataFrame(timestamp, symbol, open, high, low, close, adj_close, volume), sorted by (symbol,
        timestamp); with a column `sector` where a signal of groups is planted
    news : DataFrame(timestamp, symbol, text), sorted by (timestamp, symbol)
    truth : DataFrame(timestamp, horizon, attainable_ic, attainable_rank_ic, num_symbols)
    expected : horizon -> (num_dates, num_symbols) expected label at delay 1, NaN where not listed
    dates, symbols : axes of `expected`
    config : what it was made of
    """

    bars: pd.DataFrame
    news: pd.DataFrame
    truth: pd.DataFrame
    expected: dict[int, NDArray[np.float64]]
    dates: NDArray[np.datetime64]
    symbols: NDArray[np.str_]
    config: MarketConfig


def simulate_market(config: MarketConfig = MarketConfig()) -> SimulatedMarket:  # noqa: B008 frozen
    """Simulate a market; the same config gives the same values."""
    streams = np.random.SeedSequence(config.seed).spawn(5)
    for_tones, for_paths, for_bars, for_defects, for_texts = (np.random.Generator(np.random.PCG64(s)) for s in streams)
    tone, has_text = draw_tones(config, for_tones)
    paths = simulate_paths(config, tone, for_paths)
    prices = build_bars(config, paths, for_bars)
    frame = to_frame(config, prices, paths, for_defects)
    news = write_texts(config, tone, has_text, paths.listed, for_texts)
    expected = expected_returns(config, paths)
    dates, symbols = calendar(config), symbol_names(config)
    return SimulatedMarket(
        bars=frame,
        news=news,
        truth=attainable(frame, expected, dates, symbols),
        expected=expected,
        dates=dates,
        symbols=symbols,
        config=config,
    )


def write_market(market: SimulatedMarket, directory: str | Path) -> dict[str, Any]:
    """Write bars, news, `truth.parquet`, `expected.parquet` and the digests; return the facts for dataset.yaml."""
    directory = Path(directory)
    for name, frame in (("bars", market.bars), ("news", market.news)):
        (directory / name).mkdir(parents=True, exist_ok=True)
        years = frame["timestamp"].dt.year.to_numpy()
        for year in np.unique(years):
            _write_parquet(frame[years == year], directory / name / f"{year}.parquet")
    _write_parquet(market.truth, directory / "truth.parquet")
    expected = expectation_frame(market.expected, market.dates, market.symbols)
    _write_parquet(expected, directory / "expected.parquet")
    write_sums(directory)
    daily = market.config.frequency == "day"
    return {
        "name": "simulated market",
        "frequency": market.config.frequency,
        "time_zone": "exchange local time",
        "adjustment": "adj_close is adjusted for splits; there are no dividends",
        "universe": "every symbol listed at any time, delisted ones included: no survivorship",
        "news_cutoff_minutes": 16 * 60 if daily else 0,
        "simulated": True,
        "simulation": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(market.config).items()},
    }


def _write_parquet(frame: pd.DataFrame, path: Path) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    stamp = table.schema.get_field_index("timestamp")
    table = table.set_column(stamp, "timestamp", table.column(stamp).cast(pa.timestamp("us")))
    write_parquet(path, table, compression="zstd")
