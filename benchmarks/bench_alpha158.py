"""All 158 features: factor_data.alpha158 against pyqlib's D.features on the same bars, in one run.

CPU seconds of one thread over 500 simulated stocks x 5 years: ours as the median of 15 runs, pyqlib's in five parts of
100 stocks (its time is that of one stock after another), as five times the median part. With --agreement and a Parquet
file of real bars it compares the values instead. Needs pyqlib (benchmarks/requirements.txt) beside the project:

    python benchmarks/bench_alpha158.py [--agreement ../shared/data/us_eod/nasdaq.parquet]
"""

from __future__ import annotations

import os

# For both sides: looking for huge pages takes the kernel from 0.1 to 1.2 s a run where memory is fragmented.
os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from instruction_set import print_instruction_set
from qlib_store import QlibAlpha158, write_qlib_store

from factor_data import ALPHA158_NAMES, Panel, alpha158, clean_bars, read_bars

NUM_SYMBOLS, NUM_DATES, NUM_PARTS, REPEATS = 500, 1250, 5, 3
COMPARED_SYMBOLS, LONGEST = 120, 62


def simulated_panel() -> Panel:
    generator = np.random.default_rng(0)
    shape = (NUM_SYMBOLS, NUM_DATES)
    close = 50 * np.exp(np.cumsum(generator.normal(0, 0.02, shape), axis=1))
    opened = close * np.exp(generator.normal(0, 0.01, shape))
    spread = np.exp(np.abs(generator.normal(0, 0.01, (2, *shape))))
    high, low = np.maximum(opened, close) * spread[0], np.minimum(opened, close) / spread[1]
    columns = {"open": opened, "high": high, "low": low, "close": close}
    columns |= {
        "volume": np.exp(generator.normal(13, 1, shape)).round(),
        "vwap": sum(columns.values()) / 4,
    }
    return Panel(
        symbols=np.array([f"S{number:03d}" for number in range(NUM_SYMBOLS)]),
        dates=pd.bdate_range("2015-01-01", periods=NUM_DATES).to_numpy().astype("datetime64[ns]"),
        symbol_code=np.repeat(np.arange(NUM_SYMBOLS, dtype=np.int32), NUM_DATES),
        date_code=np.tile(np.arange(NUM_DATES, dtype=np.int32), NUM_SYMBOLS),
        columns={name: values.ravel() for name, values in columns.items()},
    )


def cpu_seconds(function: Callable[[], object], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return times


def report_speed() -> None:
    panel = simulated_panel()
    alpha158(panel, threads=1)  # compiles
    with tempfile.TemporaryDirectory() as folder:
        instruments = write_qlib_store(panel, Path(folder) / "store")
        peer = QlibAlpha158(Path(folder) / "store")
        peer.compute(instruments[:2])
        part = NUM_SYMBOLS // NUM_PARTS
        ours, theirs = [], []
        for first in range(0, NUM_SYMBOLS, part):  # in turns, so that a change of the machine's speed meets both
            ours += cpu_seconds(partial(alpha158, panel, threads=1), REPEATS)
            own = instruments[first : first + part]
            theirs += [NUM_PARTS * seconds for seconds in cpu_seconds(partial(peer.compute, own), 1)]
    for name, times in (("factor_data.alpha158", ours), ("pyqlib D.features", theirs)):
        median = statistics.median(times)
        print(
            f"{name}: {median:.2f} CPU s (from {min(times):.2f} to {max(times):.2f}, {len(times)} runs), "
            f"{panel.num_rows / median:,.0f} rows per CPU s"
        )
    print(f"ratio {statistics.median(theirs) / statistics.median(ours):.1f}x")


def rows_without_gap(panel: Panel) -> np.ndarray:
    """Rows whose last 62 calendar days all have a bar with a price and a volume."""
    usable = np.isfinite(np.column_stack([panel.columns[n] for n in ("open", "high", "low", "close")])).all(axis=1)
    bad = np.r_[0, np.cumsum(~(usable & (panel.columns["volume"] > 0)))]
    row = np.arange(panel.num_rows)
    before = np.maximum(row - LONGEST + 1, 0)
    same_symbol = panel.symbol_code[before] == panel.symbol_code
    no_gap = panel.date_code - panel.date_code[before] == LONGEST - 1
    return same_symbol & no_gap & (bad[row + 1] == bad[before])


def report_agreement(path: Path) -> None:
    panel, _ = clean_bars(read_bars(path))
    # qlib's store is float32: both sides get the bars it holds
    panel = panel.select(panel.symbol_code < COMPARED_SYMBOLS).compact()
    rounded = {name: values.astype(np.float32).astype(np.float64) for name, values in panel.columns.items()}
    panel = panel.with_columns(**rounded)
    with tempfile.TemporaryDirectory() as folder:
        instruments = write_qlib_store(panel, Path(folder) / "store")
        theirs = QlibAlpha158(Path(folder) / "store").compute(instruments)
    key = pd.MultiIndex.from_arrays(
        [np.array(instruments)[panel.symbol_code], panel.timestamp], names=["instrument", "datetime"]
    )
    expected = theirs.reindex(key)[list(ALPHA158_NAMES)].to_numpy(dtype=np.float64)
    compared = rows_without_gap(panel)
    actual, expected = alpha158(panel).values[compared].astype(np.float64), expected[compared]
    only_one = np.isnan(actual) != np.isnan(expected)
    both = ~np.isnan(actual) & ~np.isnan(expected)
    difference = np.abs(actual - expected)
    within = both & (difference <= 1e-3 * np.abs(expected) + 1e-5)
    print(
        f"{panel.num_symbols} symbols, {panel.num_rows} bars, {compared.sum()} without a gap in {LONGEST} days: "
        f"{both.sum()} values known to both, {within.sum()} agree (relative 1e-3 or absolute 1e-5), "
        f"{(both & ~within).sum()} do not, {only_one.sum()} are known to one"
    )
    worst = (both & ~within).sum(axis=0) + only_one.sum(axis=0)
    for column in np.argsort(-worst)[:12]:
        if worst[column]:
            off = both[:, column] & ~within[:, column]
            largest = difference[off, column].max() if off.any() else 0.0
            print(
                f"  {ALPHA158_NAMES[column]}: {off.sum()} differ, at most by {largest:.2g}; "
                f"{only_one[:, column].sum()} known to one"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agreement", type=Path, help="Parquet file of real bars to compare values on")
    arguments = parser.parse_args()
    if arguments.agreement:
        report_agreement(arguments.agreement)
    else:
        report_speed()


if __name__ == "__main__":
    print_instruction_set()
    main()
