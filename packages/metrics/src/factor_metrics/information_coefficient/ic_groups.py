"""IC inside groups of symbols: sectors, terciles of size, the top and bottom quintile of the prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Matrix, Series
from factor_metrics.information_coefficient.ic import checked_pair, ic, mean_over_dates, rank_ic
from factor_metrics.labels import same_labels
from factor_metrics.ordering.quantiles import quantile_of

Method = Literal["pearson", "spearman"]
_METHODS = {"pearson": ic, "spearman": rank_ic}


@dataclass(frozen=True, kw_only=True)
class GroupedIC:
    """IC per group and date. The counts add up: num_symbols over groups + num_ungrouped = pairs of the date."""

    groups: tuple[str | int, ...]
    """Names of the groups, sorted."""
    ic: Matrix
    """(num_groups, num_dates), NaN where a group has too few symbols or is constant."""
    num_symbols: NDArray[np.int64]
    """(num_groups, num_dates) symbols of the group with both prediction and label."""
    num_ungrouped: NDArray[np.int64]
    """(num_dates,) symbols with both that belong to no group."""

    @property
    def mean(self) -> Series:
        """Mean IC per group over the dates where it is defined, (num_groups,); NaN where there is none."""
        return mean_over_dates(self.ic)


@same_labels("prediction", "label", "group")
def grouped_ic(
    prediction: ArrayLike,
    label: ArrayLike,
    group: ArrayLike,
    method: Method = "spearman",
    min_symbols: int = 10,
) -> GroupedIC:
    """Return the IC computed inside each group of symbols, per date.

    Parameters
    ----------
    prediction, label
        (num_dates, num_symbols), NaN = missing.
    group
        (num_symbols,) where groups stay, such as sectors, or (num_dates, num_symbols), such as
        `quantile_of(size, 3)`. Text or integers; None, NaN, an empty text and negative integers mean no group.
    method
        "spearman" ranks anew within the group (`rank_ic`), "pearson" as `ic`.
    min_symbols
        Groups with fewer symbols are NaN on that date. At least 2.

    Examples
    --------
    >>> judged = grouped_ic([[1, 2, 3, 4]], [[1, 2, 4, 3]], ["a", "a", "b", "b"], min_symbols=2)
    >>> judged.groups, judged.ic.ravel().tolist(), judged.num_symbols.ravel().tolist()
    (('a', 'b'), [1.0, -1.0], [2, 2])
    """
    _check_method(method)
    prediction_DS, label_DS = checked_pair(prediction, label, min_symbols)
    names, code_DS = _codes(group, prediction_DS.shape)
    present = ~np.isnan(prediction_DS) & ~np.isnan(label_DS)
    ics = np.empty((len(names), len(prediction_DS)))
    counts = np.empty(ics.shape, dtype=np.int64)
    for index in range(len(names)):
        member = code_DS == index
        inside = np.where(member, prediction_DS, np.array(np.nan, dtype=prediction_DS.dtype))
        ics[index] = _METHODS[method](inside, label_DS, min_symbols)
        counts[index] = (member & present).sum(axis=1)
    ungrouped = ((code_DS < 0) & present).sum(axis=1)
    return GroupedIC(groups=names, ic=ics, num_symbols=counts, num_ungrouped=ungrouped)


@same_labels("prediction", "label")
def quantile_ic(
    prediction: ArrayLike,
    label: ArrayLike,
    num_quantiles: int = 5,
    method: Method = "spearman",
    min_symbols: int = 10,
) -> Matrix:
    """Return the IC inside each quantile of the prediction, (num_dates, num_quantiles), lowest first.

    With five quantiles the last column is the top quintile IC and the first the bottom one: does the
    prediction still order the symbols that a portfolio would hold? Quantiles are formed among symbols with
    both values as in `quantile_returns`; NaN where a quantile has fewer than `min_symbols` or is constant.
    """
    prediction_DS, label_DS = checked_pair(prediction, label, min_symbols)
    both = np.where(np.isnan(label_DS), np.array(np.nan, dtype=prediction_DS.dtype), prediction_DS)
    quantile = quantile_of(both, num_quantiles)
    inside = grouped_ic(prediction_DS, label_DS, quantile, method, min_symbols)
    result = np.full((len(both), num_quantiles), np.nan)
    result[:, [int(name) for name in inside.groups]] = inside.ic.T
    return result


def _check_method(method: str) -> None:
    if method not in _METHODS:
        raise ValueError(f"method must be one of {sorted(_METHODS)}, got {method!r}")


def _codes(group: ArrayLike, shape: tuple[int, ...]) -> tuple[tuple[str | int, ...], NDArray[np.int64]]:
    """Names of the groups and the place of every symbol's group among them, -1 = none."""
    values = np.asarray(group)
    if values.shape not in (shape, shape[1:]):
        raise ValueError(
            f"group must have shape (num_symbols,) = {shape[1:]} or (num_dates, num_symbols) = {shape}, "
            f"got {values.shape}"
        )
    if values.dtype.kind in "iu":
        names, codes = np.unique(values, return_inverse=True)
        codes = codes.reshape(values.shape) - np.count_nonzero(names < 0)
        return tuple(names[names >= 0].tolist()), np.broadcast_to(np.maximum(codes, -1), shape)
    if values.dtype.kind not in "OUT":
        raise ValueError(f"group must hold text or integers, got an array of dtype {values.dtype}")
    flat = [_name(value) for value in values.ravel().tolist()]
    found = sorted({name for name in flat if name is not None})
    place: dict[str | None, int] = {name: index for index, name in enumerate(found)} | {None: -1}
    codes = np.array([place[name] for name in flat], dtype=np.int64).reshape(values.shape)
    return tuple(found), np.broadcast_to(codes, shape)


def _name(value: object) -> str | None:
    """Return the name of a group, None where there is none."""
    if isinstance(value, str):
        return value or None
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    raise ValueError(f"group must hold text or integers, got {value!r} of type {type(value).__name__}")
