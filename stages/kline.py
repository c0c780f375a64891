"""What the K-line stages share: bars of the cleaned panel, windows of a fold, and one fit through the engine."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from dvclive.live import Live
from numpy.typing import NDArray
from torch import nn

from factor_data import Fold, Panel, Segment
from factor_models import (
    CheckpointConfig,
    Engine,
    EngineConfig,
    EpochRecord,
    FitResult,
    FitState,
    GuardConfig,
    Keeper,
    Rules,
    RunFolder,
    StepRecord,
    fit,
    get_loss,
    run_key,
    set_seed,
)
from factor_models.kline import COLUMNS, KlineBars, KlineBatch, kline_bars, normalise, stamp_features
from stages.identity import CHECKPOINTS, code_digest, decisive
from stages.progress import TrainingProgress
from stages.run import RESULTS
from stages.watch import Watch


class KlineData:
    """Adjusted bars of the cleaned panel; what is missing in a bar leaves the bar out (see `KlineBars`)."""

    def __init__(self, panel: Panel) -> None:
        self.dates = panel.dates
        columns = {name: panel.adjusted(name) for name in COLUMNS[:-1]}
        if "amount" in panel.columns:
            columns["amount"] = panel.columns["amount"]
        self.bars: KlineBars = kline_bars(columns, panel.symbol_code, panel.date_code)
        self.stamps = stamp_features(pd.DatetimeIndex(panel.dates))

    def windows(self, ends: NDArray[np.int64], lookback: int, ahead: int, clip: float) -> NDArray[np.float32]:
        """Normalised bars (W, lookback + ahead, 6)."""
        return normalise(self.bars.read(ends, lookback, ahead), lookback, clip)[0]


def read_kline_data() -> KlineData:
    return KlineData(Panel.load(RESULTS / "split" / "panel"))


def fold_ends(
    data: KlineData, fold: Fold, segment: Segment, lookback: int, ahead: int, every: int = 1
) -> NDArray[np.int64]:
    """Windows to train on (all of it on training dates) or to compare on (what is predicted on valid dates).

    Of the segment's dates every n-th is the last of a lookback. ValueError where no window is left.
    """
    dates = np.isin(data.dates, fold.dates(segment))
    ends = data.bars.ends_within(dates, lookback, ahead, lookback + ahead if segment == "train" else ahead)
    rank = np.cumsum(dates)[data.bars.date_code[ends]]
    ends = ends[rank % every == 0]
    if not len(ends):
        raise ValueError(
            f"fold {fold.index}: no window of {lookback} + {ahead} complete bars fits the {len(fold.dates(segment))} "
            f"{segment} dates"
        )
    return ends


@dataclass(frozen=True, kw_only=True)
class Training:
    """One fit: what is trained, on what, for how long."""

    network: nn.Module
    config: EngineConfig
    epochs: int
    patience: int
    seed: int
    batches: Callable[[int, int], Iterable[KlineBatch]]
    """(epoch, first step) -> this process's batches from that step on."""
    most_pieces: int
    """Dates in a process's share of a batch."""
    steps_per_epoch: int
    score: Callable[[nn.Module], float]
    identity: dict[str, Any]
    """With the code, all that decides the weights."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)

    @cached_property
    def folder(self) -> RunFolder:
        """Where a killed run goes on."""
        fixed = {"train": decisive(self.config), "epochs": self.epochs, "patience": self.patience}
        key = run_key(**fixed, seed=self.seed, **self.identity, code=code_digest())
        return RunFolder(CHECKPOINTS, key, self.checkpoint.keep)

    def run(self, progress: TrainingProgress, live: Live | None, watch: Watch, fold: int) -> FitResult:
        """Train `network` in place, up to its best epoch."""
        set_seed(self.seed)
        progress.start_fold(fold)
        engine = Engine(self.network, get_loss("mse"), self.config, self.epochs * self.steps_per_epoch)
        state = self.folder.restore(engine)
        for record in state.history if state else []:
            log_epoch(record, live, fold)
        keeper = Keeper(self.folder, engine, self.checkpoint, watch.stop_requested)

        def after_step(step: StepRecord, state: FitState) -> None:
            watch.beat()
            progress.step(step, state)

        def after_epoch(record: EpochRecord, state: FitState) -> None:
            watch.beat()
            progress.epoch(record, record.score)
            log_epoch(record, live, fold)

        plateau = self.config.schedule_options if self.config.schedule == "plateau" else None
        result = fit(
            engine,
            self.batches,
            self.score,
            Rules(
                epochs=self.epochs,
                patience=self.patience,
                plateau=plateau,
                guard=self.guard,
                most_pieces=self.most_pieces,
            ),
            on_step=[after_step, keeper.after_step],
            on_epoch=[after_epoch, keeper.after_epoch],
            on_note=progress.note,
            state=state,
        )
        engine.close()
        self.network.load_state_dict(result.state_dict)
        self.network.to(engine.device).eval()
        return result


def log_epoch(record: EpochRecord, live: Live | None, fold: int) -> None:
    """Loss, its terms, valid score and rate of an epoch."""
    if live:
        live.step = record.epoch
        values = {"loss": record.loss, **record.terms, "score": record.score, "lr": record.lr}
        for metric, value in values.items():
            live.log_metric(f"fold_{fold}/{metric}", value)
        live.next_step()


def fold_folder(folder: Path, fold: int) -> Path:
    return folder / f"fold_{fold:02d}"
