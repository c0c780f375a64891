"""A network on one fold: its start weights, what decides its weights, its scores while it trains."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from dvclive.live import Live
from torch import Tensor, nn

from factor_models import Batch, Engine, FitResult, RunFolder
from stages.engine_fit import Training
from stages.fold import FoldRun
from stages.identity import digest
from stages.live_ic import LiveIC
from stages.params import TrainParams
from stages.progress import TrainingProgress
from stages.watch import Watch

log = logging.getLogger("factorcast.train")


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A trained fold."""

    model: nn.Module
    result: FitResult
    checkpoints: RunFolder


class NetworkFit:
    """Trains the network of a fold; `start` are the weights to begin with, None: new ones."""

    def __init__(self, fold_run: FoldRun, start: Mapping[str, Tensor] | None) -> None:
        self.run, self.start, self.settings = fold_run, start, fold_run.settings

    def fit(self, progress: TrainingProgress, live: Live | None, watch: Watch) -> Finished:
        """Train from where the last checkpoint is; the best epoch's network in evaluation mode."""
        model = self.run.new_network()
        if self.start is not None:
            inherit(model, self.start)
        training = self.training(model)
        if self.settings.distillation is not None:
            self.run.train_windows = self.run.windows("train", targets=self.run.with_teacher())
        result = training.run(progress, live, watch)
        self.run.best_epoch, self.run.notes = result.best_epoch, result.notes
        return Finished(model=model, result=result, checkpoints=training.folder)

    def training(self, model: nn.Module) -> Training:
        fold_run, settings = self.run, self.settings
        return Training(
            fold=fold_run.fold.index,
            network=model,
            loss=fold_run.loss,
            config=settings,
            epochs=settings.epochs,
            patience=settings.patience,
            steps_per_epoch=fold_run.steps_per_epoch,
            batches=fold_run.train_batches,
            most_pieces=-(-settings.batch_dates // fold_run.world_size),
            score=self.score,
            identity=identity(fold_run, self.start),
            checkpoint=settings.checkpoint,
            guard=settings.guard,
            describe=self.dates_of,
            shown=lambda record: self.rank_ic,
            reporter=self.live_ic,
        )

    def score(self, network: nn.Module) -> float:
        """What early stopping and the plateau look at: the rank IC on valid, or minus the loss there."""
        self.rank_ic = float(np.mean(list(self.run.valid_rank_ic(network).values())))
        return self.rank_ic if self.settings.stop_on == "rank_ic" else -self.run.valid_loss(network)

    def live_ic(self, engine: Engine, resumed: bool) -> LiveIC:
        fold_run = self.run
        return LiveIC(
            fold_run.name,
            fold_run.fold,
            fold_run.store,
            fold_run.targets,
            engine,
            fold_run.predict_rows,
            self.settings.live_ic,
            first=fold_run.rank == 0,
            resumed=resumed,
        )

    def dates_of(self, batch: Batch) -> str:
        """The dates of this process's share of a batch."""
        store = self.run.store
        dates = store.dates[store.date_code[batch.rows]]
        if len(dates) == 0:
            return "no dates"
        first, last = (np.datetime_as_string(date, unit="m") for date in (dates.min(), dates.max()))
        return f"dates {first} to {last}"


def inherit(model: nn.Module, start: Mapping[str, Tensor]) -> None:
    """Begin with the weights of an earlier fold; tables whose size is the fold's own (a vocabulary) begin anew."""
    own = model.state_dict()
    if missing := sorted(set(own) ^ set(start)):
        raise ValueError(f"train.start: the earlier fold's network has other weights, first {missing[0]}")
    fitting = {name: value for name, value in start.items() if value.shape == own[name].shape}
    for name in sorted(set(own) - set(fitting)):
        log.warning("train.start: %s has another shape in this fold and begins anew", name)
    model.load_state_dict(own | fitting)


def identity(fold_run: FoldRun, start: Mapping[str, Tensor] | None) -> dict[str, Any]:
    """What decides the weights besides the settings of the training."""
    texts = fold_run.texts
    return {
        "model": fold_run.model_config,
        "fold": fold_run.fold.describe(),
        "inputs": digest(fold_run.inputs),
        "targets": digest(fold_run.targets),
        "texts": None if texts is None else [digest(texts.vectors), digest(texts.bounds)],
        "weights": [None if one is None else digest(one) for one in vars(fold_run.weights).values()],
        "start": None
        if start is None
        else {name: digest(value.numpy()) for name, value in sorted(start.items())},
    }


def checkpoint_bytes(network: nn.Module, settings: TrainParams, folds: int) -> int:
    """What the checkpoints of a run take on disk at most: each fold keeps some, with Adam's moments and an anchor."""
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    kinds = 3 if settings.ema_decay is None else 4
    files = settings.checkpoint.keep + 1  # one is written before the oldest goes
    return folds * files * weights * (2 * kinds + 1)


def set_determinism(level: str) -> None:
    """`bitwise`: two runs give the same bytes. `fast`: kernels may be chosen by speed, and TF32 used (GPU only)."""
    if not torch.cuda.is_available():
        return  # on a CPU what the models use is deterministic anyway, and the switch takes seconds to load
    bitwise = level == "bitwise"
    torch.use_deterministic_algorithms(bitwise)
    torch.backends.cudnn.benchmark = not bitwise
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not bitwise
