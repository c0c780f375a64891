"""Daily rank IC against alphalens-reloaded: 1,000 symbols x 1,250 days x 3 horizons, 2 % missing.

Same values for both, compared before the clock starts; CPU seconds of one process, median (lowest, highest) of
7 and 5 runs. scipy date by date is timed beside it. Run it where benchmarks/requirements.txt is installed.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pandas as pd
import scipy.stats
from instruction_set import print_instruction_set

from factor_metrics import ForecastMatrices, rank_ic, rank_ic_by_horizon, to_alphalens

NUM_DATES, NUM_SYMBOLS, NUM_HORIZONS = 1250, 1000, 3
PERIODS = [f"{days}D" for days in range(1, NUM_HORIZONS + 1)]


def make_data(dtype: type) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    prediction = generator.standard_normal((NUM_DATES, NUM_SYMBOLS)).astype(dtype)
    prediction[generator.random(prediction.shape) < 0.02] = np.nan
    return prediction, generator.standard_normal((NUM_HORIZONS, *prediction.shape)).astype(dtype)


def one_by_one(prediction: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.stack([rank_ic(prediction, label) for label in labels])


def with_scipy(prediction: np.ndarray, labels: np.ndarray) -> np.ndarray:
    result = np.empty(labels.shape[:2])
    for date, x in enumerate(prediction):
        for horizon in range(len(labels)):
            y = labels[horizon, date]
            known = ~(np.isnan(x) | np.isnan(y))
            result[horizon, date] = scipy.stats.spearmanr(x[known], y[known]).statistic
    return result


def alphalens_frame(prediction: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    forecast = ForecastMatrices(
        dates=pd.bdate_range("2020-01-01", periods=NUM_DATES),
        symbols=pd.Index([f"S{number:04d}" for number in range(NUM_SYMBOLS)]),
        prediction=prediction,
        labels=dict(zip(PERIODS, labels, strict=True)),
    )
    return to_alphalens(forecast)


def cpu_seconds(function: Callable, *arguments: object, repeats: int) -> tuple[float, float, float]:
    times = []
    for _ in range(repeats):
        started = time.process_time()
        function(*arguments)
        times.append(time.process_time() - started)
    return statistics.median(times), min(times), max(times)


def show(name: str, seconds: tuple[float, float, float], ours: float | None = None) -> None:
    ratio = "" if ours is None else f"  {seconds[0] / ours:6.1f}x"
    print(f"  {name:42s} {seconds[0]:7.4f} s ({seconds[1]:.4f} .. {seconds[2]:.4f}){ratio}")


def compare(dtype: type) -> None:
    prediction, labels = make_data(dtype)
    ours, theirs = one_by_one(prediction, labels), with_scipy(prediction, labels)
    print(f"{np.dtype(dtype).name}: largest difference from scipy {np.abs(ours - theirs).max():.1e}")
    np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=1e-12)
    np.testing.assert_array_equal(rank_ic_by_horizon(prediction, labels), ours)
    seconds = cpu_seconds(one_by_one, prediction, labels, repeats=7)
    show("rank_ic, one call per horizon", seconds)
    show("rank_ic_by_horizon, one call", cpu_seconds(rank_ic_by_horizon, prediction, labels, repeats=7))
    show(
        "scipy.stats.spearmanr, date by date",
        cpu_seconds(with_scipy, prediction, labels, repeats=3),
        seconds[0],
    )
    if find_spec("alphalens") is None:
        print("  alphalens-reloaded is not installed (benchmarks/requirements.txt): not compared")
        return
    from alphalens.performance import factor_information_coefficient

    frame = alphalens_frame(prediction, labels)
    theirs = factor_information_coefficient(frame)[PERIODS].to_numpy(dtype=np.float64).T
    np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=1e-12)
    peer = cpu_seconds(factor_information_coefficient, frame, repeats=5)
    show("alphalens factor_information_coefficient", peer, seconds[0])


def main() -> None:
    warnings.simplefilter("ignore")
    for dtype in (np.float32, np.float64):
        compare(dtype)


if __name__ == "__main__":
    print_instruction_set()
    main()
