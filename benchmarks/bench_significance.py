"""Resampling and accounting: factor_metrics against arch, and the largest market that has to fit.

Bootstrap interval, superior predictive ability and permutation test; backtest, top k and limits on 8,000
symbols x 2,500 days. One process, CPU seconds, median of 3 runs after one that compiles.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from arch.bootstrap import SPA, StationaryBootstrap
from instruction_set import print_instruction_set

from factor_metrics import (
    PositionLimits,
    TradingRules,
    apply_limits,
    backtest,
    bootstrap_interval,
    long_short_weights,
    permutation_test,
    proportional_weights,
    superior_predictive_ability,
    top_k_weights,
)

REPEATS = 3


def cpu_seconds(function: Callable[[], Any]) -> tuple[float, float]:
    """Median and spread (largest - smallest) of the CPU seconds of a call."""
    function()
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return statistics.median(times), max(times) - min(times)


def compare(name: str, ours: Callable[[], Any], theirs: Callable[[], Any]) -> None:
    (mine, spread), (peer, peer_spread) = cpu_seconds(ours), cpu_seconds(theirs)
    print(f"{name}: {mine:.4f} s (spread {spread:.4f}), arch {peer:.3f} s ({peer_spread:.3f}): {peer / mine:.0f}x")


def alone(name: str, ours: Callable[[], Any]) -> None:
    mine, spread = cpu_seconds(ours)
    print(f"{name}: {mine:.2f} s (spread {spread:.2f})")


def against_arch() -> None:
    generator = np.random.default_rng(0)
    series = generator.normal(size=1250)
    compare(
        "stationary interval of a mean, 1,250 dates, 2,000 draws",
        lambda: bootstrap_interval(series, 5, method="stationary"),
        lambda: StationaryBootstrap(15, series, seed=0).conf_int(np.mean, 2000, method="percentile"),
    )
    models = generator.normal(size=(1250, 50))

    def arch_spa() -> None:
        SPA(np.zeros(1250), models, block_size=15, reps=1000, seed=0).compute()

    compare(
        "superior predictive ability, 1,250 dates x 50 models, 1,000 draws",
        lambda: superior_predictive_ability(models, 5, 1000),
        arch_spa,
    )


def large_market() -> None:
    generator = np.random.default_rng(0)
    prediction = generator.normal(size=(2500, 8000))
    price = 50.0 * np.exp(np.cumsum(generator.normal(0.0, 0.02, size=prediction.shape), axis=0))
    price[generator.random(price.shape) < 0.02] = np.nan
    dates = np.arange(2500)
    weights = long_short_weights(prediction)
    rules = TradingRules(buy_cost=0.001, sell_cost=0.001)
    alone("long-short weights, 8,000 symbols x 2,500 days", lambda: long_short_weights(prediction))
    alone("top 50 with 5 replaced, 8,000 x 2,500", lambda: top_k_weights(prediction, 50, 5))
    alone("backtest, 8,000 x 2,500", lambda: backtest(weights, price, dates, rules))
    limits = PositionLimits(max_weight=0.0004, max_gross=1.0, min_net=0.0, max_net=0.0)
    wanted = proportional_weights(prediction[:250], gross=2.0)
    alone("limits that all bind, 8,000 x 250", lambda: apply_limits(wanted, limits))
    exposures = generator.normal(size=(50, 2000, 10))
    wanted = proportional_weights(prediction[:50, :2000], gross=2.0)
    limits = PositionLimits(max_weight=0.001, max_gross=1.0, min_net=0.0, max_net=0.0)
    alone("limits and 10 exposures, 2,000 x 50", lambda: apply_limits(wanted, limits, exposures=exposures))
    small, label = prediction[:1250, :500], generator.normal(size=(1250, 500))
    alone("permutation test, 500 x 1,250, 200 draws", lambda: permutation_test(small, label, 200))


if __name__ == "__main__":
    print_instruction_set()
    against_arch()
    large_market()
