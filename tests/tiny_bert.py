"""A tiny BERT with random weights, laid down as `save_pretrained` lays down FinBERT."""

from __future__ import annotations

import types
from collections.abc import Sequence
from pathlib import Path


def save_tiny_bert(
    transformers: types.ModuleType, folder: Path, words: Sequence[str], num_layers: int, max_tokens: int
) -> Path:
    """Write model and tokenizer of these words into a folder that is there, and return it."""
    import torch

    (folder / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=num_layers, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=max_tokens,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder
