"""IC in and out of sample while a network trains, as files beside the run: .live/<model>/fold_00/latest.json.

They hold wall-clock times, so they are no output of the stage. In sample are the last dates of training, out of sample
the valid dates; both are predicted anew for each report. A report is made after so many steps or minutes, at the end of
an epoch, and after the next step once the file `ASKED` lies in .live/<model>/ (`make live-ic MODEL=...`).

Beside them, in `STEPS`, DVCLive keeps loss, terms and rate of every step. They are no output either: a run that was
killed and goes on has to give the same outputs as one that was not.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from dvclive.live import Live
from torch import nn

from factor_data import FeatureStore, Fold, Segment
from factor_data.store import fold_folder
from factor_data.whole_file import write_bytes
from factor_metrics import LiveICReporter, Sample, record_system_figures
from factor_models import Engine, StepRecord
from stages.params.train import LiveICParams
from stages.scoring import Scoring

LIVE = Path(".live")
MAX_DATES = 100  # of each sample
ASKED = "asked"
LOCK = "lock"
"""File in a model's folder that a training of all its folds holds."""
STEPS = "steps"
DEMAND = "demand"

SAMPLES: tuple[tuple[Segment, Sample], ...] = (("train", "in_sample"), ("valid", "out_of_sample"))

Predict = Callable[[nn.Module, Segment, int], tuple[np.ndarray, np.ndarray]]


class LiveIC:
    """Reports on one fold. All processes predict; the first one keeps the time and writes."""

    def __init__(  # noqa: PLR0913 -- all that a report is of
        self,
        model: str,
        fold: Fold,
        store: FeatureStore,
        targets: np.ndarray,
        engine: Engine,
        predict: Predict,
        config: LiveICParams,
        scoring: Scoring,
        first: bool,
        resumed: bool,
        suffix: str = "",
    ) -> None:
        # Scored over time, a sample is one cross-section of all its cells.
        self.date_code = np.zeros_like(store.date_code) if scoring.over_time else store.date_code
        self.targets, self.engine = targets, engine
        self.predict, self.config = predict, config
        folder = fold_folder(LIVE / model, fold.index)
        self.folder = folder.with_name(folder.name + suffix)
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
                min_symbols=scoring.min_symbols,
            )
            self.asked = self.folder.parent / ASKED
            self.asked.unlink(missing_ok=True)  # of a run that has ended
            drop_steps(self.folder / STEPS, engine.step)
            self.steps = Live(str(self.folder / STEPS), save_dvc_exp=False, dvcyaml=None, report=None, resume=resumed)

    def after_step(self, step: StepRecord) -> None:
        """Keep the step's loss, and report if it is time; which the first process decides, by its clock."""
        reason = None
        if self.reporter:
            self.steps.step = self.engine.step
            for name, value in {"loss": step.loss, **step.terms, "lr": step.lr}.items():
                self.steps.log_metric(name, value)
            self.reporter.num_steps = self.engine.step
            reason = self.reporter.due()
            if self.asked.exists():
                self.asked.unlink()
                reason = DEMAND
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
            self.steps.make_summary()
            record_system_figures(self.folder / "system.jsonl")


def drop_steps(folder: Path, done: int) -> None:
    """Take away what a killed run has logged of steps after its last checkpoint: they are made again."""
    for path in (folder / "plots" / "metrics").glob("*.tsv"):
        header, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
        place = header.rstrip("\n").split("\t").index("step")
        kept = [row for row in rows if int(row.rstrip("\n").split("\t")[place]) <= done]
        write_bytes(path, "".join([header, *kept]).encode())
