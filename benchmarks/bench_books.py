"""All that evaluate and stack compute of forecasts: scores, profiles, books after costs, anatomies; 60 CPU seconds.

1,000 symbols x 2,500 dates, labels over 1, 5 and 20 bars, 6 models and their stack: 21 forecasts. One process, after a
small market that compiles. Fails where all of it together takes more than the bar.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from instruction_set import print_instruction_set

from factor_metrics import (
    BookConfig,
    EvaluationConfig,
    anatomy,
    evaluate_predictions,
    exposures,
    judge_book,
    profile_forecast,
    regimes,
)

NUM_DATES, NUM_SYMBOLS = 2500, 1000
HORIZONS = (1, 5, 20)
NUM_FORECASTS = 7
BAR = 60.0


class Clock:
    """CPU seconds by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = time.process_time()
        yield
        self.seconds[name] += time.process_time() - started


def run(num_dates: int, num_symbols: int, clock: Clock) -> None:
    """Judge every forecast as the stages do; prices, exposures and regimes are made once a model, as there."""
    generator = np.random.default_rng(0)
    moves = generator.normal(0.0, 0.02, size=(num_dates, num_symbols))
    moves += generator.normal(0.0, 0.01, size=(num_dates, 1))
    price = 50.0 * np.exp(np.cumsum(moves, axis=0))
    price[generator.random(price.shape) < 0.01] = np.nan
    traded = generator.lognormal(17.0, 1.0, size=price.shape)
    dates = np.datetime64("2010-01-01", "ns") + np.arange(num_dates) * np.timedelta64(1, "D")
    market = np.zeros(num_dates)
    market[1:] = np.nanmean(price[1:] / price[:-1] - 1.0, axis=1)
    labels = {}
    for horizon in HORIZONS:
        label = np.full(price.shape, np.nan)
        label[: -1 - horizon] = price[1 + horizon :] / price[1:-horizon] - 1.0
        labels[f"h{horizon}"] = label
    overlaps = dict(zip(labels, HORIZONS, strict=True))
    config, book = EvaluationConfig(min_symbols=20), BookConfig()
    for _ in range(NUM_FORECASTS):
        with clock.part("exposures and regimes"):
            known = exposures(price, traded, market)
            in_regime = regimes(market, np.ones(num_dates, dtype=bool))
        for name, horizon in overlaps.items():
            forecast = (0.05 * np.nan_to_num(labels[name]) + generator.normal(0.0, 0.02, size=price.shape)).astype("f4")
            with clock.part("scores"):
                evaluate_predictions(forecast, labels[name], horizon=horizon, config=config)
            with clock.part("profile"):
                profile_forecast(forecast, labels, name, labels[name], overlaps=overlaps, config=config)
            with clock.part("book after costs"):
                judge_book(forecast, price, traded, dates, market, book, horizon=horizon)
            with clock.part("anatomy"):
                anatomy(forecast, labels[name], dates, known, in_regime, overlap=horizon, config=config)


def main() -> None:
    print_instruction_set()
    run(120, 60, Clock())  # compiles
    clock = Clock()
    run(NUM_DATES, NUM_SYMBOLS, clock)
    total = sum(clock.seconds.values())
    for name, seconds in clock.seconds.items():
        print(f"{name}: {seconds:.1f} CPU s")
    print(f"all of {NUM_FORECASTS} forecasts x {len(HORIZONS)} labels: {total:.1f} CPU s, at most {BAR:.0f}")
    if total > BAR:
        raise AssertionError(f"{total:.1f} CPU s are above the bar of {BAR:.0f}")


if __name__ == "__main__":
    main()
