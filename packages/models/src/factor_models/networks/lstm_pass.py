"""One LSTM layer in one direction as a function with a backward pass of its own (see recurrent_layers).

    i = s(W_i x + U_i h + b_i)    f = s(W_f x + U_f h + b_f)    g = tanh(W_g x + U_g h + b_g)
    o = s(W_o x + U_o h + b_o)    c' = f c + i g                h' = o tanh(c')

The gates are stacked [i, f, g, o] as in torch; each bar keeps [i, f, g, o, c', tanh(c')] for the way back.

Shapes: B windows, L bars, F inputs, D units, G = 4 D gates, K = 6 D values kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


class LSTMPass(torch.autograd.Function):
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
    ) -> tuple[Tensor, Tensor]:
        """Return the states of all bars (L, D, B) and the final state (D, B)."""
        num_units, num_windows = weight_hh.shape[1], x_LFB.shape[2]
        bias_G1 = (bias_ih + bias_hh).unsqueeze(1)
        states_LDB = x_LFB.new_empty(len(x_LFB), num_units, num_windows)
        state_DB = cell_DB = x_LFB.new_zeros(num_units, num_windows)
        kept = []
        for bar in bars:
            kept_KB = x_LFB.new_empty(6 * num_units, num_windows)
            gates_GB = kept_KB[: 4 * num_units]
            i, f, g, o, new_cell, squashed = kept_KB.split(num_units)
            torch.addmm(bias_G1, weight_ih, x_LFB[bar], out=gates_GB).addmm_(weight_hh, state_DB)
            gates_GB[: 2 * num_units].sigmoid_()
            g.tanh_()
            o.sigmoid_()
            cell_DB = torch.mul(f, cell_DB, out=new_cell).addcmul_(i, g)
            torch.tanh(cell_DB, out=squashed)
            state_DB = torch.mul(o, squashed, out=states_LDB[bar])
            kept.append(kept_KB)
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
        dx_LFB = torch.empty_like(x_LFB) if context.needs_input_grad[0] else None
        d_ih, d_hh = torch.zeros_like(weight_ih), torch.zeros_like(weight_hh)
        d_bias_G = weight_hh.new_zeros(4 * num_units)
        none_DB = torch.zeros_like(states_LDB[0])
        d_cell_DB, rest_DB = none_DB.clone(), none_DB.clone()
        d_state_DB = none_DB.clone() if final_gradient_DB is None else none_DB + final_gradient_DB
        d_gates_GB = x_LFB.new_empty(4 * num_units, x_LFB.shape[2])
        bars = context.bars
        for step in range(len(bars) - 1, -1, -1):
            before_DB = states_LDB[bars[step - 1]] if step else none_DB
            cell_before_DB = kept[step - 1].split(num_units)[4] if step else none_DB
            if gradient_LDB is not None:
                d_state_DB += gradient_LDB[bars[step]]
            _gate_gradients(d_state_DB, d_cell_DB, cell_before_DB, kept[step], d_gates_GB, rest_DB)
            torch.mm(weight_hh.T, d_gates_GB, out=d_state_DB)
            d_ih.addmm_(d_gates_GB, x_LFB[bars[step]].T)
            d_hh.addmm_(d_gates_GB, before_DB.T)
            d_bias_G += d_gates_GB.sum(dim=1)
            if dx_LFB is not None:
                torch.mm(weight_ih.T, d_gates_GB, out=dx_LFB[bars[step]])
        return dx_LFB, d_ih, d_hh, d_bias_G, d_bias_G.clone(), None


def _gate_gradients(
    d_state_DB: Tensor,
    d_cell_DB: Tensor,
    cell_before_DB: Tensor,
    kept_KB: Tensor,
    d_gates_GB: Tensor,
    rest_DB: Tensor,
) -> None:
    """From the gradients of h' and, later bars', of c' those of the gates before their non-linearities.

    They are written into `d_gates_GB`; `d_cell_DB` becomes the gradient of c. `rest_DB` is room to work in;
    `d_state_DB` is used up.
    """
    num_units = d_state_DB.shape[0]
    i, f, g, o, _, squashed = kept_KB.split(num_units)
    d_i, d_f, d_g, d_o = d_gates_GB.split(num_units)
    torch.mul(d_state_DB, squashed, out=rest_DB)
    aten.sigmoid_backward.grad_input(rest_DB, o, grad_input=d_o)
    d_state_DB *= o
    aten.tanh_backward.grad_input(d_state_DB, squashed, grad_input=rest_DB)
    d_cell_DB += rest_DB
    torch.mul(d_cell_DB, g, out=rest_DB)
    aten.sigmoid_backward.grad_input(rest_DB, i, grad_input=d_i)
    torch.mul(d_cell_DB, cell_before_DB, out=rest_DB)
    aten.sigmoid_backward.grad_input(rest_DB, f, grad_input=d_f)
    torch.mul(d_cell_DB, i, out=rest_DB)
    aten.tanh_backward.grad_input(rest_DB, g, grad_input=d_g)
    d_cell_DB *= f
