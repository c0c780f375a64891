"""Base of all losses: a module that gives named terms, whose sum is minimised.

A term is a function `term(prediction (B, H), dates) -> (G, H)`: its value per date and target. `CrossSections` says
which windows belong to a date, which targets are known and what everything weighs, and averages the values. A `Loss`
weights terms, names them and hands them to training, so that every one of them can be logged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from factor_models.losses.cross_section import CrossSections
from factor_models.losses.tasks import LearnedWeights

Term = Callable[[Tensor, CrossSections], Tensor]
"""term(prediction (B, H), dates) -> (G, H), value of each date and target; what a masked entry holds is not used."""


class Loss(nn.Module):
    """Named terms of one micro batch; their sum is what training minimises.

    It may hold parameters (learnt task weights), which the engine trains with the model's, and buffers (the state of a
    regime), which are saved with the engine's checkpoints.

    Attributes
    ----------
    outputs_per_target : columns of the prediction that belong to one target (quantile levels); 1 for all others
    """

    outputs_per_target: int = 1

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        groups: Tensor,
        num_groups: int,
        weights: Tensor | None = None,
        date_weights: Tensor | None = None,
        previous: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Scalars by name.

        Parameters
        ----------
        prediction : (B, H * outputs_per_target)
        target : (B, H), NaN = unknown: no gradient, no share of any mean
        groups : (B,) int64, date of the batch a window belongs to, 0..num_groups - 1
        num_groups : dates; each term is the mean over dates and targets, dates weighing the same
        weights : (B,) weight of each window within its date, >= 0; None means 1
        date_weights : (B,) weight of each window's date in the mean over dates, the same within a date; None means 1
        previous : (B,) position of the same symbol's window one bar earlier, -1 = not in this batch; None: nowhere
        """
        return self.terms(prediction, CrossSections(target, groups, num_groups, weights, date_weights, previous))

    def terms(self, prediction: Tensor, dates: CrossSections) -> dict[str, Tensor]:
        """Scalars by name, for targets that are grouped already."""
        raise NotImplementedError

    def point(self, prediction: Tensor) -> Tensor:
        """The forecasts (B, H) that are ranked, of the model's outputs (B, H * outputs_per_target)."""
        return prediction

    def batch_statistic(self, target: Tensor, groups: Tensor, num_groups: int) -> Tensor | None:
        """Return the statistic of the whole batch to be known: (S,) sums over the dates of this process's share.

        None: nothing. Otherwise the engine calls `start_step` with their means over all dates of all processes.
        """
        return None

    def start_step(self, means: Sequence[float]) -> None:
        """Take in the means of `batch_statistic`, once a step, before its forward passes, the same on every process."""


class TermLoss(Loss):
    """A weighted sum of terms.

    Parameters
    ----------
    parts : name -> a term, or terms with their weights that are reported as one number
    target_weights : None: targets weigh the same and each name is reported once. One weight per target, or "learned"
        (`LearnedWeights`): each name is then reported once per target, as in "ic_h5". The sum is always over the mean
        of the targets: weights of 1 change nothing
    targets : names of the targets for the report; needed with target_weights
    """

    def __init__(
        self,
        parts: Mapping[str, Term | Mapping[Term, float]],
        target_weights: Sequence[float] | str | None = None,
        targets: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.parts = {name: {part: 1.0} if callable(part) else dict(part) for name, part in parts.items()}
        self.targets = tuple(targets)
        self.learned = LearnedWeights(len(self.targets)) if target_weights == "learned" else None
        self.fixed = None if target_weights is None or self.learned else tuple(map(float, target_weights))

    def terms(self, prediction: Tensor, dates: CrossSections) -> dict[str, Tensor]:
        """Return the named terms, weighted and averaged over dates."""
        if self.fixed is None and self.learned is None:
            return {
                name: sum_of([weight * dates.average(term(prediction, dates)) for term, weight in part.items()])
                for name, part in self.parts.items()
            }
        values = {
            name: sum_of([weight * dates.per_target(term(prediction, dates)) for term, weight in part.items()])
            for name, part in self.parts.items()
        }
        return weighted_by_target(values, self.learned or self.fixed or (), self.targets, dates)


def weighted_by_target(
    values: Mapping[str, Tensor],
    weights: LearnedWeights | Sequence[float],
    targets: Sequence[str],
    dates: CrossSections,
) -> dict[str, Tensor]:
    """Terms (H,) times the weight of their target, one scalar per name and target; their sum is a mean over targets."""
    if dates.target_BH.shape[1] != len(targets):
        raise ValueError(
            f"the batch has {dates.target_BH.shape[1]} targets: the loss was made for {', '.join(targets)}"
        )
    factor_H = weights() if isinstance(weights, LearnedWeights) else dates.target_BH.new_tensor(list(weights))
    named = {
        f"{name}_{target}": value
        for name, values_H in values.items()
        for target, value in zip(targets, (factor_H * values_H).unbind(), strict=True)
    }
    named = {name: value / len(targets) for name, value in named.items()}
    if isinstance(weights, LearnedWeights):
        named["log_variance"] = weights.penalty(dates)
    return named


def sum_of(values: Sequence[Tensor]) -> Tensor:
    """Their sum, from left to right."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total
