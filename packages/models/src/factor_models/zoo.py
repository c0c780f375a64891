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

MOST_SEEDS = 64
"""Members of a network, at most: the variance that averaging takes away is gone long before."""


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


def build_model(name: str, *, seeds: int = 1, **config: Any) -> nn.Module | TabularModel:
    """A fresh model: a torch module, or a `TabularModel` where `input_kind` is "last_bar".

    Besides the fields of the model's configuration (see `model_config`) it takes num_features, num_horizons
    and the sizes that the table names: num_tokens, num_symbols, text_dim. `seeds` networks of this kind make a
    `SeedEnsemble`, whose output is the mean of theirs; with 1 it is the network itself.

    Raises
    ------
    ValueError : unknown model, unknown setting, missing size, a value that the configuration refuses, or several seeds
        of a model that is no network

    >>> model = build_model("lstm", num_features=24, num_horizons=3, hidden=16)
    >>> model.input_kind
    'features'
    """
    entry = _entry(name)
    if seeds != 1:
        return _seed_ensemble(name, seeds, config)
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


def _seed_ensemble(name: str, seeds: Any, config: dict[str, Any]) -> nn.Module:
    """`seeds` networks, drawn one after another, as one."""
    from factor_models.seed_ensemble import SeedEnsemble

    if not isinstance(seeds, int) or isinstance(seeds, bool) or not 1 <= seeds <= MOST_SEEDS:
        raise ValueError(f"model {name!r}: seeds = {seeds!r} must be an integer from 1 to {MOST_SEEDS}")
    if input_kind(name) == "last_bar":
        raise ValueError(f"model {name!r}: seeds = {seeds}: only networks have several")
    members: Any = [build_model(name, **config) for _ in range(seeds)]
    ensemble: Any = SeedEnsemble(members)
    ensemble.build_config = {"name": name, **config, "seeds": seeds}
    return ensemble


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
