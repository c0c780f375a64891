"""One horizon's ensemble: models combined out of fold and judged, with floors, on the dates that have a stack."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data import FeatureStore, Panel
from factor_metrics import Evaluation, constant_share, prediction_correlation
from factor_models import StackResult, stack_oof
from stages.judge import attainable_rank_ic, best_floor_rank_ic, floor_signals, judge, judge_floors, summary
from stages.oof import OutOfFold
from stages.params import Params
from stages.run import RESULTS, StageError


@dataclass(frozen=True, kw_only=True)
class HorizonResult:
    """All there is to say of one horizon, on the dates that have a stack."""

    horizon: int
    dates: NDArray[np.datetime64]
    prediction: NDArray[np.float64]
    stack: Evaluation
    models: dict[str, Evaluation]
    floors: dict[str, Evaluation]
    weights: StackResult
    correlation: NDArray[np.float64]
    constant_shares: dict[str, float]
    attainable: NDArray[np.float64] | None
    """Per date, on a simulated market with a signal."""

    @property
    def mean_attainable(self) -> float:
        """Mean rank IC of the true expectation; NaN where it is not known."""
        return float("nan") if self.attainable is None else float(np.nanmean(self.attainable))


def combine(
    head: int, store: FeatureStore, panel: Panel, models: dict[str, OutOfFold], params: Params
) -> HorizonResult:
    """Stack one horizon and judge stack, models and floors on the dates that have a stack."""
    horizon, any_model = store.horizons[head], next(iter(models.values()))
    dates, fold = any_model.dates("test"), any_model.fold_of_date()
    predictions = np.stack([model.matrix(horizon, "test") for model in models.values()])
    label = store.matrix(store.labels[:, head], dates)
    num_symbols = label.shape[1]
    weights = stack_oof(
        predictions.reshape(len(models), -1),
        label.reshape(-1),
        np.repeat(np.searchsorted(store.dates, dates), num_symbols),
        np.repeat(fold, num_symbols),
        alpha=params.stack.alpha,
        purge=store.delay + horizon,
        positive=params.stack.positive,
    )
    stacked = weights.prediction.reshape(label.shape)
    scored = np.isfinite(stacked).any(axis=1)
    if not scored.any():
        raise StageError(
            f"horizon {horizon}: no fold has an earlier one to fit weights on; the stack needs two folds"
        )
    stacked, label, predictions, dates = stacked[scored], label[scored], predictions[:, scored], dates[scored]
    config = params.evaluate
    return HorizonResult(
        horizon=horizon,
        dates=dates,
        prediction=stacked,
        stack=judge(stacked, label, horizon, config),
        models={name: judge(predictions[i], label, horizon, config) for i, name in enumerate(models)},
        floors=judge_floors(floor_signals(panel, dates, config.seed), stacked, label, horizon, config),
        weights=weights,
        correlation=prediction_correlation(predictions, config.min_symbols),
        constant_shares={name: constant_share(predictions[i]) for i, name in enumerate(models)}
        | {"stack": constant_share(stacked)},
        attainable=attainable_rank_ic(RESULTS / "split" / "truth.parquet", horizon, dates),
    )


def stack_metrics(result: HorizonResult) -> dict[str, Any]:
    """The summary of a horizon; on a simulated market with what was attainable on the same dates."""
    metrics = summary(result.stack)
    metrics["best_floor_rank_ic"] = best_floor_rank_ic(result.floors)
    if result.attainable is not None:
        metrics["attainable_rank_ic"] = result.mean_attainable
        metrics["attained"] = metrics["rank_ic"] / result.mean_attainable
    return metrics
