"""Window batches: WindowDataset against stacking slices sample by sample, as samplers of the field do.

500 symbols x 1,000 bars, lookback 60, 20 features, batches of whole dates. CPU seconds, median of 5 runs.
"""

import statistics
import time

import numpy as np

from factor_data import WindowDataset

NUM_SYMBOLS, NUM_BARS, NUM_FEATURES, LOOKBACK, DATES, REPEATS = 500, 1000, 20, 60, 40, 5


def main() -> None:
    generator = np.random.default_rng(0)
    features = generator.standard_normal((NUM_SYMBOLS * NUM_BARS, NUM_FEATURES)).astype(np.float32)
    symbol_code = np.repeat(np.arange(NUM_SYMBOLS, dtype=np.int32), NUM_BARS)
    date_code = np.tile(np.arange(NUM_BARS, dtype=np.int32), NUM_SYMBOLS)
    rows = date_code >= NUM_BARS - DATES
    dataset = WindowDataset(features, None, LOOKBACK, symbol_code=symbol_code, date_code=date_code, rows=rows)
    ours, theirs = [], []
    for _ in range(REPEATS):
        started = time.process_time()
        batches = list(dataset.batches(1))
        ours.append(time.process_time() - started)
        started = time.process_time()
        brute = [
            np.stack([features[row - LOOKBACK + 1 : row + 1] for row in batch.rows]) for batch in batches
        ]
        theirs.append(time.process_time() - started)
        for batch, expected in zip(batches, brute, strict=True):
            np.testing.assert_array_equal(batch.windows, expected)
    mine, peer = statistics.median(ours), statistics.median(theirs)
    print(
        f"{len(dataset) / mine:,.0f} windows per CPU second, sample by sample {len(dataset) / peer:,.0f}: "
        f"ratio {peer / mine:.1f}x"
    )


if __name__ == "__main__":
    main()
