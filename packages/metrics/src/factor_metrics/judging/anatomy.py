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
from factor_metrics.judging.anatomy_results import Anatomy
from factor_metrics.judging.config import EvaluationConfig
from factor_metrics.judging.neutral import ALL, neutral_ranks
from factor_metrics.judging.profile import DELAYS, Estimates, estimate
from factor_metrics.labels import same_labels
from factor_metrics.ordering.ordered import OrderedMatrix, as_ordered
from factor_metrics.ordering.quantiles import quantile_of
from factor_metrics.trailing import trailing_beta, trailing_mean

SIZE, VOLATILITY = "money traded", "volatility"
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
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
    forecast, outcome = as_ordered("prediction", prediction), as_ordered("label", label)
    check_same_shape("prediction", forecast.values, "label", outcome.values)
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
    loadings = {name: as_ordered(name, values) for name, values in known.items()}
    stamps = np.asarray(dates)
    day = (stamps.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    month = stamps.astype("datetime64[M]").astype(np.int64) % 12
    alone = neutral_ranks(forecast, loadings, group)
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


def _by_age(residual: OrderedMatrix | None, outcome: OrderedMatrix, least: int) -> dict[str, Series]:
    """Return the rank IC by the age of the forecast in dates; nothing without a forecast."""
    if residual is None:
        return {}
    decay = delay_decay(residual, outcome, [delay for delay in DELAYS if delay < len(outcome)], least)
    return {str(step): series for step, series in zip(decay.steps, decay.ic, strict=True)}


def _by_tercile(
    forecast: OrderedMatrix, outcome: OrderedMatrix, values: OrderedMatrix | None, least: int
) -> dict[str, Series]:
    if values is None or forecast.shape[1] < len(TERCILES):
        return {}
    both = ~(np.isnan(forecast.values) | np.isnan(outcome.values))
    tercile = quantile_of(values.where(both), len(TERCILES))
    inside = {name: tercile == number for number, name in enumerate(TERCILES)}
    few = max(2, least // len(TERCILES))
    return {name: rank_ic(forecast.where(mine), outcome, few) for name, mine in inside.items() if mine.any()}


def _by_code(per_date: Series, code: NDArray[np.int64], names: Sequence[str]) -> dict[str, Series]:
    """Return the series of each code that occurs; nothing where all dates have the same."""
    there = [int(one) for one in np.unique(code)]
    return {names[one]: np.where(code == one, per_date, np.nan) for one in there} if len(there) > 1 else {}
