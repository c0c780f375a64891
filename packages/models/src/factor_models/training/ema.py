"""An exponential moving average of the weights, which is scored and kept in their place (Polyak & Juditsky 1992).

After step t (1-based) the average a becomes d * a + (1 - d) * w with d = min(decay, (1 + t) / (10 + t)): the first
weights, which are random, are forgotten within a few steps.
"""

from __future__ import annotations

import torch
from torch import Tensor


class WeightAverage:
    """Averages of named tensors, in fp32 where they lie."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self.values: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, weights: dict[str, Tensor]) -> None:
        """Take the weights of another step in."""
        self.num_updates += 1
        if not self.values:
            self.values = {name: value.detach().float().clone() for name, value in weights.items()}
            return
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        averages = list(self.values.values())
        new = [weights[name].detach().to(average) for name, average in self.values.items()]
        torch._foreach_lerp_(averages, new, 1.0 - decay)
