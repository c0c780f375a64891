"""The vocabulary of symbols: which number an embedding knows a symbol by, the same in every process.

Ids are positions in the sorted list of the symbols of a fold's training rows, from 1; 0 is unknown. They depend on
nothing else: not on a hash of the interpreter, nor on the order of rows or batches.

At inference the vocabulary saved with the model is loaded and asked, never fitted again: a symbol listed since then,
or spelt differently, is unknown (0) and no other symbol moves. `hash` goes into the model's metadata, so that a
model meets no vocabulary but its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_data.atomic import canonical_json, write_json

UNKNOWN_ID = 0
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class SymbolVocabulary:
    """Symbols and their ids; made by `fit`.

    Attributes
    ----------
    symbols : sorted and unique; `symbols[i]` has the id `i + 1`
    """

    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        wrong = [symbol for symbol in self.symbols if not isinstance(symbol, str) or not symbol]
        if wrong:
            raise ValueError(f"symbols must be text that is not empty, got {wrong[:3]!r}")
        if not self.symbols:
            raise ValueError("symbols are empty: the fold has no training row")
        if list(self.symbols) != sorted(set(self.symbols)):
            raise ValueError("symbols must be sorted and unique")

    @classmethod
    def fit(cls, symbols: Iterable[str]) -> SymbolVocabulary:
        """Take the symbols of a fold's training rows, in any order, any number of times.

        Of a panel: `SymbolVocabulary.fit(panel.symbols[np.unique(panel.symbol_code[train_rows])])`.
        """
        unique = set(symbols)
        wrong = [symbol for symbol in unique if not isinstance(symbol, str)]
        if wrong:
            raise ValueError(f"symbols must be text, got {wrong[:3]!r}")
        return cls(symbols=tuple(sorted(str(symbol) for symbol in unique)))

    @property
    def num_ids(self) -> int:
        """Rows an embedding needs: all symbols and the unknown one."""
        return len(self.symbols) + 1

    def encode(self, symbols: ArrayLike) -> NDArray[np.int32]:
        """Return the int32 id of each symbol, 0 where unknown; the shape is kept. ValueError if one is not text."""
        given = np.asarray(symbols)
        wrong = [] if given.dtype.kind == "U" else [s for s in given.ravel().tolist() if not isinstance(s, str)]
        if wrong:  # numbers are codes of some table, missing names no symbol: neither is merely unknown
            raise ValueError(f"symbols must be text, {len(wrong)} are not, first {wrong[:3]!r}")
        names = given.astype(np.str_)
        found = np.minimum(np.searchsorted(self._sorted, names), len(self._sorted) - 1)
        return np.where(self._sorted[found] == names, found + 1, UNKNOWN_ID).astype(np.int32)

    @cached_property
    def _sorted(self) -> NDArray[np.str_]:
        return np.array(self.symbols, dtype=np.str_)

    @property
    def hash(self) -> str:
        """sha256 of the canonical JSON: equal for equal vocabularies, in any process."""
        return hashlib.sha256(canonical_json(list(self.symbols)).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, with the content hash."""
        return {"format": FORMAT, "sha256": self.hash, "symbols": list(self.symbols)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SymbolVocabulary:
        """Rebuild what `to_dict` gave; ValueError if the symbols are not those that were hashed."""
        if content.get("format") != FORMAT:
            raise ValueError(f"vocabulary has format {content.get('format')!r}, this version reads {FORMAT}")
        vocabulary = cls(symbols=tuple(content["symbols"]))
        if vocabulary.hash != content["sha256"]:
            raise ValueError(
                f"vocabulary was changed: its symbols hash to {vocabulary.hash}, saved was {content['sha256']}"
            )
        return vocabulary

    def save(self, path: str | Path) -> None:
        """Write JSON, atomically."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> SymbolVocabulary:
        """Read what `save` wrote; ValueError naming the file if it holds no such vocabulary."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"{path}: holds no vocabulary ({error})") from error
