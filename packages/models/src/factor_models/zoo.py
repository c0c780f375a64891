"""The models by name. A new model is one file and one line in the table."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from torch import nn

from factor_models.checks import nearest
from factor_models.kline.config import KronosConfig
from factor_models.networks.lstm import LSTMConfig, LSTMForecaster
from factor_models.networks.tcn_attention import TCNAttentionConfig, TCNAttentionForecaster
from factor_models.networks.token_transformer import TokenTransformerConfig, TokenTransformerForecaster
from factor_models.tabular import TabularModel
from factor_models.tabular.lightgbm_trees import BoostedTrees, LightGBMConfig
from factor_models.tabular.linear import LinearConfig, RidgeRegressor

InputKind = Literal["last_bar", "features", "tokens"]
Size = Literal["num_tokens", "num_symbols", "text_dim"]
"""Quantile tokens of a feature; ids of the symbol vocabulary, unknown included; length of a document's vector."""
MAY_BE_ZERO: tuple[Size, ...] = ("num_symbols", "text_dim")


class ModelEntry(NamedTuple):
    """What the table knows of a model."""

    config: type
    """Its configuration dataclass."""
    build: Callable[..., Any]
    """build(config, num_features, num_horizons, and what `sizes` names)."""
    input_kind: InputKind
    """What it reads: features of the last bar (N, F), windows of features, or windows of tokens (B, L, F)."""
    sizes: tuple[Size, ...] = ()
    """Further sizes it is built with. num_tokens must be given; num_symbols and text_dim may be 0: it then reads no
    symbols, no texts."""


MODELS: dict[str, ModelEntry] = {
    "linear": ModelEntry(LinearConfig, RidgeRegressor, "last_bar"),
    "lightgbm": ModelEntry(LightGBMConfig, BoostedTrees, "last_bar"),
    "lstm": ModelEntry(LSTMConfig, LSTMForecaster, "features"),
    "tcn_attention": ModelEntry(TCNAttentionConfig, TCNAttentionForecaster, "features"),
    "token_transformer": ModelEntry(
        TokenTransformerConfig, TokenTransformerForecaster, "tokens", ("num_tokens",)
    ),
}


KLINE_MODELS: dict[str, type] = {"kronos": KronosConfig}
"""Models that read bars and generate paths; they have a tokenizer and a training of their own (factor_models.kline)."""


def available_models() -> tuple[str, ...]:
    """Names `build_model` knows."""
    return tuple(MODELS)


def model_config(name: str) -> type:
    """The configuration dataclass of a model."""
    return _entry(name).config


def model_sizes(name: str) -> tuple[Size, ...]:
    """The sizes it is built with besides num_features and num_horizons."""
    return _entry(name).sizes


def input_kind(name: str) -> InputKind:
    """What the model reads: "last_bar" (tabular: fit and predict), "features" or "tokens" (torch modules)."""
    return _entry(name).input_kind


def build_model(name: str, **config: Any) -> nn.Module | TabularModel:
    """A fresh model: a torch module, or a `TabularModel` for "linear" and "lightgbm".

    Besides the fields of the model's configuration (see `model_config`) it takes num_features, num_horizons
    and the sizes that the table names: num_tokens, num_symbols, text_dim.

    >>> model = build_model("lstm", num_features=24, num_horizons=3, hidden=16)
    >>> model.input_kind
    'features'
    """
    entry = _entry(name)
    sizes = ["num_features", "num_horizons", *entry.sizes]
    config = {size: 0 for size in entry.sizes if size in MAY_BE_ZERO} | config
    fields = [field.name for field in dataclasses.fields(entry.config)]
    _check_keys(name, config, sizes, fields)
    settings = entry.config(**{key: value for key, value in config.items() if key in fields})
    return entry.build(settings, **{key: config[key] for key in sizes})


def _entry(name: str) -> ModelEntry:
    if name not in MODELS:
        raise ValueError(f"model {name!r} is unknown: {nearest(name, MODELS)}")
    return MODELS[name]


def _check_keys(name: str, config: dict[str, Any], sizes: list[str], fields: list[str]) -> None:
    unknown = [key for key in config if key not in sizes + fields]
    if unknown:
        raise ValueError(
            f"model {name!r} has no setting {unknown[0]!r}: {nearest(unknown[0], sizes + fields)}"
        )
    for key in sizes:
        if key not in config:
            raise ValueError(f"model {name!r} needs {key}: it was not given")
        minimum = 0 if key in MAY_BE_ZERO else 1
        if not isinstance(config[key], int) or config[key] < minimum:
            raise ValueError(f"model {name!r}: {key} = {config[key]!r} must be an integer >= {minimum}")
