"""Labels: what a prediction made at the close of t is scored against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from factor_data.cross_section import group_moments, group_ranks
from factor_data.panel import Panel

TargetKind = Literal["rank", "zscore", "raw"]


def forward_return(panel: Panel, horizon: int, delay: int = 1) -> NDArray[np.float64]:
    """Return the simple return from entry at ``t + delay`` to exit at ``t + delay + horizon``.

    ``price[t + delay + horizon] / price[t + delay] - 1`` on the adjusted close, where t + k means k positions
    later on the panel's calendar (not k bars of the symbol later).

    Parameters
    ----------
    panel : Panel
    horizon : int >= 1, bars from entry to exit
    delay : int >= 0, bars from t to entry

    Returns
    -------
    (num_rows,) float64, NaN where the symbol has no bar at entry or at exit
    """
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1 bar, got {horizon}")
    if delay < 0:
        raise ValueError(f"delay must not be negative, got {delay}")
    price = panel.adjusted("close")
    entry, exit_ = panel.rows_at(delay), panel.rows_at(delay + horizon)
    known = (entry >= 0) & (exit_ >= 0)
    label = np.full(panel.num_rows, np.nan)
    label[known] = price[exit_[known]] / price[entry[known]] - 1.0
    return label


def cross_sectional_target(
    label: NDArray, date_code: NDArray[np.integer], kind: TargetKind = "rank"
) -> NDArray[np.float32]:
    """Turn a label into a training target that is comparable across dates.

    Parameters
    ----------
    label : (num_rows,) float, NaN = unknown
    date_code : (num_rows,) int, the date of each row
    kind : "rank": average rank of the date, centred, scaled to unit standard deviation (of a date without
        ties); "zscore": minus mean over population standard deviation of the date, then clipped to [-3, 3];
        "raw": the label itself

    Returns
    -------
    (num_rows,) float32. NaN stays NaN; on a date whose labels are all equal (or single) rank and zscore are
    NaN.
    """
    if kind not in get_args(TargetKind):
        raise ValueError(f"kind must be one of {get_args(TargetKind)}, got {kind!r}")
    if kind == "raw":
        return label.astype(np.float32)
    mean, std, _ = group_moments(label, date_code)
    with np.errstate(invalid="ignore", divide="ignore"):
        if kind == "rank":
            rank, count = group_ranks(label, date_code)
            target = (rank - (count + 1) / 2) / np.sqrt((count.astype(float) ** 2 - 1) / 12)
        else:
            target = np.clip((label - mean) / std, -3.0, 3.0)
    target[_constant_dates(label, date_code)[date_code]] = np.nan
    return target.astype(np.float32)


def _constant_dates(label: NDArray, date_code: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(num_dates,) True where the date has no two different labels; exact, not up to rounding of a
    variance."""
    num_dates = int(date_code.max()) + 1 if len(date_code) else 0
    low, high = np.full(num_dates, np.inf), np.full(num_dates, -np.inf)
    valid = ~np.isnan(label)
    np.minimum.at(low, date_code[valid], label[valid])
    np.maximum.at(high, date_code[valid], label[valid])
    return ~(low < high)


def check_labels(
    labels: NDArray, horizons: Sequence[int], segments: Mapping[str, NDArray[np.bool_]], min_rows: int = 1
) -> None:
    """Refuse labels from which nothing can be learnt.

    Parameters
    ----------
    labels : (num_rows, num_horizons) float, NaN = unknown
    horizons : names the columns in the message
    segments : name (such as "fold 0 train") -> (num_rows,) mask
    min_rows : fewest known labels a segment must have

    Raises
    ------
    ValueError naming segment and horizon where the label is unknown throughout, too rare, or constant
    """
    if labels.ndim != 2 or labels.shape[1] != len(horizons):
        raise ValueError(
            f"labels must have one column per horizon {list(horizons)}, got shape {labels.shape}"
        )
    for name, mask in segments.items():
        check = LabelCheck(horizons, min_rows)
        check.add(labels[mask])
        check.refuse(name)


class LabelCheck:
    """The rule of ``check_labels`` for one segment whose labels come in parts."""

    def __init__(self, horizons: Sequence[int], min_rows: int = 1) -> None:
        self.horizons, self.min_rows, self.num_rows = tuple(horizons), min_rows, 0
        self.num_known = np.zeros(len(self.horizons), dtype=np.int64)
        self.low = np.full(len(self.horizons), np.inf)
        self.high = np.full(len(self.horizons), -np.inf)

    def add(self, labels: NDArray) -> None:
        """Take in the (rows, num_horizons) labels of some rows of the segment."""
        self.num_rows += len(labels)
        self.num_known += (~np.isnan(labels)).sum(axis=0)
        self.low = np.fmin(self.low, np.fmin.reduce(labels, axis=0, initial=np.inf))
        self.high = np.fmax(self.high, np.fmax.reduce(labels, axis=0, initial=-np.inf))

    def refuse(self, name: str) -> None:
        """Raise for the segment called ``name`` if nothing can be learnt from a horizon."""
        for column, horizon in enumerate(self.horizons):
            known = int(self.num_known[column])
            if known < self.min_rows:
                raise ValueError(
                    f"{name}: label of horizon {horizon} is known on {known} of {self.num_rows} rows, "
                    f"at least {self.min_rows} are needed"
                )
            if known and self.low[column] == self.high[column]:
                raise ValueError(
                    f"{name}: label of horizon {horizon} is constant ({self.low[column]:g} on {known} rows)"
                )
