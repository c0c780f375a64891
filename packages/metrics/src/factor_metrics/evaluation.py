"""Predictions of one horizon judged in full: what models, stack and floors all go through."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factor_metrics.checks import check_at_least
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


def evaluate_horizons(
    predictions: Sequence[NDArray] | NDArray,
    labels: Sequence[NDArray] | NDArray,
    *,
    horizons: Sequence[int],
    num_quantiles: int = 5,
    min_symbols: int = 10,
    confidence: float = 0.95,
    num_bootstrap: int = 2000,
    seed: int = 0,
    num_threads: int = 1,
) -> dict[int, Evaluation]:
    """Judge one prediction per horizon against its label: `evaluate_predictions` for each, by horizon.

    Parameters
    ----------
    predictions, labels
        (num_horizons, num_dates, num_symbols) or a sequence of as many matrices; NaN = missing.
    horizons
        Bars from entry to exit, unique, one for each matrix.
    num_threads
        Horizons judged at once. The result does not depend on it; the memory in use grows with it.
    """
    check_at_least("num_threads", num_threads, 1)
    if not len(predictions) == len(labels) == len(horizons) == len(set(horizons)):
        raise ValueError(
            "predictions, labels and horizons must be one for each horizon, horizons unique, "
            f"got {len(predictions)}, {len(labels)} and {list(horizons)}"
        )

    def judge(place: int) -> Evaluation:
        return evaluate_predictions(
            predictions[place],
            labels[place],
            horizon=horizons[place],
            num_quantiles=num_quantiles,
            min_symbols=min_symbols,
            confidence=confidence,
            num_bootstrap=num_bootstrap,
            seed=seed,
        )

    with ThreadPoolExecutor(num_threads) as pool:
        return dict(zip(horizons, pool.map(judge, range(len(horizons))), strict=True))
