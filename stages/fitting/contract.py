"""Contract of a model on a fold: prepare, fit, predict, save. Three families keep it.

`stages.fitting.tabular` fits linear models and trees, `stages.fitting.network` networks of features, tokens and news,
`stages.kline.predictor` the K-line model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from factor_data import Fold, Segment
from stages.scoring import ValidScores

if TYPE_CHECKING:
    from dvclive.live import Live

    from stages.processes.process import Train
    from stages.processes.progress import TrainingProgress
    from stages.processes.watch import Watch
    from stages.running.planned import Plan


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Predictions of a fitted model for a segment."""

    frame: pd.DataFrame
    """The long frame of `stages.predictions`."""
    judged: ValidScores | None = None
    """Rank IC on the valid dates; None for other segments."""
    table: pd.DataFrame | None = None
    """Further columns beside the same keys: levels of quantiles, statistics of paths."""
    seeds: pd.DataFrame | None = None
    """Forecasts of the test dates by each seed of a network of several, with the seed in a column."""

    @property
    def scores(self) -> dict[str, float]:
        """Mean rank IC per label for the valid dates; empty for others."""
        return {} if self.judged is None else self.judged.rank_ic


class Fitted(Protocol):
    """A model that is fitted on a fold."""

    def predict(self, segment: Segment) -> Predictions:
        """Out-of-fold predictions of a segment. Of the valid dates with their score."""
        ...

    def save(self, folder: Path, valid: Predictions, test: Predictions) -> None:
        """Write all that a user of the model needs, and what it was worth on the valid dates."""
        ...

    def discard_checkpoints(self) -> None:
        """Delete what a killed run would have gone on from: the results are safe."""
        ...


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Surroundings of a fit: display, logging, watch, earlier folds."""

    progress: TrainingProgress
    live: Live | None
    """DVCLive of the first process."""
    watch: Watch | None
    """Watch of a process that trains a network; None for other models."""
    earlier: Sequence[Fitted]
    """The folds before, in order: a fold may begin with their weights."""


class FoldModel(Protocol):
    """A model on a fold, its inputs at hand."""

    @property
    def fold(self) -> Fold:
        """Return the fold with its dates."""

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole fit; 1 where there are none."""
        ...

    def fit(self, conditions: Conditions) -> Fitted:
        """Fit on the training windows, with the validation windows to stop by."""


class Family(Protocol):
    """A kind of model."""

    @property
    def score_name(self) -> str:
        """Name of the score that is displayed per epoch."""
        ...

    def prepare(self, name: str, plan: Plan, rank: int, world_size: int) -> list[FoldModel]:
        """The model on every fold, in order. What cannot be fitted is refused here, before the first fit."""
        ...

    def start(self, name: str, plan: Plan, only: int | None, train: Train) -> None:
        """Run `train` in this process or in as many as the environment asks for."""
        ...
