"""What every member of a bundle has, whether it is the fitted model or a graph that was made of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from factor_data import SymbolVocabulary, WindowDataset, WindowRules, session_codes
from factor_serve.rows import Rows

if TYPE_CHECKING:
    from factor_serve.bundle import Bundle

Forecast = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Rows (N,), ascending, and their forecasts (N, num_labels)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AnyMember(ABC):
    """A member that forecasts the symbols of some dates, a date at a time."""

    name: str
    kind: str
    """last_bar, features, tokens or kline."""
    metadata: Mapping[str, Any]
    """What was written beside it, such as what it was fitted on."""

    @property
    @abstractmethod
    def lookback(self) -> int:
        """Bars of a window; of a K-line model complete ones."""

    @property
    @abstractmethod
    def reads_symbols(self) -> bool:
        """Whether the id of a row's symbol is among its inputs."""

    @property
    @abstractmethod
    def reads_texts(self) -> bool:
        """Whether the documents of a window are."""

    @property
    @abstractmethod
    def knows_symbols(self) -> bool:
        """Whether it has learned a vector for each symbol that it was trained on."""

    @property
    def rules(self) -> WindowRules:
        """Which windows are forecast."""
        said = dict(self.metadata.get("window_rules", {}))
        return WindowRules(**{**said, "session_starts": tuple(said.get("session_starts", ()))})

    @abstractmethod
    def forecast(self, rows: Rows, codes: NDArray[np.integer], bundle: Bundle) -> Forecast:
        """Return forecasts of the universe's rows on the dates of `codes` that have the history; none may be left."""

    def windows(
        self, rows: Rows, codes: NDArray[np.integer], vocabulary: SymbolVocabulary, *, mask: bool = True
    ) -> WindowDataset:
        """Return the windows that it reads on the dates of `codes`; without `mask` not which inputs are missing."""
        rules, tokens = self.rules, self.kind == "tokens"
        matrix = rows.tokens if tokens else rows.inputs
        assert matrix is not None, f"{self.name} reads {self.kind}"
        sessions = session_codes(rows.dates, rules.session_starts)[rows.date_code] if rules.session_starts else None
        return WindowDataset(
            matrix,
            None,
            self.lookback,
            symbol_code=rows.symbol_code,
            date_code=rows.date_code,
            rows=rows.on(codes),
            symbol_ids=self.symbol_ids(rows, vocabulary),
            texts=rows.documents if self.reads_texts else None,
            max_missing=rules.max_missing,
            max_gap=rules.max_gap,
            session_code=sessions,
            missing_mask=mask and rules.missing_mask and not tokens,
        )

    def symbol_ids(self, rows: Rows, vocabulary: SymbolVocabulary) -> NDArray[np.integer] | None:
        """(num_rows,) ids of the rows' symbols; None where it reads none."""
        return vocabulary.encode(rows.symbols)[rows.symbol_code] if self.reads_symbols else None
