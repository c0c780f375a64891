"""Quality of tokens: reconstruction error, share of the codebook in use, perplexity."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from factor_models.kline.tokenizer import KronosTokenizer
from factor_models.kline.windows import COLUMNS


@dataclass(frozen=True, kw_only=True)
class TokenizerQuality:
    """Quality of a tokenizer on some windows."""

    num_bars: int
    reconstruction_mse: float
    """Mean squared error of the normalised bars; their variance in the lookback is 1."""
    reconstruction_mse_s1: float
    """The same from the coarse token alone."""
    mse_by_column: dict[str, float]
    used_s1: float
    """Share of the coarse tokens that occur; likewise s2 and their pairs."""
    used_s2: float
    used_pairs: float
    perplexity_s1: float
    """exp of the entropy of their frequencies: as many equally frequent tokens would be as hard to guess."""
    perplexity_s2: float
    perplexity_pairs: float


@torch.no_grad()
def tokenizer_quality(tokenizer: KronosTokenizer, windows: Iterable[NDArray[np.float32]]) -> TokenizerQuality:
    """Over batches (W, T, 6) of normalised bars, at least one."""
    tokenizer.eval()
    device = tokenizer.embed.weight.device
    sizes = (2**tokenizer.s1_bits, 2**tokenizer.s2_bits)
    counts = torch.zeros(sizes, dtype=torch.int64)
    error, error_s1, num_bars = torch.zeros(len(COLUMNS), dtype=torch.float64), 0.0, 0
    for batch in windows:
        x = torch.from_numpy(batch).to(device)
        (coarse, fine), _, _, index = tokenizer(x)
        error += (fine - x).double().square().sum((0, 1)).cpu()
        error_s1 += float((coarse - x).double().square().sum())
        num_bars += index.numel()
        # `index` holds s1 in its low bits, so a row of the table is one s2.
        counts += torch.bincount(index.flatten().cpu(), minlength=counts.numel()).view(sizes[1], sizes[0]).T
    if not num_bars:
        raise ValueError("there is no window to measure the tokenizer on")
    by_column = (error / num_bars).tolist()
    tables = {"s1": counts.sum(1), "s2": counts.sum(0), "pairs": counts.flatten()}
    return TokenizerQuality(
        num_bars=num_bars,
        reconstruction_mse=float(np.mean(by_column)),
        reconstruction_mse_s1=error_s1 / num_bars / len(COLUMNS),
        mse_by_column=dict(zip(COLUMNS, by_column, strict=True)),
        **{f"used_{name}": float((table > 0).double().mean()) for name, table in tables.items()},
        **{f"perplexity_{name}": perplexity(table.numpy()) for name, table in tables.items()},
    )


def perplexity(counts: NDArray[np.integer]) -> float:
    """exp(entropy) of frequencies.

    >>> perplexity(np.array([5, 5, 0, 5, 5]))
    4.0
    """
    share = counts[counts > 0] / counts.sum()
    return float(np.round(np.exp(-(share * np.log(share)).sum()), 12))
