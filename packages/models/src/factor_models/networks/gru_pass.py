"""One GRU layer in one direction as a function with a backward pass of its own (see recurrent_layers).

    r = s(W_r x + U_r h + b_r)    z = s(W_z x + U_z h + b_z)    m = U_m h + b_m
    n = tanh(W_n x + b_n + r m)   h' = (1 - z) n + z h

The gates are kept as [n, r, z, m], so that what the inputs feed (n, r, z) and what the state feeds (r, z, m) are both
one block and one matrix product.

Shapes: B windows, L bars, F inputs, D units, G = 4 D gates.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


class GRUPass(torch.autograd.Function):
    """x (L, F, B) -> states (L, D, B) and the final one (D, B), from a state of zeros.

    `bars` are in the order in which they are read.
    """

    @staticmethod
    def forward(
        context: Any,
        x_LFB: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        bars: range,
        keep: bool,
    ) -> tuple[Tensor, Tensor]:
        """Return the states of all bars (L, D, B) and the final one (D, B); `keep` keeps the gates."""
        num_units, num_windows = weight_hh.shape[1], x_LFB.shape[2]
        weight_new_first = _new_first(weight_ih)
        bias_G1 = torch.cat([_new_first(bias_ih), bias_ih.new_zeros(num_units)]).unsqueeze(1)
        bias_G1[num_units:] += bias_hh.unsqueeze(1)
        bias_inputs, bias_m = bias_G1.split([3 * num_units, num_units])
        states_LDB = x_LFB.new_empty(len(x_LFB), num_units, num_windows)
        state_DB, kept = x_LFB.new_zeros(num_units, num_windows), []
        for bar in bars:
            gates_GB = x_LFB.new_empty(4 * num_units, num_windows)
            n, r, z, m = gates_GB.split(num_units)
            torch.addmm(bias_inputs, weight_new_first, x_LFB[bar], out=gates_GB[: 3 * num_units])
            m.copy_(bias_m)
            gates_GB[num_units:].addmm_(weight_hh, state_DB)
            gates_GB[num_units : 3 * num_units].sigmoid_()
            n.addcmul_(r, m).tanh_()
            state_DB = torch.lerp(n, state_DB, z, out=states_LDB[bar])
            if keep:
                kept.append(gates_GB)
        context.bars = bars
        context.set_materialize_grads(False)  # most models read the final state alone
        context.save_for_backward(x_LFB, weight_ih, weight_hh, states_LDB, *kept)
        return states_LDB, state_DB.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        context: Any, gradient_LDB: Tensor | None, final_gradient_DB: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients of inputs, weights and biases."""
        x_LFB, weight_ih, weight_hh, states_LDB, *kept = context.saved_tensors
        num_units = weight_hh.shape[1]
        weight_new_first = _new_first(weight_ih)
        dx_LFB = torch.empty_like(x_LFB) if context.needs_input_grad[0] else None
        d_ih, d_hh = torch.zeros_like(weight_ih), torch.zeros_like(weight_hh)
        d_bias_G = weight_hh.new_zeros(4 * num_units)
        none_DB = torch.zeros_like(states_LDB[0])
        passed_DB, rest_DB = none_DB.clone(), none_DB.clone()
        carried_DB = none_DB.clone() if final_gradient_DB is None else none_DB + final_gradient_DB
        d_gates_GB = torch.empty_like(kept[0])
        from_inputs, from_state = d_gates_GB[: 3 * num_units], d_gates_GB[num_units:]
        bars = context.bars
        for step in range(len(bars) - 1, -1, -1):
            before_DB = states_LDB[bars[step - 1]] if step else none_DB
            if gradient_LDB is not None:
                carried_DB += gradient_LDB[bars[step]]
            _gate_gradients(carried_DB, before_DB, kept[step], d_gates_GB, passed_DB, rest_DB)
            torch.addmm(passed_DB, weight_hh.T, from_state, out=carried_DB)
            d_ih.addmm_(from_inputs, x_LFB[bars[step]].T)
            d_hh.addmm_(from_state, before_DB.T)
            d_bias_G += d_gates_GB.sum(dim=1)
            if dx_LFB is not None:
                torch.mm(weight_new_first.T, from_inputs, out=dx_LFB[bars[step]])
        d_bias_ih, d_bias_hh = _new_last(d_bias_G[: 3 * num_units]), d_bias_G[num_units:].clone()
        return dx_LFB, _new_last(d_ih), d_hh, d_bias_ih, d_bias_hh, None, None


def _gate_gradients(
    d_state_DB: Tensor,
    before_DB: Tensor,
    gates_GB: Tensor,
    d_gates_GB: Tensor,
    passed_DB: Tensor,
    rest_DB: Tensor,
) -> None:
    """From the gradient of h' those of [n, r, z, m] before their non-linearities.

    They are written into `d_gates_GB`, and what h' passes on to h directly into `passed_DB`. `rest_DB` is room to work
    in; `d_state_DB` is used up.
    """
    num_units = before_DB.shape[0]
    n, r, z, m = gates_GB.split(num_units)
    d_n, d_r, d_z, d_m = d_gates_GB.split(num_units)
    torch.sub(before_DB, n, out=rest_DB).mul_(d_state_DB)
    aten.sigmoid_backward.grad_input(rest_DB, z, grad_input=d_z)
    torch.mul(d_state_DB, z, out=passed_DB)
    d_state_DB -= passed_DB
    aten.tanh_backward.grad_input(d_state_DB, n, grad_input=d_n)
    torch.mul(d_n, m, out=rest_DB)
    aten.sigmoid_backward.grad_input(rest_DB, r, grad_input=d_r)
    torch.mul(d_n, r, out=d_m)


def _new_first(stacked: Tensor) -> Tensor:
    """Torch stacks [r, z, n]; here n comes first."""
    r_z, n = stacked.split([len(stacked) // 3 * 2, len(stacked) // 3])
    return torch.cat([n, r_z])


def _new_last(stacked: Tensor) -> Tensor:
    n, r_z = stacked.split([len(stacked) // 3, len(stacked) // 3 * 2])
    return torch.cat([r_z, n])
