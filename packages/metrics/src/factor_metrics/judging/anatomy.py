"""What a forecast is made of: exposures, IC without them, inside groups of symbols, in regimes, by calendar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Matrix, Series, as_matrix, as_series, check_same_shape
from factor_metrics.floors.price_floors import momentum
from factor_metrics.floors.volatility_floors import past_volatility
from factor_metrics.information_coefficient.ic import rank_ic
from factor_metrics.information_coefficient.ic_decay import delay_decay
from factor_metrics.information_coefficient.ic_groups import grouped_ic
from factor_metrics.judging.anatomy_results import Anatomy
from factor_metrics.judging.config import EvaluationConfig
from factor_metrics.judging.profile import DELAYS, Estimates, estimate
from factor_metrics.labels import same_labels
from factor_metrics.ordering.quantiles import quantile_of
from factor_metrics.ordering.ranks import rank_rows
from factor_metrics.portfolio.neutralise import less_group_mean
from factor_metrics.portfolio.trailing import trailing_beta, trailing_mean

SIZE, VOLATILITY = "money traded", "volatility"
SECTOR, ALL = "sector", "all"
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NOTHING_LEFT = 1e-9
"""Share of the ranks below which what a regression leaves of them is rounding, and orders nothing."""
TERCILES = ("low", "middle", "high")


@same_labels("close", "traded", "market")
def exposures(close: ArrayLike, traded: ArrayLike | None, market: ArrayLike) -> dict[str, Matrix]:
    """Return what is known of the symbols at the close of each date, by name: (num_dates, num_symbols) each.

    beta over 60 dates, money traded (mean over 20), volatility over 20, momentum from 60 to 5 dates before.

    Parameters
    ----------
    close
        (num_dates, num_symbols) adjusted, above 0, NaN = missing.
    traded
        The money traded in each bar; None: not known, and money traded is left out.
    market
        (num_dates,) returns of the market.
    """
    closes = as_matrix("close", close)
    moves = np.full(closes.shape, np.nan)
    moves[1:] = closes[1:] / closes[:-1] - 1.0
    found = {"beta": trailing_beta(moves, market), VOLATILITY: past_volatility(closes), "momentum": momentum(closes)}
    if traded is not None:
        volume = as_matrix("traded", traded)
        found[SIZE] = trailing_mean(np.where(volume > 0.0, volume, np.nan), 20)
    return found


@same_labels("market", "scored")
def regimes(market: ArrayLike, scored: ArrayLike, num_dates: int = 20) -> dict[str, NDArray[np.bool_]]:
    """Return on which dates the market had risen, fallen, been calm or wild over the last `num_dates`, (num_dates,).

    Calm and wild are below and above the median volatility of the `scored` dates; so which one a date is, is known
    only at the end, and serves to describe. A date of fewer known returns than half of them is in none.
    """
    moves = as_series("market", market)[:, None]
    least = (num_dates + 1) // 2
    mean = trailing_mean(moves, num_dates, least)[:, 0]
    size = np.sqrt(trailing_mean(np.square(moves), num_dates, least)[:, 0])
    of_scored = size[np.asarray(scored, dtype=bool)]
    known = of_scored[~np.isnan(of_scored)]
    middle = float(np.median(known)) if len(known) else np.nan
    return {"up": mean > 0.0, "down": mean <= 0.0, "calm": size <= middle, "wild": size > middle}


@same_labels("prediction", "label", "known")
def anatomy(
    prediction: ArrayLike,
    label: ArrayLike,
    dates: NDArray[np.datetime64],
    known: Mapping[str, ArrayLike],
    in_regime: Mapping[str, NDArray[np.bool_]],
    *,
    overlap: int,
    sector: ArrayLike | None = None,
    config: EvaluationConfig | None = None,
) -> Anatomy:
    """Return the mean rank IC of a forecast taken apart, each part with its interval.

    Neutral to an exposure is the rank of the forecast less its regression on the rank of the exposure over the
    symbols of the date (`neutralise`).

    Parameters
    ----------
    prediction, label
        (num_dates, num_symbols), NaN = missing.
    dates
        (num_dates,) times.
    known
        By name what is known of the symbols at each date (`exposures`), of the same shape; NaN = not known.
    in_regime
        By name the dates of a regime (`regimes`), (num_dates,).
    overlap
        Dates over which the labels of neighbouring dates overlap.
    sector
        (num_dates, num_symbols) number of each symbol's sector, NaN = not known; None: there is none. Neutral to it is
        the rank less the mean of its sector.
    config
        How to judge; None takes the defaults of `EvaluationConfig`.
    """
    config = config or EvaluationConfig()
    forecast, outcome = as_matrix("prediction", prediction), as_matrix("label", label)
    check_same_shape("prediction", forecast, "label", outcome)
    least = config.min_symbols

    def estimated(series: Mapping[str, Series]) -> Estimates:
        return estimate(
            series,
            [overlap] * len(series),
            confidence=config.confidence,
            num_bootstrap=config.bootstrap,
            seed=config.seed,
        )

    per_date = rank_ic(forecast, outcome, least)
    group = None if sector is None else as_matrix("sector", sector)
    loadings = {name: as_matrix(name, values) for name, values in known.items()}
    stamps = np.asarray(dates)
    day = (stamps.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    month = stamps.astype("datetime64[M]").astype(np.int64) % 12
    alone = _neutral(forecast, outcome, loadings, group)
    aged = _by_age(alone.get(ALL), outcome, least)
    return Anatomy(
        exposure=estimated({name: rank_ic(forecast, values, least) for name, values in loadings.items()}),
        neutral=estimated({name: rank_ic(left, outcome, least) for name, left in alone.items()}),
        neutral_decay=estimated(aged),
        by_size=estimated(_by_tercile(forecast, outcome, loadings.get(SIZE), least)),
        by_volatility=estimated(_by_tercile(forecast, outcome, loadings.get(VOLATILITY), least)),
        by_regime=estimated({name: np.where(on, per_date, np.nan) for name, on in in_regime.items()}),
        by_weekday=estimated(_by_code(per_date, day, WEEKDAYS)),
        by_month=estimated(_by_code(per_date, month, MONTHS)),
    )


def _neutral(
    forecast: Matrix, outcome: Matrix, loadings: Mapping[str, Matrix], sector: Matrix | None
) -> dict[str, Matrix]:
    """Return the ranks of the forecast as they are, and what is left of them without each exposure and without all."""
    if not loadings and sector is None:
        return {}
    known = [*loadings.values(), *([] if sector is None else [sector])]
    missing = np.isnan(forecast) | np.any([np.isnan(values) for values in known], axis=0)
    ranks = _centred_ranks(forecast, missing)
    beside = [_centred_ranks(values, missing) for values in loadings.values()]
    left = {"as it is": ranks, **{name: _without(ranks, [one]) for name, one in zip(loadings, beside, strict=True)}}
    if sector is not None:
        group = np.where(missing, np.nan, sector)
        left[SECTOR] = _rounded(less_group_mean(ranks, group), ranks)
        # Frisch, Waugh and Lovell: on sectors and exposures at once is on exposures with sectors taken out of both.
        ranks = np.nan_to_num(left[SECTOR])
        beside = [_rounded(np.nan_to_num(less_group_mean(one, group)), one) for one in beside]
    left[ALL] = _without(ranks, beside)
    return {name: np.where(missing, np.nan, values) for name, values in left.items()}


def _without(ranks: Matrix, beside: Sequence[Matrix]) -> Matrix:
    """Return the residual of ranks on the others, as `neutralise` has it, for all dates at once.

    All are of one size and centred, so that their products tell what is collinear.
    """
    if not beside:
        return ranks
    products = np.array([[(one * other).sum(axis=1) for other in beside] for one in beside])
    onto = np.array([(one * ranks).sum(axis=1) for one in beside])
    inverse = np.linalg.pinv(products.transpose(2, 0, 1), rcond=1e-10, hermitian=True)
    residual = ranks.copy()
    for slope, one in zip(np.einsum("dij,jd->id", inverse, onto), beside, strict=True):
        residual -= slope[:, None] * one
    return _rounded(residual, ranks)


def _rounded(residual: Matrix, ranks: Matrix) -> Matrix:
    """Return 0 on dates on which what is left is rounding."""
    left, size = (np.nanmax(np.abs(np.nan_to_num(one)), axis=1, initial=0.0) for one in (residual, ranks))
    return np.where((left <= NOTHING_LEFT * size)[:, None], 0.0 * residual, residual)


def _centred_ranks(values: Matrix, missing: NDArray[np.bool_]) -> Matrix:
    """Return ranks among what is not missing, less their mean of the date; 0 where missing."""
    ranks = rank_rows(np.where(missing, np.nan, values))
    count = np.maximum((~missing).sum(axis=1, keepdims=True), 1)
    ranks = np.where(missing, 0.0, ranks)
    return np.where(missing, 0.0, ranks - ranks.sum(axis=1, keepdims=True) / count)


def _by_age(residual: Matrix | None, outcome: Matrix, least: int) -> dict[str, Series]:
    """Return the rank IC by the age of the forecast in dates; nothing without a forecast."""
    if residual is None:
        return {}
    decay = delay_decay(residual, outcome, [delay for delay in DELAYS if delay < len(outcome)], least)
    return {str(step): series for step, series in zip(decay.steps, decay.ic, strict=True)}


def _by_tercile(forecast: Matrix, outcome: Matrix, values: Matrix | None, least: int) -> dict[str, Series]:
    if values is None or forecast.shape[1] < len(TERCILES):
        return {}
    both = np.where(np.isnan(forecast) | np.isnan(outcome), np.nan, values)
    inside = grouped_ic(forecast, outcome, quantile_of(both, len(TERCILES)), min_symbols=max(2, least // len(TERCILES)))
    return {TERCILES[int(group)]: series for group, series in zip(inside.groups, inside.ic, strict=True)}


def _by_code(per_date: Series, code: NDArray[np.int64], names: Sequence[str]) -> dict[str, Series]:
    """Return the series of each code that occurs; nothing where all dates have the same."""
    there = [int(one) for one in np.unique(code)]
    return {names[one]: np.where(code == one, per_date, np.nan) for one in there} if len(there) > 1 else {}
