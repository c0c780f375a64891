"""Models by name: what each is built with, and a fresh one. Only the requested model is imported."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from factor_models.checks import nearest
from factor_models.entries import MAY_BE_ZERO, InputKind, ModelEntry, Size
from factor_models.zoo_table import KLINE_MODELS, MODELS

if TYPE_CHECKING:
    from torch import nn

    from factor_models.tabular.base import TabularModel


def available_models() -> tuple[str, ...]:
    """Names `build_model` knows."""
    return tuple(MODELS)


def model_config(name: str) -> type:
    """The configuration dataclass of a model, K-line models included."""
    return KLINE_MODELS[name].config if name in KLINE_MODELS else _entry(name).config


def model_sizes(name: str) -> tuple[Size, ...]:
    """The sizes it is built with besides num_features and num_horizons."""
    return _entry(name).sizes


def input_kind(name: str) -> InputKind:
    """Return the inputs of the model: "last_bar" (tabular: fit and predict), "features" or "tokens" (torch modules)."""
    return _entry(name).input_kind


def build_model(name: str, **config: Any) -> nn.Module | TabularModel:
    """A fresh model: a torch module, or a `TabularModel` where `input_kind` is "last_bar".

    Besides the fields of the model's configuration (see `model_config`) it takes num_features, num_horizons
    and the sizes that the table names: num_tokens, num_symbols, text_dim.

    Raises
    ------
    ValueError : unknown model, unknown setting, missing size, or a value that the configuration refuses

    >>> model = build_model("lstm", num_features=24, num_horizons=3, hidden=16)
    >>> model.input_kind
    'features'
    """
    entry = _entry(name)
    schema = entry.config
    sizes = ["num_features", "num_horizons", *entry.sizes]
    config = {size: 0 for size in entry.sizes if size in MAY_BE_ZERO} | config
    fields = [field.name for field in dataclasses.fields(schema)]
    _check_keys(name, config, sizes, fields)
    try:
        settings = schema(**{key: value for key, value in config.items() if key in fields})
    except ValueError as error:
        raise ValueError(f"model {name!r}: {error}") from error
    model = entry.build(settings, **{key: config[key] for key in sizes})
    model.build_config = {"name": name, **config}  # what `save_pretrained` writes
    return model


def _entry(name: str) -> ModelEntry:
    if name not in MODELS:
        raise ValueError(f"model {name!r} is unknown: {nearest(name, MODELS)}")
    return MODELS[name]


def _check_keys(name: str, config: dict[str, Any], sizes: list[str], fields: list[str]) -> None:
    unknown = [key for key in config if key not in sizes + fields]
    if unknown:
        raise ValueError(f"model {name!r} has no setting {unknown[0]!r}: {nearest(unknown[0], sizes + fields)}")
    for key in sizes:
        if key not in config:
            raise ValueError(f"model {name!r} needs {key}: it was not given")
        minimum = 0 if key in MAY_BE_ZERO else 1
        if not isinstance(config[key], int) or config[key] < minimum:
            raise ValueError(f"model {name!r}: {key} = {config[key]!r} must be an integer >= {minimum}")
