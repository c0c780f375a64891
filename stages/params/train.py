"""Section `train`: how models are fitted.

Some of its keys decide nothing about a result (`KEYS_IN_NO_PLAN`): they stand in no plan and are read when a model is
trained. A tabular model is fitted with few of the keys (`stages.params.tabular`): the others are not in its plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from factor_data import Augmentation, TargetKind, WeightParams, WindowRules
from factor_models import (
    CheckpointConfig,
    DistilledLoss,
    EngineConfig,
    GuardConfig,
    available_models,
    get_loss,
    input_kind,
    is_classification,
    loss_config,
    model_config,
)
from factor_models.checks import nearest
from factor_models.zoo import MOST_SEEDS
from stages.params.checking import validate
from stages.params.rules import MOST_THREADS, check_at_least, check_at_most
from stages.params.tabular import NoSignal
from stages.running.stage import StageError

KEYS_IN_NO_PLAN = ("checkpoint", "live_ic")
"""Keys that change no number: when a run is saved, when it reports."""


@dataclass(frozen=True, kw_only=True)
class LiveICParams:
    """Section `train.live_ic`: when the IC is reported while a network trains, besides at the end of each epoch."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    every_steps: int | None
    """Optimiser steps after which another report is due; null: steps do not count."""
    every_minutes: float | None
    """Minutes after which another report is due; null: time does not count."""

    def __post_init__(self) -> None:
        for name in ("every_steps", "every_minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}: {value} must be > 0")


@dataclass(frozen=True, kw_only=True)
class DistillationParams:
    """Section `train.distillation`: null, or which model teaches the networks."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    teacher: str
    """A tabular model."""
    settings: dict[str, Any]
    """Its settings, as in its section of zoo; here, so that changing that section does not rerun every network."""
    share: float
    """Share of the teacher in the loss, in (0, 1]; the rest is the label's."""
    blocks: int = 5
    """Blocks of training dates, each forecast by a teacher fitted on the others."""
    temperature: float = 1.0
    """Divides the logits of network and teacher (target: direction only)."""

    def __post_init__(self) -> None:
        if self.teacher not in available_models():
            raise ValueError(f"teacher: {self.teacher!r} is unknown; {nearest(self.teacher, available_models())}")
        if input_kind(self.teacher) != "last_bar":
            raise ValueError(f"teacher: {self.teacher} is a network; a tabular model is needed")
        validate(model_config(self.teacher), self.settings, where="settings.")
        if not 0 < self.share <= 1:
            raise ValueError(f"share: {self.share} must be in (0, 1]")
        if self.blocks < 2:
            raise ValueError(f"blocks: {self.blocks} must be >= 2")
        if not self.temperature > 0:
            raise ValueError(f"temperature: {self.temperature} must be > 0")


@dataclass(frozen=True, kw_only=True)
class TrainParams(EngineConfig):
    """Section `train`: how every model is trained; the engine's fields and the loop's."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    seed: int
    """Seed of the first weights, dropout and the order of dates."""
    seeds: int = 1
    """Networks trained from as many seeds, from `seed` on, whose forecasts are averaged; K-line models have one."""
    batch_dates: int
    """Dates in one optimiser step, over all processes; every batch holds whole cross-sections."""
    epochs: int
    """Largest number of passes over the training dates."""
    patience: int
    """Epochs without a better validation rank IC before training stops."""
    loss: str
    """A name of docs/losses.md."""
    loss_settings: Any = field(default_factory=dict)
    """Settings of the loss; those that are not given have their defaults."""
    target: TargetKind
    """Per-date transform of the label that models are fitted to, or its direction by the label's own rule."""
    consecutive_dates: int = 1
    """Dates are shuffled in runs of so many consecutive ones; above 1, the turnover term sees changes from bar
    to bar."""
    weights: WeightParams | None = None
    """How much windows and dates of training count; null: all the same."""
    windows: WindowRules | None = None
    """Which windows networks learn and predict from; null: all that have their bars."""
    distillation: DistillationParams | None = None
    """A tabular model whose forecasts networks learn from besides the labels; null: none."""
    augmentation: Augmentation | None
    """Changes made to training windows of networks (tokens are masked only); null: none."""
    live_ic: LiveICParams
    """IC in and out of sample while a network trains, as files in .live/."""
    threads: int
    """CPU threads of one process: part of the experiment, because it decides rounding."""
    stop_on: Literal["rank_ic", "loss", "auc"] = "rank_ic"
    """Criterion on the valid dates of early stopping, the plateau and the choice of the epoch."""
    start: Literal["cold", "previous", "best_previous"] = "cold"
    """Weights a fold begins with: new ones, those of the fold before, or of the best fold before (by `stop_on`)."""
    replay: float | None = None
    """With start: previous, a fold after the first learns from the dates that no fold before has, and from old ones
    drawn at random, which are this share of all, in [0, 1); null: from all dates of the fold."""
    determinism: Literal["bitwise", "fast"] = "bitwise"
    """bitwise: two runs give the same bytes; fast: kernels may be chosen by speed (a difference on a GPU only)."""
    no_signal: NoSignal = "leave_out"
    """A model whose forecasts are constant on every valid date of a fold has no part in the stack, or ends the run."""
    guard: GuardConfig = field(default_factory=GuardConfig)
    """What happens when a loss or gradient is not finite."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """How often a run is saved; it decides nothing about the result."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, batch_dates=1, epochs=1, patience=1, threads=1, seed=0, seeds=1, consecutive_dates=1)
        check_at_most(self, threads=MOST_THREADS, seeds=MOST_SEEDS)
        if self.batch_dates % self.consecutive_dates:
            raise ValueError(
                f"consecutive_dates: {self.consecutive_dates} must divide batch_dates = {self.batch_dates}"
            )
        if self.replay is not None and not 0 <= self.replay < 1:
            raise ValueError(f"replay: {self.replay} must be in [0, 1)")
        if self.replay is not None and self.start != "previous":
            raise ValueError(f"replay: {self.replay} updates the weights of the fold before: it needs start: previous")
        try:
            loss_config(self.loss)
        except ValueError as error:
            raise ValueError(f"loss: {error}") from None


PER_LABEL = ("target_ic", "rho", "target_weights")
"""Settings of losses that may have a number per label: a mapping by name, or a list in the order of the labels."""


@dataclass(frozen=True, kw_only=True)
class ListedLabels:
    """Names of the labels in two orders."""

    listed: tuple[str, ...]
    """As params.yaml lists them."""
    heads: tuple[str, ...]
    """As models have their heads, whatever the list (`factor_data.in_head_order`)."""


def parse_train(document: Any, heads: tuple[str, ...], where: str) -> TrainParams:
    """The section as it stands in a plan, where what is per label is in the order of the heads."""
    return read_train(document, ListedLabels(listed=heads, heads=heads), where)


def read_train(document: Any, labels: ListedLabels, where: str) -> TrainParams:
    """The section as it is written; the settings of its loss as their own object, in the order of the heads."""
    train: TrainParams = validate(TrainParams, document, where)
    return with_loss_settings(train, labels, where)


def with_loss_settings(train: TrainParams, labels: ListedLabels, where: str) -> TrainParams:
    """The settings of the loss as its configuration object; StageError unless loss, target and teacher suit."""
    given = train.loss_settings
    if isinstance(given, Mapping):
        given = {
            key: in_heads(value, key, labels, where) if key in PER_LABEL else value for key, value in given.items()
        }
    settings = validate(loss_config(train.loss), given, where=f"{where}loss_settings.")
    checked = replace(train, loss_settings=settings)
    try:
        check_loss(checked, labels.heads)
    except ValueError as error:
        raise StageError(f"{where}{error}") from None
    return checked


def in_heads(value: Any, key: str, labels: ListedLabels, where: str) -> Any:
    """A setting that has a number per label, by name or in their listed order, in the order of the heads."""
    if isinstance(value, Mapping):
        if set(value) != set(labels.heads):
            raise StageError(
                f"{where}loss_settings.{key}: names {', '.join(map(str, value))}, labels are {', '.join(labels.listed)}"
            )
        return [value[name] for name in labels.heads]
    if isinstance(value, list | tuple) and len(value) == len(labels.listed):
        return [value[labels.listed.index(name)] for name in labels.heads]
    return value


def check_loss(train: TrainParams, heads: tuple[str, ...]) -> None:
    """Loss, its settings, target and distillation belong together; ValueError names the key and the rule."""
    is_direction = train.target == "direction"
    if is_classification(train.loss) and not is_direction:
        raise ValueError(f"loss: {train.loss} needs directions, target: {train.target} gives none; use direction")
    if is_direction and not is_classification(train.loss):
        raise ValueError(f"loss: {train.loss} does not suit target: direction; use bce, focal or hinge")
    if train.stop_on == "auc" and not is_direction:
        raise ValueError(f"stop_on: auc needs directions, target: {train.target} gives none; use rank_ic or loss")
    if train.distillation is not None and train.loss == "hinge":
        raise ValueError("distillation: hinge has no chances that a teacher's could be compared with; use bce or focal")
    regime = getattr(train.loss_settings, "regime", None)
    if regime is not None and train.target not in ("raw", "demeaned"):
        raise ValueError(
            f"loss_settings.regime: follows the dispersion of the targets, which target: {train.target} makes the same "
            "on every date; use raw or demeaned"
        )
    share = None if train.distillation is None else train.distillation.share
    try:
        loss = get_loss(train.loss, heads, **vars(train.loss_settings))
        if share is not None:
            DistilledLoss(loss, share, None)
    except ValueError as error:
        raise ValueError(f"loss_settings: {error}") from None
