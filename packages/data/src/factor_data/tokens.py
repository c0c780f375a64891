"""Quantile tokens: each feature value becomes the number of the training quantile it falls in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data.atomic import canonical_json
from factor_data.chunks.selection import ColumnParts, quantiles

MISSING_TOKEN = 0


@dataclass(frozen=True, kw_only=True)
class QuantileTokenizer:
    """A fitted tokenizer. Token 0 is a missing value, tokens 1..num_tokens run from low to high values.

    ``edges[f]`` are the sorted inner borders of feature f; a value equal to a border belongs to the upper
    token.
    """

    names: tuple[str, ...]
    num_tokens: int
    edges: tuple[tuple[float, ...], ...]

    @classmethod
    def fit(
        cls,
        values: NDArray,
        train_rows: NDArray[np.bool_],
        num_tokens: int,
        names: Sequence[str] | None = None,
    ) -> QuantileTokenizer:
        """Take the borders from the quantiles of the rows in ``train_rows`` (num_rows,), each feature for
        itself.

        ``values`` is (num_rows, num_features). Equal borders are merged, so a feature with few distinct
        values uses fewer than ``num_tokens`` tokens. ValueError for a feature without a single known training
        value.
        """
        if names is None:
            names = [f"feature_{column}" for column in range(values.shape[1])]
        if values.ndim != 2 or values.shape[1] != len(names):
            raise ValueError(f"values must have one column per name ({len(names)}), got shape {values.shape}")
        return cls.fit_parts(ColumnParts.of(values[train_rows]), num_tokens, names)

    @classmethod
    def fit_parts(cls, train: ColumnParts, num_tokens: int, names: Sequence[str]) -> QuantileTokenizer:
        """Fit as ``fit`` does, on training values that are read in parts: the same borders."""
        if not 2 <= num_tokens <= 255:
            raise ValueError(
                f"num_tokens must lie in [2, 255] (a token is one byte, 0 = missing), got {num_tokens}"
            )
        edges = []
        for name, borders in zip(names, quantiles(train, np.arange(1, num_tokens) / num_tokens), strict=True):
            if len(borders) == 0:
                rows = sum(train.map(len))
                raise ValueError(f"feature {name!r} has no known value on the {rows} training rows")
            edges.append(tuple(np.unique(borders).tolist()))
        return cls(names=tuple(names), num_tokens=num_tokens, edges=tuple(edges))

    def transform(self, values: NDArray) -> NDArray[np.uint8]:
        """Return the (num_rows, num_features) tokens."""
        if values.ndim != 2 or values.shape[1] != len(self.names):
            raise ValueError(
                f"values must have the {len(self.names)} fitted columns, got shape {values.shape}"
            )
        tokens = np.empty(values.shape, dtype=np.uint8)
        for column, edges in enumerate(self.edges):
            x = values[:, column].astype(np.float64)
            token = 1 + np.searchsorted(np.asarray(edges), x, side="right")
            tokens[:, column] = np.where(np.isnan(x), MISSING_TOKEN, token)
        return tokens

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "num_tokens": self.num_tokens,
            "names": list(self.names),
            "edges": [list(edges) for edges in self.edges],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> QuantileTokenizer:
        """Rebuild what ``to_dict`` gave, exactly."""
        return cls(
            names=tuple(content["names"]),
            num_tokens=content["num_tokens"],
            edges=tuple(tuple(edges) for edges in content["edges"]),
        )

    @property
    def hash(self) -> str:
        """sha256 of the canonical JSON: equal for equal tokenizers, in any process."""
        return hashlib.sha256(canonical_json(self.to_dict()).encode()).hexdigest()
