"""Entry of the table of models: where a model is defined, as text. It is imported on request."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

InputKind = Literal["last_bar", "features", "tokens"]
Size = Literal["num_tokens", "num_symbols", "text_dim"]
"""Quantile tokens of a feature; ids of the symbol vocabulary, unknown included; length of a document's vector."""
MAY_BE_ZERO: tuple[Size, ...] = ("num_symbols", "text_dim")


class ModelEntry(NamedTuple):
    """A model that predicts labels."""

    module: str
    """Dotted name of the module that defines it."""
    config_name: str
    """Its configuration dataclass, in that module."""
    build_name: str
    """Class or function, in that module: see `build`."""
    input_kind: InputKind
    """Inputs: features of the last bar (N, F), windows of features, or windows of tokens (B, L, F)."""
    sizes: tuple[Size, ...] = ()
    """Further sizes it is built with. num_tokens must be given; num_symbols and text_dim may be 0: it then reads no
    symbols, no texts."""

    @property
    def config(self) -> type:
        """Its configuration dataclass."""
        return load_name(self.module, self.config_name)

    @property
    def build(self) -> Callable[..., Any]:
        """build(config, num_features, num_horizons, and what `sizes` names)."""
        return load_name(self.module, self.build_name)


class KlineEntry(NamedTuple):
    """A model that reads bars and generates paths."""

    module: str
    """Dotted name of the module that defines its configuration."""
    config_name: str
    """Its configuration dataclass, in that module."""

    @property
    def config(self) -> type:
        """Its configuration dataclass."""
        return load_name(self.module, self.config_name)


def load_name(module: str, name: str) -> Any:
    """Return the object `name` of `module`."""
    return getattr(importlib.import_module(module), name)
