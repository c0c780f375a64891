"""The cross-sections of a batch: what is computed per date and target is averaged with equal weight per date.

NaN in the target masks that entry. A date with fewer than two known targets adds 0. The sum is divided by num_groups *
H, whatever is masked: so the mean over equal shares of a batch is the term of the whole batch, and splitting dates over
processes or micro batches does not change the gradient. Weights are those of the windows within a date: its means,
variances and covariances are weighted ones, and a weight of 2 equals the window given twice (on dates with at least two
known windows). Weights of dates multiply what a date adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

VARIANCE_FLOOR = 1e-6
"""Added to variances under the root: keeps gradients finite on constant predictions."""
PAIRS_AT_ONCE = 1 << 22
"""Most pairs of windows held at a time (16 MiB of float32), however large a date is."""


class CrossSections:
    """The dates of a micro batch: sums, means and averages over their windows.

    Attributes
    ----------
    target_BH : the target with 0 where it is unknown
    known_BH : bool, where it is known
    mass_BH : weight of each entry; 0 where the target is unknown
    total_GH : sum of the masses of a date
    counted_GH : bool, dates with two or more known targets
    previous : (B,) position of the same symbol's window one bar earlier, -1 = not in this batch; None: nowhere
    """

    def __init__(
        self,
        target: Tensor,
        groups: Tensor,
        num_groups: int,
        weights: Tensor | None = None,
        date_weights: Tensor | None = None,
        previous: Tensor | None = None,
    ) -> None:
        self._inputs = (groups, num_groups, weights, date_weights, previous)
        known_BH = torch.isfinite(target)
        self.groups, self.num_groups, self.previous = groups, num_groups, previous
        self.known_BH = known_BH
        self.target_BH = torch.where(known_BH, target, torch.zeros_like(target))
        self.mass_BH = known_BH.to(target.dtype)
        self.counted_GH = self.total(self.mass_BH) >= 2
        if weights is not None:
            self.mass_BH = self.mass_BH * weights.to(target.dtype).unsqueeze(1)
        self.total_GH = self.total(self.mass_BH)
        self._date_weights = date_weights

    def with_target(self, target: Tensor) -> CrossSections:
        """The same windows and weights, another target (B, any number of columns)."""
        return CrossSections(target, *self._inputs)

    def total(self, values_BH: Tensor) -> Tensor:
        """Sum over the windows of each date (G, H)."""
        total_GH = values_BH.new_zeros(self.num_groups, values_BH.shape[1])
        return total_GH.index_add(0, self.groups, values_BH)

    def mean(self, values_BH: Tensor) -> Tensor:
        """Weighted mean of each date (G, H); 0 where nothing is known."""
        total_GH = torch.where(self.total_GH > 0, self.total_GH, torch.ones_like(self.total_GH))
        return self.total(values_BH * self.mass_BH) / total_GH

    def centred(self, values_BH: Tensor) -> Tensor:
        """Distance from the date's weighted mean (B, H)."""
        return values_BH - self.mean(values_BH)[self.groups]

    def highest(self, values_BH: Tensor) -> Tensor:
        """Largest value of each date (G, H) over what has mass, without gradient; 0 where nothing has."""
        masked_BH = values_BH.detach().masked_fill(self.mass_BH <= 0, -torch.inf)
        index_BH = self.groups.unsqueeze(1).expand_as(masked_BH)
        lowest_GH = masked_BH.new_full((self.num_groups, masked_BH.shape[1]), -torch.inf)
        highest_GH = lowest_GH.scatter_reduce(0, index_BH, masked_BH, "amax")
        return torch.where(torch.isfinite(highest_GH), highest_GH, torch.zeros_like(highest_GH))

    def average(self, values_GH: Tensor) -> Tensor:
        """Mean over dates and targets; dates that do not count add 0."""
        return self._counted(values_GH).sum() / values_GH.numel()

    def per_target(self, values_GH: Tensor) -> Tensor:
        """Mean over dates (H,); dates that do not count add 0."""
        return self._counted(values_GH).sum(dim=0) / self.num_groups

    def _counted(self, values_GH: Tensor) -> Tensor:
        counted_GH = torch.where(self.counted_GH, values_GH, torch.zeros_like(values_GH))
        return counted_GH if self._date_weights is None else counted_GH * self._weight_of_date

    @cached_property
    def _weight_of_date(self) -> Tensor:
        assert self._date_weights is not None
        weight_G = self.target_BH.new_zeros(self.num_groups)
        return weight_G.index_copy(0, self.groups, self._date_weights.to(weight_G.dtype)).unsqueeze(1)

    @cached_property
    def rows(self) -> list[Tensor]:
        """The windows of each date, for what is computed over pairs of them."""
        counts = torch.bincount(self.groups, minlength=self.num_groups).tolist()
        return list(torch.argsort(self.groups, stable=True).split(counts))


def pair_chunks(num_rows: int, num_columns: int) -> Iterator[slice]:
    """Rows in runs, so that a run times all rows times the columns stays within PAIRS_AT_ONCE."""
    size = max(1, PAIRS_AT_ONCE // max(1, num_rows * num_columns))
    return (slice(first, first + size) for first in range(0, num_rows, size))
