"""The ranks of a forecast without what is known of its symbols: residuals of the dates' regressions, in few passes.

On each date the ranks of the forecast are regressed on those of the exposures, all less their mean, so that their
products tell what is collinear (`neutralise` solves the same by a decomposition of every date).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from factor_metrics.checks import Matrix, Series
from factor_metrics.kernel_cache import kernel
from factor_metrics.ordering.ordered import OrderedMatrix, ranks_among
from factor_metrics.ordering.sums import row_product
from factor_metrics.portfolio.neutralise import less_group_mean

SECTOR, ALL = "sector", "all"
NOTHING_LEFT = 1e-9
"""Share of the ranks below which what a regression leaves of them is rounding, and orders nothing."""


def neutral_ranks(
    forecast: OrderedMatrix, loadings: Mapping[str, OrderedMatrix], sector: Matrix | None
) -> dict[str, OrderedMatrix]:
    """Return the ranks of the forecast as they are, and what is left of them without each exposure and without all."""
    if not loadings and sector is None:
        return {}
    kept = ~np.isnan(forecast.values)
    for known in [*(one.values for one in loadings.values()), *([] if sector is None else [sector])]:
        kept &= ~np.isnan(known)
    ranks, beside = _centred(forecast, kept), [_centred(one, kept) for one in loadings.values()]
    left = {"as it is": forecast.in_this_order(np.where(kept, ranks, np.nan), kept)}
    alone = without_each(ranks, beside)
    found = dict(zip(loadings, alone, strict=True))
    if sector is not None:
        group = np.where(kept, sector, np.nan)
        found[SECTOR] = _rounded(less_group_mean(ranks, group), ranks)
        # Frisch, Waugh and Lovell: on sectors and exposures at once is on exposures with sectors taken out of both.
        ranks = np.nan_to_num(found[SECTOR])
        beside = [_rounded(np.nan_to_num(less_group_mean(one, group)), one) for one in beside]
    found[ALL] = without_all(ranks, beside)
    return left | {name: OrderedMatrix(np.where(kept, values, np.nan)) for name, values in found.items()}


def without_all(ranks: Matrix, beside: Sequence[Matrix]) -> Matrix:
    """Return the residual of ranks on the others, as `neutralise` has it, for all dates at once.

    All are of one size and centred, 0 where they are missing.
    """
    if not beside:
        return ranks
    others = np.stack(beside)
    return _residual(ranks, others, *_products(ranks, others))


def without_each(ranks: Matrix, beside: Sequence[Matrix]) -> list[Matrix]:
    """Return the residual of ranks on each of the others alone."""
    return [without_all(ranks, [one]) for one in beside]


def _residual(ranks: Matrix, others: NDArray[np.float64], products: NDArray[np.float64], onto: Matrix) -> Matrix:
    inverse = np.linalg.pinv(products.transpose(2, 0, 1), rcond=1e-10, hermitian=True)
    residual = ranks.copy()
    _take_off(residual, others, np.einsum("dij,jd->id", inverse, onto), ranks, NOTHING_LEFT)
    return residual


def _centred(matrix: OrderedMatrix, kept: NDArray[np.bool_]) -> Matrix:
    """Return ranks among what is kept, less their mean of the date; 0 where nothing is."""
    ranks = ranks_among(matrix, kept) - (kept.sum(axis=1, keepdims=True) + 1) / 2.0
    ranks[~kept] = 0.0
    return ranks


def _rounded(residual: Matrix, ranks: Matrix) -> Matrix:
    """Return 0 on dates on which what is left is rounding."""
    left, size = (np.nanmax(np.abs(np.nan_to_num(one)), axis=1, initial=0.0) for one in (residual, ranks))
    return np.where((left <= NOTHING_LEFT * size)[:, None], 0.0 * residual, residual)


@kernel(nogil=True)
def _products(ranks: Matrix, others: NDArray[np.float64]) -> tuple[NDArray[np.float64], Matrix]:
    """Return per date the sums of products of the others with each other, and of each with the ranks."""
    num, num_dates, num_symbols = others.shape
    products, onto = np.empty((num, num, num_dates)), np.empty((num, num_dates))
    room = np.empty(num_symbols)
    for date in range(num_dates):
        for one in range(num):
            onto[one, date] = row_product(others[one, date], ranks[date], room)
            for other in range(one, num):
                products[one, other, date] = row_product(others[one, date], others[other, date], room)
                products[other, one, date] = products[one, other, date]
    return products, onto


@kernel(nogil=True)
def _take_off(residual: Matrix, others: NDArray[np.float64], slope: Matrix, ranks: Matrix, nothing: float) -> None:
    """Take slope times the others off, in their order, and put 0 where what is left of a date is rounding."""
    num, num_dates, num_symbols = others.shape
    for date in range(num_dates):
        for one in range(num):
            for symbol in range(num_symbols):
                residual[date, symbol] -= slope[one, date] * others[one, date, symbol]
        if _largest(residual[date]) <= nothing * _largest(ranks[date]):
            for symbol in range(num_symbols):
                residual[date, symbol] *= 0.0


@kernel(nogil=True)
def _largest(values: Series) -> float:
    """Return the largest size."""
    largest = 0.0
    for place in range(len(values)):
        largest = max(largest, abs(values[place]))
    return largest
