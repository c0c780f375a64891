"""One gradient norm, wherever the optimizer's state lies.

Clipping divides every gradient by the global norm, so a last bit of it is a last bit of every weight. At ZeRO stages 1
and 2 DeepSpeed sums the squared norms of the parameters in torch, but with the optimizer's state in host memory it sums
them in Python, and takes the root there: the same number up to rounding, equal to the bit on some CPUs only. Here the
sum is always the first one, in the same order and type, so moving the state changes no bit of a weight.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def norm_as_without_offload(optimizer: Any) -> None:
    """Let DeepSpeed's wrapper of ZeRO stage 1 or 2 with offload sum gradient norms as it does without offload.

    The names are DeepSpeed's private matter (its version is pinned); a parameter without a gradient is left to its own
    function, which says what is wrong.
    """
    original = optimizer.complete_grad_norm_calculation_for_cpu_offload

    def complete(parameters: list[Any]) -> Tensor:
        numbers = [optimizer.get_param_id(parameter) for parameter in parameters]
        norms = [optimizer.norm_for_param_grads.get(number) for number in numbers]
        if not norms or any(norm is None for norm in norms):
            return original(parameters)
        return global_norm(norms, parameters[0].device, optimizer.dp_process_group).to(optimizer.device)

    optimizer.complete_grad_norm_calculation_for_cpu_offload = complete


def global_norm(norms: list[Any], device: torch.device, group: Any) -> Tensor:
    """sqrt(sum over processes of float32(sum of squares)) of this process's norms; -1 where it is not finite."""
    squares = torch.stack([norm.to(device) for norm in norms]).pow(2.0).sum().float()
    dist.all_reduce(squares, group=group)
    total = squares.pow(0.5)
    return torch.where(total.isfinite(), total, -torch.ones_like(total))
