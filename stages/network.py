"""A network on one fold through the engine: start weights, checkpoints, what is logged, and what was met on the way."""

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from dvclive.live import Live
from torch import Tensor, nn

from factor_models import (
    Batch,
    Engine,
    EpochRecord,
    FitResult,
    FitState,
    Keeper,
    MemoryExhaustedError,
    Rules,
    RunFolder,
    StepRecord,
    fit,
    run_key,
    set_seed,
)
from stages.fold import FoldRun
from stages.identity import CHECKPOINTS, code_digest, decisive, digest
from stages.launch import OUT_OF_MEMORY
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

    def __init__(
        self,
        fold_run: FoldRun,
        progress: TrainingProgress,
        live: Live | None,
        watch: Watch,
        start: Mapping[str, Tensor] | None,
    ) -> None:
        self.run, self.settings, self.live, self.watch = fold_run, fold_run.settings, live, watch
        self.progress, self.first = progress, fold_run.rank == 0
        set_seed(self.settings.seed)
        model = fold_run.new_network()
        if start is not None:
            inherit(model, start)
        self.model = model
        self.folder = RunFolder(
            CHECKPOINTS, run_key(**identity(fold_run, start)), self.settings.checkpoint.keep
        )

    def fit(self) -> Finished:
        """Train from where the last checkpoint is; the best epoch's network in evaluation mode."""
        settings, fold_run = self.settings, self.run
        self.engine = Engine(self.model, fold_run.loss, settings, fold_run.num_steps, self.dates_of)
        if settings.distillation is not None:
            fold_run.train_windows = fold_run.windows("train", targets=fold_run.with_teacher())
        most_pieces = -(-settings.batch_dates // fold_run.world_size)
        for _ in range(self.folder.shortages()):
            self.note(self.engine.shrink(most_pieces) or "every measure against a lack of memory is taken")
        if self.folder.shortages():
            self.engine.restore(self.engine.state())
        state = self.folder.restore(self.engine)
        for record in state.history if state else []:
            self.log(record)  # a run that goes on logs the epochs before it was killed as well
        self.live_ic = self.make_live_ic(resumed=state is not None)
        keeper = Keeper(self.folder, self.engine, settings.checkpoint, self.watch.stop_requested)
        rules = Rules(
            epochs=settings.epochs,
            patience=settings.patience,
            plateau=settings.schedule_options if settings.schedule == "plateau" else None,
            guard=settings.guard,
            most_pieces=most_pieces,
        )
        try:
            result = fit(
                self.engine,
                fold_run.train_batches,
                self.score,
                rules,
                on_step=[self.after_step, keeper.after_step],
                on_epoch=[self.after_epoch, keeper.after_epoch],
                on_note=self.note,
                state=state,
            )
        except MemoryExhaustedError as error:
            self.start_again_with_less(error)
        self.engine.close()
        self.model.load_state_dict(result.state_dict)
        return Finished(
            model=self.model.to(self.engine.device).eval(), result=result, checkpoints=self.folder
        )

    def score(self, network: nn.Module) -> float:
        """What early stopping and the plateau look at: higher is better."""
        self.watch.beat()
        scores = self.run.valid_rank_ic(network)
        self.rank_ic = float(np.mean(list(scores.values())))
        score = self.rank_ic if self.settings.stop_on == "rank_ic" else -self.run.valid_loss(network)
        self.watch.beat()
        return score

    def after_step(self, step: StepRecord, state: FitState) -> None:
        self.watch.beat()
        self.progress.step(step, state)
        self.live_ic.after_step()

    def after_epoch(self, record: EpochRecord, state: FitState) -> None:
        self.progress.epoch(record, self.rank_ic)
        log.info("fold %d %s, rank IC %.4f", self.run.fold.index, record, self.rank_ic)
        self.live_ic.report()
        self.log(record)
        self.watch.beat()

    def note(self, sentence: str) -> None:
        log.warning("fold %d: %s", self.run.fold.index, sentence)
        if self.first:
            self.progress.note(sentence)

    def log(self, record: EpochRecord) -> None:
        if not self.live:
            return
        self.live.step = record.epoch
        terms = record.terms if len(record.terms) > 1 else {}
        values = {"loss": record.loss, **terms, "score": record.score, "lr": record.lr}
        for metric, value in values.items():
            self.live.log_metric(f"fold_{self.run.fold.index}/{metric}", value)
        self.live.next_step()

    def make_live_ic(self, resumed: bool) -> LiveIC:
        fold_run = self.run
        return LiveIC(
            fold_run.name,
            fold_run.fold,
            fold_run.store,
            fold_run.targets,
            self.engine,
            fold_run.predict_rows,
            self.settings.live_ic,
            first=self.first,
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

    def start_again_with_less(self, error: MemoryExhaustedError) -> None:
        """One of several processes is out of memory: all start again, with one measure more against it."""
        self.folder.note_shortage()
        print(f"{error}: starting again with less memory", file=sys.stderr, flush=True)
        os._exit(OUT_OF_MEMORY)  # the others wait in an exchange that this one will not join


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
    """All that decides the weights, and nothing else."""
    texts = fold_run.texts
    return {
        "model": fold_run.model_config,
        "train": decisive(fold_run.settings),
        "fold": fold_run.fold.describe(),
        "inputs": digest(fold_run.inputs),
        "targets": digest(fold_run.targets),
        "texts": None if texts is None else [digest(texts.vectors), digest(texts.bounds)],
        "weights": [None if one is None else digest(one) for one in vars(fold_run.weights).values()],
        "start": None
        if start is None
        else {name: digest(value.numpy()) for name, value in sorted(start.items())},
        "code": code_digest(),
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
