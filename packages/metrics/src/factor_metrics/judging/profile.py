"""What a forecast does beyond its mean IC: quantile by quantile, how fast it fades, whether its scale is right.

Every mean comes with the block-bootstrap interval of its series per date, the same as for the IC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Matrix, Series, as_matrix, check_same_shape
from factor_metrics.information_coefficient.ic import rank_ic
from factor_metrics.information_coefficient.ic_decay import ICDecay, delay_decay, prediction_autocorrelation
from factor_metrics.judging.config import EvaluationConfig, LooseSettings, evaluation_config
from factor_metrics.kernel_cache import kernel
from factor_metrics.labels import same_labels
from factor_metrics.ordering.ordered import as_ordered
from factor_metrics.ordering.quantiles import quantile_of, quantile_returns
from factor_metrics.ordering.sums import group_sums, row_product, row_sum
from factor_metrics.significance.bootstrap import bootstrap_interval

DELAYS = (0, 1, 2, 5, 10, 20)


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimates:
    """Named means with their intervals: four sequences of one length; NaN where undefined."""

    names: tuple[str, ...]
    mean: Series
    low: Series
    high: Series


@dataclass(frozen=True, kw_only=True, eq=False)
class ScaleCalibration:
    """What was predicted beside what came, in bins of the prediction, lowest first."""

    predicted: Series
    """(num_bins,) mean prediction of each bin, less its date's mean."""
    realised: Estimates
    """(num_bins,) mean target of each bin, less its date's mean."""
    slope: Estimates
    """One number: the mean over dates of the slope of target on prediction. 1 = the scale is right, below 1 =
    forecasts are too far apart, 0 = they say nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """What a report shows of one forecast of one label."""

    quantiles: Estimates
    """Mean label per quantile of prediction, less the mean over the quantiles of the date."""
    label_decay: Estimates
    """Mean rank IC of this forecast against every label."""
    delay_decay: Estimates
    """Mean rank IC of the forecast that is so many dates old, against its own label."""
    autocorrelation: Estimates
    """Mean rank correlation of the forecast with that of so many dates before."""
    calibration: ScaleCalibration | None = None


def estimate(
    series: Mapping[str, Series],
    overlaps: Sequence[int],
    *,
    confidence: float = 0.95,
    num_bootstrap: int = 2000,
    seed: int = 0,
) -> Estimates:
    """Return mean and block-bootstrap interval of each named series (num_dates,); NaN dates are dropped.

    `overlaps` has one entry per series: over how many dates its labels overlap.
    """
    means, intervals = [], []
    for values, overlap in zip(series.values(), overlaps, strict=True):
        means.append(_mean(values))
        intervals.append(bootstrap_interval(values, overlap, confidence, num_bootstrap, seed))
    low, high = np.array(intervals, dtype=np.float64).reshape(-1, 2).T
    return Estimates(names=tuple(series), mean=np.array(means), low=low, high=high)


@same_labels("prediction", "target")
def calibration_series(prediction: ArrayLike, target: ArrayLike, num_bins: int = 10) -> tuple[Matrix, Matrix, Series]:
    """Return, per date, mean prediction and mean target of each bin of prediction, and the slope between them.

    Both are taken less the date's mean, so that what moves all symbols alike plays no part. The slope is the
    least-squares slope of target on prediction over the symbols of the date; its mean over dates is the estimate
    of Fama and MacBeth (1973), "Risk, return, and equilibrium: empirical tests".

    Parameters
    ----------
    prediction, target
        (num_dates, num_symbols) in the same unit, NaN = missing. Symbols where both are present count.
    num_bins
        Quantiles of the prediction, from 2 to num_symbols; ties as in `quantile_of`.

    Returns
    -------
    tuple
        (num_dates, num_bins) predicted, (num_dates, num_bins) realised, (num_dates,) slope. NaN for a date with
        fewer symbols than bins or a constant prediction, and for a bin that ties left empty.
    """
    ordered, y = as_ordered("prediction", prediction), as_matrix("target", target)
    x = ordered.values.astype(np.float64, copy=False)  # what is rounding goes by the type that both sides share
    check_same_shape("prediction", x, "target", y)
    bins = quantile_of(ordered.in_this_order(x, ~np.isnan(y)), num_bins)
    predicted, realised = np.full((len(x), num_bins), np.nan), np.full((len(x), num_bins), np.nan)
    slope = np.full(len(x), np.nan)
    _calibrate(x, np.ascontiguousarray(y), bins, predicted, realised, slope)
    return predicted, realised, slope


@kernel(nogil=True, error_model="numpy")
def _calibrate(
    x: Matrix, y: Matrix, bins: NDArray[np.int64], predicted: Matrix, realised: Matrix, slope: Series
) -> None:
    """Write what `calibration_series` returns."""
    (num_dates, num_symbols), num_bins = x.shape, predicted.shape[1]
    own_x, own_y, room = np.empty(num_symbols), np.empty(num_symbols), np.empty(num_symbols)
    for date in range(num_dates):
        count = 0
        for symbol in range(num_symbols):
            there = not (np.isnan(x[date, symbol]) or np.isnan(y[date, symbol]))
            own_x[symbol] = x[date, symbol] if there else 0.0
            own_y[symbol] = y[date, symbol] if there else 0.0
            count += there
        x_mean, y_mean = row_sum(own_x) / max(count, 1), row_sum(own_y) / max(count, 1)
        usable = False
        for symbol in range(num_symbols):
            there = not (np.isnan(x[date, symbol]) or np.isnan(y[date, symbol]))
            own_x[symbol] = own_x[symbol] - x_mean if there else 0.0
            own_y[symbol] = own_y[symbol] - y_mean if there else 0.0
            usable = usable or bins[date, symbol] >= 0
        if not usable:
            continue
        slope[date] = row_product(own_x, own_y, room) / row_product(own_x, own_x, room)
        members = np.zeros(num_bins)
        for symbol in range(num_symbols):
            if bins[date, symbol] >= 0:
                members[bins[date, symbol]] += 1.0
        for values, means in ((own_x, predicted), (own_y, realised)):
            sums = group_sums(values, bins[date], num_bins)
            for index in range(num_bins):
                if members[index] > 0.0:
                    means[date, index] = sums[index] / members[index]


@same_labels("prediction", "labels", "target")
def profile_forecast(
    prediction: ArrayLike,
    labels: Mapping[str, ArrayLike],
    label: str,
    target: ArrayLike | None = None,
    *,
    overlaps: Mapping[str, int],
    config: EvaluationConfig | None = None,
    num_bins: int | None = None,
    delays: Sequence[int] = DELAYS,
    **loose: Unpack[LooseSettings],
) -> Profile:
    """Return quantile means, decay, rank autocorrelation and calibration of one forecast, each mean with its interval.

    Parameters
    ----------
    prediction
        (num_dates, num_symbols), NaN = missing, dates in order.
    labels
        By name the labels that the forecast is held against, each of the same shape.
    label
        Name of its own label, one of them.
    target
        What the prediction was trained to equal, in its unit; None leaves calibration out.
    overlaps
        By name over how many dates the values of a label overlap.
    config
        How to judge; None takes the defaults of `EvaluationConfig`.
    num_bins
        Quantiles of the prediction in the calibration. None: 10, or the config's quantiles where most dates have
        fewer than 20 symbols.
    delays
        Ages of the forecast in dates, for its decay and, above 0, its autocorrelation; those that leave no date are
        dropped.
    **loose
        num_quantiles, min_symbols, confidence, num_bootstrap, seed: each takes the place of the config's number.

    Raises
    ------
    ValueError
        `labels` does not hold the forecast's own, or shapes differ.
    """
    config = evaluation_config(config, loose)
    if label not in labels:
        raise ValueError(f"labels must hold the forecast's own label {label}, got {list(labels)}")
    forecast = as_ordered("prediction", prediction)
    outcomes = {name: as_ordered(f"labels[{name!r}]", values) for name, values in labels.items()}
    own = outcomes[label]

    level, draws, seed = config.confidence, config.bootstrap, config.seed

    def estimated(series: Mapping[str, Series], each: Sequence[int] = ()) -> Estimates:
        return estimate(
            series, each or [overlaps[label]] * len(series), confidence=level, num_bootstrap=draws, seed=seed
        )

    symbols = np.isfinite(forecast.values).sum(axis=1)
    bins = num_bins or (10 if len(symbols) and np.median(symbols) >= 20 else config.quantiles)
    means = quantile_returns(forecast, own, config.quantiles)
    means = means - means.mean(axis=1, keepdims=True)
    across_labels = {name: rank_ic(forecast, one, config.min_symbols) for name, one in outcomes.items()}
    ages = [age for age in delays if age < len(own)]
    across_delays = delay_decay(forecast, own, ages, config.min_symbols)
    lags = [age for age in ages if age > 0]
    to_itself = {str(lag): prediction_autocorrelation(forecast, lag, config.min_symbols) for lag in lags}
    return Profile(
        quantiles=estimated(_columns(means)),
        label_decay=estimated(across_labels, [overlaps[name] for name in labels]),
        delay_decay=estimated(_steps(across_delays)),
        autocorrelation=estimated(to_itself, lags),
        calibration=None if target is None else _calibration(forecast, target, bins, estimated),
    )


def _calibration(
    prediction: ArrayLike,
    target: ArrayLike,
    num_bins: int,
    estimated: Callable[[Mapping[str, Series]], Estimates],
) -> ScaleCalibration:
    predicted, realised, slope = calibration_series(prediction, target, num_bins)
    return ScaleCalibration(
        predicted=np.array([_mean(column) for column in predicted.T]),
        realised=estimated(_columns(realised)),
        slope=estimated({"slope": slope}),
    )


def _columns(matrix: Matrix) -> dict[str, Series]:
    """Return the columns by their number, counted from 1."""
    return {str(column + 1): matrix[:, column] for column in range(matrix.shape[1])}


def _steps(decay: ICDecay) -> dict[str, Series]:
    """Return the series of each step by its number of bars."""
    return {str(step): series for step, series in zip(decay.steps, decay.ic, strict=True)}


def _mean(values: Series) -> float:
    """Return the mean of what is there; NaN where nothing is."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")
