"""The pretrained encoder of a run's texts: opened from its folder, held against its hash, its vectors kept by content.

Vectors lie in `~/.cache/factorcast/text_vectors` (`XDG_CACHE_HOME` moves it), in a folder per encoder: no text is
encoded twice, by whichever run or clone.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from factor_data import CachedEncoder, FolderEncoder, NewsVectorConfig, encoder_digest
from stages.params.tokenize import TokenizeParams
from stages.running.stage import StageError

KEY = "params.yaml: tokenize.news_vectors.folder"
LEAST_DIGITS = 12
TEXTS_AT_ONCE = 1024


def check_encoder(config: NewsVectorConfig) -> Path:
    """Return the folder of `folder@hash`. StageError unless it holds the encoder of the hash, and it can be opened.

    The hash, of its files, stands in params.yaml for DVC, which does not look into the folder.
    """
    name, sign, digits = str(config.folder).rpartition("@")
    if not sign:
        name, digits = digits, ""
    try:
        digest = encoder_digest(name)
    except ValueError as error:
        raise StageError(f"{KEY}: {error}") from None
    if len(digits) < LEAST_DIGITS or not digest.startswith(digits):
        said = f"holds another encoder than {digits}" if digits else "needs the hash of its files"
        raise StageError(f"{KEY}: {name} {said}: write {name}@{digest[:LEAST_DIGITS]}")
    if find_spec("transformers") is None:
        raise StageError(
            "tokenize.news_vectors.kind: transformer needs the package transformers, which is not installed: "
            "make encoder"
        )
    return Path(name)


def open_encoder(section: TokenizeParams, texts: Sequence[str]) -> tuple[TokenizeParams, CachedEncoder]:
    """Return the section with the length of the vectors, and the encoder with those of all texts in its cache.

    How far it is goes to stderr. One thread makes the vectors: how many there are decides rounding, and no setting of
    tokenize says it.
    """
    config = section.news_vectors
    assert config is not None
    encoder = FolderEncoder(check_encoder(config), pooling=config.pooling, max_tokens=config.max_tokens)
    name = hashlib.sha256(encoder.identity.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "factorcast" / "text_vectors" / name
    cached = CachedEncoder(encoder, cache)
    unique, threads = list(dict.fromkeys(texts)), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for first in range(0, len(unique), TEXTS_AT_ONCE):
            vectors = cached.encode(unique[first : first + TEXTS_AT_ONCE])
            if not np.isfinite(vectors).all():
                raise StageError(f"{KEY}: gives vectors that are not finite: its weights are damaged")
            print(f"texts: {min(first + TEXTS_AT_ONCE, len(unique)):,} of {len(unique):,} encoded", file=sys.stderr)
    finally:
        torch.set_num_threads(threads)
    return replace(section, news_vectors=replace(config, dimensions=encoder.dimensions)), cached
