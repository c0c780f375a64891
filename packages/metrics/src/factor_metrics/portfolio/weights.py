"""From predictions to wanted weights: long-short, long only, proportional, top k with a limit on replacements.

Weights are (num_dates, num_symbols) shares of equity, decided at the close of their date, 0 = not held. A date
on which nothing can be decided (no prediction, a constant one) is all NaN: the book is kept as it is.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Matrix, as_matrix, check_at_least
from factor_metrics.dispersion import no_dispersion_by_date, rounding_of
from factor_metrics.ordering.quantiles import quantile_of
from factor_metrics.ordering.ranks import rank_rows
from factor_metrics.portfolio.config import BookConfig
from factor_metrics.portfolio.limits import PositionLimits, apply_limits, decided_dates


def long_short_weights(prediction: ArrayLike, num_quantiles: int = 5, gross: float = 1.0) -> Matrix:
    """Return equal weights: the top quantile long, the bottom one short, half of `gross` on each side.

    Quantiles as in `quantile_of`, so tied symbols always share a side. A date whose top or bottom quantile is
    empty (ties) has no decision.
    """
    _check_gross(gross)
    quantile = quantile_of(prediction, num_quantiles)
    top, bottom = quantile == num_quantiles - 1, quantile == 0
    num_top, num_bottom = top.sum(axis=1, keepdims=True), bottom.sum(axis=1, keepdims=True)
    weights = 0.5 * gross * (top / np.maximum(num_top, 1) - bottom / np.maximum(num_bottom, 1))
    return np.where((num_top > 0) & (num_bottom > 0), weights, np.nan)


def long_only_weights(prediction: ArrayLike, num_quantiles: int = 5, gross: float = 1.0) -> Matrix:
    """Return equal weights of the top quantile, `gross` in sum. A date whose top quantile is empty has no decision."""
    _check_gross(gross)
    top = quantile_of(prediction, num_quantiles) == num_quantiles - 1
    num_top = top.sum(axis=1, keepdims=True)
    return np.where(num_top > 0, gross * top / np.maximum(num_top, 1), np.nan)


def proportional_weights(prediction: ArrayLike, gross: float = 1.0) -> Matrix:
    """Return weights proportional to the prediction less its mean of the date: net 0, sum of |weight| = `gross`.

    NaN predictions get weight 0. A constant date has no decision.
    """
    _check_gross(gross)
    prediction_DS = as_matrix("prediction", prediction)
    present = ~np.isnan(prediction_DS)
    count = np.maximum(present.sum(axis=1, keepdims=True), 1)
    filled = np.where(present, prediction_DS, 0.0)
    deviation = np.where(present, filled - filled.sum(axis=1, keepdims=True) / count, 0.0)
    constant = no_dispersion_by_date(prediction_DS, rounding=rounding_of(prediction))
    size = np.abs(deviation).sum(axis=1, keepdims=True)
    decided = ~constant[:, None] & (size > 0.0)
    return np.where(decided, gross * deviation / np.where(size > 0.0, size, 1.0), np.nan)


def top_k_weights(prediction: ArrayLike, num_held: int, max_replaced: int | None = None) -> Matrix:
    """Return a long book of `num_held` symbols, 1 / num_held each, of which few are replaced per date.

    On the first date the highest predictions are bought. Later the worst held symbol gives way to the best
    other one as long as that one's prediction is strictly higher, at most `max_replaced` times (None: no limit,
    the book is the top of every date). This is the idea of qlib's TopkDropout strategy: a low limit keeps
    turnover at max_replaced / num_held per side. With fewer symbols than `num_held` the rest stays cash.

    Parameters
    ----------
    prediction
        (num_dates, num_symbols), NaN = missing: not bought, and the first to go when held. Ties: the symbol
        held stays; among others the first column comes first.
    num_held
        At least 1.
    max_replaced
        None or at least 1.

    Examples
    --------
    >>> top_k_weights([[3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0]], num_held=2, max_replaced=1)
    array([[0.5, 0.5, 0. , 0. ],
           [0. , 0.5, 0. , 0.5]])
    """
    prediction_DS = as_matrix("prediction", prediction)
    check_at_least("num_held", num_held, 1)
    most = num_held if max_replaced is None else max_replaced
    check_at_least("max_replaced", most, 1)
    weights = np.full(prediction_DS.shape, np.nan)
    held = np.zeros(prediction_DS.shape[1], dtype=bool)
    for date, row in enumerate(prediction_DS):
        if np.isnan(row).all():
            continue
        score = np.where(np.isnan(row), -np.inf, row)
        others = np.flatnonzero(~held & (score > -np.inf))
        others = others[np.argsort(-score[others], kind="stable")]
        num_free = min(max(num_held - int(held.sum()), 0), len(others))
        worst = np.flatnonzero(held)
        worst = worst[np.argsort(score[worst], kind="stable")]
        candidates = others[num_free:]
        num_pairs = min(most, len(worst), len(candidates))
        num_replaced = int((score[candidates[:num_pairs]] > score[worst[:num_pairs]]).sum())
        held[worst[:num_replaced]] = False
        held[others[: num_free + num_replaced]] = True
        weights[date] = held / num_held
    return weights


def rebalance_every(weights: ArrayLike, every: int, offset: int = 0) -> Matrix:
    """Return `weights` on every `every`-th date from `offset`, NaN (no decision, the book drifts) between."""
    matrix = as_matrix("weights", weights)
    check_at_least("every", every, 1)
    check_at_least("offset", offset, 0)
    decided_dates(matrix)
    kept = np.full(matrix.shape, np.nan)
    kept[offset::every] = matrix[offset::every]
    return kept


def book_weights(prediction: ArrayLike, config: BookConfig, num_quantiles: int = 5, num_books: int = 1) -> Matrix:
    """Return the wanted weights of a book of `config.kind`, inside its limits: one decision a date.

    Parameters
    ----------
    prediction
        (num_dates, num_symbols), NaN = missing: not held.
    config
        Kind of book, size and limits.
    num_quantiles
        Quantiles of the kinds `quantiles` and `long_only`.
    num_books
        Overlapping books (`overlapping_backtest`): which symbols top_k replaces depends on what the same book held,
        `num_books` dates before; after a date of its own without any forecast it begins anew.

    Returns
    -------
    numpy.ndarray
        (num_dates, num_symbols); a date without a decision is all NaN.

    Raises
    ------
    ValueError
        No book can satisfy the limits; the message names the row.
    """
    check_at_least("num_books", num_books, 1)
    if config.kind == "quantiles":
        weights = long_short_weights(prediction, num_quantiles, config.gross)
    elif config.kind == "long_only":
        weights = long_only_weights(prediction, num_quantiles, config.gross)
    elif config.kind == "rank":
        weights = proportional_weights(rank_rows(as_matrix("prediction", prediction)), config.gross)
    else:
        matrix = as_matrix("prediction", prediction)
        weights = np.full(matrix.shape, np.nan)
        for offset in range(num_books):
            rows = np.arange(offset, len(matrix), num_books)
            for part in np.split(rows, np.flatnonzero(np.isnan(matrix[rows]).all(axis=1))):
                weights[part] = config.gross * top_k_weights(matrix[part], config.held, config.max_replaced)
    given = config.limits.given
    return apply_limits(weights, PositionLimits(**given)) if given else weights


def _check_gross(gross: float) -> None:
    if not (math.isfinite(gross) and gross > 0.0):
        raise ValueError(f"gross must be finite and above 0, got {gross!r}")
