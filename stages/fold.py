"""One model on one fold: its data, its fit, its out-of-fold predictions. The part of train that knows the packages."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from dvclive import Live
from factor_data import Batch, FeatureStore, Fold, Segment, WindowDataset
from factor_metrics import rank_ic
from factor_models import (
    Engine,
    EpochRecord,
    FitState,
    RunFolder,
    build_model,
    fit,
    gather_predictions,
    get_loss,
    input_kind,
    predict,
    run_key,
)
from numpy.typing import NDArray
from torch import nn

from stages import ROOT
from stages.params import Params
from stages.progress import TrainingProgress

CHECKPOINTS = Path(".checkpoints")


class FoldRun:
    """A model, a fold, and this process's share of the work."""

    def __init__(self, name: str, params: Params, store: FeatureStore, fold: Fold, rank: int, world_size: int) -> None:
        self.name, self.config, self.store, self.fold = name, params.zoo[name], store, fold
        self.train, self.num_tokens = params.train, params.tokenize.num_tokens
        self.rank, self.world_size = rank, world_size
        self.kind = input_kind(name)
        self.scores: dict[int, float] = {}
        self.best_epoch: int | None = None
        sizes = {"num_features": self.inputs.shape[1], "num_horizons": len(store.horizons)}
        if self.kind == "tokens":
            sizes["num_tokens"] = store.tokenizer(fold.index).num_tokens
        self.model_config: dict[str, Any] = {"name": name, **sizes, **asdict(self.config)}

    @cached_property
    def inputs(self) -> NDArray:
        read = self.store.tokens if self.kind == "tokens" else self.store.inputs
        return read(self.fold.index)

    @cached_property
    def targets(self) -> NDArray[np.float32]:
        return self.store.targets(self.train.target)

    def windows(self, segment: Segment) -> WindowDataset:
        """The samples of a segment."""
        return WindowDataset(
            self.inputs,
            self.targets,
            getattr(self.config, "lookback", 1),
            symbol_code=self.store.symbol_code,
            date_code=self.store.date_code,
            rows=self.store.rows(self.fold, segment),
        )
