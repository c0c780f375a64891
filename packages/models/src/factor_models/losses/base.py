"""What a loss is: a module that gives named terms, whose sum is minimised."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

Term = Callable[[Tensor, Tensor, Tensor, int, Tensor | None], Tensor]
"""term(prediction (B, H), target (B, H), groups (B,), num_groups, weights (B,) or None) -> scalar."""


class Loss(nn.Module):
    """Named terms of one micro batch; their sum is what training minimises.

    It may hold parameters (learnt task weights), which the engine trains with the model's.

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
    ) -> dict[str, Tensor]:
        """Scalars by name.

        Parameters
        ----------
        prediction : (B, H * outputs_per_target)
        target : (B, H), NaN = unknown: no gradient, no share of any mean
        groups : (B,) int64, date of the batch a window belongs to, 0..num_groups - 1
        num_groups : dates; each term is the mean over dates and targets, dates weighing the same
        weights : (B,) weight of each window within its date, >= 0; None means 1
        """
        raise NotImplementedError

    def point(self, prediction: Tensor) -> Tensor:
        """The forecasts (B, H) that are ranked, of the model's outputs (B, H * outputs_per_target)."""
        return prediction


class TermLoss(Loss):
    """A weighted sum of terms.

    >>> loss = TermLoss({"mse": mse, "ic": ic}, {"mse": 0.5})  # doctest: +SKIP
    """

    def __init__(self, terms: Mapping[str, Term], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.terms, self.term_weights = dict(terms), dict(weights or {})

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        groups: Tensor,
        num_groups: int,
        weights: Tensor | None = None,
    ) -> dict[str, Tensor]:
        return {
            name: self.term_weights.get(name, 1.0) * term(prediction, target, groups, num_groups, weights)
            for name, term in self.terms.items()
        }
