"""StockNet: a variational model of movements from prices and texts.

Xu & Cohen (2018), "Stock Movement Prediction from Tweets and Historical Prices". Three parts: the market information
encoder (attention over a day's messages, beside the day's prices), the variational movement decoder (a GRU over days
and a chain of latents) and the attentive temporal auxiliary (the earlier days' movements are predicted too; they are
weighted by what they tell and by how they fit the last day, and handed to the last prediction). A message is a document
vector here, where the paper reads its words.

What is minimised: the loss of the prediction, kl_weight * KL(posterior, prior), and with `movement_feature`
auxiliary_weight * cross-entropy of the earlier days' movements. Nothing is kept from one window to another.

Shapes: B windows, L days, F features, K documents, D numbers of a document, G width of a day's state, H horizons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from factor_models.checks import check_at_least, check_windows
from factor_models.networks.documents import DayEncoder
from factor_models.networks.pretrained import ZooNetwork
from factor_models.networks.variational import (
    LatentChain,
    VariationalConfig,
    average_over_dates,
    hybrid_terms,
    target_evidence,
)
from factor_models.training.inputs import TensorBatch
from factor_models.training.objective import Criterion


@dataclass(frozen=True, kw_only=True)
class StockNetConfig(VariationalConfig):
    """Size and objective of StockNet."""

    auxiliary_weight: float = 0.5
    """Weight of the earlier days' movements in the loss."""
    movement_feature: int | None = None
    """Column of the features that says by its sign how the bar moved: the auxiliary target of the day before. None: the
    earlier days are weighed and handed on, but have no targets."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, {"auxiliary_weight": 0.0})
        if self.movement_feature is not None:
            check_at_least(self, {"movement_feature": 0})


class Decoded(NamedTuple):
    """Outputs of the decoder: predictions (B, H), movement logits of the days (B, L), states (B, L, G)."""

    prediction_BH: Tensor
    movement_BL: Tensor
    state_BLG: Tensor


class TemporalAuxiliary(nn.Module):
    """The last day's prediction from its state and the movements of the days before, attended."""

    def __init__(self, width: int, num_horizons: int, dropout: float) -> None:
        super().__init__()
        self.movement = nn.Linear(width, 1)
        self.information = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False))
        self.dependency = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width + 1, num_horizons)

    def forward(self, state_BLG: Tensor) -> Decoded:
        """V = softmax_t((w . tanh(U g_t)) * (g_T . tanh(V g_t))) over t < T; head([sum_t v_t y_t, g_T])."""
        earlier_BLG, last_BG = state_BLG[:, :-1], state_BLG[:, -1]
        movement_BL = self.movement(state_BLG).squeeze(-1)
        information_BL = self.information(earlier_BLG).squeeze(-1)
        dependency_BL = (self.dependency(earlier_BLG) * last_BG.unsqueeze(1)).sum(dim=-1)
        weight_BL = (information_BL * dependency_BL).softmax(dim=1)
        expected_BL = 2.0 * torch.sigmoid(movement_BL[:, :-1]) - 1.0
        handed_on_B1 = (weight_BL * expected_BL).sum(dim=1, keepdim=True)
        features_BG = self.dropout(torch.cat([handed_on_B1, last_BG], dim=1))
        return Decoded(self.head(features_BG), movement_BL, state_BLG)


class StockNetForecaster(ZooNetwork):
    """Causal in time: the state of a day depends on that day and earlier ones only."""

    input_kind = "features"
    extra_inputs = ("texts",)

    def __init__(self, config: StockNetConfig, num_features: int, num_horizons: int, text_dim: int) -> None:
        super().__init__()
        if config.movement_feature is not None and config.movement_feature >= num_features:
            raise ValueError(f"movement_feature = {config.movement_feature}: must be < num_features = {num_features}")
        self.config, self.lookback, self.num_features = config, config.lookback, num_features
        self.market = DayEncoder(num_features, text_dim, config.text_width, config.dropout)
        self.recurrence = nn.GRU(self.market.width, config.hidden, batch_first=True)
        known = self.market.width + config.hidden
        self.latents = LatentChain(known, config.latent, config.hidden, 2 * num_horizons + 1)
        self.state = nn.Linear(known + config.latent, config.hidden)
        self.auxiliary = TemporalAuxiliary(config.hidden, num_horizons, config.dropout)

    def states(self, x_BLF: Tensor, texts: Tensor | None = None) -> Tensor:
        """State of each day by the means of the prior, (B, L, G)."""
        return self._decode(self._encode(x_BLF, texts))[0].state_BLG

    def forward(self, x_BLF: Tensor, texts: Tensor | None = None) -> Tensor:
        """Predictions (B, H) from windows (B, L, F) without NaN and texts (B, L, K, D), NaN where there is none."""
        return self._decode(self._encode(x_BLF, texts))[0].prediction_BH

    def training_terms(self, batch: TensorBatch, criterion: Criterion) -> dict[str, Tensor]:
        """The criterion's terms, "kl" and, with auxiliary targets, "auxiliary", all weighted."""
        known_BLV = self._encode(batch.windows, batch.texts)
        moved_BL = self._earlier_movements(batch.windows)
        evidence_BLY = torch.cat([target_evidence(batch), moved_BL.unsqueeze(-1)], dim=-1)
        generated, divergence_BL = self._decode(known_BLV, evidence_BLY)
        predicted, _ = self._decode(known_BLV)
        terms = hybrid_terms(criterion, generated.prediction_BH, predicted.prediction_BH, self.config.prior_share)
        terms["kl"] = self.config.kl_weight * average_over_dates(divergence_BL.mean(dim=1), batch)
        if self.config.movement_feature is not None and self.lookback > 1:
            error_B = movement_error(predicted.movement_BL[:, :-1], moved_BL[:, :-1])
            terms["auxiliary"] = self.config.auxiliary_weight * average_over_dates(error_B, batch)
        return terms

    def _encode(self, x_BLF: Tensor, texts: Tensor | None) -> Tensor:
        """Return the knowledge of each day, (B, L, V): its inputs and the state of the recurrence."""
        check_windows(x_BLF, self.lookback, self.num_features)
        days_BLV = self.market(x_BLF, texts)
        return torch.cat([days_BLV, self.recurrence(days_BLV)[0]], dim=-1)

    def _decode(self, known_BLV: Tensor, evidence_BLY: Tensor | None = None) -> tuple[Decoded, Tensor]:
        latent_BLZ, divergence_BL = self.latents(known_BLV, evidence_BLY)
        state_BLG = torch.tanh(self.state(torch.cat([known_BLV, latent_BLZ], dim=-1)))
        return self.auxiliary(state_BLG), divergence_BL

    def _earlier_movements(self, x_BLF: Tensor) -> Tensor:
        """Sign of the next day's movement for each day, (B, L); 0 where unknown: always on the last."""
        unknown_B1 = x_BLF.new_zeros(x_BLF.shape[0], 1)
        if self.config.movement_feature is None:
            return unknown_B1.expand(-1, self.lookback)
        return torch.cat([x_BLF[:, 1:, self.config.movement_feature].sign(), unknown_B1], dim=1)


def movement_error(logit_BL: Tensor, moved_BL: Tensor) -> Tensor:
    """Mean cross-entropy of each window's movements (-1 down, +1 up; 0 is left out), (B,)."""
    is_known_BL = (moved_BL != 0).to(logit_BL.dtype)
    error_BL = functional.binary_cross_entropy_with_logits(logit_BL, (moved_BL + 1.0) / 2.0, reduction="none")
    return (error_BL * is_known_BL).sum(dim=1) / is_known_BL.sum(dim=1).clamp(min=1.0)
