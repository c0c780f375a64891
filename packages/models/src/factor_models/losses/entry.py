"""Entry of the table of losses: where a loss is defined, as text.

What an entry names is imported when it is requested.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from factor_models.entries import load_name
from factor_models.losses.settings import LossConfig


class LossEntry(NamedTuple):
    """A loss: one term, or what a function or class of its module builds."""

    module: str
    """Dotted name of the module that defines it."""
    term: str = ""
    """term(prediction, dates, and the settings by name but target_weights), in that module."""
    build: str = ""
    """build(settings, names of the targets), in that module, where the loss is more than one term."""
    config_name: str = ""
    """Dataclass of its settings, in that module; empty: `LossConfig`."""
    is_classification: bool = False
    """Needs directions as targets; its forecasts are logits."""
    is_per_target: bool = False
    """Its defaults are per target: it needs the names of the targets."""

    @property
    def config(self) -> type:
        """The dataclass of its settings."""
        return load_name(self.module, self.config_name) if self.config_name else LossConfig

    def function(self) -> Callable[..., Any]:
        """Return the function that `term` or `build` names."""
        return load_name(self.module, self.term or self.build)
