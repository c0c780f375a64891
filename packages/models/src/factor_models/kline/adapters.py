"""Training only a part of a pretrained predictor: its last blocks, or low-rank additions to its projections."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from factor_models.kline.config import KronosConfig
from factor_models.kline.predictor import Kronos

ATTENTION_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")


class LowRankLinear(nn.Module):
    """W x + b + B A x, with W and b frozen: Hu et al. (2021), LoRA. B starts at 0, so at first nothing changes."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        if rank > min(base.in_features, base.out_features):
            raise ValueError(f"lora_rank = {rank} exceeds the projection's {tuple(base.weight.shape)}")
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, base.in_features) / math.sqrt(base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output plus the low-rank correction, (..., out_features)."""
        return self.base(x) + x @ self.down.T @ self.up.T

    def merged(self) -> nn.Linear:
        """The ordinary layer that computes the same."""
        with torch.no_grad():
            self.base.weight += self.up @ self.down
        return self.base


def freeze(model: Kronos, config: KronosConfig) -> Kronos:
    """Prepare what `config.trainable` asks for, in place; `merge` makes it an ordinary predictor again."""
    if config.trainable == "all":
        return model
    model.requires_grad_(False)
    if config.trainable == "lora":
        for block in model.transformer:
            _replace(block, lambda layer: LowRankLinear(layer, config.lora_rank))
    else:
        if config.num_last_layers > len(model.transformer):
            raise ValueError(f"num_last_layers = {config.num_last_layers} exceeds the {len(model.transformer)} blocks")
        for block in list(model.transformer)[-config.num_last_layers :]:
            block.requires_grad_(True)
        for part in (model.norm, model.dep_layer, model.head):
            part.requires_grad_(True)
    return model


def merge(model: Kronos) -> Kronos:
    """Put low-rank additions into their weights, in place."""
    for block in model.transformer:
        _replace(block, lambda layer: layer.merged() if isinstance(layer, LowRankLinear) else layer)
    model.requires_grad_(True)
    for table in model.time_emb.children():
        if isinstance(table, nn.Module) and not isinstance(table, nn.Embedding):
            table.requires_grad_(False)
    return model


def _replace(block: nn.Module, change: Callable[[Any], nn.Module]) -> None:
    attention = block.self_attn
    assert isinstance(attention, nn.Module)
    for name in ATTENTION_PROJECTIONS:
        setattr(attention, name, change(getattr(attention, name)))
