"""A set several times the budget goes through both stages' work within the budget."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factor_data import (
    CleanRules,
    FitConfig,
    Fold,
    Label,
    StoreWriter,
    Table,
    Workers,
    clean_to_folder,
    open_panel,
    plan_features,
    sort_bars,
)

BUDGET = 2 * 2**20
NAMES = ("return_1", "return_5", "volatility_20", "volume_surprise_20", "market_return_1")
NUM_DATES = 500
ROW_BYTES = 8 * 8  # of a bar: symbol, time and six columns


def tables(num_symbols: int) -> Iterator[Table]:
    """Random walks in files of ten dates, so that everything has to be sorted."""
    generator = np.random.default_rng(0)
    dates = pd.bdate_range("2020-01-01", periods=NUM_DATES).to_numpy().astype("datetime64[ns]")
    symbols = np.array([f"S{number:05d}" for number in range(num_symbols)], dtype=object)
    close = np.full(num_symbols, 50.0)
    for first in range(0, NUM_DATES, 10):
        shape = (10, num_symbols)
        closes = close * np.exp(np.cumsum(generator.normal(0, 0.01, shape), axis=0))
        close = closes[-1]
        columns = dict.fromkeys(("open", "close", "adj_close"), closes.reshape(-1))
        columns |= {"high": closes.reshape(-1) * 1.01, "low": closes.reshape(-1) * 0.99}
        stamps = {
            "timestamp": np.repeat(dates[first : first + 10], num_symbols),
            "symbol": np.tile(symbols, 10),
        }
        volume = generator.integers(1, 1000, 10 * num_symbols).astype(np.float64)
        yield Table(f"file {first}", pd.DataFrame({**stamps, **columns, "volume": volume}), None)


def write_all(folder: Path, num_symbols: int, kind: str) -> None:
    workers = Workers(max_bytes=BUDGET)
    (folder / "scratch").mkdir(parents=True)
    bars = sort_bars(tables(num_symbols), folder / "scratch", workers)
    clean_to_folder(bars, folder / "panel", CleanRules(min_history=5), workers)
    panel = open_panel(folder / "panel")
    fold = Fold(index=0, train=panel.dates[:300], valid=panel.dates[310:340], test=panel.dates[350:400])
    writer = StoreWriter(
        directory=folder / "store",
        panel=panel,
        workers=workers,
        plan=plan_features(NAMES, panel.symbols),
        labels={"h1": Label(horizon=1), "h5": Label(horizon=5)},
    )
    writer.write_labels()
    writer.check_labels(fold)
    writer.write_features()
    writer.write_folds([fold], FitConfig(normaliser=kind, clip=3.0, num_tokens=8))


def peak_bytes(folder: Path, num_symbols: int, kind: str) -> int:
    tracemalloc.start()
    try:
        write_all(folder, num_symbols, kind)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rank", "robust_zscore"])
def test_a_set_of_five_times_the_budget_is_worked_on_within_the_budget(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Row groups of the index have a fixed number of rows, which take 25 MiB whatever the budget.
    monkeypatch.setattr("factor_data.chunks.write_store.ROW_GROUP", 10_000)
    num_symbols = 350
    assert num_symbols * NUM_DATES * ROW_BYTES > 5 * BUDGET
    write_all(tmp_path / "small", 20, kind)  # compiles the kernels
    assert peak_bytes(tmp_path / "large", num_symbols, kind) < BUDGET
