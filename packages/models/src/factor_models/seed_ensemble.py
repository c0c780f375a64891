"""One network trained from several seeds: members of the same shape, and the mean of what they say.

The mean is of outputs, so for a loss whose forecast is linear in them (all but the directions) it is the mean of the
members' forecasts; of directions it is the mean of their log odds. Nothing is ranked: a member whose forecasts are
spread wider counts more, as its loss has taught it to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class SeedEnsemble(nn.Module):
    """The members, trained one by one; the ensemble itself is never trained."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if not members:
            raise ValueError("members: there are none, an ensemble needs at least one")
        self.members = nn.ModuleList(members)
        self.input_kind: str = getattr(members[0], "input_kind", "features")
        self.extra_inputs: tuple[str, ...] = tuple(getattr(members[0], "extra_inputs", ()))

    def forward(self, x_BLF: Tensor, **extras: Any) -> Tensor:
        """Return the mean over the members of their outputs, (B, num_outputs).

        Parameters
        ----------
        x_BLF : windows, as every member reads them
        extras : what `extra_inputs` names, as every member reads it
        """
        return torch.stack([member(x_BLF, **extras) for member in self.members]).mean(dim=0)
