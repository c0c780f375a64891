"""Settings of cleaning: the thresholds of the rules and the action of each."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import ClassVar

from factor_data.cleaning.rules import RULES, Action


@dataclass(frozen=True, kw_only=True)
class CleanRules:
    """Thresholds of the cleaning rules, and the action of each rule where it is not the rule's default.

    Every value is taken as it is given: nothing is capped, rounded or adapted to the data.
    """

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    actions: dict[str, Action] = field(default_factory=dict)
    """Rule -> drop | mask | flag, for the rules that should not do their default (RULES lists them)."""
    min_history: int = 60
    """Bars a symbol must have had, up to and with t, to be in the universe at t."""
    max_abs_return: float = 0.35
    """Largest one-bar move of the adjusted close that is not a large move."""
    split_tolerance: float = 0.03
    """Relative distance from 2, 3, 4 ... within which a price ratio looks like a split."""
    stale_bars: int = 10
    """Bars in a row with an unchanged close from which on the price is stale."""
    price_tolerance: float = 1e-6
    """Relative slack in "close within [low, high]", for prices that were rounded apart."""
    limit_column: str | None = None
    """Column that says that a bar is at its daily price limit, such as luld."""
    limit_values: tuple[float, ...] = (1.0,)
    """Values of limit_column that mean so; any other value means that the bar is not."""
    limit_move: float | None = None
    """Without the column, or where it is missing: a larger move of the adjusted close is a limit day."""
    factor_columns: tuple[str, ...] = ()
    """Ready-made factors: exact names, or patterns such as factor_*."""
    max_missing: float = 0.1
    """Largest share of factor_columns that may be missing in a bar."""

    def __post_init__(self) -> None:
        for name, lowest in (("min_history", 1), ("stale_bars", 2)):
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} must be at least {lowest}, got {getattr(self, name)}")
        if not self.max_abs_return > 0:
            raise ValueError(f"max_abs_return must be positive, got {self.max_abs_return}")
        for name in ("split_tolerance", "price_tolerance"):
            if not 0 <= getattr(self, name) < 0.2:
                raise ValueError(f"{name} must lie in [0, 0.2), got {getattr(self, name)}")
        if not 0 <= self.max_missing < 1:
            raise ValueError(f"max_missing must lie in [0, 1), got {self.max_missing}")
        if self.limit_move is not None and not self.limit_move > 0:
            raise ValueError(f"limit_move must be positive, got {self.limit_move}")
        if not self.limit_values:
            raise ValueError("limit_values must name at least one value of limit_column")
        self._check_actions()

    def _check_actions(self) -> None:
        rules = {rule.name: rule for rule in RULES}
        for name, action in self.actions.items():
            if name not in rules:
                close = difflib.get_close_matches(name, list(rules), n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(rules)}"
                raise ValueError(f"actions: unknown rule {name!r}; {hint}")
            if action not in rules[name].actions:
                raise ValueError(f"actions: {name} cannot be {action!r}; it can be {', '.join(rules[name].actions)}")

    def action(self, name: str) -> Action:
        """Return what the rule `name` does."""
        return self.actions.get(name, next(rule.default for rule in RULES if rule.name == name))
