"""The ranks of a forecast without what is known of its symbols: residuals of the dates' regressions, in few passes.

On each date the ranks of the forecast are regressed on those of the exposures, all less their mean, so that their
products tell what is collinear (`neutralise` solves the same by a decomposition of every date).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from factor_metrics.checks import FloatArray, Matrix, Series
from factor_metrics.dispersion import EXACT, Rounding
from factor_metrics.kernel_cache import kernel
from factor_metrics.ordering.ordered import Order, OrderedMatrix, rank_known
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
    ranks, beside = np.empty(kept.shape), np.empty((len(loadings), *kept.shape))
    for matrix, room in zip([forecast, *loadings.values()], [ranks, *beside], strict=True):
        _write_centred(matrix.order, matrix.values, kept.view(np.uint8), EXACT, room)
    left = {"as it is": forecast.in_this_order(np.where(kept, ranks, np.nan), kept)}
    products, onto = _products(ranks, beside)
    for place, name in enumerate(loadings):
        size = products[place, place]
        slope = onto[place] * np.divide(1.0, size, out=np.zeros(len(size)), where=size > 0.0)
        left[name] = OrderedMatrix(_residual(ranks, beside[place : place + 1], slope[None], kept, NOTHING_LEFT))
    if sector is not None:
        group = np.where(kept, sector, np.nan)
        inside = _rounded(less_group_mean(ranks, group), ranks)
        left[SECTOR] = OrderedMatrix(np.where(kept, inside, np.nan))
        # Frisch, Waugh and Lovell: on sectors and exposures at once is on exposures with sectors taken out of both.
        ranks = np.nan_to_num(inside)
        for room in beside:
            room[:] = _rounded(np.nan_to_num(less_group_mean(room, group)), room)
        products, onto = _products(ranks, beside)
    inverse = np.linalg.pinv(products.transpose(2, 0, 1), rcond=1e-10, hermitian=True)
    slopes = np.einsum("dij,jd->id", inverse, onto)
    return left | {ALL: OrderedMatrix(_residual(ranks, beside, slopes, kept, NOTHING_LEFT))}


def _rounded(residual: Matrix, ranks: Matrix) -> Matrix:
    """Return 0 on dates on which what is left is rounding."""
    left, size = (np.nanmax(np.abs(np.nan_to_num(one)), axis=1, initial=0.0) for one in (residual, ranks))
    return np.where((left <= NOTHING_LEFT * size)[:, None], 0.0 * residual, residual)


@kernel(nogil=True)
def _write_centred(
    order: Order, values: FloatArray, kept: NDArray[np.uint8], rounding: Rounding, centred: Matrix
) -> None:
    """Write the ranks among what is kept, less their mean of the date; 0 where nothing is."""
    num_dates, num_symbols = values.shape
    left, doubled_rank = np.empty(num_symbols, dtype=np.uint32), np.empty(num_symbols, dtype=np.int32)
    for date in range(num_dates):
        count, _ = rank_known(order, date, values[date], kept[date], rounding, left, doubled_rank)
        centred[date] = 0.0
        for place in range(count):
            centred[date, left[place]] = 0.5 * doubled_rank[left[place]] - (count + 1) / 2.0


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
def _residual(
    ranks: Matrix, others: NDArray[np.float64], slopes: Matrix, kept: NDArray[np.bool_], nothing: float
) -> Matrix:
    """Return the ranks less slope times the others, in their order; NaN where nothing is kept.

    It is 0 on a date on which what is left is rounding.
    """
    num, num_dates, num_symbols = others.shape
    residual = ranks.copy()
    for date in range(num_dates):
        for one in range(num):
            for symbol in range(num_symbols):
                residual[date, symbol] -= slopes[one, date] * others[one, date, symbol]
        if _largest(residual[date]) <= nothing * _largest(ranks[date]):
            for symbol in range(num_symbols):
                residual[date, symbol] *= 0.0
        for symbol in range(num_symbols):
            residual[date, symbol] = residual[date, symbol] if kept[date, symbol] else np.nan
    return residual


@kernel(nogil=True)
def _largest(values: Series) -> float:
    """Return the largest size."""
    largest = 0.0
    for place in range(len(values)):
        largest = max(largest, abs(values[place]))
    return largest
