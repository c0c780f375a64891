"""The models by name, an entry each: a new model is one file and one entry.

Both tables are literals: where a model is defined can be read without importing it.
"""

from __future__ import annotations

from factor_models.entries import KlineEntry, ModelEntry

MODELS: dict[str, ModelEntry] = {
    "linear": ModelEntry("factor_models.tabular.linear", "LinearConfig", "RidgeRegressor", "last_bar"),
    "lightgbm": ModelEntry("factor_models.tabular.lightgbm_trees", "LightGBMConfig", "LightGBMTrees", "last_bar"),
    "xgboost": ModelEntry("factor_models.tabular.xgboost_trees", "XGBoostConfig", "XGBoostTrees", "last_bar"),
    "cross_asset_lightgbm": ModelEntry(
        "factor_models.tabular.cross_asset",
        "CrossAssetConfig",
        "CrossAssetTrees",
        "last_bar",
        ("num_symbols",),
    ),
    "mlp": ModelEntry("factor_models.networks.mlp", "MLPConfig", "MLPForecaster", "features"),
    "lstm": ModelEntry("factor_models.networks.lstm", "LSTMConfig", "LSTMForecaster", "features"),
    "gru": ModelEntry("factor_models.networks.gru", "GRUConfig", "GRUForecaster", "features"),
    "bilstm": ModelEntry("factor_models.networks.bilstm", "BiLSTMConfig", "BiLSTMForecaster", "features"),
    "bigru": ModelEntry("factor_models.networks.bigru", "BiGRUConfig", "BiGRUForecaster", "features"),
    "lru": ModelEntry("factor_models.networks.lru", "LRUConfig", "LRUForecaster", "features"),
    "alstm": ModelEntry("factor_models.networks.alstm", "ALSTMConfig", "ALSTMForecaster", "features"),
    "adv_alstm": ModelEntry("factor_models.networks.adv_alstm", "AdvALSTMConfig", "AdvALSTMForecaster", "features"),
    "gan_lstm": ModelEntry("factor_models.networks.gan_lstm", "GANLSTMConfig", "GANLSTMForecaster", "features"),
    "tcn": ModelEntry("factor_models.networks.tcn", "TCNConfig", "TCNForecaster", "features"),
    "tcn_attention": ModelEntry(
        "factor_models.networks.tcn_attention",
        "TCNAttentionConfig",
        "TCNAttentionForecaster",
        "features",
        ("num_symbols",),
    ),
    "transformer": ModelEntry(
        "factor_models.networks.transformer", "TransformerConfig", "TransformerForecaster", "features"
    ),
    "tft": ModelEntry("factor_models.networks.tft", "TFTConfig", "TFTForecaster", "features", ("num_symbols",)),
    "scinet": ModelEntry("factor_models.networks.scinet", "SCINetConfig", "SCINetForecaster", "features"),
    "dtml": ModelEntry("factor_models.networks.dtml", "DTMLConfig", "DTMLForecaster", "features"),
    "stockmixer": ModelEntry(
        "factor_models.networks.stockmixer", "StockMixerConfig", "StockMixerForecaster", "features"
    ),
    "master": ModelEntry("factor_models.networks.master", "MASTERConfig", "MASTERForecaster", "features"),
    "token_transformer": ModelEntry(
        "factor_models.networks.token_transformer",
        "TokenTransformerConfig",
        "TokenTransformerForecaster",
        "tokens",
        ("num_tokens",),
    ),
    "stocknet": ModelEntry(
        "factor_models.networks.stocknet", "StockNetConfig", "StockNetForecaster", "features", ("text_dim",)
    ),
    "han": ModelEntry("factor_models.networks.han", "HANConfig", "HANForecaster", "features", ("text_dim",)),
    "pen": ModelEntry("factor_models.networks.pen", "PENConfig", "PENForecaster", "features", ("text_dim",)),
    "gated_news": ModelEntry(
        "factor_models.networks.gated_news",
        "GatedNewsConfig",
        "build_gated_news",
        "features",
        ("num_symbols", "text_dim"),
    ),
}

KLINE_MODELS: dict[str, KlineEntry] = {
    "kronos": KlineEntry("factor_models.kline.config", "KronosConfig"),
}
"""Models that read bars and generate paths; they have a tokenizer and a training of their own (factor_models.kline)."""
