"""Targets: labels made comparable across dates, and the check that there is something to learn from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from factor_data.fit.cross_section import constant_groups, group_moments, group_ranks, less_group_mean
from factor_data.labels.kinds import CROSS_SECTIONAL_KINDS, TargetKind


def cross_sectional_target(
    label: NDArray,
    date_code: NDArray[np.integer],
    kind: TargetKind = "rank",
    group: NDArray | None = None,
) -> NDArray[np.float32]:
    """Turn a label into a training target that is comparable across dates.

    Parameters
    ----------
    label : (num_rows,) float, NaN = unknown
    date_code : (num_rows,) int, the date of each row
    kind : what is done within each date.
        "rank": average rank, centred, scaled to unit standard deviation (of a date without ties);
        "zscore": minus mean over population standard deviation, then clipped to [-3, 3];
        "rank_gauss": standard normal quantile of (average rank - 1/2) / count;
        "demeaned": minus mean, in the label's own unit;
        "raw": the label itself.
        The kind "direction" is not one of them: see `training_targets`
    group : (num_rows,) number of a group, such as an industry. With it, the mean of the row's date and group is taken
        off the label first (`less_group_mean`): the target is neutral to the group

    Returns
    -------
    (num_rows,) float32. NaN stays NaN; on a date whose labels are all equal (or single) every kind but raw is NaN.
    """
    if kind not in CROSS_SECTIONAL_KINDS:
        raise ValueError(f"kind must be one of {CROSS_SECTIONAL_KINDS}, got {kind!r}")
    if group is not None:
        label = less_group_mean(label, date_code, group)
    if kind == "raw":
        return label.astype(np.float32)
    mean, std, _ = group_moments(label, date_code)
    with np.errstate(invalid="ignore", divide="ignore"):
        if kind in ("rank", "rank_gauss"):
            rank, count = group_ranks(label, date_code)
            target = _normal_scores(rank, count) if kind == "rank_gauss" else _centred(rank, count)
        elif kind == "zscore":
            target = np.clip((label - mean) / std, -3.0, 3.0)
        else:
            target = label - mean
    target[constant_groups(label, date_code)] = np.nan
    return target.astype(np.float32)


def _centred(rank: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    return (rank - (count + 1) / 2) / np.sqrt((count.astype(float) ** 2 - 1) / 12)


def _normal_scores(rank: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    """Normal quantiles; ranks and counts repeat from date to date, so few of them differ."""
    score = np.full(len(rank), np.nan)
    known = ~np.isnan(rank)
    share, at = np.unique((rank[known] - 0.5) / count[known], return_inverse=True)
    quantile = NormalDist().inv_cdf
    score[known] = np.array([quantile(value) for value in share.tolist()])[at] if len(share) else score[known]
    return score


def check_labels(
    labels: NDArray, names: Sequence[str], segments: Mapping[str, NDArray[np.bool_]], min_rows: int = 1
) -> None:
    """Refuse labels from which nothing can be learnt.

    Parameters
    ----------
    labels : (num_rows, num_labels) float, NaN = unknown
    names : of the labels
    segments : name (such as "fold 0 train") -> (num_rows,) mask
    min_rows : fewest known labels a segment must have

    Raises
    ------
    ValueError naming segment and label where the label is unknown throughout, too rare, or constant
    """
    if labels.ndim != 2 or labels.shape[1] != len(names):
        raise ValueError(f"labels must have one column for each of {list(names)}, got shape {labels.shape}")
    for name, mask in segments.items():
        check = LabelCheck(names, min_rows)
        check.add(labels[mask])
        check.refuse(name)


class LabelCheck:
    """The rule of `check_labels` for one segment whose labels come in parts."""

    def __init__(self, names: Sequence[str], min_rows: int = 1) -> None:
        self.names, self.min_rows, self.num_rows = tuple(names), min_rows, 0
        self.num_known = np.zeros(len(self.names), dtype=np.int64)
        self.low = np.full(len(self.names), np.inf)
        self.high = np.full(len(self.names), -np.inf)

    def add(self, labels: NDArray) -> None:
        """Take in the (rows, num_labels) labels of some rows of the segment."""
        self.num_rows += len(labels)
        self.num_known += (~np.isnan(labels)).sum(axis=0)
        self.low = np.fmin(self.low, np.fmin.reduce(labels, axis=0, initial=np.inf))
        self.high = np.fmax(self.high, np.fmax.reduce(labels, axis=0, initial=-np.inf))

    def refuse(self, name: str) -> None:
        """Raise for the segment called `name` if nothing can be learnt from a label."""
        for column, label in enumerate(self.names):
            known = int(self.num_known[column])
            if known < self.min_rows:
                raise ValueError(
                    f"{name}: label {label} is known on {known} of {self.num_rows} rows, "
                    f"at least {self.min_rows} are needed"
                )
            if known and self.low[column] == self.high[column]:
                raise ValueError(f"{name}: label {label} is constant ({self.low[column]:g} on {known} rows)")
