"""Normal latent variables of a recurrent generator: prior, posterior, their divergence, and what is averaged how.

At each bar t a latent z_t follows a normal prior p(z_t | state_t, z_(t-1)); while training, the posterior also sees the
target, and sampling is z = mean + deviation * noise (Kingma & Welling 2014, "Auto-Encoding Variational Bayes"). To
predict, z_t is the mean of the prior: no random number, no target. Training only on the posterior's latents would teach
a network to read the target from them, which is not there to predict with; so a share of the loss is that of the
prediction by the prior, the hybrid objective of Sohn, Lee & Yan (2015), "Learning Structured Output Representation
using Deep Conditional Generative Models".

Shapes: B windows, L bars, S width of the state of a bar, Z latents, H horizons, Y numbers that tell of the target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from factor_models.checks import check_at_least, check_share
from factor_models.losses.cross_section import CrossSections
from factor_models.training.inputs import TensorBatch

LARGEST_LOG_VARIANCE = 6.0
"""Log variances are squeezed into (-6, 6): divergences stay finite."""


@dataclass(frozen=True, kw_only=True)
class VariationalConfig:
    """Size and objective of a model of news and prices with a latent variable a day."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lookback: int = 10
    """Days a window holds."""
    text_width: int = 32
    """Width of a text's embedding."""
    hidden: int = 32
    """Units of the recurrence and of a day's state."""
    latent: int = 16
    """Latent numbers of a day."""
    dropout: float = 0.0
    """Share of units dropped while training, of embeddings and before the head."""
    kl_weight: float = 0.01
    """Weight of the divergence of the posterior from the prior, a day's mean."""
    prior_share: float = 0.5
    """Share of the loss taken on the prediction by the prior, in [0, 1]; 0: the papers' bound."""

    def __post_init__(self) -> None:
        minimums = {
            "lookback": 1,
            "text_width": 1,
            "hidden": 1,
            "latent": 1,
            "kl_weight": 0.0,
            "prior_share": 0.0,
        }
        check_at_least(self, minimums)
        check_share(self, "dropout")
        if self.prior_share > 1.0:
            raise ValueError(f"prior_share = {self.prior_share}: must be in [0, 1]")


class Normal(NamedTuple):
    """Independent normal variables, any shape."""

    mean: Tensor
    log_variance: Tensor

    def sample(self) -> Tensor:
        """Draw once, with gradients to mean and variance."""
        return self.mean + torch.randn_like(self.mean) * (0.5 * self.log_variance).exp()


def normal_divergence(first: Normal, second: Normal) -> Tensor:
    """KL(first || second) >= 0 in nats, summed over the last axis."""
    ratio = (first.log_variance - second.log_variance).exp()
    distance = (first.mean - second.mean).square() * (-second.log_variance).exp()
    return 0.5 * (ratio + distance - 1.0 + second.log_variance - first.log_variance).sum(dim=-1)


class NormalUnit(nn.Module):
    """A normal variable that depends on an input through one hidden layer."""

    def __init__(self, num_inputs: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(num_inputs, hidden)
        self.mean = nn.Linear(hidden, latent)
        self.log_variance = nn.Linear(hidden, latent)

    def forward(self, given: Tensor) -> Normal:
        """Return the distribution given the inputs; its log variance is bounded."""
        hidden = torch.tanh(self.hidden(given))
        squeezed = torch.tanh(self.log_variance(hidden) / LARGEST_LOG_VARIANCE)
        return Normal(self.mean(hidden), LARGEST_LOG_VARIANCE * squeezed)


class LatentChain(nn.Module):
    """z_1 ... z_L, each given the state of its bar and the latent before."""

    def __init__(self, state_width: int, latent: int, hidden: int, num_evidence: int) -> None:
        super().__init__()
        self.latent = latent
        self.prior = NormalUnit(state_width + latent, hidden, latent)
        self.posterior = NormalUnit(state_width + latent + num_evidence, hidden, latent)

    def forward(self, state_BLS: Tensor, evidence_BLY: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latents (B, L, Z) and KL(posterior || prior) per bar (B, L).

        Without evidence the latents are the means of the prior and the divergence is 0. With it they are drawn from the
        posterior, or its means in evaluation mode.
        """
        before_BZ = state_BLS.new_zeros(state_BLS.shape[0], self.latent)
        latents, divergences = [], []
        for bar in range(state_BLS.shape[1]):
            given_BS = torch.cat([state_BLS[:, bar], before_BZ], dim=-1)
            prior = self.prior(given_BS)
            if evidence_BLY is None:
                before_BZ = prior.mean
                divergences.append(state_BLS.new_zeros(state_BLS.shape[0]))
            else:
                posterior = self.posterior(torch.cat([given_BS, evidence_BLY[:, bar]], dim=-1))
                before_BZ = posterior.sample() if self.training else posterior.mean
                divergences.append(normal_divergence(posterior, prior))
            latents.append(before_BZ)
        return torch.stack(latents, dim=1), torch.stack(divergences, dim=1)


def target_evidence(batch: TensorBatch) -> Tensor:
    """Return the posterior's view of the targets, (B, L, 2H): at the last bar values, 0 if unknown, and a mask."""
    assert batch.targets is not None
    known_BH = torch.isfinite(batch.targets)
    told_BY = torch.cat([torch.where(known_BH, batch.targets, 0.0), known_BH.to(batch.targets.dtype)], dim=1)
    earlier_BLY = told_BY.new_zeros(len(told_BY), batch.windows.shape[1] - 1, told_BY.shape[1])
    return torch.cat([earlier_BLY, told_BY.unsqueeze(1)], dim=1).to(batch.windows.dtype)


def average_over_dates(values_B: Tensor, batch: TensorBatch) -> Tensor:
    """Mean of a number per window: over the windows of a date that have a target, then over dates, as losses do."""
    assert batch.targets is not None
    dates = CrossSections(batch.targets, batch.groups, max(batch.num_dates, 1), batch.weights)
    return dates.average(dates.mean(values_B.float().unsqueeze(1).expand_as(batch.targets)))


def hybrid_terms(
    criterion: Callable[[Tensor], dict[str, Tensor]],
    by_posterior: Tensor,
    by_prior: Tensor,
    prior_share: float,
) -> dict[str, Tensor]:
    """The terms of the loss, `prior_share` of them those of the prediction by the prior."""
    posterior, prior = criterion(by_posterior), criterion(by_prior)
    return {name: (1.0 - prior_share) * posterior[name] + prior_share * prior[name] for name in posterior}
