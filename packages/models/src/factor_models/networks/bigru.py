"""GRU over the lookback window in both directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from factor_models.networks.recurrence import Cell, RecurrentConfig, TwoWayForecaster


@dataclass(frozen=True, kw_only=True)
class BiGRUConfig(RecurrentConfig):
    """Size of the two-way GRU."""


class BiGRUForecaster(TwoWayForecaster):
    """Bidirectional (Schuster & Paliwal 1997) within the window, which ends at t."""

    cell: ClassVar[Cell] = "gru"
