"""Models of the cross-section of returns, their training through DeepSpeed ZeRO, and stacking.

`Engine` and the names of `factor_models.estimators` are loaded on first use: DeepSpeed and scikit-learn take seconds to
import, and most uses do without them.
"""

import importlib
from typing import TYPE_CHECKING, Any

from factor_models.card import count_flops, count_parameters, model_card
from factor_models.checkpoints import load_model, save_model
from factor_models.losses import (
    LOSSES,
    DistilledLoss,
    Loss,
    QuantileLoss,
    get_loss,
    is_classification,
    loss_config,
)
from factor_models.stacking import StackResult, rank_standardise, stack_oof
from factor_models.tabular import Table, TabularModel
from factor_models.training.cadence import CheckpointConfig, Keeper, StoppedError
from factor_models.training.distributed import Ranks, finish_distributed, start_distributed
from factor_models.training.engine_config import EngineConfig, ZeroConfig
from factor_models.training.guards import GuardConfig, MemoryExhaustedError
from factor_models.training.inputs import Batch, TensorBatch, input_tensor, tensor_batch
from factor_models.training.loop import (
    EpochRecord,
    FitResult,
    FitState,
    Rules,
    StepRecord,
    fit,
)
from factor_models.training.predict import gather_predictions, predict
from factor_models.training.replay import UpdateRule, replay_dates, update_due
from factor_models.training.resume import RunFolder, run_key
from factor_models.training.schedules import ScheduleOptions
from factor_models.training.seed import set_seed
from factor_models.training.warm_start import warm_start, warm_start_from_folder
from factor_models.uncertainty import ensemble_forecast, mc_dropout
from factor_models.zoo import (
    KLINE_MODELS,
    MODELS,
    available_models,
    build_model,
    input_kind,
    model_config,
    model_sizes,
)

if TYPE_CHECKING:
    from factor_models.estimators import FactorClassifier, FactorRegressor
    from factor_models.training.engine import Engine

__all__ = [
    "KLINE_MODELS",
    "LOSSES",
    "MODELS",
    "Batch",
    "CheckpointConfig",
    "DistilledLoss",
    "Engine",
    "EngineConfig",
    "EpochRecord",
    "FactorClassifier",
    "FactorRegressor",
    "FitResult",
    "FitState",
    "GuardConfig",
    "Keeper",
    "Loss",
    "MemoryExhaustedError",
    "QuantileLoss",
    "Ranks",
    "Rules",
    "RunFolder",
    "ScheduleOptions",
    "StackResult",
    "StepRecord",
    "StoppedError",
    "Table",
    "TabularModel",
    "TensorBatch",
    "UpdateRule",
    "ZeroConfig",
    "available_models",
    "build_model",
    "count_flops",
    "count_parameters",
    "ensemble_forecast",
    "finish_distributed",
    "fit",
    "gather_predictions",
    "get_loss",
    "input_kind",
    "input_tensor",
    "is_classification",
    "load_model",
    "loss_config",
    "mc_dropout",
    "model_card",
    "model_config",
    "model_sizes",
    "predict",
    "rank_standardise",
    "replay_dates",
    "run_key",
    "save_model",
    "set_seed",
    "stack_oof",
    "start_distributed",
    "tensor_batch",
    "update_due",
    "warm_start",
    "warm_start_from_folder",
]

_LOADED_LATER = {
    "Engine": "factor_models.training.engine",
    "FactorClassifier": "factor_models.estimators",
    "FactorRegressor": "factor_models.estimators",
}


def __getattr__(name: str) -> Any:
    if name in _LOADED_LATER:
        return getattr(importlib.import_module(_LOADED_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
