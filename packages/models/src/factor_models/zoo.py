"""The models by name. A new model is one file and one line in the table."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from torch import nn

from factor_models.checks import nearest
from factor_models.kline.config import KronosConfig
from factor_models.networks.adv_alstm import AdvALSTMConfig, AdvALSTMForecaster
from factor_models.networks.alstm import ALSTMConfig, ALSTMForecaster
from factor_models.networks.bigru import BiGRUConfig, BiGRUForecaster
from factor_models.networks.bilstm import BiLSTMConfig, BiLSTMForecaster
from factor_models.networks.dtml import DTMLConfig, DTMLForecaster
from factor_models.networks.gan_lstm import GANLSTMConfig, GANLSTMForecaster
from factor_models.networks.gated_news import GatedNewsConfig, GatedNewsForecaster
from factor_models.networks.gru import GRUConfig, GRUForecaster
from factor_models.networks.han import HANConfig, HANForecaster
from factor_models.networks.lstm import LSTMConfig, LSTMForecaster
from factor_models.networks.master import MASTERConfig, MASTERForecaster
from factor_models.networks.mlp import MLPConfig, MLPForecaster
from factor_models.networks.pen import PENConfig, PENForecaster
from factor_models.networks.scinet import SCINetConfig, SCINetForecaster
from factor_models.networks.stockmixer import StockMixerConfig, StockMixerForecaster
from factor_models.networks.stocknet import StockNetConfig, StockNetForecaster
from factor_models.networks.tcn import TCNConfig, TCNForecaster
from factor_models.networks.tcn_attention import TCNAttentionConfig, TCNAttentionForecaster
from factor_models.networks.tft import TFTConfig, TFTForecaster
from factor_models.networks.token_transformer import TokenTransformerConfig, TokenTransformerForecaster
from factor_models.networks.transformer import TransformerConfig, TransformerForecaster
from factor_models.tabular import TabularModel
from factor_models.tabular.cross_asset import CrossAssetConfig, CrossAssetTrees
from factor_models.tabular.lightgbm_trees import LightGBMConfig, LightGBMTrees
from factor_models.tabular.linear import LinearConfig, RidgeRegressor
from factor_models.tabular.xgboost_trees import XGBoostConfig, XGBoostTrees

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


def build_gated_news(config: GatedNewsConfig, num_features: int, text_dim: int, **sizes: int) -> nn.Module:
    """The price model that the configuration names, behind a gate for news."""
    base = _entry(config.base)
    if base.input_kind != "features" or "text_dim" in base.sizes:
        raise ValueError(
            f"GatedNewsConfig.base = {config.base!r}: must read windows of features and no texts"
        )
    wanted = ("num_horizons", *base.sizes)
    own = {"num_features": num_features} | {name: sizes[name] for name in wanted}
    model = build_model(config.base, lookback=config.lookback, **own, **config.settings)
    assert isinstance(model, nn.Module)
    return GatedNewsForecaster(config, model, num_features, text_dim)


MODELS: dict[str, ModelEntry] = {
    "linear": ModelEntry(LinearConfig, RidgeRegressor, "last_bar"),
    "lightgbm": ModelEntry(LightGBMConfig, LightGBMTrees, "last_bar"),
    "xgboost": ModelEntry(XGBoostConfig, XGBoostTrees, "last_bar"),
    "cross_asset_lightgbm": ModelEntry(CrossAssetConfig, CrossAssetTrees, "last_bar", ("num_symbols",)),
    "mlp": ModelEntry(MLPConfig, MLPForecaster, "features"),
    "lstm": ModelEntry(LSTMConfig, LSTMForecaster, "features"),
    "gru": ModelEntry(GRUConfig, GRUForecaster, "features"),
    "bilstm": ModelEntry(BiLSTMConfig, BiLSTMForecaster, "features"),
    "bigru": ModelEntry(BiGRUConfig, BiGRUForecaster, "features"),
    "alstm": ModelEntry(ALSTMConfig, ALSTMForecaster, "features"),
    "adv_alstm": ModelEntry(AdvALSTMConfig, AdvALSTMForecaster, "features"),
    "gan_lstm": ModelEntry(GANLSTMConfig, GANLSTMForecaster, "features"),
    "tcn": ModelEntry(TCNConfig, TCNForecaster, "features"),
    "tcn_attention": ModelEntry(TCNAttentionConfig, TCNAttentionForecaster, "features", ("num_symbols",)),
    "transformer": ModelEntry(TransformerConfig, TransformerForecaster, "features"),
    "tft": ModelEntry(TFTConfig, TFTForecaster, "features", ("num_symbols",)),
    "scinet": ModelEntry(SCINetConfig, SCINetForecaster, "features"),
    "dtml": ModelEntry(DTMLConfig, DTMLForecaster, "features"),
    "stockmixer": ModelEntry(StockMixerConfig, StockMixerForecaster, "features"),
    "master": ModelEntry(MASTERConfig, MASTERForecaster, "features"),
    "token_transformer": ModelEntry(
        TokenTransformerConfig, TokenTransformerForecaster, "tokens", ("num_tokens",)
    ),
    "stocknet": ModelEntry(StockNetConfig, StockNetForecaster, "features", ("text_dim",)),
    "han": ModelEntry(HANConfig, HANForecaster, "features", ("text_dim",)),
    "pen": ModelEntry(PENConfig, PENForecaster, "features", ("text_dim",)),
    "gated_news": ModelEntry(GatedNewsConfig, build_gated_news, "features", ("num_symbols", "text_dim")),
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
    """A fresh model: a torch module, or a `TabularModel` where `input_kind` is "last_bar".

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
