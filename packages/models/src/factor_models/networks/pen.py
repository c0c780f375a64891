"""PEN: prediction and explanation from prices and texts; which texts mattered is part of what it gives.

Li, Liao, Chen & Yan (2023), "PEN: Prediction-Explanation Network to Forecast Stock Price Movement with Better
Explainability". Day by day: the text selection unit weighs the day's texts given the state so far and the day's prices
(the vector of salience, VoS, sums to 1); the text memory unit takes the selected text in through a gate; the
information fusion unit mixes memory and prices into the next state. A chain of latents generates the movement from the
states, and attention over days makes the prediction.

What is minimised: the loss of the prediction + kl_weight * KL(posterior, prior) - salience_weight * KL(VoS, uniform):
the last term draws the salience to few texts. How far it is: `top_text_ratio`.

Shapes: B windows, L days, F features, K documents, E width of a text, M of the memory and state, H horizons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from factor_models.checks import check_at_least, check_windows
from factor_models.networks.documents import DocumentEmbedding, masked_softmax, read_documents
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
class PENConfig(VariationalConfig):
    """Size and objective of PEN."""

    salience_weight: float = 0.01
    """Weight of the reward for salience that is far from uniform, in nats of a day with two texts or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, {"salience_weight": 0.0})


class TextSelection(nn.Module):
    """VoS_k = softmax_k(w . tanh(W [text_k, state, prices])) over the texts of a day."""

    def __init__(self, text_width: int, hidden: int, num_features: int) -> None:
        super().__init__()
        self.text = nn.Linear(text_width, hidden, bias=False)
        self.given = nn.Linear(hidden + num_features, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, text_BKE: Tensor, present_BK: Tensor, state_BM: Tensor, x_BF: Tensor) -> tuple[Tensor, Tensor]:
        """The selected text (B, E) and the salience (B, K); both 0 on a day without texts."""
        given_B1M = self.given(torch.cat([state_BM, x_BF], dim=-1)).unsqueeze(1)
        score_BK = self.score(torch.tanh(self.text(text_BKE) + given_B1M)).squeeze(-1)
        salience_BK = masked_softmax(score_BK, present_BK)
        return (salience_BK.unsqueeze(-1) * text_BKE).sum(dim=1), salience_BK


class TextMemory(nn.Module):
    """memory + gate * (tanh(W [text, memory]) - memory); unchanged on a day without texts."""

    def __init__(self, text_width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(text_width + hidden, hidden)
        self.candidate = nn.Linear(text_width + hidden, hidden)

    def forward(self, text_BE: Tensor, memory_BM: Tensor, has_text_B1: Tensor) -> Tensor:
        """Return the memory after a text, (B, M); unchanged where there is none."""
        given = torch.cat([text_BE, memory_BM], dim=-1)
        gate_BM = torch.sigmoid(self.gate(given)) * has_text_B1
        return memory_BM + gate_BM * (torch.tanh(self.candidate(given)) - memory_BM)


class InformationFusion(nn.Module):
    """The next state from prices and memory, mixed by a gate; without news from prices alone."""

    def __init__(self, num_features: int, hidden: int, has_news: bool) -> None:
        super().__init__()
        self.prices = nn.Linear(num_features, hidden)
        self.memory = nn.Linear(hidden, hidden) if has_news else None
        self.gate = nn.Linear(num_features + 2 * hidden, hidden) if has_news else None
        self.cell = nn.GRUCell(hidden, hidden)

    def forward(self, x_BF: Tensor, memory_BM: Tensor, state_BM: Tensor) -> Tensor:
        """Return the next state from prices, memory and state, (B, M)."""
        mixed_BM = torch.tanh(self.prices(x_BF))
        if self.memory is not None and self.gate is not None:
            gate_BM = torch.sigmoid(self.gate(torch.cat([x_BF, memory_BM, state_BM], dim=-1)))
            mixed_BM = gate_BM * mixed_BM + (1.0 - gate_BM) * torch.tanh(self.memory(memory_BM))
        return self.cell(mixed_BM, state_BM)


class Shared(NamedTuple):
    """What prices and texts say together: states (B, L, M), salience (B, L, K), which texts are there (B, L, K)."""

    state_BLM: Tensor
    salience_BLK: Tensor
    present_BLK: Tensor


class SharedRepresentation(nn.Module):
    """Selection, memory and fusion, day after day; without news, the prices alone."""

    def __init__(self, config: PENConfig, num_features: int, text_dim: int) -> None:
        super().__init__()
        self.text_dim, self.hidden = text_dim, config.hidden
        self.fusion = InformationFusion(num_features, config.hidden, text_dim > 0)
        if text_dim:
            self.embedding = DocumentEmbedding(text_dim, config.text_width, config.dropout)
            self.selection = TextSelection(config.text_width, config.hidden, num_features)
            self.memory = TextMemory(config.text_width, config.hidden)

    def forward(self, x_BLF: Tensor, texts: Tensor | None) -> Shared:
        """Return states and salience of all bars."""
        state_BM = memory_BM = x_BLF.new_zeros(x_BLF.shape[0], self.hidden)
        if self.text_dim:
            documents_BLKD, present_BLK = read_documents(texts, x_BLF, self.text_dim)
            text_BLKE = self.embedding(documents_BLKD, present_BLK)
        else:
            present_BLK = x_BLF.new_zeros((*x_BLF.shape[:2], 1), dtype=torch.bool)
        states, saliences = [], []
        for day in range(x_BLF.shape[1]):
            x_BF, present_BK = x_BLF[:, day], present_BLK[:, day]
            if self.text_dim:
                text_BE, salience_BK = self.selection(text_BLKE[:, day], present_BK, state_BM, x_BF)
                has_text_B1 = present_BK.any(dim=1, keepdim=True).to(x_BF.dtype)
                memory_BM = self.memory(text_BE, memory_BM, has_text_B1)
            else:
                salience_BK = x_BF.new_zeros(present_BK.shape)
            state_BM = self.fusion(x_BF, memory_BM, state_BM)
            states.append(state_BM)
            saliences.append(salience_BK)
        return Shared(torch.stack(states, dim=1), torch.stack(saliences, dim=1), present_BLK)


class TemporalAttention(nn.Module):
    """head([sum_t w_t g_t, g_T]) with w = softmax_t(u . tanh(W g_t)) over the days."""

    def __init__(self, width: int, num_horizons: int, dropout: float) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width, num_horizons)

    def forward(self, state_BLG: Tensor) -> Tensor:
        """Return the head's output of the attended days and the last one."""
        context_BG = (self.score(state_BLG).softmax(dim=1) * state_BLG).sum(dim=1)
        return self.head(self.dropout(torch.cat([context_BG, state_BLG[:, -1]], dim=1)))


class PENForecaster(ZooNetwork):
    """Causal in time: the state of a day depends on that day and earlier ones only."""

    input_kind = "features"
    extra_inputs = ("texts",)

    def __init__(self, config: PENConfig, num_features: int, num_horizons: int, text_dim: int) -> None:
        super().__init__()
        self.config, self.lookback, self.num_features = config, config.lookback, num_features
        self.shared = SharedRepresentation(config, num_features, text_dim)
        self.latents = LatentChain(config.hidden, config.latent, config.hidden, 2 * num_horizons)
        self.generate = nn.Linear(config.hidden + config.latent, config.hidden)
        self.attention = TemporalAttention(config.hidden, num_horizons, config.dropout)

    def states(self, x_BLF: Tensor, texts: Tensor | None = None) -> Tensor:
        """Shared state of each day, (B, L, M)."""
        return self._share(x_BLF, texts).state_BLM

    def salience(self, x_BLF: Tensor, texts: Tensor | None = None) -> Tensor:
        """Vector of salience of each day (B, L, K): sums to 1, or is 0 where the day has no text."""
        return self._share(x_BLF, texts).salience_BLK

    def forward(self, x_BLF: Tensor, texts: Tensor | None = None) -> Tensor:
        """Predictions (B, H) from windows (B, L, F) without NaN and texts (B, L, K, D), NaN where there is none."""
        return self._decode(self._share(x_BLF, texts).state_BLM)[0]

    def training_terms(self, batch: TensorBatch, criterion: Criterion) -> dict[str, Tensor]:
        """The criterion's terms, "kl" and, with news, "salience" (the reward, hence <= 0), all weighted."""
        shared = self._share(batch.windows, batch.texts)
        generated_BH, divergence_BL = self._decode(shared.state_BLM, target_evidence(batch))
        predicted_BH, _ = self._decode(shared.state_BLM)
        terms = hybrid_terms(criterion, generated_BH, predicted_BH, self.config.prior_share)
        terms["kl"] = self.config.kl_weight * average_over_dates(divergence_BL.mean(dim=1), batch)
        if self.shared.text_dim:
            concentration_B = salience_divergence(shared.salience_BLK, shared.present_BLK)
            terms["salience"] = -self.config.salience_weight * average_over_dates(concentration_B, batch)
        return terms

    def top_text_ratio(self, x_BLF: Tensor, texts: Tensor | None = None, share: float = 0.95) -> float:
        """RTT: share of the days whose two most salient texts hold more than `share` of the salience.

        Of the days with three texts or more, since two texts always hold all; NaN where there is no such day.
        """
        shared = self._share(x_BLF, texts)
        num_texts_BL = shared.present_BLK.sum(dim=2)
        top_BL = shared.salience_BLK.sort(dim=2, descending=True).values[..., :2].sum(dim=2)
        counted = top_BL[num_texts_BL >= 3]
        return float((counted > share).double().mean())

    def _share(self, x_BLF: Tensor, texts: Tensor | None) -> Shared:
        check_windows(x_BLF, self.lookback, self.num_features)
        return self.shared(x_BLF, texts)

    def _decode(self, state_BLM: Tensor, evidence_BLY: Tensor | None = None) -> tuple[Tensor, Tensor]:
        latent_BLZ, divergence_BL = self.latents(state_BLM, evidence_BLY)
        generated_BLM = torch.tanh(self.generate(torch.cat([state_BLM, latent_BLZ], dim=-1)))
        return self.attention(generated_BLM), divergence_BL


def salience_divergence(salience_BLK: Tensor, present_BLK: Tensor) -> Tensor:
    """KL(VoS || uniform over the day's texts) in nats, mean over the days with two texts or more (B,); 0 without one.

    Between 0 (uniform) and log of the number of texts (all on one).
    """
    num_texts_BL = present_BLK.sum(dim=2)
    tiny = torch.finfo(salience_BLK.dtype).tiny
    entropy_BL = -(salience_BLK * salience_BLK.clamp(min=tiny).log()).sum(dim=2)
    divergence_BL = num_texts_BL.clamp(min=1).to(salience_BLK.dtype).log() - entropy_BL
    is_counted_BL = (num_texts_BL >= 2).to(salience_BLK.dtype)
    return (divergence_BL * is_counted_BL).sum(dim=1) / is_counted_BL.sum(dim=1).clamp(min=1.0)
