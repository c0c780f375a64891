"""From values to places on a chart: nice ticks, scales, and the path of a line with gaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factor_metrics.report.text import number, percent

BOX = 1000
"""Side of the box that every chart is drawn in; the page stretches it."""
MONTH_STEPS = (1, 3, 6, 12, 24, 60, 120)
MAX_DATE_TICKS = 8
MIN_SPAN = 1e-9


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A vertical axis from `low` to `high` with its ticks; `unit` "share" is written in percent."""

    low: float
    high: float
    ticks: tuple[float, ...]
    unit: str = "number"

    def place(self, value: float) -> float:
        """Return the place of a value, 0 = bottom, 1 = top."""
        return (value - self.low) / (self.high - self.low)

    def y(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return places in the box, 0 = top."""
        return BOX * (1.0 - (values - self.low) / (self.high - self.low))

    def text(self, value: float) -> str:
        """Return the label of a tick: as many digits as the step needs, a sign where the axis has both."""
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else 1.0
        if self.unit == "share":
            step *= 100.0
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        sign = self.low < 0.0 and value != 0.0
        return percent(value, digits, sign=sign) if self.unit == "share" else number(value, digits, sign=sign)


def scale_of(arrays: Sequence[NDArray[np.float64]], unit: str = "number", *, zero: bool = True) -> Scale:
    """Return an axis that holds every finite value, and zero unless told otherwise."""
    joined = np.concatenate([np.ravel(array) for array in arrays] or [np.empty(0)])
    real = joined[np.isfinite(joined)]
    if zero or not len(real):
        real = np.append(real, 0.0)
    low, high = float(real.min()), float(real.max())
    if high - low < MIN_SPAN:
        high = low + 1.0  # a flat line, or what rounding left of one
    pad = 0.05 * (high - low)
    if low < 0.0 or not zero:
        low -= pad
    if high > 0.0 or not zero:
        high += pad
    return Scale(low=low, high=high, ticks=nice_ticks(low, high), unit=unit)


def nice_ticks(low: float, high: float, wanted: int = 5) -> tuple[float, ...]:
    """Return round numbers between low and high, about as many as wanted, a step of 1, 2 or 5 apart."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(index * step, 12) for index in range(first, last + 1))


def date_ticks(dates: Sequence[str]) -> list[tuple[int, str]]:
    """Return (position, label) of the first date of every month, quarter, year ..., at most eight.

    `dates` are ISO texts in order. Fewer than two months, or texts that are no dates, such as epochs: a few of them at
    even distances.
    """
    months = (
        []
        if any(date[4:5] != "-" for date in dates[:1])
        else [
            (position, int(date[:4]) * 12 + int(date[5:7]) - 1)
            for position, date in enumerate(dates)
            if position == 0 or date[:7] != dates[position - 1][:7]
        ][1:]
    )
    for step in MONTH_STEPS:
        chosen = [(position, month) for position, month in months if month % step == 0]
        if 2 <= len(chosen) <= MAX_DATE_TICKS:
            return [
                (position, f"{month // 12}" if step >= 12 else f"{month // 12}-{month % 12 + 1:02d}")
                for position, month in chosen
            ]
    places = sorted({round(share * (len(dates) - 1)) for share in (0.0, 0.25, 0.5, 0.75, 1.0)})
    return [(position, dates[position][:16].replace("T", " ")) for position in places] if dates else []


def line_path(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    """Return the path through all finite points; a missing one breaks the line, one alone becomes a dot."""
    return "".join(_path(x[run], y[run]) for run in _runs(np.isfinite(y)))


def band_path(x: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> str:
    """Return the closed areas between two lines, one for each run of dates where both are finite."""
    return "".join(
        _path(np.concatenate([x[run], x[run][::-1]]), np.concatenate([high[run], low[run][::-1]])) + "Z"
        for run in _runs(np.isfinite(low) & np.isfinite(high))
    )


def _runs(real: NDArray[np.bool_]) -> list[slice]:
    """Return the longest stretches that are true throughout, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], real, [False]]).astype(np.int8)))
    return [slice(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _path(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    """Return the path through points in tenths of a unit, by steps: half as long as by places."""
    tenths = np.rint(10.0 * np.stack([x, y], axis=1)).astype(np.int64)
    start = f"M{tenths[0, 0] / 10:g} {tenths[0, 1] / 10:g}"
    steps = " ".join(f"{step / 10:g}" for step in np.diff(tenths, axis=0).ravel())
    return start + ("l" + steps.replace(" 0.", " .").replace(" -", "-") if steps else "h0")
