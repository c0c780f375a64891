"""Small markets, stores and news that several test files are about."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from factor_data import (
    DirectionRule,
    FeatureStore,
    Label,
    Labels,
    MarketConfig,
    Panel,
    StoreWriter,
    Workers,
    clean_bars,
    open_panel,
    plan_features,
    simulate_market,
    write_sums,
)


def returns_over(*horizons: int, rule: DirectionRule | None = None) -> Labels:
    """Returns by name, h1 and so on, in the order of the heads."""
    return {f"h{horizon}": Label(horizon=horizon, direction=rule or DirectionRule()) for horizon in horizons}


def make_store(folder: Path, num_symbols: int, labels: Labels) -> FeatureStore:
    """Labels and features of a simulated market of 160 days; `folder/panel` holds its cleaned bars."""
    bars = Panel.from_frame(simulate_market(MarketConfig(symbols=num_symbols, bars=160)).bars)
    clean_bars(bars)[0].save(folder / "panel")
    panel = open_panel(folder / "panel")
    writer = StoreWriter(
        directory=folder,
        panel=panel,
        workers=Workers(max_bytes=10**8),
        plan=plan_features(None, panel.symbols),
        labels=labels,
    )
    writer.write_labels()
    writer.write_features()
    write_sums(folder)
    return FeatureStore(folder)


def bars_on_days(**days_of_symbol: list[int]) -> Panel:
    """Bars of equal prices on the given days after 2020-01-01."""
    frames = [
        pd.DataFrame({"timestamp": pd.Timestamp("2020-01-01") + pd.to_timedelta(days, unit="D"), "symbol": symbol})
        for symbol, days in days_of_symbol.items()
    ]
    prices = dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0)
    return Panel.from_frame(pd.concat(frames).assign(**prices))
