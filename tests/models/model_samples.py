"""Tiny models of every kind and the inputs they read, for the tests over all models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from factor_models import (
    Loss,
    TabularModel,
    TensorBatch,
    available_models,
    build_model,
    input_kind,
    model_config,
    model_sizes,
    set_seed,
)
from factor_models.training.objective import Objective

NUM_FEATURES, LOOKBACK, NUM_DATES, NUM_SYMBOLS = 5, 8, 4, 8
NUM_WINDOWS = NUM_DATES * NUM_SYMBOLS
SIZES = {"num_tokens": 6, "num_symbols": NUM_SYMBOLS + 1, "text_dim": 3}
DOCUMENTS = 2

TABULAR = tuple(name for name in available_models() if input_kind(name) == "last_bar")
NETWORKS = tuple(name for name in available_models() if name not in TABULAR)

TINY: dict[str, Any] = {
    "lookback": LOOKBACK,
    "layers": 1,
    "levels": 2,
    "heads": 2,
    "dropout": 0.0,
    "rounds": 40,
    "min_rows_in_leaf": 1,
    "row_share": 1.0,
    "num_threads": 1,
    "alpha": 1e-3,
    **dict.fromkeys(("hidden", "dim", "channels"), 16),
}
"""Values of the fields that many configurations share; other fields keep their defaults."""

TINY_OF: dict[str, dict[str, Any]] = {
    "lightgbm": {"learning_rate": 0.3, "l2": 0.1},
    "xgboost": {"learning_rate": 0.3, "l2": 0.1, "min_leaf_weight": 0.0},
    "cross_asset_lightgbm": {"learning_rate": 0.3, "l2": 0.1, "feature_share": 1.0},
}
"""What a model needs besides."""


def tiny_settings(name: str, num_horizons: int = 1) -> dict[str, Any]:
    """The arguments of `build_model` for a tiny model of that name, as `save_model` takes them."""
    fields = {field.name for field in dataclasses.fields(model_config(name))}
    shared = {key: value for key, value in TINY.items() if key in fields}
    sizes = {key: SIZES[key] for key in model_sizes(name)}
    sizes |= {"num_features": NUM_FEATURES, "num_horizons": num_horizons}
    return {"name": name} | shared | TINY_OF.get(name, {}) | sizes


def tiny_network(name: str, num_horizons: int = 1, seed: int = 0) -> nn.Module:
    set_seed(seed)
    model = build_model(**tiny_settings(name, num_horizons))
    assert isinstance(model, nn.Module)
    return model


def tiny_table(name: str, num_horizons: int = 1) -> TabularModel:
    model = build_model(**tiny_settings(name, num_horizons))
    assert isinstance(model, TabularModel)
    return model


def make_batch(name: str, num_horizons: int = 1, seed: int = 0) -> TensorBatch:
    """4 dates x 8 symbols with everything a batch may have: symbols (one unknown), and texts with gaps."""
    generator = np.random.default_rng(seed)
    shape = (NUM_WINDOWS, LOOKBACK, NUM_FEATURES)
    if input_kind(name) == "tokens":
        windows = generator.integers(0, SIZES["num_tokens"] + 1, shape)
    else:
        windows = generator.standard_normal(shape, np.float32)
    texts = generator.standard_normal((NUM_WINDOWS, LOOKBACK, DOCUMENTS, SIZES["text_dim"]), np.float32)
    texts[generator.random(texts.shape[:3]) < 0.4] = np.nan
    texts[3] = np.nan  # a window without any news
    return TensorBatch(
        windows=torch.from_numpy(windows),
        groups=torch.arange(NUM_DATES).repeat_interleave(NUM_SYMBOLS),
        num_dates=NUM_DATES,
        targets=torch.from_numpy(generator.standard_normal((NUM_WINDOWS, num_horizons), np.float32)),
        symbols=torch.arange(NUM_SYMBOLS).repeat(NUM_DATES),
        texts=torch.from_numpy(texts),
    )


def take(batch: TensorBatch, rows: Tensor) -> TensorBatch:
    """Some windows of a batch in the given order; dates are renumbered in order."""
    dates, groups = batch.groups[rows].unique(return_inverse=True)
    chosen = {
        field: None if getattr(batch, field) is None else getattr(batch, field)[rows]
        for field in ("windows", "targets", "symbols", "texts")
    }
    return dataclasses.replace(batch, groups=groups, num_dates=len(dates), **chosen)


def predict(model: nn.Module, batch: TensorBatch) -> Tensor:
    """Predictions (B, H) without gradient, in the mode the model is in."""
    with torch.no_grad():
        return model(batch.windows, **batch.extras(model))


def train(
    model: nn.Module, loss: Loss, batch: TensorBatch, good_enough: Callable[..., Any], most_steps: int = 400
) -> bool:
    """Adam on one batch through the package's own objective, until `good_enough(predictions)` in eval mode."""
    objective = Objective(model, loss)
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-2)
    for step in range(1, most_steps + 1):
        objective.train()
        optimizer.zero_grad()
        torch.stack(list(objective(batch).values())).sum().backward()
        optimizer.step()
        if step % 5 == 0:
            objective.eval()
            if good_enough(predict(model, batch)):
                return True
    return False
