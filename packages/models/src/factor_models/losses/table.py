"""The losses by name, and the settings of each. A new loss is one file and one entry in the table."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

from factor_models.checks import nearest
from factor_models.losses.base import Loss, Term, TermLoss
from factor_models.losses.classification import bce, focal, hinge
from factor_models.losses.correlation import ic, ic_shortfall
from factor_models.losses.errors import huber, mae, mse
from factor_models.losses.ordering import listnet, ranknet
from factor_models.losses.quantile import QuantileLoss
from factor_models.losses.quantitative import QuantitativeConfig, QuantitativeLoss, per_target
from factor_models.losses.ranks import rank_error
from factor_models.losses.tasks import TargetWeights, check_target_weights


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What every loss may be told."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    target_weights: TargetWeights = None
    """Weights of the targets: null = 1, one per horizon, or learned (Kendall et al. 2018)."""

    def __post_init__(self) -> None:
        check_target_weights(type(self).__name__, self.target_weights)


@dataclass(frozen=True, kw_only=True)
class HuberConfig(LossConfig):
    """Settings of huber."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    delta: float = 1.0
    """Where square turns into straight, in the unit of the target."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(self, "delta")


@dataclass(frozen=True, kw_only=True)
class TargetICConfig(LossConfig):
    """Settings of target_ic."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    target_ic: float | tuple[float, ...] = 0.05
    """IC aimed at: one number, or one per horizon."""

    def __post_init__(self) -> None:
        super().__post_init__()
        values = self.target_ic if isinstance(self.target_ic, tuple) else (self.target_ic,)
        if not values or not all(0 < value <= 1 for value in values):
            raise ValueError(f"TargetICConfig.target_ic = {self.target_ic!r}: must be in (0, 1]")


@dataclass(frozen=True, kw_only=True)
class RankConfig(LossConfig):
    """Settings of rank."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    temperature: float = 0.1
    """Softness of the ranks, in standard deviations of a date's forecasts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(self, "temperature")


@dataclass(frozen=True, kw_only=True)
class ListNetConfig(LossConfig):
    """Settings of listnet."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    temperature: float = 1.0
    """Of the softmax of the targets, in their unit: the lower, the more the best symbols decide."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(self, "temperature")


@dataclass(frozen=True, kw_only=True)
class QuantileConfig(LossConfig):
    """Settings of quantile."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    levels: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 0.9)
    """Rising, an odd number, the middle one 0.5."""

    def __post_init__(self) -> None:
        super().__post_init__()
        levels = self.levels
        rising = all(low < high for low, high in zip((0.0, *levels), (*levels, 1.0), strict=True))
        if not rising or len(levels) % 2 == 0 or levels[len(levels) // 2] != 0.5:
            raise ValueError(
                f"QuantileConfig.levels = {list(levels)}: must rise within (0, 1), an odd number, the middle one 0.5"
            )


@dataclass(frozen=True, kw_only=True)
class FocalConfig(LossConfig):
    """Settings of focal."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    gamma: float = 2.0
    """How much less counts what is sure already; 0: as in bce."""
    alpha: float | None = None
    """Weight of the ups, 1 - alpha that of the downs; null: 1 and 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.gamma >= 0:
            raise ValueError(f"FocalConfig.gamma = {self.gamma!r}: must be >= 0")
        if self.alpha is not None and not 0 < self.alpha < 1:
            raise ValueError(f"FocalConfig.alpha = {self.alpha!r}: must be in (0, 1)")


class LossEntry(NamedTuple):
    """What the table knows of a loss."""

    config: type
    """Its settings, a dataclass."""
    build: Callable[[Any, Sequence[str]], Loss]
    """build(settings, names of the targets)."""
    is_classification: bool = False
    """Needs directions as targets; its forecasts are logits."""


def _of_term(name: str, term: Term) -> Callable[[LossConfig, Sequence[str]], Loss]:
    return lambda config, targets: TermLoss({name: term}, _weights(config, targets), targets)


def _mse_ic(config: LossConfig, targets: Sequence[str]) -> Loss:
    """Even mix: the first pins the scale, the second the order."""
    return TermLoss({"mse_ic": {mse: 0.5, ic: 0.5}}, _weights(config, targets), targets)


def _huber(config: HuberConfig, targets: Sequence[str]) -> Loss:
    return _of_term("huber", partial(huber, delta=config.delta))(config, targets)


def _target_ic(config: TargetICConfig, targets: Sequence[str]) -> Loss:
    if isinstance(config.target_ic, tuple):
        per_target("TargetICConfig.target_ic", config.target_ic, targets)
    return _of_term("target_ic", partial(ic_shortfall, target_ic=config.target_ic))(config, targets)


def _rank(config: RankConfig, targets: Sequence[str]) -> Loss:
    return _of_term("rank", partial(rank_error, temperature=config.temperature))(config, targets)


def _listnet(config: ListNetConfig, targets: Sequence[str]) -> Loss:
    return _of_term("listnet", partial(listnet, temperature=config.temperature))(config, targets)


def _focal(config: FocalConfig, targets: Sequence[str]) -> Loss:
    return _of_term("focal", partial(focal, gamma=config.gamma, alpha=config.alpha))(config, targets)


def _quantile(config: QuantileConfig, targets: Sequence[str]) -> Loss:
    return QuantileLoss(config.levels, _weights(config, targets), targets)


LOSSES: dict[str, LossEntry] = {
    "mse": LossEntry(LossConfig, _of_term("mse", mse)),
    "mae": LossEntry(LossConfig, _of_term("mae", mae)),
    "huber": LossEntry(HuberConfig, _huber),
    "ic": LossEntry(LossConfig, _of_term("ic", ic)),
    "mse_ic": LossEntry(LossConfig, _mse_ic),
    "target_ic": LossEntry(TargetICConfig, _target_ic),
    "rank": LossEntry(RankConfig, _rank),
    "listnet": LossEntry(ListNetConfig, _listnet),
    "ranknet": LossEntry(LossConfig, _of_term("ranknet", ranknet)),
    "quantile": LossEntry(QuantileConfig, _quantile),
    "quantitative": LossEntry(QuantitativeConfig, QuantitativeLoss),
    "bce": LossEntry(LossConfig, _of_term("bce", bce), is_classification=True),
    "focal": LossEntry(FocalConfig, _focal, is_classification=True),
    "hinge": LossEntry(LossConfig, _of_term("hinge", hinge), is_classification=True),
}


def loss_config(name: str) -> type:
    """The dataclass of a loss's settings; ValueError lists the names."""
    return _entry(name).config


def is_classification(name: str) -> bool:
    """Whether the loss needs directions (1 up, 0 down) as targets; its forecasts are logits then."""
    return _entry(name).is_classification


def get_loss(name: str, targets: Sequence[str] = (), **settings: Any) -> Loss:
    """The loss of that name.

    Parameters
    ----------
    name : see `LOSSES`; ValueError for an unknown one names the nearest
    targets : names of the targets in the report ("h1", "h5"); a loss with settings per target needs them
    settings : fields of the loss's settings (`loss_config`), all with defaults

    >>> get_loss("huber", delta=0.5).outputs_per_target
    1
    """
    entry = _entry(name)
    fields = [field.name for field in dataclasses.fields(entry.config)]
    if unknown := [key for key in settings if key not in fields]:
        raise ValueError(f"loss {name!r} has no setting {unknown[0]!r}: {nearest(unknown[0], fields)}")
    config = entry.config(**settings)
    if not targets and (name == "quantitative" or config.target_weights is not None):
        raise ValueError(f"loss {name!r} has settings per target: it needs the names of the targets")
    return entry.build(config, tuple(targets))


def _entry(name: str) -> LossEntry:
    if name not in LOSSES:
        raise ValueError(f"loss {name!r} is unknown: {nearest(name, LOSSES)}")
    return LOSSES[name]


def _weights(config: LossConfig, targets: Sequence[str]) -> Sequence[float] | str | None:
    weights = config.target_weights
    if weights is None or isinstance(weights, str):
        return weights
    return per_target(f"{type(config).__name__}.target_weights", weights, targets)


def _check_positive(config: object, name: str) -> None:
    value = getattr(config, name)
    if not value > 0:
        raise ValueError(f"{type(config).__name__}.{name} = {value!r}: must be > 0")
