"""GRU over the lookback window: the last hidden state, normalised, feeds one head per horizon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from factor_models.networks.recurrence import Cell, LastStateForecaster, RecurrentConfig


@dataclass(frozen=True, kw_only=True)
class GRUConfig(RecurrentConfig):
    """Size of the GRU."""


class GRUForecaster(LastStateForecaster):
    """Gated recurrent units (Cho et al. 2014)."""

    cell: ClassVar[Cell] = "gru"
