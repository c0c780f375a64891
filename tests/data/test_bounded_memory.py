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
from factor_data.chunks.sorting import SortedBars

BUDGET = 2 * 2**20
NAMES = ("return_1", "return_5", "volatility_20", "volume_surprise_20", "market_return_1")
NUM_SYMBOLS, NUM_DATES = 350, 500
KINDS = ("rank", "robust_zscore")
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


def write_panel(folder: Path, num_symbols: int) -> SortedBars:
    """What the first stage does; the sorted bars, which the second one has beside it."""
    workers = Workers(max_bytes=BUDGET)
    (folder / "scratch").mkdir(parents=True)
    bars = sort_bars(tables(num_symbols), folder / "scratch", workers)
    clean_to_folder(bars, folder / "panel", CleanRules(min_history=5), workers)
    return bars


def write_store(folder: Path, kind: str) -> None:
    panel = open_panel(folder / "panel")
    fold = Fold(index=0, train=panel.dates[:300], valid=panel.dates[310:340], test=panel.dates[350:400])
    writer = StoreWriter(
        directory=folder / kind,
        panel=panel,
        workers=Workers(max_bytes=BUDGET),
        plan=plan_features(NAMES, panel.symbols),
        labels={"h1": Label(horizon=1), "h5": Label(horizon=5)},
    )
    writer.write_labels()
    writer.check_labels(fold)
    writer.write_features()
    writer.write_folds([fold], FitConfig(normaliser=kind, clip=3.0, num_tokens=8))


@pytest.fixture(scope="module")
def peaks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """The most bytes that the work took, by kind of normaliser; all but the store is the same for both."""
    folder = tmp_path_factory.mktemp("bounded")
    with pytest.MonkeyPatch.context() as patch:
        # Row groups of the index have a fixed number of rows, which take 25 MiB whatever the budget.
        patch.setattr("factor_data.chunks.write_store.ROW_GROUP", 10_000)
        write_panel(folder / "small", 20)
        for kind in KINDS:
            write_store(folder / "small", kind)  # compiles the kernels
        found = {}
        tracemalloc.start()
        try:
            bars = write_panel(folder / "large", NUM_SYMBOLS)
            panel_peak = tracemalloc.get_traced_memory()[1]
            for kind in KINDS:
                tracemalloc.reset_peak()
                write_store(folder / "large", kind)
                found[kind] = max(panel_peak, tracemalloc.get_traced_memory()[1])
            assert bars.num_rows == NUM_SYMBOLS * NUM_DATES
        finally:
            tracemalloc.stop()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_set_of_five_times_the_budget_is_worked_on_within_the_budget(kind: str, peaks: dict[str, int]) -> None:
    assert NUM_SYMBOLS * NUM_DATES * ROW_BYTES > 5 * BUDGET
    assert peaks[kind] < BUDGET
