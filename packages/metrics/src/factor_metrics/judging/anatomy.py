"""What a forecast is made of: exposures, IC without them, inside groups of symbols, in regimes, by calendar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Matrix, Series, as_matrix, as_series, check_same_shape
from factor_metrics.floors.price_floors import momentum, past_volatility
from factor_metrics.information_coefficient.ic import rank_ic
from factor_metrics.information_coefficient.ic_groups import grouped_ic
from factor_metrics.judging.anatomy_results import Anatomy
from factor_metrics.judging.config import EvaluationConfig
from factor_metrics.judging.profile import Estimates, estimate
from factor_metrics.labels import same_labels
from factor_metrics.ordering.quantiles import quantile_of
from factor_metrics.ordering.ranks import rank_rows
from factor_metrics.portfolio.trailing import trailing_beta, trailing_mean

SIZE, VOLATILITY = "money traded", "volatility"
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
    loadings = {name: as_matrix(name, values) for name, values in known.items()}
    stamps = np.asarray(dates)
    day = (stamps.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    month = stamps.astype("datetime64[M]").astype(np.int64) % 12
    return Anatomy(
        exposure=estimated({name: rank_ic(forecast, values, least) for name, values in loadings.items()}),
        neutral=estimated(_neutral(forecast, outcome, loadings, least)),
        by_size=estimated(_by_tercile(forecast, outcome, loadings.get(SIZE), least)),
        by_volatility=estimated(_by_tercile(forecast, outcome, loadings.get(VOLATILITY), least)),
        by_regime=estimated({name: np.where(on, per_date, np.nan) for name, on in in_regime.items()}),
        by_weekday=estimated(_by_code(per_date, day, WEEKDAYS)),
        by_month=estimated(_by_code(per_date, month, MONTHS)),
    )


def _neutral(forecast: Matrix, outcome: Matrix, loadings: Mapping[str, Matrix], least: int) -> dict[str, Series]:
    if not loadings:
        return {}
    missing = np.isnan(forecast) | np.any([np.isnan(values) for values in loadings.values()], axis=0)
    ranks = _centred_ranks(forecast, missing)
    beside = [_centred_ranks(values, missing) for values in loadings.values()]
    products = np.array([[(one * other).sum(axis=1) for other in beside] for one in beside])
    onto = np.array([(one * ranks).sum(axis=1) for one in beside])
    sets = {"as it is": [], **{name: [place] for place, name in enumerate(loadings)}, "all": list(range(len(beside)))}
    found = {}
    for name, places in sets.items():
        residual = ranks.copy()
        if places:
            # As `neutralise`, for all dates at once: ranks of one size, so that the products tell what is collinear.
            inverse = np.linalg.pinv(products[np.ix_(places, places)].transpose(2, 0, 1), rcond=1e-10, hermitian=True)
            slopes = np.einsum("dij,jd->id", inverse, onto[places])
            for slope, place in zip(slopes, places, strict=True):
                residual -= slope[:, None] * beside[place]
            left, size = (np.abs(one).max(axis=1, initial=0.0) for one in (residual, ranks))
            residual[left <= NOTHING_LEFT * size] = 0.0
        found[name] = rank_ic(np.where(missing, np.nan, residual), outcome, least)
    return found


def _centred_ranks(values: Matrix, missing: NDArray[np.bool_]) -> Matrix:
    """Return ranks among what is not missing, less their mean of the date; 0 where missing."""
    ranks = rank_rows(np.where(missing, np.nan, values))
    count = np.maximum((~missing).sum(axis=1, keepdims=True), 1)
    ranks = np.where(missing, 0.0, ranks)
    return np.where(missing, 0.0, ranks - ranks.sum(axis=1, keepdims=True) / count)


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
