"""Quantile tokens: each feature value becomes the number of the training quantile it falls in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data.chunks.selection import ColumnParts, quantiles
from factor_data.fit.fitted import check_columns, content_hash, joined_names, load_fitted, save_fitted
from factor_data.fit.quantiles import count_upto
from factor_data.json_document import as_written
from factor_data.kernel_cache import kernel

MISSING_TOKEN = 0


@dataclass(frozen=True, kw_only=True)
class QuantileTokenizer:
    """A fitted tokenizer. Token 0 is a missing value, tokens 1..num_tokens run from low to high values.

    `edges[f]` are the sorted inner borders of feature f; a value equal to a border belongs to the upper
    token. Rows may be transformed in any pieces.
    """

    names: tuple[str, ...]
    num_tokens: int
    edges: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.names):
            raise ValueError(
                f"a tokenizer of {len(self.names)} columns needs as many lists of edges, got {len(self.edges)}: "
                "make it with QuantileTokenizer.fit"
            )

    @classmethod
    def fit(
        cls,
        values: NDArray,
        train_rows: NDArray[np.bool_],
        num_tokens: int,
        names: Sequence[str] | None = None,
    ) -> QuantileTokenizer:
        """Take the borders from the quantiles of the rows in `train_rows` (num_rows,), each feature for itself.

        `values` is (num_rows, num_features). Equal borders are merged, so a feature with few distinct
        values uses fewer than `num_tokens` tokens. ValueError for a feature without a single known training
        value.
        """
        if names is None:
            names = [f"feature_{column}" for column in range(values.shape[1])]
        if values.ndim != 2 or values.shape[1] != len(names):
            raise ValueError(f"values must have one column per name ({len(names)}), got shape {values.shape}")
        return cls.fit_parts(ColumnParts.of(values[train_rows]), num_tokens, names)

    @classmethod
    def fit_parts(
        cls, train: ColumnParts, num_tokens: int, names: Sequence[str], *, strict: bool = True
    ) -> QuantileTokenizer:
        """Fit as `fit` does, on training values that are read in parts: the same borders.

        Without `strict` a feature without a single known training value has no border and is in `unknown`.
        """
        if not 2 <= num_tokens <= 255:
            raise ValueError(f"num_tokens must lie in [2, 255] (a token is one byte, 0 = missing), got {num_tokens}")
        edges = []
        for name, borders in zip(names, quantiles(train, np.arange(1, num_tokens) / num_tokens), strict=True):
            if len(borders) == 0 and strict:
                rows = sum(train.map(len))
                raise ValueError(f"feature {name!r} has no known value on the {rows} training rows")
            edges.append(tuple(np.unique(borders).tolist()))
        return cls(names=tuple(names), num_tokens=num_tokens, edges=tuple(edges))

    @property
    def unknown(self) -> tuple[str, ...]:
        """The features without a known training value: there is nothing to tell their values by."""
        return tuple(name for name, edges in zip(self.names, self.edges, strict=True) if not edges)

    def transform(self, values: NDArray, names: Sequence[str] | None = None) -> NDArray[np.uint8]:
        """Return the (num_rows, num_features) tokens. `names`, if given, must equal the fitted names."""
        if values.ndim != 2:
            raise ValueError(f"values must have shape (num_rows, num_features), got {values.shape}")
        check_columns(values.shape[1], self.names, names)
        tokens = np.empty(values.shape, dtype=np.uint8)
        for column, edges in enumerate(self.edges):
            _tokens_of(values[:, column], np.array(edges, dtype=np.float64), tokens[:, column])
        return tokens

    @classmethod
    def concatenate(cls, parts: Sequence[QuantileTokenizer]) -> QuantileTokenizer:
        """Join tokenizers of as many tokens that were fitted on column groups apart: equal to the joint fit."""
        names = joined_names([part.names for part in parts])
        if len({part.num_tokens for part in parts}) > 1:
            raise ValueError(f"parts must share num_tokens, got {sorted({part.num_tokens for part in parts})}")
        return cls(
            names=names,
            num_tokens=parts[0].num_tokens,
            edges=tuple(edges for part in parts for edges in part.edges),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "num_tokens": self.num_tokens,
            "names": list(self.names),
            "edges": [list(edges) for edges in self.edges],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> QuantileTokenizer:
        """Rebuild what `to_dict` gave, exactly."""
        return cls(
            names=tuple(content["names"]),
            num_tokens=content["num_tokens"],
            edges=tuple(tuple(edges) for edges in content["edges"]),
        )

    def save(self, path: str | Path) -> None:
        """Write JSON with the content's hash."""
        save_fitted(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path, expected_hash: str | None = None) -> QuantileTokenizer:
        """Read what `save` wrote; ValueError if it was changed, or is not the one with `expected_hash`."""
        with as_written(path):
            return cls.from_dict(load_fitted(path, expected_hash))

    @property
    def hash(self) -> str:
        """sha256 of the canonical JSON: equal for equal tokenizers, in any process."""
        return content_hash(self.to_dict())


@kernel(nogil=True)
def _tokens_of(values: NDArray, edges: NDArray[np.float64], tokens: NDArray[np.uint8]) -> None:
    for row in range(len(values)):
        value = np.float64(values[row])
        tokens[row] = 1 + count_upto(edges, value) if value == value else MISSING_TOKEN
