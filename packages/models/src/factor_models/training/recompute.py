"""Gradient checkpointing (Chen et al. 2016): a block's activations are forgotten and made again on the way back.

The blocks are those that the network is built of: each member of its outermost `nn.ModuleList`s and `nn.Sequential`s.
A network without blocks (a recurrent one) that predicts each window alone is computed in pieces of the windows. Random
numbers (dropout) are the same the second time. The loss is unchanged; only its memory and time are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

NUM_PIECES = 4


def recompute_blocks(model: nn.Module) -> int:
    """Make the network forget activations between its blocks; return how many blocks or pieces there are."""
    blocks = [block for block in _blocks(model) if any(True for _ in block.parameters())]
    if len(blocks) > 1:
        for block in blocks:
            _wrap(block, _again)
        return len(blocks)
    if getattr(model, "extra_inputs", ()) or hasattr(model, "training_terms") or _mixes_windows(model):
        raise ValueError(
            f"recompute = True: {type(model).__name__} has neither blocks (nn.ModuleList, nn.Sequential) "
            "nor windows that are predicted one by one; use accumulation to save memory"
        )
    _wrap(model, _again_in_pieces)
    return NUM_PIECES


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.Sequential):
            yield from child.children()
        else:
            yield from _blocks(child)


def _mixes_windows(model: nn.Module) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


def _wrap(module: nn.Module, how: Callable[..., Any]) -> None:
    inner = module.forward

    def forward(*arguments: Any, **named: Any) -> Any:
        if not (torch.is_grad_enabled() and module.training):
            return inner(*arguments, **named)
        return how(inner, *arguments, **named)

    module.forward = forward


def _again(inner: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    return checkpoint(inner, *arguments, use_reentrant=False, **named)


def _again_in_pieces(inner: Callable[..., Tensor], x_BLF: Tensor) -> Tensor:
    pieces = x_BLF.chunk(NUM_PIECES)
    return torch.cat([checkpoint(inner, piece, use_reentrant=False) for piece in pieces])
