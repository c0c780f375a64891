"""What is left of an IC where the model has not seen the data: in-sample against out-of-sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import as_series, check_share
from factor_metrics.inline import inline_html, inline_table
from factor_metrics.significance.distributions import normal_equivalent, student_t_quantile
from factor_metrics.significance.mean_test import MeanTest, mean_test


@dataclass(frozen=True, kw_only=True)
class SampleComparison:
    """Mean IC in and out of sample and what was lost on the way. NaN = undefined."""

    in_sample: float
    """Mean IC over the dates that the model was fitted or chosen on."""
    out_of_sample: float
    """Mean IC over the dates that it was not."""
    degradation: float
    """in_sample - out_of_sample."""
    degradation_t_stat: float
    """t of the degradation on the normal scale, the two samples taken as independent; NaN where either has no t."""
    retention: float
    """out_of_sample / in_sample; NaN unless in_sample is positive."""
    overfitting_risk: Literal["high", "low", "unknown"]
    """"high" where degradation exceeds the threshold, "unknown" where it is undefined."""
    num_in_sample: int
    """Dates with a defined IC in sample."""
    num_out_of_sample: int
    """Dates with a defined IC out of sample."""

    def _repr_html_(self) -> str:
        rows = [
            ["in sample", self.in_sample, self.num_in_sample],
            ["out of sample", self.out_of_sample, self.num_out_of_sample],
            ["lost", self.degradation, None],
        ]
        facts = {"risk of overfitting": self.overfitting_risk, "t of the loss": self.degradation_t_stat}
        return inline_html("SampleComparison", facts, inline_table(["", "mean IC", "dates"], rows))


def compare_samples(
    in_sample_ic: ArrayLike, out_of_sample_ic: ArrayLike, horizon: int = 1, threshold: float = 0.05
) -> SampleComparison:
    """Return degradation, retention and the risk flag of an IC series in and out of sample.

    Parameters
    ----------
    in_sample_ic, out_of_sample_ic
        (num_dates,) each, over different dates, in time order; NaN dates are dropped.
    horizon
        Bars from entry to exit of the label, for the standard errors (`mean_test`).
    threshold
        Degradation above it is a high risk of overfitting. In units of IC, at least 0.

    Examples
    --------
    >>> compared = compare_samples([0.10, 0.14], [0.02, 0.04])
    >>> round(compared.degradation, 6), round(compared.retention, 6), compared.overfitting_risk
    (0.09, 0.25, 'high')
    """
    if not threshold >= 0.0:
        raise ValueError(f"threshold must be at least 0, got {threshold!r}")
    inside = mean_test(as_series("in_sample_ic", in_sample_ic), horizon)
    outside = mean_test(as_series("out_of_sample_ic", out_of_sample_ic), horizon)
    degradation = inside.mean - outside.mean
    risk: Literal["high", "low", "unknown"] = "high" if degradation > threshold else "low"
    return SampleComparison(
        in_sample=inside.mean,
        out_of_sample=outside.mean,
        degradation=degradation,
        degradation_t_stat=_t_of_difference(inside, outside),
        retention=outside.mean / inside.mean if inside.mean > 0.0 else math.nan,
        overfitting_risk="unknown" if math.isnan(degradation) else risk,
        num_in_sample=_num_defined(in_sample_ic),
        num_out_of_sample=_num_defined(out_of_sample_ic),
    )


def surely_lost(
    in_sample_ic: ArrayLike, out_of_sample_ic: ArrayLike, horizon: int = 1, confidence: float = 0.95
) -> float:
    """Return the lower end of the two-sided interval of the degradation; the degradation where either has no t.

    Arguments are those of `compare_samples`. A gap whose lower end is above a bound exceeds it beyond its own noise.
    """
    check_share("confidence", confidence)
    inside = mean_test(as_series("in_sample_ic", in_sample_ic), horizon)
    outside = mean_test(as_series("out_of_sample_ic", out_of_sample_ic), horizon)
    if inside.undefined or outside.undefined:
        return inside.mean - outside.mean
    error, degrees = _error_of_difference(inside, outside)
    return inside.mean - outside.mean + student_t_quantile((1.0 - confidence) / 2.0, degrees) * error


def _t_of_difference(one: MeanTest, other: MeanTest) -> float:
    """Return the t of the difference of two independent means on the normal scale."""
    if one.undefined or other.undefined:
        return math.nan
    error, degrees = _error_of_difference(one, other)
    return normal_equivalent((one.mean - other.mean) / error, degrees)


def _error_of_difference(one: MeanTest, other: MeanTest) -> tuple[float, float]:
    """Return standard error and degrees of freedom of the difference of two independent means: Welch (1947)."""
    squares = one.standard_error**2, other.standard_error**2
    degrees = sum(squares) ** 2 / (squares[0] ** 2 / one.degrees + squares[1] ** 2 / other.degrees)
    return math.sqrt(sum(squares)), degrees


def _num_defined(series: ArrayLike) -> int:
    return int(np.count_nonzero(~np.isnan(np.asarray(series, dtype=np.float64))))
