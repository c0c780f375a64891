"""What `factor-exp trials` and `factor-exp compare` say of sweeps that find nothing, and of sweeps that find something.

A market of `factor_data.simulate_market`, 80 symbols x 700 bars, per seed; on it a sweep of 20 trials: "blind", a
persistent random number per symbol, or "ridge", a regression on four features drawn from the table, fitted on 300 dates
and judged on the last 300. `python benchmarks/trials_verdict.py [seeds]` prints the page of
`results/trials_verdict.md`; 100 seeds take some six minutes on one CPU.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import t as student_t

from factor_data import MarketConfig, Panel, clean_bars, compute_features, forward_return, simulate_market
from factor_experiments.ledger import Trial
from factor_experiments.series import Series
from factor_experiments.trials import Verdict, judge_label
from factor_metrics import paired_difference, price_floors, rank_ic, rank_rows

SYMBOLS, BARS, FITTED, JUDGED, NUM_TRIALS, CHOSEN, PURGE = 80, 700, 300, 300, 20, 4, 21
HORIZONS = {"h1": 1, "h5": 5}
ALPHA = 10.0
PAIRS = 200


class Market:
    """Features and labels of one simulated market as matrices (num_dates, num_symbols)."""

    def __init__(self, seed: int, signal: float) -> None:
        simulated = simulate_market(MarketConfig(symbols=SYMBOLS, bars=BARS, signal=signal, seed=seed))
        panel, _ = clean_bars(Panel.from_frame(simulated.bars))
        matrix = compute_features(panel)
        self.features = [centred(panel.to_matrix(column.astype(np.float64))) for column in matrix.values.T]
        self.labels = {
            name: panel.to_matrix(forward_return(panel, horizon, delay=1)) for name, horizon in HORIZONS.items()
        }
        self.floors = price_floors(panel.to_matrix(panel.adjusted("close")))
        last = len(panel.dates) - max(HORIZONS.values()) - 1
        self.test = slice(last - JUDGED, last)
        self.train = slice(last - JUDGED - PURGE - FITTED, last - JUDGED - PURGE)
        self.dates = panel.dates[self.test].astype("datetime64[ns]")

    def fitted(self, columns: NDArray[np.integer], label: str) -> NDArray[np.float64]:
        """Rank IC on the judged dates of a ridge regression on some features."""
        target = centred(self.labels[label])[self.train].ravel()
        x = np.stack([self.features[column][self.train].ravel() for column in columns], axis=1)
        known = np.isfinite(target) & np.isfinite(x).all(axis=1)
        x, target = x[known], target[known]
        weights = np.linalg.solve(x.T @ x + ALPHA * np.eye(len(columns)), x.T @ target)
        forecast = sum(w * self.features[column][self.test] for w, column in zip(weights, columns, strict=True))
        return rank_ic(np.asarray(forecast), self.labels[label][self.test], 20)

    def floor(self, label: str) -> NDArray[np.float64]:
        """Rank IC of the best floor on the judged dates."""
        outcome = self.labels[label][self.test]
        series = [rank_ic(signal[self.test], outcome, 20) for signal in self.floors.values()]
        return max(series, key=lambda one: float(np.nanmean(one)))


def centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks of a date between -1 and 1; NaN stays."""
    ranks = rank_rows(values)
    counts = np.isfinite(values).sum(axis=1, keepdims=True)
    return 2.0 * (ranks - 1.0) / np.maximum(counts - 1.0, 1.0) - 1.0


def blind(market: Market, generator: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Rank IC per label of a forecast that knows nothing and stays alike from date to date."""
    num_symbols = market.labels["h1"].shape[1]
    noise = lfilter([1.0], [1.0, -0.9], generator.normal(size=(JUDGED, num_symbols)), axis=0)
    return {label: rank_ic(noise, outcome[market.test], 20) for label, outcome in market.labels.items()}


def rank_ics(market: Market, kind: str, generator: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Rank IC per label of one trial."""
    if kind == "blind":
        return blind(market, generator)
    columns = generator.choice(len(market.features), CHOSEN, replace=False)
    return {label: market.fitted(columns, label) for label in HORIZONS}


def sweep(seed: int, signal: float, kind: str) -> dict[str, Verdict]:
    """Verdict per label over a sweep on one market."""
    market, generator = Market(seed, signal), np.random.default_rng(seed)
    found = [rank_ics(market, kind, generator) for _ in range(NUM_TRIALS)]
    floors = {label: market.floor(label) for label in HORIZONS}
    trials = [
        Trial(
            name=f"trial{number}",
            table=str(number),
            time=f"2026-01-01T00:{number:02d}:00+00:00",
            series={
                label: Series(
                    dates=market.dates,
                    overlap=horizon,
                    rank_ic=one[label],
                    floor="best",
                    floor_rank_ic=floors[label],
                )
                for label, horizon in HORIZONS.items()
            },
        )
        for number, one in enumerate(found)
    ]
    names = {trial.id: trial.name for trial in trials}
    return {label: judge_label(trials, names, label, trials[-1], num_bootstrap=1000) for label in HORIZONS}


def above_zero(found: Verdict) -> float:
    """One-sided p of the best trial, as who chose it for being high reads it."""
    p_value = found.naive_p_value
    return p_value / 2.0 if found.rank_ic > 0.0 else 1.0 - p_value / 2.0


def plain_t(found: Verdict) -> float:
    """One-sided p of the best trial by the t of its daily rank ICs, as if dates were independent of one another."""
    if found.selection is None:
        return math.nan
    t_stat = found.selection.trials[0].sharpe * math.sqrt(found.num_dates)
    return float(student_t.sf(t_stat, found.num_dates - 1))


def by_chance(found: Verdict) -> float:
    """How often the best of as many independent looks has a one-sided p of at most .05."""
    return 1.0 - 0.95**found.effective_trials


def rows(num_seeds: int) -> Iterator[str]:
    for kind, signal in (("blind", 0.0), ("ridge", 0.0), ("ridge", 0.5), ("ridge", 1.0)):
        found = [sweep(seed, signal, kind) for seed in range(num_seeds)]
        for label in HORIZONS:
            verdicts = [one[label] for one in found]
            cells = [
                kind,
                f"{signal:g}",
                label,
                f"{np.mean([one.rank_ic for one in verdicts]):+.4f}",
                share([plain_t(one) <= 0.05 for one in verdicts]),
                share([above_zero(one) <= 0.05 for one in verdicts]),
                share([one.naive_p_value <= 0.05 and one.rank_ic > 0.0 for one in verdicts]),
                share([by_chance(one) for one in verdicts]) if signal == 0.0 else "",
                share([one.corrected_p_value <= 0.05 for one in verdicts]),
                share([one.finding == "survives" for one in verdicts]),
                f"{np.mean([one.effective_trials for one in verdicts]):.1f}",
                f"{np.mean([one.overfitting for one in verdicts]):.2f}",
            ]
            yield "| " + " | ".join(cells) + " |"


def null_pairs() -> Iterator[str]:
    """Pairs of forecasts that are equally good: the same regression with noise of its own, persistent for 10 dates."""
    for signal in (0.0, 1.0):
        p_values: dict[str, list[float]] = {label: [] for label in HORIZONS}
        generator = np.random.default_rng(1)
        for seed in range(PAIRS // 10):
            market = Market(1000 + seed, signal)
            base = np.nansum(market.features[:CHOSEN], axis=0)[market.test]
            for _ in range(10):
                noise = np.repeat(generator.normal(size=(2, -(-JUDGED // 10), base.shape[1])), 10, axis=1)[:, :JUDGED]
                for label, horizon in HORIZONS.items():
                    outcome = market.labels[label][market.test]
                    a, b = (rank_ic(base + 2.0 * one, outcome, 20) for one in noise)
                    p_values[label].append(paired_difference(b, a, horizon, num_bootstrap=50).p_value)
        for label, found in p_values.items():
            yield f"| {signal:g} | {label} | {len(found)} | {share([value < 0.05 for value in found])} |"


def share(hits: Sequence[float]) -> str:
    return f"{100.0 * float(np.mean(hits)):.0f} %"


def main() -> None:
    num_seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    error = 100.0 * math.sqrt(0.1 * 0.9 / num_seeds)
    print(
        f"""# What is said of sweeps that find nothing, and of those that find something

By `benchmarks/trials_verdict.py {num_seeds}`: {num_seeds} simulated markets a row, 80 symbols, on each a sweep of
{NUM_TRIALS} trials, judged on {JUDGED} dates: "blind" draws a persistent number per symbol, "ridge" is a regression on
{CHOSEN} features drawn from the table, fitted on {FITTED} earlier dates. A share of 10 % has a standard error of
{error:.1f} points.

The best trial is read as if it were the only one, and has a p of at most .05:

- **plain t**: one-sided, by the t of its daily rank ICs as if dates were independent, which overlapping labels are not;
- **above zero**: one-sided, by `mean_test`, which allows for the overlap; **two-sided**: by the p of the tables;
- **by chance**: how often the best of as many independent looks has a one-sided p of .05, 1 - .95^n.

All looks are taken into account:

- **corrected**: its p after all looks is at most .05.
- **survives**: the verdict of `factor-exp trials`; without a signal every one is wrong.

| trials | signal | label | rank IC of the best | plain t | above zero | two-sided | by chance | corrected | survives \
| looks worth | PBO |
|---|---|---|---|---|---|---|---|---|---|---|---|"""
    )
    for row in rows(num_seeds):
        print(row, flush=True)
    print(
        f"""
## Pairs that are equally good

{PAIRS} pairs of forecasts of one market that are the same but for noise of their own, which stays for ten dates: how
often `factor-exp compare` has p < .05 for their difference, before Holm.

| signal | label | pairs | p < .05 |
|---|---|---|---|"""
    )
    for row in null_pairs():
        print(row, flush=True)


if __name__ == "__main__":
    main()
