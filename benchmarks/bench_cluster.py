"""Split and tokenize of a simulated set on threads and on a local Dask cluster: same bytes, seconds, memory, kills.

The real stages run in processes of their own, once on the threads of one process and once for each number of workers
(`FACTORCAST_CLUSTER=local:N`); every file that they write is compared. Memory is the largest resident set of any one
worker, looked at ten times a second. With `--kills`, the last number of workers is run again while a worker is killed
every few seconds, until so many kills have been survived; the bytes are compared again.

    python benchmarks/bench_cluster.py --bars 5 --workers 1 2 4 --kills 20 --write
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psutil
from bench_out_of_core import FEATURES, NUM_DATES, RESULTS, ROOT, STAGES, prepare
from instruction_set import describe_instruction_set, print_instruction_set

LOOK = 0.1
"""Seconds between two looks at the processes."""
KILL_EVERY = 6.0
"""Seconds between two kills."""
STARTED = 10.0
"""Age of a worker, in seconds, from which it is killed: one that has not started ends the stage, which says so."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Both stages on one set."""

    million_bars: float
    where: str
    wall: float
    cpu: float
    stage_mib: float
    worker_mib: float
    kills: int
    digest: str


@dataclass
class Watched:
    """What is seen of a stage and its workers while it runs."""

    stage: float = 0.0
    worker: float = 0.0
    kills: int = 0


def run(folder: Path, workers: int, million_bars: float, kills: int = 0) -> Run:
    """Run both stages from nothing; SystemExit where one fails."""
    for name in ("split", "tokenize"):
        shutil.rmtree(folder / "results" / name, ignore_errors=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if workers:
        environment["FACTORCAST_CLUSTER"] = f"local:{workers}"
    seen, wall, cpu = Watched(), 0.0, 0.0
    for module in STAGES.values():
        started, before = time.monotonic(), os.times()
        with subprocess.Popen([sys.executable, "-m", module], cwd=folder, env=environment) as process:
            watch(process, seen, kills)
        if process.returncode:
            raise SystemExit(f"{module} with {workers} workers failed with {process.returncode}")
        after = os.times()
        wall += time.monotonic() - started
        cpu += after.children_user + after.children_system - before.children_user - before.children_system
    where = f"{workers} worker{'s' * (workers > 1)}" if workers else f"{os.cpu_count()} threads"
    return Run(
        million_bars=million_bars,
        where=where,
        wall=wall,
        cpu=cpu,
        stage_mib=seen.stage,
        worker_mib=seen.worker,
        kills=seen.kills,
        digest=digest(folder / "results"),
    )


def watch(process: subprocess.Popen[bytes], seen: Watched, kills: int) -> None:
    """Look at memory until the stage ends, and kill one of its workers now and then."""
    drawn, stage, due = random.Random(seen.kills), psutil.Process(process.pid), time.monotonic() + KILL_EVERY
    while process.poll() is None:
        try:
            seen.stage = max(seen.stage, stage.memory_info().rss / 2**20)
            workers = [one for one in stage.children() if "spawn_main" in " ".join(one.cmdline())]
            seen.worker = max([seen.worker, *(one.memory_info().rss / 2**20 for one in workers)])
            old = [one for one in workers if time.time() - one.create_time() > STARTED]
            if old and seen.kills < kills and time.monotonic() > due:
                drawn.choice(old).kill()
                seen.kills, due = seen.kills + 1, time.monotonic() + KILL_EVERY
        except psutil.Error:  # it has ended
            pass
        time.sleep(LOOK)


def digest(folder: Path) -> str:
    """Return the sha256 of every file below a folder and of its name."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            whole.update(str(path.relative_to(folder)).encode())
            with path.open("rb") as opened:
                whole.update(hashlib.file_digest(opened, "sha256").digest())
    return whole.hexdigest()


def measure(million_bars: float, workers: list[int], kills: int) -> list[Run]:
    """Make a set, run the stages on it in every way, delete all; SystemExit where bytes differ."""
    with tempfile.TemporaryDirectory(prefix="cluster-") as name:
        folder = Path(name)
        prepare(folder, million_bars, "date")
        runs: list[Run] = []

        def add(count: int, most: int = 0) -> None:
            runs.append(run(folder, count, million_bars, most))
            print(f"{million_bars:g} M bars: {runs[-1]}", flush=True)
            if runs[-1].digest != runs[0].digest:
                raise SystemExit("the bytes differ")

        for count in (0, *workers):
            add(count)
        while sum(one.kills for one in runs) < kills:
            add(workers[-1], kills - sum(one.kills for one in runs))
    return runs


def write_results(runs: list[Run], arguments: str) -> None:
    """Write benchmarks/results/cluster.md."""
    lines = [
        f"| {one.million_bars:g} | {one.where} | {one.kills} | {one.wall:.0f} | {one.cpu:.0f} "
        f"| {one.stage_mib:,.0f} | {f'{one.worker_mib:,.0f}' if one.worker_mib else ''} |"
        for one in runs
    ]
    kills = sum(one.kills for one in runs)
    survived = f" {kills} kills of a worker were survived." if kills else ""
    text = f"""# Split and tokenize on Dask

`python benchmarks/bench_cluster.py {arguments}`, {date.today()},
{os.cpu_count()} cores of {describe_instruction_set()}, local disk.

Random walks of {NUM_DATES:,} days, {len(FEATURES)} features, rank normaliser, horizons 1, 5 and 20, two folds; both
stages together, with the default budget for data of 1,024 MiB, which the parts in work share. Every file of every run
of a size is the same to the byte.{survived} One run each: the wall clock carries the other work, CPU seconds do not.
Workers are processes of this machine, so more of them than cores gain nothing.

| million bars | on | kills | seconds | CPU seconds | peak MiB of the stage | peak MiB of a worker |
|---|---|---|---|---|---|---|
{chr(10).join(lines)}
"""
    (RESULTS / "cluster.md").write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=float, nargs="+", default=[1], help="sizes in millions")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers")
    parser.add_argument("--kills", type=int, default=0, help="kills of a worker to be survived, on the first size")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/cluster.md")
    given = parser.parse_args()
    print_instruction_set()
    runs: list[Run] = []
    for place, million_bars in enumerate(given.bars):
        runs += measure(million_bars, given.workers, 0 if place else given.kills)
        if given.write:
            write_results(runs, " ".join(sys.argv[1:]))


if __name__ == "__main__":
    main()
