"""How forecasts are judged, and what a stack must reach: settings alone, which load nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypedDict

from factor_metrics.checks import check_at_least, check_share


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Settings that every forecast, model or floor, is judged with.

    Raises
    ------
    ValueError
        A number is out of its range; the message names field, value and rule.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    quantiles: int = 5
    """Groups of symbols by prediction, lowest to highest; at least 2."""
    min_symbols: int = 10
    """Symbols that a date needs to have an IC; at least 2."""
    confidence: float = 0.95
    """Two-sided level of every interval, in (0, 1)."""
    bootstrap: int = 2000
    """Resamples of the block bootstrap; at least 1."""
    seed: int = 0
    """Seed of the resamples; at least 0."""

    def __post_init__(self) -> None:
        """Refuse numbers out of their range."""
        check_at_least("quantiles", self.quantiles, 2)
        check_at_least("min_symbols", self.min_symbols, 2)
        check_share("confidence", self.confidence)
        check_at_least("bootstrap", self.bootstrap, 1)
        check_at_least("seed", self.seed, 0)


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Bounds that one metric must keep; at least one of both ends."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    minimum: float | None = None
    """At least."""
    maximum: float | None = None
    """At most."""

    def __post_init__(self) -> None:
        """Refuse a threshold without a finite end, or with ends in the wrong order."""
        ends = [end for end in (self.minimum, self.maximum) if end is not None]
        if not ends or not all(math.isfinite(end) for end in ends):
            raise ValueError(
                f"a threshold needs a finite minimum or maximum, got {self.minimum!r} and {self.maximum!r}"
            )
        if len(ends) == 2 and ends[0] > ends[1]:
            raise ValueError(f"minimum must be at most maximum, got {ends[0]!r} and {ends[1]!r}")


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """Thresholds for promotion."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    min_oof_rows: int = 10_000
    """Out-of-fold predictions behind the stack, at least."""
    confidence: float = 0.95
    """Familywise level of the intervals, in (0, 1)."""
    min_t_stat: float = 3.0
    """t of the stack's rank IC (`mean_test`), at least (3: Harvey, Liu and Zhu, 2016)."""
    max_overfit_gap: float = 0.05
    """Mean valid minus mean test rank IC of any model, at most; held against the lower end of its interval."""
    max_absent_share: float = 0.5
    """Share of the stack's rows for which a model has no forecast that tells symbols apart, at most; in [0, 1]."""
    max_auc_gap: float = 0.05
    """Where forecasts are scored over time: difference between the valid and the test AUC of any model, at most."""
    max_calibration_error: float = 0.1
    """Expected calibration error of any model that is fitted to directions, at most; in [0, 1]. Its forecasts are read
    as log odds, which those of `hinge` are not and those of `focal` are only roughly."""
    max_constant_share: float = 0.0
    """Share of dates on which the stack predicts one value for all symbols, at most; in [0, 1]."""
    max_correlation: float = 0.9
    """Models correlated above this count as one; in (0, 1)."""
    max_rank_ic: float = 0.25
    """Mean rank IC of the stack or any model at any horizon, at most: no honest signal on daily returns is better. For
    labels that are easier to forecast, such as a volatility, set it to 1; in (0, 1]."""
    max_attained: float = 1.1
    """Where the true expectation is known (a simulated market): the same as a share of the attainable, at most; a
    little above 1, which chance can reach. Greater than 0."""
    measured: Mapping[str, Threshold] = field(default_factory=dict)
    """Bounds on whatever else is measured of the stack, by name, such as {net_sharpe: {minimum: 0.5}}."""

    def __post_init__(self) -> None:
        """Refuse numbers out of their range."""
        check_at_least("min_oof_rows", self.min_oof_rows, 0)
        check_share("confidence", self.confidence)
        check_share("max_correlation", self.max_correlation)
        for name in ("min_t_stat", "max_overfit_gap", "max_auc_gap"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise ValueError(f"{name} must be finite and at least 0, got {value!r}")
        if not 0.0 < self.max_rank_ic <= 1.0:
            raise ValueError(f"max_rank_ic must be above 0 and at most 1, got {self.max_rank_ic!r}")
        if not (math.isfinite(self.max_attained) and self.max_attained > 0.0):
            raise ValueError(f"max_attained must be finite and above 0, got {self.max_attained!r}")
        for name in ("max_constant_share", "max_absent_share", "max_calibration_error"):
            if not 0.0 <= (share := getattr(self, name)) <= 1.0:
                raise ValueError(f"{name} must be from 0 to 1, got {share!r}")


class LooseSettings(TypedDict, total=False):
    """The numbers of an `EvaluationConfig` as keywords of a function, each under its name there."""

    num_quantiles: int
    min_symbols: int
    confidence: float
    num_bootstrap: int
    seed: int


def evaluation_config(config: EvaluationConfig | None, loose: LooseSettings | None = None) -> EvaluationConfig:
    """Return `config`, the default one for None, with every loose number put in its place.

    Raises
    ------
    ValueError
        A number is out of its range; the message names it as it was given.
    TypeError
        A keyword is none of `LooseSettings`.
    """
    changes: dict[str, Any] = dict(loose or {})
    for name in changes:
        if name not in LooseSettings.__annotations__:
            known = ", ".join(LooseSettings.__annotations__)
            raise TypeError(f"unexpected keyword argument {name!r}, must be one of {known}")
    for name, minimum in (("num_quantiles", 2), ("num_bootstrap", 1)):
        if name in changes:
            check_at_least(name, changes[name], minimum)
            changes[name.removeprefix("num_")] = changes.pop(name)
    return replace(config or EvaluationConfig(), **changes)
