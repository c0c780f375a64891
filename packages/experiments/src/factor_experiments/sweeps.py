"""A sweep as its trials: a grid, a list, random draws, or what Optuna proposes; each with a name."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any, ClassVar, Literal

import numpy as np

from factor_metrics import expected_maximum_sharpe

RANGE = ({"low", "high"}, {"low", "high", "scale"})
DRAWN = ("random", "optuna")
"""Methods that draw from ranges, as many as `trials`."""
MOST = 10_000
"""More trials than anybody runs: a larger grid is refused."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a sweep tries, and when it stops."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    model: str
    """Model whose rank IC on valid dates says which trial is best; test dates are not looked at."""
    label: str | None = None
    """Label of that rank IC; null: the first one."""
    method: Literal["grid", "list", "random", "optuna"] = "grid"
    """grid: every combination of `parameters`; list: the points of `points`; random: draws from `parameters`; optuna:
    what its tree-structured Parzen estimator (TPE) proposes after those that have ended."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Dotted keys of params.yaml and their values: a list, or for random and optuna {low, high} with `scale: log`."""
    points: tuple[dict[str, Any], ...] = ()
    """Points of a list, each with its keys and values."""
    trials: int | None = None
    """Most trials; random and optuna need it."""
    minutes: float | None = None
    """Minutes after which no further trial is started; null: none."""
    jobs: int = 1
    """Trials that run at a time; with the threads of each no more than the cores."""
    seed: int = 0
    """Seed of random draws, and of what Optuna proposes."""
    stop_after: int | None = 1
    """Folds after which optuna stops a trial whose folds so far are below the median of the others; null: never."""

    def __post_init__(self) -> None:
        if (self.method == "list") != bool(self.points) or (self.method == "list") == bool(self.parameters):
            raise ValueError(f"method {self.method} takes {'points' if self.method == 'list' else 'parameters'} alone")
        if self.method in DRAWN and self.trials is None:
            raise ValueError(f"trials: method {self.method} needs their number")
        budgets = {"trials": self.trials, "minutes": self.minutes, "jobs": self.jobs, "stop_after": self.stop_after}
        for name, value in budgets.items():
            if value is not None and not value > 0:
                raise ValueError(f"{name}: {value} must be above 0")
        if self.trials is not None and self.trials > MOST:
            raise ValueError(f"trials: {self.trials} must be at most {MOST:,}")
        if self.seed < 0:
            raise ValueError(f"seed: {self.seed} must be >= 0")
        for key, values in self.parameters.items():
            _check_values(key, values, self.method)
        if self.method == "grid" and self.trials is None and math.prod(map(len, self.parameters.values())) > MOST:
            raise ValueError(f"the grid has more than {MOST:,} trials: say how many with trials")

    def expand(self) -> list[dict[str, Any]]:
        """Return the values of every trial, each point once, in a fixed order; at most `trials`.

        ValueError for method optuna, whose points follow from results.
        """
        if self.method == "optuna":
            raise ValueError("the points of method optuna follow from results")
        if self.method == "random":
            generator = np.random.default_rng(self.seed)
            found = [{key: _drawn(values, generator) for key, values in self.parameters.items()}
                     for _ in range(self.trials or 0)]  # fmt: skip
        elif self.method == "list":
            found = [dict(point) for point in self.points]
        else:
            combinations = islice(product(*self.parameters.values()), self.trials)
            found = [dict(zip(self.parameters, values, strict=True)) for values in combinations]
        return list({json.dumps(point, sort_keys=True): point for point in found}.values())


def _check_values(key: str, values: Any, method: str) -> None:
    if isinstance(values, list) and values:
        return
    if method not in DRAWN or not isinstance(values, dict) or set(values) not in RANGE:
        rule = "a list of values" + (", or {low, high} with scale: log" if method in DRAWN else "")
        raise ValueError(f"parameters.{key}: {values!r} must be {rule}")
    low, high, scale = values["low"], values["high"], values.get("scale", "linear")
    for name, end in (("low", low), ("high", high)):
        if isinstance(end, bool) or not isinstance(end, int | float):
            raise ValueError(f"parameters.{key}.{name}: {end!r} must be a number")
    if scale not in ("linear", "log") or not low < high or (scale == "log" and low <= 0):
        raise ValueError(f"parameters.{key}: {values!r} must have low < high, scale linear or log, and log above 0")


def _drawn(values: Any, generator: np.random.Generator) -> Any:
    """Return one value: of a list any, of a range uniform or log-uniform, whole where both ends are; four digits."""
    if isinstance(values, list):
        return values[int(generator.integers(len(values)))]
    low, high = values["low"], values["high"]
    if values.get("scale") == "log":
        return drawn_value(values, math.exp(generator.uniform(math.log(low), math.log(high))))
    return drawn_value(values, generator.uniform(low, high))


def drawn_value(span: Mapping[str, Any], value: float) -> float:
    """Return a number of a range as it is tried: whole where both ends are, else with four digits."""
    low, high = span["low"], span["high"]
    whole = isinstance(low, int) and isinstance(high, int)
    return min(max(round(value), low), high) if whole else float(f"{value:.4g}")


def trial_name(sweep: str, point: Mapping[str, Any]) -> str:
    """Return the name of a trial's experiment: that of the sweep, and a digest of its values."""
    digest = hashlib.sha256(json.dumps(point, sort_keys=True).encode()).hexdigest()
    return f"{sweep}-{digest[:8]}"


def overrides(point: Mapping[str, Any]) -> list[str]:
    """Return the arguments of `dvc exp run` that set these values, also keys that params.yaml does not have."""
    return [part for key, value in point.items() for part in ("--set-param", f"++{key}={_hydra(value)}")]


def _hydra(value: Any) -> str:
    """Return a value in the grammar of DVC's overrides (Hydra's); strings stand in quotes."""
    if isinstance(value, bool) or value is None or isinstance(value, int | float):
        return json.dumps(value)
    if isinstance(value, list):
        return "[" + ",".join(_hydra(one) for one in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_hydra(one)}" for key, one in value.items()) + "}"
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def next_look(num_trials: int) -> str:
    """Say what the next trial costs in significance, in standard errors of a mean rank IC."""
    now, then = (expected_maximum_sharpe(max(number, 1), 1.0) for number in (num_trials, num_trials + 1))
    return (
        f"By luck alone the best of {num_trials} independent trials stands {now:.2f} standard errors above zero; "
        f"one more makes it {then:.2f}."
    )
