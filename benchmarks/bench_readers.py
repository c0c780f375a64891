"""Reading bars: read_bars with all its checks against pandas that checks nothing, from three layouts.

500 symbols x 1,000 days. pandas reads, joins, sorts by (symbol, timestamp). CPU seconds, median of 5 runs.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from instruction_set import print_instruction_set

from factor_data import Panel, import_data, read_bars

NUM_SYMBOLS, NUM_DAYS, REPEATS = 500, 1000, 5
NUMBERS = ["open", "high", "low", "close", "volume"]


def write_sources(folder: Path) -> None:
    days = pd.bdate_range("2015-01-01", periods=NUM_DAYS)
    random = np.random.default_rng(0)
    frames = []
    (folder / "vendor").mkdir()
    for number in range(NUM_SYMBOLS):
        values = random.lognormal(3, 0.5, (NUM_DAYS, 5)).round(2)
        frame = pd.DataFrame(values, columns=NUMBERS).assign(timestamp=days, symbol=f"S{number:03d}")
        frames.append(frame)
        vendor = frame.drop(columns="symbol").set_index("timestamp").rename_axis(None).rename(columns=str.title)
        vendor.to_csv(folder / "vendor" / f"S{number:03d}.csv")
    frame = pd.concat(frames, ignore_index=True)
    frame.to_parquet(folder / "bars.parquet")
    frame.to_csv(folder / "bars.csv", index=False)


def pandas_parquet(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "bars.parquet").sort_values(["symbol", "timestamp"], ignore_index=True)


def pandas_csv(folder: Path) -> pd.DataFrame:
    frame = pd.read_csv(folder / "bars.csv", parse_dates=["timestamp"])
    return frame.sort_values(["symbol", "timestamp"], ignore_index=True)


def pandas_vendor(folder: Path) -> pd.DataFrame:
    frames = []
    for path in sorted((folder / "vendor").iterdir()):
        frame = pd.read_csv(path, index_col=0, parse_dates=True)
        frame = frame.rename(columns=str.lower).rename_axis("timestamp").reset_index()
        frames.append(frame.assign(symbol=path.stem))
    return pd.concat(frames).sort_values(["symbol", "timestamp"], ignore_index=True)


CASES: dict[str, tuple[Callable[[Path], Panel], Callable[[Path], pd.DataFrame]]] = {
    "one Parquet file": (lambda folder: read_bars(folder / "bars.parquet"), pandas_parquet),
    "one CSV file": (lambda folder: read_bars(folder / "bars.csv"), pandas_csv),
    "a CSV file per symbol": (lambda folder: read_bars(folder / "vendor"), pandas_vendor),
}


def cpu_seconds(function: Callable[[Path], object], folder: Path) -> list[float]:
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        function(folder)
        times.append(time.process_time() - started)
    return sorted(times)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sources(folder)
        for case, (ours, peer) in CASES.items():
            panel, frame = ours(folder), peer(folder)
            for column in NUMBERS:
                np.testing.assert_array_equal(panel.columns[column], frame[column])
            mine, theirs = cpu_seconds(ours, folder), cpu_seconds(peer, folder)
            print(
                f"{case}: read_bars {statistics.median(mine):.2f} s ({mine[0]:.2f}-{mine[-1]:.2f}), pandas "
                f"{statistics.median(theirs):.2f} s ({theirs[0]:.2f}-{theirs[-1]:.2f}): ratio "
                f"{statistics.median(theirs) / statistics.median(mine):.1f}x"
            )
        started = time.process_time()
        summary = import_data(folder / "vendor", folder / "data")
        print(f"factor-data import of {summary.num_bars:,} bars: {time.process_time() - started:.2f} s")


if __name__ == "__main__":
    print_instruction_set()
    main()
