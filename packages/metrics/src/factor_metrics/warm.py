"""`python -m factor_metrics.warm`: compile the kernels of this package now, once for this machine, on a tiny forecast.

Otherwise each is compiled by the first call that needs it. They are kept on disk (`kernel_cache`), so that another
call of this finds them all and ends at once.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from factor_metrics.information_coefficient.ic import rank_ic
from factor_metrics.information_coefficient.ic_weighted import weighted_ic, weighted_rank_ic
from factor_metrics.report.one_call import make_report
from factor_metrics.scores.ranking import ndcg, precision_at_k, reciprocal_rank
from factor_metrics.significance.permutation import permutation_test


def warm() -> None:
    """Call all that is compiled: ranks and ICs in both types, bootstrap, permutation, ranking scores, books."""
    generator = np.random.default_rng(0)
    days = np.arange("2024-01-01", "2024-03-31", dtype="datetime64[D]")
    label = generator.normal(0.0, 0.02, size=(len(days), 12))
    prediction = label + generator.normal(size=label.shape)
    for one in (prediction, prediction.astype(np.float32)):
        rank_ic(one, label)
        rank_ic(one, label.astype(np.float32))
    weight = np.ones_like(label)
    weighted_ic(prediction, label, weight)
    weighted_rank_ic(prediction, label, weight)
    rose = (label > 0.0).astype(np.float64)
    precision_at_k(prediction, rose, 3)
    ndcg(prediction, rose, 3)
    reciprocal_rank(prediction, rose)
    permutation_test(prediction, label, num_permutations=10)
    prices = 100.0 * np.exp(np.cumsum(label, axis=0))
    make_report(prediction, label, prices, dates=days, horizon=2, num_bootstrap=10)


def main() -> int:
    """Warm up and say how long it took."""
    started = time.perf_counter()
    warm()
    print(f"factor_metrics: kernels are ready ({time.perf_counter() - started:.0f} s)", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
