"""From a vendor's file to a feature store: import, clean, all of Alpha158, labels and folds, written to disk.

python benchmarks/bench_pipeline.py BARS [--threads 2]: wall and CPU seconds of each step and the peak memory of the
process, numba's compiling included. There is no peer that does all of it; the bar is a minute for NASDAQ's 2.4 M bars.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from instruction_set import print_instruction_set

from factor_data import (
    CleanRules,
    FoldConfig,
    Label,
    StoreWriter,
    Workers,
    clean_to_folder,
    import_data,
    iter_bar_tables,
    longest_reach,
    make_folds,
    open_panel,
    plan_features,
    sort_bars,
    write_folds,
)

LABELS = {f"h{horizon}": Label(horizon=horizon) for horizon in (1, 5, 20)}


@contextmanager
def timed(step: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    print(f"{step}: {time.perf_counter() - wall:.1f} s wall, {time.process_time() - cpu:.1f} s CPU", flush=True)


def run(source: Path, folder: Path, workers: Workers) -> None:
    with timed("import"):
        import_data(str(source), folder / "data")
    with timed("clean"):
        sorting = folder / "sorting"
        sorting.mkdir()
        bars = sort_bars(iter_bar_tables(folder / "data" / "bars", batch_rows=workers.rows(128)), sorting, workers)
        quality = clean_to_folder(bars, folder / "panel", CleanRules(), workers)
    panel = open_panel(folder / "panel")
    with timed("folds"):
        config = FoldConfig(scheme="rolling", train=500, valid=100, test=250, step=250)
        write_folds(folder / "folds.json", make_folds(panel.dates, config, reach=longest_reach(LABELS)))
    writer = StoreWriter(
        directory=folder / "store",
        panel=panel,
        workers=workers,
        plan=plan_features(["alpha158"], panel.symbols),
        labels=LABELS,
    )
    with timed("labels"):
        writer.write_labels()
    with timed("alpha158"):
        writer.write_features()
    print(f"{quality.summary['bars_in']:,} bars in, {panel.num_rows:,} rows x {len(writer.plan.names)} features out")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bars", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.threads) as executor:
        workers = Workers(max_bytes=2**30, count=arguments.threads, executor=executor)
        with timed("all"):
            run(arguments.bars, Path(folder), workers)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    print_instruction_set()
    main()
