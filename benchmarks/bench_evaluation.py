"""One full evaluation of 8,000 symbols x 2,500 days x 4 horizons: seconds and peak memory. Bar: 60 s, 6 GB, 2 cores.

Everything that `evaluate_horizons` gives: IC, rank IC, quantile returns, turnover, Newey-West and bootstrap for
each horizon. Each number of threads runs in a process of its own, so that peak memory is its own; data and compiled
kernels are there before the clock starts. The results have to be the same, to the bit, on any number of threads.
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import time

import numpy as np
from instruction_set import print_instruction_set

from factor_metrics import Evaluation, evaluate_horizons

NUM_DATES, NUM_SYMBOLS, HORIZONS = 2500, 8000, (1, 5, 10, 20)


def make_data(num_dates: int, num_symbols: int) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels (num_horizons, num_dates, num_symbols) float32, 2 % missing, drawn date by date."""
    generator = np.random.default_rng(0)
    both = np.empty((2, len(HORIZONS), num_dates, num_symbols), dtype=np.float32)
    for date in range(num_dates):
        both[:, :, date] = generator.standard_normal((2, len(HORIZONS), num_symbols), dtype=np.float32)
        both[1, :, date] += np.float32(0.03) * both[0, :, date]
        both[:, :, date][generator.random((2, len(HORIZONS), num_symbols), dtype=np.float32) < 0.02] = np.nan
    return both[0], both[1]


def digest(evaluations: dict[int, Evaluation]) -> str:
    found = hashlib.sha256()
    for horizon, judged in evaluations.items():
        for values in (judged.ic, judged.rank_ic, judged.quantile_returns, judged.turnover):
            found.update(np.ascontiguousarray(values).tobytes())
        found.update(f"{horizon} {judged.ic_summary} {judged.rank_ic_summary}".encode())
    return found.hexdigest()[:16]


def measure(num_threads: int) -> None:
    predictions, labels = make_data(20, 60)
    evaluate_horizons(predictions, labels, horizons=HORIZONS, num_threads=num_threads)  # compiles
    predictions, labels = make_data(NUM_DATES, NUM_SYMBOLS)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    evaluations = evaluate_horizons(predictions, labels, horizons=HORIZONS, num_threads=num_threads)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"wall": wall, "cpu": cpu, "data": held, "peak": peak, "digest": digest(evaluations)}))


def main() -> None:
    if len(sys.argv) == 2:
        measure(int(sys.argv[1]))
        return
    print_instruction_set()
    digests = set()
    for num_threads in (1, 2):
        command = [sys.executable, __file__, str(num_threads)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        digests.add(found["digest"])
        print(
            f"{num_threads} thread(s): {found['wall']:.1f} s ({found['cpu']:.1f} CPU s), peak "
            f"{found['peak'] / 2**20:.2f} GiB, data alone {found['data'] / 2**20:.2f}; results {found['digest']}"
        )
    if len(digests) != 1:
        raise AssertionError("the results depend on the number of threads")


if __name__ == "__main__":
    main()
