"""Section `stack`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal

from factor_metrics import GateConfig
from factor_models import StackConfig
from factor_models.checks import nearest

FLOOR_INPUTS = {
    "reversal_1": ("return_1", -1.0),
    "reversal_to_mean_5": ("close_to_mean_5", -1.0),
    "momentum_60_5": ("momentum_60_5", 1.0),
    "far_from_high_60": ("distance_to_high_60", -1.0),
}
"""Floors that are plus or minus an input of the models, by the names that `evaluate` has them under."""


@dataclass(frozen=True, kw_only=True)
class StackParams(StackConfig):
    """Section `stack`: how the models become an ensemble, and the conditions for promotion."""

    first_fold: Literal["valid", "equal"] = "valid"
    """valid: the first fold, before which there is no other, learns its weights on its valid dates, which teach later
    folds too; equal: it has equal weights."""
    floors: tuple[str, ...] = ()
    """Floors that take part as members, beside the models."""
    gates: GateConfig
    """What a stack must reach to be promoted."""
    gate_labels: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Labels that are held against the gates, each with thresholds of its own in the place of those of `gates`, such as
    {h5: {}, h20: {min_t_stat: 2.0}}; {}: the first label alone."""
    on_fail: Literal["report", "stop"] = "report"
    """report: what is not promoted is written and said to be so; stop: the stage ends with what is short, and writes
    nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := [name for name in self.floors if name not in FLOOR_INPUTS]:
            raise ValueError(f"floors: {unknown[0]!r} cannot be a member; {nearest(unknown[0], list(FLOOR_INPUTS))}")
        if len(set(self.floors)) < len(self.floors):
            raise ValueError(f"floors: {list(self.floors)} must name each floor once")
        known = [one.name for one in fields(GateConfig)]
        for label, own in self.gate_labels.items():
            for key in own:
                if key not in known or key == "measured":
                    places = ", ".join(name for name in known if name != "measured")
                    raise ValueError(f"gate_labels.{label}.{key}: must be one of {places}")
            self.gates_of(label)

    def gates_of(self, label: str) -> GateConfig:
        """Return the thresholds that a label is held against."""
        try:
            own = self.gate_labels.get(label, {})
            whole = {key: int(value) for key, value in own.items() if key == "min_oof_rows"}
            return replace(self.gates, **(dict(own) | whole))  # type: ignore[arg-type]
        except ValueError as error:
            raise ValueError(f"gate_labels.{label}.{error}") from None
