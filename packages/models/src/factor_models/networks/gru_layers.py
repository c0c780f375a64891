"""Gated recurrent units, trained faster on a CPU than by torch's own layers; on other devices they are torch's.

Torch computes the share of the inputs in the gates of all bars at once, and in the backward pass all gradients of the
gates before the weights' gradients. At some hundred windows these tensors of tens of megabytes are written to and read
back from memory several times. Here a bar is finished before the next one: what a step works on stays in the cache, and
the weights' gradients are summed up on the way. The gates are kept beside each other as [n, r, z, m], so that what the
inputs feed (n, r, z) and what the state feeds (r, z, m) are both one block and one matrix product.

    r = s(W_r x + U_r h + b_r)    z = s(W_z x + U_z h + b_z)    m = U_m h + b_m
    n = tanh(W_n x + b_n + r m)   h' = (1 - z) n + z h

Shapes: B windows, L bars, F inputs, D units, G = 4 D gates.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

aten = torch.ops.aten


class GRULayers(nn.GRU):
    """`torch.nn.GRU(batch_first=True)`: the same weights by the same names, the same states up to rounding.

    With weights of 16 bits it works in fp32 in between: the state is then not rounded at every bar, and without matrix
    units a CPU multiplies bf16 at half the speed.
    """

    def forward(self, x_BLF: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """States (B, L, D times directions) and the final states (layers times directions, B, D)."""
        if start is not None or x_BLF.device.type != "cpu" or not self.bias:
            return super().forward(x_BLF, start)
        x_LBF, final = at_least_fp32(x_BLF.transpose(0, 1)), []
        for layer in range(self.num_layers):
            if layer > 0 and self.dropout > 0:
                x_LBF = functional.dropout(x_LBF, self.dropout, self.training)
            directions = [self._direction(x_LBF, layer, backwards) for backwards in range(self._directions)]
            final += [states_LBD[0 if way else -1] for way, states_LBD in enumerate(directions)]
            x_LBF = directions[0] if len(directions) == 1 else torch.cat(directions, dim=-1)
        return x_LBF.transpose(0, 1).to(x_BLF.dtype), torch.stack(final).to(x_BLF.dtype)

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _direction(self, x_LBF: Tensor, layer: int, backwards: int) -> Tensor:
        suffix = f"l{layer}{'_reverse' if backwards else ''}"
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = [at_least_fp32(getattr(self, f"{kind}_{suffix}")) for kind in kinds]
        return GRUPass.apply(x_LBF, *weights, bool(backwards), torch.is_grad_enabled())


class GRUPass(torch.autograd.Function):
    """One layer in one direction: x (L, B, F) -> states (L, B, D), from a state of zeros."""

    @staticmethod
    def forward(
        context: Any,
        x_LBF: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        backwards: bool,
        keep: bool,
    ) -> Tensor:
        num_units = weight_hh.shape[1]
        weight_new_first = _new_first(weight_ih)
        bias_G = torch.cat([_new_first(bias_ih), bias_ih.new_zeros(num_units)])
        bias_G[num_units:] += bias_hh
        bias_inputs, bias_m = bias_G.split([3 * num_units, num_units])
        states_LBD = x_LBF.new_empty(*x_LBF.shape[:2], num_units)
        state_BD, kept = x_LBF.new_zeros(x_LBF.shape[1], num_units), []
        for bar in _bars(len(x_LBF), backwards):
            gates_BG = x_LBF.new_empty(x_LBF.shape[1], 4 * num_units)
            n, r, z, m = gates_BG.split(num_units, dim=1)
            torch.addmm(bias_inputs, x_LBF[bar], weight_new_first.T, out=gates_BG[:, : 3 * num_units])
            m.copy_(bias_m)
            gates_BG[:, num_units:].addmm_(state_BD, weight_hh.T)
            gates_BG[:, num_units : 3 * num_units].sigmoid_()
            n.addcmul_(r, m).tanh_()
            state_BD = torch.lerp(n, state_BD, z, out=states_LBD[bar])
            if keep:
                kept.append(gates_BG)
        context.backwards = backwards
        context.save_for_backward(x_LBF, weight_ih, weight_hh, states_LBD, *kept)
        return states_LBD

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient_LBD: Tensor) -> tuple[Tensor | None, ...]:
        x_LBF, weight_ih, weight_hh, states_LBD, *kept = context.saved_tensors
        num_units = weight_hh.shape[1]
        weight_new_first = _new_first(weight_ih)
        dx_LBF = torch.empty_like(x_LBF) if context.needs_input_grad[0] else None
        d_ih, d_hh = torch.zeros_like(weight_ih), torch.zeros_like(weight_hh)
        d_bias_G = weight_hh.new_zeros(4 * num_units)
        none_BD = torch.zeros_like(states_LBD[0])
        carried_BD, passed_BD, rest_BD = none_BD.clone(), none_BD.clone(), none_BD.clone()
        d_gates_BG = torch.empty_like(kept[0])
        from_inputs, from_state = d_gates_BG[:, : 3 * num_units], d_gates_BG[:, num_units:]
        bars = _bars(len(x_LBF), context.backwards)
        for step in range(len(bars) - 1, -1, -1):
            before_BD = states_LBD[bars[step - 1]] if step else none_BD
            carried_BD += gradient_LBD[bars[step]]
            _gate_gradients(carried_BD, before_BD, kept[step], d_gates_BG, passed_BD, rest_BD)
            torch.addmm(passed_BD, from_state, weight_hh, out=carried_BD)
            d_ih.addmm_(from_inputs.T, x_LBF[bars[step]])
            d_hh.addmm_(from_state.T, before_BD)
            d_bias_G += d_gates_BG.sum(dim=0)
            if dx_LBF is not None:
                torch.mm(from_inputs, weight_new_first, out=dx_LBF[bars[step]])
        d_bias_ih, d_bias_hh = _new_last(d_bias_G[: 3 * num_units]), d_bias_G[num_units:].clone()
        return dx_LBF, _new_last(d_ih), d_hh, d_bias_ih, d_bias_hh, None, None


def _gate_gradients(
    d_state_BD: Tensor,
    before_BD: Tensor,
    gates_BG: Tensor,
    d_gates_BG: Tensor,
    passed_BD: Tensor,
    rest_BD: Tensor,
) -> None:
    """From the gradient of h' those of [n, r, z, m] before their non-linearities.

    They are written into `d_gates_BG`, and what h' passes on to h directly into `passed_BD`. `rest_BD` is room to work
    in; `d_state_BD` is used up.
    """
    num_units = before_BD.shape[1]
    n, r, z, m = gates_BG.split(num_units, dim=1)
    d_n, d_r, d_z, d_m = d_gates_BG.split(num_units, dim=1)
    torch.sub(before_BD, n, out=rest_BD).mul_(d_state_BD)
    aten.sigmoid_backward.grad_input(rest_BD, z, grad_input=d_z)
    torch.mul(d_state_BD, z, out=passed_BD)
    d_state_BD -= passed_BD
    aten.tanh_backward.grad_input(d_state_BD, n, grad_input=d_n)
    torch.mul(d_n, m, out=rest_BD)
    aten.sigmoid_backward.grad_input(rest_BD, r, grad_input=d_r)
    torch.mul(d_n, r, out=d_m)


def at_least_fp32(values: Tensor) -> Tensor:
    """fp32 of 16-bit values; others as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _bars(num_bars: int, backwards: bool) -> range:
    return range(num_bars - 1, -1, -1) if backwards else range(num_bars)


def _new_first(stacked: Tensor) -> Tensor:
    """Torch stacks [r, z, n]; here n comes first."""
    r_z, n = stacked.split([len(stacked) // 3 * 2, len(stacked) // 3])
    return torch.cat([n, r_z])


def _new_last(stacked: Tensor) -> Tensor:
    n, r_z = stacked.split([len(stacked) // 3, len(stacked) // 3 * 2])
    return torch.cat([r_z, n])
