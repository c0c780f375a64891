"""Documents of a bar as a network reads them: which are there, and attention that the missing ones take no part in.

Shapes: B windows, L bars, K documents of a bar, D numbers of a document's vector, E width of its embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def read_documents(texts_BLKD: Tensor | None, x_BLF: Tensor, text_dim: int) -> tuple[Tensor, Tensor]:
    """The vectors (B, L, K, D) with 0 in place of missing documents, and which are there (B, L, K).

    `None` means no news at all: one missing document a bar. ValueError if the shape is not that of the windows.
    """
    if texts_BLKD is None:
        texts_BLKD = x_BLF.new_full((*x_BLF.shape[:2], 1, text_dim), torch.nan)
    expected = (*x_BLF.shape[:2], text_dim)
    if texts_BLKD.ndim != 4 or (*texts_BLKD.shape[:2], texts_BLKD.shape[3]) != expected:
        raise ValueError(
            f"texts have shape {tuple(texts_BLKD.shape)}: with windows {tuple(x_BLF.shape)} the model reads "
            f"{expected[:2]} + (documents, {text_dim})"
        )
    present_BLK = ~texts_BLKD.isnan().any(dim=-1)
    return torch.where(present_BLK.unsqueeze(-1), texts_BLKD, 0.0), present_BLK


def masked_softmax(score: Tensor, present: Tensor) -> Tensor:
    """Softmax over the last axis among what is present; all 0 where nothing is."""
    lowest = torch.finfo(score.dtype).min
    return score.masked_fill(~present, lowest).softmax(dim=-1) * present


class DocumentEmbedding(nn.Module):
    """tanh(W norm(document)) of every document, 0 for those that are missing."""

    def __init__(self, text_dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(text_dim)
        self.project = nn.Linear(text_dim, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, texts_BLKD: Tensor, present_BLK: Tensor) -> Tensor:
        """(B, L, K, E)."""
        embedded_NE = self.dropout(torch.tanh(self.project(self.norm(texts_BLKD[present_BLK]))))
        embedded_BLKE = texts_BLKD.new_zeros(*present_BLK.shape, embedded_NE.shape[1], dtype=embedded_NE.dtype)
        embedded_BLKE[present_BLK] = embedded_NE  # most places of most bars are empty: they cost nothing
        return embedded_BLKE


class DocumentAttention(nn.Module):
    """A bar's documents as one vector: weights softmax_k(w . tanh(U e_k)), sum of weighted embeddings.

    The order of the documents does not matter. A bar without one has the vector 0.
    """

    def __init__(self, text_dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.embedding = DocumentEmbedding(text_dim, width, dropout)
        self.hidden = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, texts_BLKD: Tensor, present_BLK: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of the bars (B, L, E) and the weights (B, L, K), which sum to 1 where a document is."""
        embedded_BLKE = self.embedding(texts_BLKD, present_BLK)
        score_BLK = self.score(torch.tanh(self.hidden(embedded_BLKE))).squeeze(-1)
        weight_BLK = masked_softmax(score_BLK, present_BLK)
        return (weight_BLK.unsqueeze(-1) * embedded_BLKE).sum(dim=2), weight_BLK


class DayEncoder(nn.Module):
    """Inputs of a bar: its features and, with news, the attended documents and whether there were any."""

    def __init__(self, num_features: int, text_dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.text_dim = text_dim
        self.width = num_features + (width + 1 if text_dim else 0)
        self.news = DocumentAttention(text_dim, width, dropout) if text_dim else None

    def forward(self, x_BLF: Tensor, texts_BLKD: Tensor | None) -> Tensor:
        """(B, L, width)."""
        if self.news is None:
            return x_BLF
        documents_BLKD, present_BLK = read_documents(texts_BLKD, x_BLF, self.text_dim)
        news_BLE, _ = self.news(documents_BLKD, present_BLK)
        any_BL1 = present_BLK.any(dim=2, keepdim=True).to(x_BLF.dtype)
        return torch.cat([x_BLF, news_BLE, any_BL1], dim=-1)
