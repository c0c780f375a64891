"""Additive attention over the bars of a window, after Qin et al. 2017 and Feng et al. 2019 (IJCAI), section 3.1.

    a_t = softmax over the bars of u' tanh(W h_t + b)    context = sum of a_t h_t

With many windows on a CPU a bar is finished before the next one, as in the recurrent layers, with a backward pass of
its own.

Shapes: B windows, L bars, D units.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from factor_models.networks.blocks import WideLinear, widened

aten = torch.ops.aten

WORTH_A_PASS = 1 << 14  # windows times units from which on `ContextPass` is faster than the sum


class TemporalAttention(nn.Module):
    """Weights of the bars, and the mean of their states under them; on a CPU in fp32 or wider."""

    def __init__(self, num_units: int) -> None:
        super().__init__()
        self.project = WideLinear(num_units, num_units)
        self.score = WideLinear(num_units, 1, bias=False)  # a bias would cancel in the softmax

    def forward(self, states_BLD: Tensor) -> Tensor:
        """Context (B, D)."""
        if not states_BLD.is_cpu or states_BLD[:, 0].numel() < WORTH_A_PASS:
            return (self.weights(states_BLD).unsqueeze(-1) * states_BLD).sum(dim=1)
        parameters = (self.project.weight, self.project.bias, self.score.weight[0])
        return ContextPass.apply(widened(states_BLD.permute(1, 2, 0)), *map(widened, parameters)).T

    def weights(self, states_BLD: Tensor) -> Tensor:
        """Weight of each bar (B, L): positive, sum 1 over the bars."""
        return self.score(self.project(states_BLD).tanh()).squeeze(-1).softmax(dim=1)


class ContextPass(torch.autograd.Function):
    """States (L, D, B) -> context (D, B)."""

    @staticmethod
    def forward(context: Any, states_LDB: Tensor, weight_DD: Tensor, bias_D: Tensor, score_D: Tensor) -> Tensor:
        """Return the mean of the states under their attention, (D, B)."""
        hidden_LDB = torch.empty_like(states_LDB)
        scores_LB = states_LDB.new_empty(len(states_LDB), states_LDB.shape[2])
        for state_DB, hidden_DB, score_B in zip(states_LDB, hidden_LDB, scores_LB, strict=True):
            torch.addmm(bias_D.unsqueeze(1), weight_DD, state_DB, out=hidden_DB).tanh_()
            torch.mv(hidden_DB.T, score_D, out=score_B)
        weights_LB = scores_LB.softmax(dim=0)
        mean_DB = torch.zeros_like(states_LDB[0])
        for state_DB, weight_B in zip(states_LDB, weights_LB, strict=True):
            mean_DB.addcmul_(state_DB, weight_B)
        context.save_for_backward(states_LDB, weight_DD, score_D, hidden_LDB, weights_LB, mean_DB)
        return mean_DB

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient_DB: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of states, weight, bias and score."""
        states_LDB, weight_DD, score_D, hidden_LDB, weights_LB, mean_DB = context.saved_tensors
        gradient_DB = torch.empty_like(mean_DB).copy_(gradient_DB)  # in the layout of the states
        d_states_LDB, d_weight_DD = torch.empty_like(states_LDB), torch.zeros_like(weight_DD)
        d_bias_D, d_score_D = torch.zeros_like(score_D), torch.zeros_like(score_D)
        d_hidden_DB, rest_DB = torch.empty_like(mean_DB), torch.empty_like(mean_DB)
        level_B = torch.mul(gradient_DB, mean_DB, out=rest_DB).sum(dim=0)  # the softmax takes it from each bar
        for state_DB, hidden_DB, weight_B, d_state_DB in zip(
            states_LDB, hidden_LDB, weights_LB, d_states_LDB, strict=True
        ):
            d_weight_B = torch.mul(gradient_DB, state_DB, out=rest_DB).sum(dim=0)
            d_score_B = (d_weight_B - level_B) * weight_B
            d_score_D.addmv_(hidden_DB, d_score_B)
            torch.mul(score_D.unsqueeze(1), d_score_B, out=rest_DB)
            aten.tanh_backward.grad_input(rest_DB, hidden_DB, grad_input=d_hidden_DB)
            d_weight_DD.addmm_(d_hidden_DB, state_DB.T)
            d_bias_D += d_hidden_DB.sum(dim=1)
            torch.mul(gradient_DB, weight_B, out=rest_DB)
            torch.addmm(rest_DB, weight_DD.T, d_hidden_DB, out=d_state_DB)
        return d_states_LDB, d_weight_DD, d_bias_D, d_score_D
