"""Calibration of probabilities: what share of the cells called 70 % went up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import Series, check_at_least
from factor_metrics.labels import same_labels
from factor_metrics.scores.classification import checked_forecast


@dataclass(frozen=True, kw_only=True)
class CalibrationCurve:
    """One number per bin of probability, lowest first; pooled over dates. NaN in an empty bin."""

    edges: Series
    """(num_bins + 1,) a bin holds the probabilities above its lower edge up to its upper one; the first also 0."""
    mean_probability: Series
    share_up: Series
    num_pairs: NDArray[np.int64]

    @property
    def expected_calibration_error(self) -> float:
        """Mean of |share_up - mean_probability| over cells; NaN without any.

        Naeini, Cooper and Hauskrecht (2015), "Obtaining well calibrated probabilities using Bayesian binning".
        """
        filled = self.num_pairs > 0
        if not filled.any():
            return float("nan")
        gap = np.abs(self.share_up - self.mean_probability)[filled]
        return float(np.average(gap, weights=self.num_pairs[filled]))


@same_labels("probability", "outcome")
def calibration_curve(
    probability: ArrayLike,
    outcome: ArrayLike,
    num_bins: int = 10,
    strategy: Literal["uniform", "quantile"] = "uniform",
) -> CalibrationCurve:
    """Return mean probability and share of ups per bin of probability, pooled over dates and symbols.

    Per date there are too few symbols for it. Bins are those of scikit-learn's function of this name.

    Parameters
    ----------
    probability, outcome
        (num_dates, num_symbols), in [0, 1] and of 0 and 1; NaN = missing. A cell counts where both are present.
    num_bins
        At least 1.
    strategy
        "uniform": bins of equal width; "quantile": of equal numbers of cells (fewer where values repeat).
    """
    check_at_least("num_bins", num_bins, 1)
    if strategy not in ("uniform", "quantile"):
        raise ValueError(f"strategy must be 'uniform' or 'quantile', got {strategy!r}")
    probability_DS, outcome_DS = checked_forecast(probability, outcome)
    present = ~np.isnan(probability_DS) & ~np.isnan(outcome_DS)
    probabilities, outcomes = probability_DS[present], outcome_DS[present]
    edges = np.linspace(0.0, 1.0, num_bins + 1)
    if strategy == "quantile" and len(probabilities):
        edges = np.percentile(probabilities, edges * 100.0)
    place = np.searchsorted(edges[1:-1], probabilities)
    count = np.bincount(place, minlength=num_bins)

    def mean_of(values: Series) -> Series:
        total = np.bincount(place, weights=values, minlength=num_bins)
        return np.divide(total, count, out=np.full(num_bins, np.nan), where=count > 0)

    return CalibrationCurve(
        edges=edges,
        mean_probability=mean_of(probabilities),
        share_up=mean_of(outcomes),
        num_pairs=count,
    )
