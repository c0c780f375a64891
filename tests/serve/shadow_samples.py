"""Logs as `factor-serve shadow` writes them, of markets that are simulated as forecasts and labels alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_metrics import mean_test, rank_ic, summarize
from factor_serve.shadow.judge import Reference
from factor_serve.shadow.log import Log
from factor_serve.shadow.observe import tenths
from factor_serve.shadow.watch import Expected

SYMBOLS = [f"S{number:03d}" for number in range(60)]
DECILES = np.array([-1.2816, -0.8416, -0.5244, -0.2533, 0.0, 0.2533, 0.5244, 0.8416, 1.2816])
Signs = Callable[[int], NDArray[np.float64]]


def market(
    generator: np.random.Generator, num_dates: int, correlation: float, horizon: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Forecasts and labels (num_dates, num_symbols) that correlate; labels overlap, and forecasts persist as long."""
    shape = (num_dates + horizon, len(SYMBOLS))
    signal, noise = generator.standard_normal(shape), generator.standard_normal(shape)

    def overlapping(values: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.cumsum(values, axis=0)
        return (total[horizon:] - total[:-horizon]) / np.sqrt(horizon)

    said = overlapping(signal)
    return said, correlation * said + np.sqrt(1.0 - correlation**2) * overlapping(noise)


def expected_of(said: NDArray[np.float64], came: NDArray[np.float64], horizon: int) -> Expected:
    """What a bundle would know of these dates."""
    ics = rank_ic(said, came)
    test, summary = mean_test(ics, horizon), summarize(ics, horizon, num_bootstrap=500)
    return Expected(
        mean=test.mean, standard_error=test.standard_error, num_dates=len(ics), low=summary.ci_low, high=summary.ci_high
    )


def forecast_record(number: int, said: NDArray[np.float64], horizon: int = 1, **changes: Any) -> dict[str, Any]:
    """A line of a log: one label, one member, one input, which is the forecast itself."""
    date = np.datetime64("2020-01-01") + number
    return {
        "kind": "forecasts",
        "date": f"{date}T00:00:00",
        "bundle": "b" * 64,
        "symbols": SYMBOLS,
        "labels": [["h", horizon]],
        "forecasts": {"h": said.tolist()},
        "models": {name: {"h": [len(said), float(said.std())]} for name in ("linear", "stack")},
        "inputs": {"one": tenths(said, DECILES).tolist()},
    } | changes


def label_record(number: int, came: NDArray[np.float64]) -> dict[str, Any]:
    date = np.datetime64("2020-01-01") + number
    return {
        "kind": "labels",
        "date": f"{date}T00:00:00",
        "label": "h",
        "symbols": SYMBOLS,
        "values": came.tolist(),
    }


def log_of(said: NDArray[np.float64], came: NDArray[np.float64], horizon: int = 1) -> Log:
    log = Log()
    for number, (row, value) in enumerate(zip(said, came, strict=True)):
        log.add(forecast_record(number, row, horizon))
        log.add(label_record(number, value))
    return log


def reference(expected: Expected) -> Reference:
    return Reference(deviations={"linear": {"h": 1.0}}, expected={"h": expected}, train_dates=500)
