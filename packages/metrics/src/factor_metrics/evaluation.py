"""Predictions of one horizon judged in full: what models, stack and floors all go through."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factor_metrics.ic import ic, rank_ic
from factor_metrics.quantiles import quantile_returns, spread
from factor_metrics.summary import ICSummary, summarize
from factor_metrics.turnover import turnover


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Per-date series (num_dates,), NaN where undefined, and what they come to."""

    ic: NDArray[np.float64]
    """Pearson correlation per date."""
    rank_ic: NDArray[np.float64]
    """Spearman correlation per date."""
    quantile_returns: NDArray[np.float64]
    """(num_dates, num_quantiles) mean label per quantile of prediction, lowest first."""
    turnover: NDArray[np.float64]
    """Share of the top and bottom quantile that was not there one horizon earlier."""
    ic_summary: ICSummary
    rank_ic_summary: ICSummary

    @property
    def spread(self) -> NDArray[np.float64]:
        """Top minus bottom quantile return per date."""
        return spread(self.quantile_returns)


def evaluate_predictions(
    prediction: NDArray,
    label: NDArray,
    *,
    horizon: int,
    num_quantiles: int = 5,
    min_symbols: int = 10,
    confidence: float = 0.95,
    num_bootstrap: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Judge predictions (num_dates, num_symbols) of one horizon against its label; NaN = missing.

    Intervals and t-statistics allow for labels that overlap over `horizon` dates. ValueError where shapes
    differ or num_quantiles exceeds num_symbols.
    """
    per_date, per_date_rank = ic(prediction, label, min_symbols), rank_ic(prediction, label, min_symbols)
    return Evaluation(
        ic=per_date,
        rank_ic=per_date_rank,
        quantile_returns=quantile_returns(prediction, label, num_quantiles),
        turnover=turnover(prediction, num_quantiles, horizon),
        ic_summary=summarize(per_date, horizon, confidence, num_bootstrap, seed),
        rank_ic_summary=summarize(per_date_rank, horizon, confidence, num_bootstrap, seed),
    )
