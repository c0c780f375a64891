"""Predictions of one horizon judged in full: what models, stack and floors all go through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import check_at_least
from factor_metrics.floors.comparison import best_floor
from factor_metrics.information_coefficient.ic import ic, rank_ic
from factor_metrics.inline import inline_html, inline_table
from factor_metrics.judging.config import EvaluationConfig, LooseSettings, evaluation_config
from factor_metrics.judging.scores import Scores
from factor_metrics.labels import same_labels
from factor_metrics.ordering.ordered import as_ordered
from factor_metrics.ordering.quantiles import quantile_returns, spread
from factor_metrics.scores.turnover import turnover
from factor_metrics.significance.summary import ICSummary, format_interval, summarize


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

    def __repr__(self) -> str:
        found = self.rank_ic_summary
        return (
            f"Evaluation({found.num_dates} of {len(self.rank_ic)} dates, rank IC {found.mean:+.4f} "
            f"{format_interval(found.ci_low, found.ci_high)}, t {found.t_stat:.1f})"
        )

    def _repr_html_(self) -> str:
        scores = self.scores().to_dict()
        facts = {"dates": len(self.rank_ic), "quantiles": self.quantile_returns.shape[1]}
        rows = [(name.replace("_", " "), value) for name, value in scores.items() if np.isfinite(value)]
        return inline_html("Evaluation", facts, inline_table(["", "value"], rows))

    @property
    def spread(self) -> NDArray[np.float64]:
        """Top minus bottom quantile return per date."""
        return spread(self.quantile_returns)

    def scores(self) -> Scores:
        """Return the numbers that a person compares; `ci_low` and `ci_high` bound the mean rank IC."""
        rank = self.rank_ic_summary
        return Scores(
            ic=self.ic_summary.mean,
            rank_ic=rank.mean,
            ci_low=rank.ci_low,
            ci_high=rank.ci_high,
            icir=rank.icir,
            t_stat=rank.t_stat,
            p_value=rank.p_value,
            effective_dates=rank.effective_dates,
            naive_t_stat=rank.naive_t_stat,
            hit_rate=rank.hit_rate,
            spread=_mean(self.spread),
            turnover=_mean(self.turnover),
            num_dates=rank.num_dates,
        )


@same_labels("prediction", "label")
def evaluate_predictions(
    prediction: ArrayLike,
    label: ArrayLike,
    *,
    horizon: int,
    config: EvaluationConfig | None = None,
    **loose: Unpack[LooseSettings],
) -> Evaluation:
    """Judge predictions (num_dates, num_symbols) of one horizon against its label; NaN = missing.

    Intervals and t-statistics allow for labels that overlap over `horizon` dates.

    Parameters
    ----------
    prediction, label
        (num_dates, num_symbols), NaN = missing.
    horizon
        Bars from entry to exit of the label.
    config
        How to judge; None takes the defaults of `EvaluationConfig`.
    **loose
        num_quantiles, min_symbols, confidence, num_bootstrap, seed: each takes the place of the config's number.

    Raises
    ------
    ValueError
        Shapes differ, or there are more quantiles than symbols.
    """
    config = evaluation_config(config, loose)
    forecast, outcome = as_ordered("prediction", prediction), as_ordered("label", label)
    per_date = ic(forecast, outcome, config.min_symbols)
    per_date_rank = rank_ic(forecast, outcome, config.min_symbols)
    interval = (config.confidence, config.bootstrap, config.seed)
    return Evaluation(
        ic=per_date,
        rank_ic=per_date_rank,
        quantile_returns=quantile_returns(forecast, outcome, config.quantiles),
        turnover=turnover(forecast, config.quantiles, horizon),
        ic_summary=summarize(per_date, horizon, *interval),
        rank_ic_summary=summarize(per_date_rank, horizon, *interval),
    )


@same_labels("predictions", "labels")
def evaluate_horizons(
    predictions: Sequence[NDArray] | NDArray,
    labels: Sequence[NDArray] | NDArray,
    *,
    horizons: Sequence[int],
    config: EvaluationConfig | None = None,
    num_threads: int = 1,
    **loose: Unpack[LooseSettings],
) -> dict[int, Evaluation]:
    """Judge one prediction per horizon against its label: `evaluate_predictions` for each, by horizon.

    Parameters
    ----------
    predictions, labels
        (num_horizons, num_dates, num_symbols) or a sequence of as many matrices; NaN = missing.
    horizons
        Bars from entry to exit, unique, one for each matrix.
    config, **loose
        As in `evaluate_predictions`.
    num_threads
        Horizons judged at once. The result does not depend on it; the memory in use grows with it.
    """
    check_at_least("num_threads", num_threads, 1)
    if not len(predictions) == len(labels) == len(horizons) == len(set(horizons)):
        raise ValueError(
            "predictions, labels and horizons must be one for each horizon, horizons unique, "
            f"got {len(predictions)}, {len(labels)} and {list(horizons)}"
        )

    config = evaluation_config(config, loose)

    def judge(place: int) -> Evaluation:
        return evaluate_predictions(predictions[place], labels[place], horizon=horizons[place], config=config)

    with ThreadPoolExecutor(num_threads) as pool:
        return dict(zip(horizons, pool.map(judge, range(len(horizons))), strict=True))


def best_floor_rank_ic(floors: Mapping[str, Evaluation]) -> float:
    """Return the mean rank IC of the floor that is hardest to beat (`best_floor`); ValueError without a floor."""
    return floors[best_floor({name: floor.rank_ic for name, floor in floors.items()})].rank_ic_summary.mean


def _mean(values: NDArray[np.float64]) -> float:
    """Return the mean over the defined dates; NaN where there is none."""
    return float("nan") if np.isnan(values).all() else float(np.nanmean(values))
