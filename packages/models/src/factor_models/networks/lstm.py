"""LSTM over the lookback window: the last hidden state, normalised, feeds one head per horizon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from factor_models.networks.recurrence import Cell, LastStateForecaster, RecurrentConfig


@dataclass(frozen=True, kw_only=True)
class LSTMConfig(RecurrentConfig):
    """Size of the LSTM."""


class LSTMForecaster(LastStateForecaster):
    """Long short-term memory (Hochreiter & Schmidhuber 1997), multi-horizon."""

    cell: ClassVar[Cell] = "lstm"
