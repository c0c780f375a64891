"""The composite loss of factor forecasting: scale, IC aimed at, order and risk, weighted per target.

For target k: huber H + ic max(0, IC*_k - r) + rank (1 - soft Spearman) + risk rho_k P, with
P = volatility + extreme + leverage + turnover. All are computed on each date's cross-section and averaged over dates;
the loss is the mean over the targets.
"""

from __future__ import annotations

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
from factor_models.losses.settings import (
    TargetWeights,
    as_tuple,
    check_positive,
    check_target_ic,
    check_target_weights,
    per_target,
)
from factor_models.losses.tasks import LearnedWeights


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
        check_at_least(self, {"volatility": 0, "extreme": 0, "leverage": 0, "turnover": 0})


@dataclass(frozen=True, kw_only=True)
class QuantitativeConfig:
    """Weights, aims and bounds. What is per target is one number, or one per label in the order of the heads."""

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
    """Error at which Huber's loss turns from square to straight, in the unit of the target."""
    temperature: float = 0.1
    """Temperature of the soft ranks, in standard deviations of a date's forecasts."""
    target_ic: float | tuple[float, ...] = (0.08, 0.05, 0.03)
    """IC aimed at: beyond it nothing is gained."""
    rho: float | tuple[float, ...] = (1.2, 1.0, 0.8)
    """How much risk counts."""
    bounds: RiskBounds = field(default_factory=RiskBounds)
    """From where on risk costs."""
    regime: RegimeConfig | None = None
    """Weights that follow the dispersion of the targets; null: fixed."""
    target_weights: TargetWeights = None
    """Weights of the targets: null = 1, one per label, or learned."""

    def __post_init__(self) -> None:
        check_at_least(self, {"huber": 0, "ic": 0, "rank": 0, "risk": 0})
        check_positive(self, "delta", "temperature")
        check_target_ic(self.target_ic)
        if min(as_tuple(self.rho), default=0.0) < 0:
            raise ValueError(f"rho = {self.rho!r}: must not be negative")
        check_target_weights(self.target_weights)


class QuantitativeLoss(Loss):
    """The composite, with every term by name and target: huber_h1, ic_h1, rank_h1, volatility_h1 ... turnover_h20."""

    def __init__(self, config: QuantitativeConfig, targets: Sequence[str]) -> None:
        super().__init__()
        self.config, self.targets = config, tuple(targets)
        self.target_ic = per_target("target_ic", config.target_ic, targets)
        self.rho = per_target("rho", config.rho, targets)
        self.regime = None if config.regime is None else Regime(config.regime)
        learned = config.target_weights == "learned"
        self.weights: LearnedWeights | tuple[float, ...]
        if learned:
            self.weights = LearnedWeights(len(targets))
        else:
            weights = 1.0 if config.target_weights is None else config.target_weights
            assert not isinstance(weights, str)
            self.weights = per_target("target_weights", weights, targets)
        self.risk_terms: dict[str, Term] = {
            "volatility": partial(volatility, bound=config.bounds.volatility),
            "extreme": partial(extreme, bound=config.bounds.extreme),
            "leverage": partial(leverage, bound=config.bounds.leverage),
            "turnover": turnover,
        }

    def terms(self, prediction: Tensor, dates: CrossSections) -> dict[str, Tensor]:
        """Return the named terms, weighted and averaged over dates."""
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
        """Pass the dispersion of the whole batch to the regime."""
        assert self.regime is not None
        self.regime.observe(means[0])
