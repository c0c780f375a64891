"""CPU seconds until Optuna with pruning has found what a grid finds, on small simulated markets.

A market per seed of `factor_data.simulate_market`; LightGBM on its features, three walk-forward folds, scored by mean
rank IC on valid dates. Both search the same 60 points: the grid in its order, Optuna through
`factor_experiments.sweep_choice.Guided`, which `make sweep` uses, with trials stopped after a fold. Every fit is made
once and its CPU seconds are kept, so both pay the same for the same fold. `python benchmarks/bench_sweeps.py [seeds]`
prints the page of `results/sweeps.md`.
"""

from __future__ import annotations

import statistics
import sys
import time
from functools import cache
from itertools import product
from typing import Any

import lightgbm
import numpy as np
from instruction_set import print_instruction_set
from numpy.typing import NDArray

from factor_data import MarketConfig, Panel, clean_bars, compute_features, forward_return, simulate_market
from factor_experiments.sweep_choice import Guided
from factor_experiments.sweep_run import Job
from factor_experiments.sweeps import Sweep
from factor_metrics import rank_ic, rank_rows

SYMBOLS, BARS, FIRST, TRAIN, VALID, FOLDS = 60, 700, 80, 250, 90, 3
SPACE: dict[str, list[Any]] = {
    "learning_rate": [0.005, 0.01, 0.03, 0.1, 0.3],
    "num_leaves": [3, 7, 15, 31],
    "min_child_samples": [20, 200, 1000],
}
GRID = [dict(zip(SPACE, values, strict=True)) for values in product(*SPACE.values())]
ROUNDS = 60


class Market:
    """Features and labels of one simulated market, and what each point is worth in each fold."""

    def __init__(self, seed: int) -> None:
        simulated = simulate_market(MarketConfig(symbols=SYMBOLS, bars=BARS, signal=1.0, seed=seed))
        panel, _ = clean_bars(Panel.from_frame(simulated.bars))
        matrix = compute_features(panel)
        label = panel.to_matrix(forward_return(panel, 1))
        values = [rank_rows(panel.to_matrix(column)) for column in matrix.values.T]
        self.features = np.nan_to_num(np.stack(values, axis=-1)).astype(np.float32)
        self.label = label
        self.score = cache(self._score)

    def _rows(self, start: int, stop: int) -> tuple[NDArray, NDArray]:
        label = self.label[start:stop]
        known = np.isfinite(label)
        return self.features[start:stop][known], rank_rows(label)[known]

    def _score(self, position: int, fold: int) -> tuple[float, float]:
        """Rank IC on the valid dates of a fold, and the CPU seconds of its fit."""
        begun = time.process_time()
        start = FIRST + fold * VALID
        x, y = self._rows(start, start + TRAIN)
        model = lightgbm.LGBMRegressor(
            n_estimators=ROUNDS, n_jobs=1, random_state=0, deterministic=True, force_row_wise=True, verbose=-1,
            **GRID[position],
        )  # fmt: skip
        model.fit(x, y)
        dates = slice(start + TRAIN + 2, start + TRAIN + VALID)
        shape = self.features[dates].shape
        forecast = model.predict(self.features[dates].reshape(-1, shape[-1])).reshape(shape[:2])
        return float(np.nanmean(rank_ic(forecast, self.label[dates]))), time.process_time() - begun


def grid(market: Market) -> tuple[float, float]:
    """The best score of the grid, and what all of it costs."""
    found = [[market.score(position, fold) for fold in range(FOLDS)] for position in range(len(GRID))]
    best = max(statistics.fmean(score for score, _ in folds) for folds in found)
    return best, sum(seconds for folds in found for _, seconds in folds)


def guided(market: Market, seed: int, reached: float) -> tuple[float, int, int, float]:
    """CPU seconds until a trial is as good as `reached`; trials, those stopped early among them; the best score."""
    sweep = Sweep(model="lightgbm", method="optuna", trials=len(GRID), seed=seed, parameters=dict(SPACE))
    choice = Guided(sweep, "bench", lambda job: None)
    spent, best = 0.0, -np.inf
    while best < reached and (job := choice.next()) is not None:
        spent += run(market, choice, job)
        best = max(best, job.score) if job.status == "done" else best
    return spent, len(choice.jobs), sum(job.status == "stopped" for job in choice.jobs), best


def run(market: Market, choice: Guided, job: Job) -> float:
    """Train fold by fold until it ends or is stopped; return the CPU seconds."""
    spent, position = 0.0, GRID.index(dict(job.point))
    job.status = "running"
    for fold in range(FOLDS):
        score, seconds = market.score(position, fold)
        spent += seconds
        job.folds.append(score)
        if fold < FOLDS - 1 and choice.stops(job):
            job.status = "stopped"
            break
    else:
        job.status, job.score = "done", statistics.fmean(job.folds)
    choice.ended(job)
    return spent


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print_instruction_set()
    print("| seed | grid: best | CPU s | Optuna: best | CPU s | share | trials | stopped early |")
    print("|---|---|---|---|---|---|---|---|")
    shares = []
    for seed in range(number):
        market = Market(seed)
        best, cost = grid(market)
        spent, trials, stopped, found = guided(market, seed, best)
        shares.append(spent / cost)
        print(f"| {seed} | {best:+.4f} | {cost:.1f} | {found:+.4f} | {spent:.1f} | {spent / cost:.0%} "
              f"| {trials} | {stopped} |", flush=True)  # fmt: skip
    print(f"\nMedian share {statistics.median(shares):.0%}, worst {max(shares):.0%}.")


if __name__ == "__main__":
    main()
