"""Stacked LSTM and GRU layers, trained faster on a CPU than by torch's own; on other devices they are torch's.

Torch computes the share of the inputs in the gates of all bars at once, and in the backward pass all gradients of the
gates before the weights' gradients. At some hundred windows these tensors of tens of megabytes are written to and read
back from memory several times. Here a bar is finished before the next one: what a step works on stays in the cache, and
the weights' gradients are summed up on the way. A row in memory is a unit of all windows, so that each gate is one
block and the products run at the speed of large ones.

With weights of 16 bits a pass works in fp32 in between: the state is then not rounded at every bar, and without matrix
units a CPU multiplies bf16 at half the speed.

Shapes: B windows, L bars, F inputs, D units.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from factor_models.networks.blocks import widened
from factor_models.networks.gru_pass import GRUPass
from factor_models.networks.lstm_pass import LSTMPass

# From so many windows times units on our pass is faster than torch's (bench_train_step.py --layers).
WORTH_TRAINING_LSTM, WORTH_PREDICTING_GRU = 1 << 15, 1 << 14


class GRULayers(nn.GRU):
    """`torch.nn.GRU(batch_first=True)`: the same weights by the same names, the same states up to rounding."""

    def forward(self, x_BLF: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return the states of the last layer and the final ones of its directions, from a state of zeros.

        (B, L, D times directions) and (B, D times directions), in the type of the inputs.
        """
        training = torch.is_grad_enabled()
        if x_BLF.is_cpu and (training or len(x_BLF) * self.hidden_size >= WORTH_PREDICTING_GRU):
            return _run(self, GRUPass, x_BLF, training)
        states_BLD, final_NBD = super().forward(x_BLF.to(self.all_weights[0][0].dtype))
        return states_BLD.to(x_BLF.dtype), _last_layer(self, final_NBD).to(x_BLF.dtype)


class LSTMLayers(nn.LSTM):
    """`torch.nn.LSTM(batch_first=True)`, likewise. Without gradient it is torch's, which is faster there."""

    def forward(self, x_BLF: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """As `GRULayers.forward`; no cell states."""
        worth = len(x_BLF) * self.hidden_size >= WORTH_TRAINING_LSTM
        if x_BLF.is_cpu and torch.is_grad_enabled() and worth:
            return _run(self, LSTMPass, x_BLF)
        states_BLD, (final_NBD, _) = super().forward(x_BLF.to(self.all_weights[0][0].dtype))
        return states_BLD.to(x_BLF.dtype), _last_layer(self, final_NBD).to(x_BLF.dtype)


def _run(
    layers: nn.RNNBase, one_pass: type[torch.autograd.Function], x_BLF: Tensor, *settings: bool
) -> tuple[Tensor, Tensor]:
    """All layers in all directions, each by `one_pass`."""
    x_LFB = widened(x_BLF.permute(1, 2, 0))
    bars = range(len(x_LFB))
    for layer in range(layers.num_layers):
        if layer > 0 and layers.dropout > 0:
            x_LFB = functional.dropout(x_LFB, layers.dropout, layers.training)
        ways = [("", bars), ("_reverse", bars[::-1])] if layers.bidirectional else [("", bars)]
        directions = [one_pass.apply(x_LFB, *_weights(layers, layer, way), order, *settings) for way, order in ways]
        x_LFB, final_DB = map(_beside, zip(*directions, strict=True))
    return x_LFB.permute(2, 0, 1).to(x_BLF.dtype), final_DB.T.to(x_BLF.dtype)


def _beside(directions: tuple[Tensor, ...]) -> Tensor:
    """The units of all directions; nothing is copied if there is one."""
    return torch.cat(directions, dim=-2) if len(directions) > 1 else directions[0]


def _last_layer(layers: nn.RNNBase, final_NBD: Tensor) -> Tensor:
    return torch.cat([*final_NBD[-2 if layers.bidirectional else -1 :]], dim=-1)


def _weights(layers: nn.RNNBase, layer: int, way: str) -> list[Tensor]:
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [widened(getattr(layers, f"{kind}_l{layer}{way}")) for kind in kinds]
