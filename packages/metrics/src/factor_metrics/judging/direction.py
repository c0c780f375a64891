"""How well the sign of a forecast says the direction, beside always saying the commoner class."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import Matrix, as_matrix
from factor_metrics.judging.config import EvaluationConfig
from factor_metrics.labels import same_labels
from factor_metrics.scores.calibration import calibration_curve
from factor_metrics.scores.classification import accuracy, classification_scores
from factor_metrics.significance.summary import summarize


@dataclass(frozen=True, kw_only=True)
class DirectionScores:
    """Scores of a called direction over all dates and symbols; NaN = undefined."""

    accuracy: float
    """Share of directions that were called right."""
    majority_accuracy: float
    """The same for always calling the commoner class."""
    mcc: float
    """Matthews correlation."""
    f1: float
    """F1 of the class up."""
    auc: float
    """Area under the ROC curve."""
    share_up: float
    """Share of outcomes that went up."""
    calibration_error: float
    """Expected calibration error of the chances of up, in ten bins of as many cells (`calibration_curve`)."""
    num_directions: int
    """Cells with a forecast and an outcome."""
    accuracy_by_date: float
    """Mean over dates of each date's accuracy."""
    accuracy_by_date_low: float
    """Lower end of its block-bootstrap interval."""
    accuracy_by_date_high: float
    """Upper end."""

    def to_dict(self) -> dict[str, float]:
        """Return the scores by name in the order of the fields."""
        return asdict(self)


@same_labels("logit", "outcome")
def direction_scores(
    logit: ArrayLike, outcome: ArrayLike, *, horizon: int, config: EvaluationConfig | None = None
) -> DirectionScores:
    """Return pooled scores of the called direction, and its accuracy per date with an interval.

    Parameters
    ----------
    logit
        (num_dates, num_symbols), above 0 = up is called, NaN = missing. Its logistic function is the
        probability of up.
    outcome
        Of the same shape: 1 up, 0 down, NaN unknown. A cell counts where both are known.
    horizon
        Bars from entry to exit of the label, for the interval.
    config
        Level, resamples and seed of the interval; None takes the defaults.
    """
    config = config or EvaluationConfig()
    logit_DS = as_matrix("logit", logit)
    chance_DS = _logistic(logit_DS)
    pooled = classification_scores(chance_DS, outcome)
    called = np.where(np.isnan(logit_DS), np.nan, logit_DS > 0)
    by_date = summarize(accuracy(called, outcome), horizon, config.confidence, config.bootstrap, config.seed)
    return DirectionScores(
        accuracy=pooled.accuracy,
        majority_accuracy=pooled.majority_accuracy,
        mcc=pooled.mcc,
        f1=pooled.f1,
        auc=pooled.auc,
        share_up=pooled.share_up,
        calibration_error=calibration_curve(chance_DS, outcome, strategy="quantile").expected_calibration_error,
        num_directions=pooled.num_pairs,
        accuracy_by_date=by_date.mean,
        accuracy_by_date_low=by_date.ci_low,
        accuracy_by_date_high=by_date.ci_high,
    )


def _logistic(values: Matrix) -> Matrix:
    """Return 1 / (1 + exp(-x)); exactly 0 where exp(-x) exceeds a float."""
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-values))
