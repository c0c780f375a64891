"""Window batches: factor_data.WindowDataset against pyqlib's TSDataSampler read by torch's DataLoader.

500 symbols x 500 dates x 20 features float32, 2 % missing; lookback 60, shuffled batches of 512. One process and one
thread, CPU seconds, median of 5 runs of each; the values of every batch are compared first, by one random order.
Needs the peers of benchmarks/requirements.txt, in an environment of their own.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from instruction_set import print_instruction_set

from factor_data import WindowDataset

try:
    import torch
    from qlib.data.dataset import TSDataSampler
    from torch.utils.data import DataLoader
except ImportError as error:
    raise SystemExit(
        f"bench_windows needs {error.name}, which is not installed here: pip install -r benchmarks/requirements.txt"
    ) from error

NUM_SYMBOLS, NUM_DATES, NUM_FEATURES, LOOKBACK, BATCH, REPEATS = 500, 500, 20, 60, 512, 5
PEER_BATCHES = 40  # batches the slow peer is timed on; ours reads every batch of the epoch


def make_data() -> np.ndarray:
    """(num_symbols * num_dates, num_features), rows by (symbol, date)."""
    generator = np.random.default_rng(0)
    values = generator.standard_normal((NUM_SYMBOLS * NUM_DATES, NUM_FEATURES), dtype=np.float32)
    values[generator.random(values.shape) < 0.02] = np.nan
    return values


def make_peer(values: np.ndarray) -> TSDataSampler:
    """Samples are the dates from the 60th on: both sides then have whole windows only."""
    dates = pd.bdate_range("2018-01-01", periods=NUM_DATES)
    symbols = [f"S{number:04d}" for number in range(NUM_SYMBOLS)]
    index = pd.MultiIndex.from_product([symbols, dates], names=["instrument", "datetime"])
    frame = pd.DataFrame(values, index=index).swaplevel().sort_index()
    return TSDataSampler(frame, dates[LOOKBACK - 1], dates[-1], step_len=LOOKBACK, dtype=np.float32)


def make_ours(values: np.ndarray) -> WindowDataset:
    symbol_code = np.repeat(np.arange(NUM_SYMBOLS, dtype=np.int32), NUM_DATES)
    date_code = np.tile(np.arange(NUM_DATES, dtype=np.int32), NUM_SYMBOLS)
    return WindowDataset(values, None, LOOKBACK, symbol_code=symbol_code, date_code=date_code)


def check_equal(peer: TSDataSampler, ours: WindowDataset) -> None:
    """Both number their samples by (symbol, date): one order asks both for the same windows."""
    assert len(peer) == len(ours) == NUM_SYMBOLS * (NUM_DATES - LOOKBACK + 1)
    order = np.random.default_rng(1).permutation(len(ours))[: PEER_BATCHES * BATCH]
    batches = DataLoader(peer, batch_size=BATCH, sampler=order.tolist())
    for number, batch in enumerate(batches):
        positions = order[number * BATCH : (number + 1) * BATCH]
        np.testing.assert_array_equal(batch.numpy(), ours.windows(positions))


def peer_windows(peer: TSDataSampler, seed: int) -> int:
    loader = DataLoader(peer, batch_size=BATCH, shuffle=True, generator=torch.Generator().manual_seed(seed))
    count = 0
    for number, batch in enumerate(loader):
        count += len(batch)
        if number + 1 == PEER_BATCHES:
            break
    return count


def our_windows(ours: WindowDataset, seed: int, **options: bool) -> int:
    return sum(len(batch.windows) for batch in ours.sample_batches(BATCH, seed=seed, **options))


def views(ours: WindowDataset, seed: int) -> int:
    return sum(len(batch.windows) for batch in ours.batches(1, seed=seed, copy=False))


def windows_per_cpu_second(function: Callable[[int], int]) -> list[float]:
    rates = []
    for seed in range(REPEATS):
        started = time.process_time()
        count = function(seed)
        rates.append(count / (time.process_time() - started))
    return rates


def main() -> None:
    torch.set_num_threads(1)
    values = make_data()
    peer, ours = make_peer(values), make_ours(values)
    check_equal(peer, ours)
    print(f"{PEER_BATCHES} shuffled batches of {BATCH} windows are equal, value by value")
    theirs = windows_per_cpu_second(lambda seed: peer_windows(peer, seed))
    base = statistics.median(theirs)
    print(f"pyqlib DataLoader over TSDataSampler: {base:,.0f} windows a CPU second {spread(theirs)}")
    for name, function in (
        ("sample_batches", lambda seed: our_windows(ours, seed)),
        ("sample_batches, one buffer reused", lambda seed: our_windows(ours, seed, reuse_buffer=True)),
        ("batches of one whole date, views", lambda seed: views(ours, seed)),
    ):
        rates = windows_per_cpu_second(function)
        print(f"{name}: {statistics.median(rates):,.0f} {spread(rates)}: {statistics.median(rates) / base:.1f}x")


def spread(rates: list[float]) -> str:
    return f"({min(rates):,.0f} .. {max(rates):,.0f})"


if __name__ == "__main__":
    print_instruction_set()
    main()
