"""Small K-line models with random weights that the tests share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from factor_models.kline import Kronos, KronosTokenizer

DROPOUTS = {"ffn_dropout_p": 0.0, "attn_dropout_p": 0.0, "resid_dropout_p": 0.0}


def make_tokenizer(s1_bits: int = 4, s2_bits: int = 3, **changes: Any) -> KronosTokenizer:
    torch.manual_seed(0)
    config = {
        "d_in": 6,
        "d_model": 16,
        "n_heads": 2,
        "ff_dim": 24,
        "n_enc_layers": 2,
        "n_dec_layers": 2,
        "s1_bits": s1_bits,
        "s2_bits": s2_bits,
        "beta": 0.05,
        "gamma0": 1.0,
        "gamma": 1.1,
        "zeta": 0.05,
        "group_size": 1,
        **DROPOUTS,
    }
    return KronosTokenizer(**(config | changes)).eval()


def make_predictor(s1_bits: int = 4, s2_bits: int = 3, official_parity: bool = False, **changes: Any) -> Kronos:
    torch.manual_seed(1)
    config = {
        "s1_bits": s1_bits,
        "s2_bits": s2_bits,
        "n_layers": 2,
        "d_model": 32,
        "n_heads": 2,
        "ff_dim": 40,
        "token_dropout_p": 0.0,
        "learn_te": True,
        **DROPOUTS,
    }
    return Kronos(**(config | changes), official_parity=official_parity).eval()


def stamps(num_series: int, num_bars: int, start: int = 0) -> Tensor:
    """Five-minute stamps (num_series, num_bars, 5)."""
    minute = (torch.arange(num_bars) + start) * 5
    parts = [minute % 60, minute // 60 % 24, minute // 1440 % 7, 1 + minute // 1440 % 28, minute * 0 + 3]
    return torch.stack(parts, dim=-1).expand(num_series, -1, -1).contiguous()


def bars(num_series: int, num_bars: int, seed: int = 2) -> Tensor:
    return torch.randn(num_series, num_bars, 6, generator=torch.Generator().manual_seed(seed)).clamp(-5, 5)
