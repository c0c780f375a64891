"""IC in and out of sample while a network trains, as files beside the run: .live/<model>/fold_00/latest.json.

They hold wall-clock times, so they are no output of the stage. In sample are the last dates of training, out of sample
the valid dates; both are predicted anew for each report.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import nn

from factor_data import FeatureStore, Fold, Segment
from factor_metrics import LiveICReporter, Sample, record_system_figures
from factor_models import Engine
from stages.params.train import LiveICParams

LIVE = Path(".live")
MAX_DATES = 100  # of each sample

SAMPLES: tuple[tuple[Segment, Sample], ...] = (("train", "in_sample"), ("valid", "out_of_sample"))

Predict = Callable[[nn.Module, Segment, int], tuple[np.ndarray, np.ndarray]]


class LiveIC:
    """Reports on one fold. All processes predict; the first one keeps the time and writes."""

    def __init__(
        self,
        model: str,
        fold: Fold,
        store: FeatureStore,
        targets: np.ndarray,
        engine: Engine,
        predict: Predict,
        config: LiveICParams,
        min_symbols: int,
        first: bool,
        resumed: bool,
    ) -> None:
        self.date_code, self.targets, self.engine = store.date_code, targets, engine
        self.predict, self.config = predict, config
        self.folder = LIVE / model / f"fold_{fold.index:02d}"
        self.reporter: LiveICReporter | None = None
        if first:
            if not resumed:
                shutil.rmtree(self.folder, ignore_errors=True)  # of an earlier run
            self.reporter = LiveICReporter(
                self.folder,
                list(store.heads),
                horizons=[store.overlap(label) for label in store.heads],
                every_steps=config.every_steps,
                every_minutes=config.every_minutes,
                max_dates=MAX_DATES,
                min_symbols=min_symbols,
            )

    def after_step(self) -> None:
        """Report if it is time; which the first process decides, by its clock."""
        if self.config.every_steps is None and self.config.every_minutes is None:
            return
        reason = None
        if self.reporter:
            self.reporter.num_steps = self.engine.step
            reason = self.reporter.due()
        if self.engine.agree(reason is not None):
            self.report(reason or "")

    def report(self, reason: str = "epoch") -> None:
        """Predict both samples with the current weights and write."""
        model = self.engine.current_model()
        for segment, sample in SAMPLES:
            rows, values = self.predict(model, segment, MAX_DATES)
            if self.reporter:
                self.reporter.add(sample, self.date_code[rows], values, self.targets[rows])
        if self.reporter:
            self.reporter.num_steps = self.engine.step
            self.reporter.report_now(reason)
            record_system_figures(self.folder / "system.jsonl")
