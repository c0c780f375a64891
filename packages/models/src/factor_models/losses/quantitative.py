"""The composite loss of factor forecasting: scale, IC aimed at, order and risk, weighted per target.

For target k: huber H + ic max(0, IC*_k - r) + rank (1 - soft Spearman) + risk rho_k P, with
P = volatility + extreme + leverage + turnover. All are computed on each date's cross-section and averaged over dates;
the loss is the mean over the targets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from torch import Tensor

from factor_models.checks import check_at_least
from factor_models.losses.base import Loss, Term, weighted_by_target
from factor_models.losses.correlation import ic_shortfall
from factor_models.losses.cross_section import CrossSections
from factor_models.losses.errors import huber
from factor_models.losses.ranks import rank_error
from factor_models.losses.regime import Regime, RegimeConfig, summed_dispersion
from factor_models.losses.risk import extreme, leverage, turnover, volatility
from factor_models.losses.tasks import LearnedWeights, TargetWeights, check_target_weights


@dataclass(frozen=True, kw_only=True)
class RiskBounds:
    """Up to where forecasts, read as positions, cost nothing; in the unit of the target."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    volatility: float = 0.1
    """Standard deviation of a date's forecasts."""
    extreme: float = 0.2
    """Size of one forecast."""
    leverage: float = 2.0
    """Largest size over mean size of a date's forecasts."""
    turnover: float = 0.001
    """Weight of the mean change of a symbol's forecast from bar to bar (linear, no bound)."""

    def __post_init__(self) -> None:
        check_at_least("RiskBounds", self, {"volatility": 0, "extreme": 0, "leverage": 0, "turnover": 0})


@dataclass(frozen=True, kw_only=True)
class QuantitativeConfig:
    """Weights, aims and bounds. What is per target is one number, or one per horizon in their order."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    huber: float = 0.1
    """Weight of the Huber term."""
    ic: float = 1.0
    """Weight of the missing IC."""
    rank: float = 0.2
    """Weight of the rank term."""
    risk: float = 0.1
    """Weight of the risk terms, times rho."""
    delta: float = 0.1
    """Where Huber's loss turns from square to straight, in the unit of the target."""
    temperature: float = 0.1
    """Of the soft ranks, in standard deviations of a date's forecasts."""
    target_ic: float | tuple[float, ...] = (0.08, 0.05, 0.03)
    """IC aimed at: beyond it nothing is gained."""
    rho: float | tuple[float, ...] = (1.2, 1.0, 0.8)
    """How much risk counts."""
    bounds: RiskBounds = field(default_factory=RiskBounds)
    """From where on risk costs."""
    regime: RegimeConfig | None = None
    """Weights that follow the dispersion of the targets; null: fixed."""
    target_weights: TargetWeights = None
    """Weights of the targets: null = 1, one per horizon, or learned."""

    def __post_init__(self) -> None:
        check_at_least("QuantitativeConfig", self, {"huber": 0, "ic": 0, "rank": 0, "risk": 0})
        for name in ("delta", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"QuantitativeConfig.{name} = {getattr(self, name)!r}: must be > 0")
        for value in _as_tuple(self.target_ic):
            if not 0 < value <= 1:
                raise ValueError(f"QuantitativeConfig.target_ic = {self.target_ic!r}: must be in (0, 1]")
        if min(_as_tuple(self.rho), default=0.0) < 0:
            raise ValueError(f"QuantitativeConfig.rho = {self.rho!r}: must not be negative")
        check_target_weights("QuantitativeConfig", self.target_weights)


class QuantitativeLoss(Loss):
    """The composite, with every term by name and target: huber_h1, ic_h1, rank_h1, volatility_h1 ... turnover_h20."""

    def __init__(self, config: QuantitativeConfig, targets: Sequence[str]) -> None:
        super().__init__()
        self.config, self.targets = config, tuple(targets)
        self.target_ic = per_target("QuantitativeConfig.target_ic", config.target_ic, targets)
        self.rho = per_target("QuantitativeConfig.rho", config.rho, targets)
        self.regime = None if config.regime is None else Regime(config.regime)
        learned = config.target_weights == "learned"
        self.weights: LearnedWeights | tuple[float, ...]
        if learned:
            self.weights = LearnedWeights(len(targets))
        else:
            weights = 1.0 if config.target_weights is None else config.target_weights
            assert not isinstance(weights, str)
            self.weights = per_target("QuantitativeConfig.target_weights", weights, targets)
        self.risk_terms: dict[str, Term] = {
            "volatility": partial(volatility, bound=config.bounds.volatility),
            "extreme": partial(extreme, bound=config.bounds.extreme),
            "leverage": partial(leverage, bound=config.bounds.leverage),
            "turnover": turnover,
        }

    def terms(self, prediction: Tensor, dates: CrossSections) -> dict[str, Tensor]:
        config = self.config
        rho_H = prediction.new_tensor(self.rho)
        ic_weight = config.ic + (self.regime.ic_weight() if self.regime else 0.0)
        risk_H = config.risk * rho_H + (self.regime.risk_weight() if self.regime else 0.0)
        values = {
            "huber": config.huber * dates.per_target(huber(prediction, dates, config.delta)),
            "ic": ic_weight * dates.per_target(ic_shortfall(prediction, dates, self.target_ic)),
            "rank": config.rank * dates.per_target(rank_error(prediction, dates, config.temperature)),
        }
        for name, term in self.risk_terms.items():
            factor = config.bounds.turnover if name == "turnover" else 1.0
            values[name] = risk_H * factor * dates.per_target(term(prediction, dates))
        return weighted_by_target(values, self.weights, self.targets, dates)

    def batch_statistic(self, target: Tensor, groups: Tensor, num_groups: int) -> Tensor | None:
        """Dispersion of the targets, if weights follow it."""
        if self.regime is None:
            return None
        return summed_dispersion(CrossSections(target, groups, num_groups)).reshape(1)

    def start_step(self, means: Sequence[float]) -> None:
        assert self.regime is not None
        self.regime.observe(means[0])


def per_target(name: str, value: float | Sequence[float], targets: Sequence[str]) -> tuple[float, ...]:
    """One number per target; ValueError unless there is one, or one for each."""
    values = _as_tuple(value)
    if len(values) == 1:
        values *= len(targets)
    if len(values) != len(targets):
        raise ValueError(
            f"{name} = {list(values)} has {len(values)} numbers: must be one, or one for each of {', '.join(targets)}"
        )
    return values


def _as_tuple(value: float | Sequence[float]) -> tuple[float, ...]:
    return (float(value),) if isinstance(value, int | float) else tuple(float(one) for one in value)
