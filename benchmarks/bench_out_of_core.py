"""Split and tokenize of simulated sets of 1 to 50 million bars: seconds and peak resident memory of each stage.

The real stages run one after the other in processes of their own, in a scratch folder that is deleted after each
size (about 500 bytes a bar). Peak memory is the kernel's maximum resident set of the stage process, its interpreter
and libraries included. The bars come as files of whole dates, which have
to be sorted, or of whole symbols.

    python benchmarks/bench_out_of_core.py --bars 1 5 10 50 --write
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from instruction_set import describe_instruction_set, print_instruction_set

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
STAGES = {"split": "stages.split", "tokenize": "stages.tokenize_features"}
NUM_DATES = 2500
FILE_ROWS = 1_000_000
FEATURES = [
    "return_1", "return_5", "return_10", "return_20", "return_60", "momentum_60_5", "volatility_5",
    "volatility_20", "volatility_60", "close_to_mean_5", "close_to_mean_20", "close_to_mean_60",
    "distance_to_high_60", "range_20", "close_location", "overnight_gap", "intraday_return",
    "volume_surprise_20", "volume_trend_5_60", "max_return_20",
]  # fmt: skip
FOLDS = {"train": 1000, "valid": 200, "test": 500, "step": 500}  # two folds


@dataclass(frozen=True)
class Run:
    """One stage on one set."""

    million_bars: float
    order: str
    stage: str
    wall: float
    cpu: float
    peak_mib: float


def blocks(num_symbols: int, order: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Dates and symbols (as numbers) of each file."""
    if order == "date":
        step = max(1, FILE_ROWS // num_symbols)
        for first in range(0, NUM_DATES, step):
            yield np.arange(first, min(first + step, NUM_DATES)), np.arange(num_symbols)
    else:
        step = max(1, FILE_ROWS // NUM_DATES)
        for first in range(0, num_symbols, step):
            yield np.arange(NUM_DATES), np.arange(first, min(first + step, num_symbols))


def write_bars(folder: Path, million_bars: float, order: str) -> None:
    """Random walks, one file at a time: 1,000,000 rows of whole dates or whole symbols."""
    folder.mkdir(parents=True)
    num_symbols = round(million_bars * 1_000_000 / NUM_DATES)
    calendar = pd.bdate_range("2015-01-01", periods=NUM_DATES).to_numpy().astype("datetime64[us]")
    names = pa.array([f"S{number:06d}" for number in range(num_symbols)])
    generator = np.random.default_rng(0)
    level = np.full(num_symbols, np.log(50.0))
    for number, (dates, symbols) in enumerate(blocks(num_symbols, order)):
        shape = (len(dates), len(symbols))
        log_close = level[symbols] + np.cumsum(generator.normal(0, 0.02, shape), axis=0)
        if order == "date":
            level = log_close[-1]
        close = np.exp(log_close)
        opened = close * (1 + generator.uniform(-0.01, 0.01, shape))
        columns = {
            "open": opened,
            "high": np.maximum(opened, close) * 1.005,
            "low": np.minimum(opened, close) * 0.995,
            "close": close,
            "volume": generator.integers(1_000, 1_000_000, shape).astype(np.float64),
        }
        lie = (lambda values: values.reshape(-1)) if order == "date" else (lambda values: values.T.reshape(-1))
        code = lie(np.broadcast_to(symbols.astype(np.int32), shape))
        table = {
            "timestamp": pa.array(calendar[lie(np.broadcast_to(dates[:, None], shape))]),
            "symbol": pa.DictionaryArray.from_arrays(pa.array(code), names),
            **{name: pa.array(np.round(lie(values), 4)) for name, values in columns.items()},
        }
        pq.write_table(pa.table(table), folder / f"bars_{number:04d}.parquet", row_group_size=250_000)


def write_params(path: Path) -> None:
    """The default parameters with 20 features and two folds."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    document["split"]["folds"].update(FOLDS)
    document["tokenize"]["features"] = FEATURES
    path.write_text(yaml.safe_dump(document), encoding="utf-8")


def prepare(folder: Path, million_bars: float, order: str) -> None:
    """Write bars and parameters into an empty folder, and plan the stages."""
    write_bars(folder / "data" / "bars", million_bars, order)
    (folder / "data" / "dataset.yaml").write_text("name: random walks\nuniverse: simulated\n")
    write_params(folder / "params.yaml")
    run_stage(folder, "stages.plan")


def run_stage(folder: Path, module: str) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak resident MiB of one process."""
    started = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-m", module], cwd=folder, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{module} failed with {process.returncode}")
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def measure(million_bars: float, order: str) -> list[Run]:
    """Make a set, run both stages on it, delete all."""
    with tempfile.TemporaryDirectory(prefix="out-of-core-") as name:
        folder = Path(name)
        prepare(folder, million_bars, order)
        runs = []
        for stage, module in STAGES.items():
            run = Run(million_bars, order, stage, *run_stage(folder, module))
            print(
                f"{million_bars:g} M bars by {order}, {stage}: {run.wall:.0f} s, CPU {run.cpu:.0f} s, "
                f"peak {run.peak_mib:.0f} MiB",
                flush=True,
            )
            runs.append(run)
        return runs


def table(runs: list[Run]) -> str:
    lines = [
        "| million bars | files of whole | stage | seconds | CPU seconds | CPU seconds per million bars | peak MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {run.million_bars:g} | {run.order}s | {run.stage} | {run.wall:.0f} | {run.cpu:.0f} "
        f"| {run.cpu / run.million_bars:.1f} | {run.peak_mib:,.0f} |"
        for run in sorted(runs, key=lambda run: (run.order, run.million_bars))
    ]
    return "\n".join(lines) + "\n"


def chart(runs: list[Run], value: str, title: str, left: float) -> str:
    """One panel: a line per stage over the number of bars, from zero."""
    width, height, top = 330.0, 230.0, 50.0
    shown = [run for run in runs if run.order == "date"]
    most_x = max(run.million_bars for run in shown)
    most_y = 1.1 * max(getattr(run, value) for run in shown)
    parts = [f'<text x="{left}" y="{top - 18}" class="title">{title}</text>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = top + height * (1 - share)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{left + width}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" class="y">{share * most_y:,.0f}</text>')
    for bars in sorted({run.million_bars for run in shown}):
        x = left + width * bars / most_x
        parts.append(f'<text x="{x:.1f}" y="{top + height + 18}" class="x">{bars:g}</text>')
    for stage in STAGES:
        points = sorted((run.million_bars, getattr(run, value)) for run in shown if run.stage == stage)
        places = [(left + width * x / most_x, top + height * (1 - y / most_y)) for x, y in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" class="{stage}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" class="{stage}"/>' for x, y in places]
        parts.append(f'<text x="{places[-1][0]:.1f}" y="{places[-1][1] - 9:.1f}" class="name {stage}">{stage}</text>')
    return "\n".join(parts)


def picture(runs: list[Run]) -> str:
    style = """
svg { background: #fff; font: 12px system-ui, sans-serif } text { fill: #1c2430 } .title { font-weight: 600 }
.grid { stroke: #dde3ea } .y { text-anchor: end } .x { text-anchor: middle } .name { text-anchor: end }
polyline { fill: none; stroke-width: 2 } polyline.split { stroke: #2563eb } polyline.tokenize { stroke: #b45309 }
circle.split, text.split { fill: #2563eb } circle.tokenize, text.tokenize { fill: #b45309 }
"""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 320" width="860" height="320">'
        f"<style>{style}</style>\n{chart(runs, 'cpu', 'CPU seconds', 70.0)}\n"
        f"{chart(runs, 'peak_mib', 'peak resident memory, MiB', 500.0)}\n"
        '<text x="430" y="312" class="x">million bars</text></svg>\n'
    )


def write_results(runs: list[Run], arguments: str) -> None:
    text = f"""# Out of core

`python benchmarks/bench_out_of_core.py {arguments}`, {date.today()},
{os.cpu_count()} cores of {describe_instruction_set()}, local disk.

Random walks of {NUM_DATES:,} days, {len(FEATURES)} features, rank normaliser, horizons 1, 5 and 20, two folds.
The stages run as under `dvc repro`, with the default budget for data of 1,024 MiB (`FACTORCAST_MEMORY_MB`).
The peak is that of the whole process; importing the stage alone takes {import_mib():.0f} MiB of it.
One run each: the wall clock carries the other work, CPU seconds do not.

{table(runs)}
![CPU seconds and peak memory against the number of bars](out_of_core.svg)
"""
    (RESULTS / "out_of_core.md").write_text(text, encoding="utf-8")
    (RESULTS / "out_of_core.svg").write_text(picture(runs), encoding="utf-8")


def import_mib() -> float:
    """Resident MiB of a process that has only imported a stage."""
    code = "import resource, stages.split; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=float, nargs="+", default=[1], help="sizes in millions, files by date")
    parser.add_argument("--by-symbol", type=float, nargs="*", default=[], help="sizes with files by symbol")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/out_of_core.*")
    given = parser.parse_args()
    print_instruction_set()
    runs: list[Run] = []
    for order, sizes in (("date", given.bars), ("symbol", given.by_symbol)):
        for million_bars in sizes:
            runs += measure(million_bars, order)
            if given.write:
                write_results(runs, " ".join(sys.argv[1:]))


if __name__ == "__main__":
    main()
