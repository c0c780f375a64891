"""Names of the columns that a bar is made of; constants alone, so that who asks for a name loads no panel."""

from __future__ import annotations

PRICE_COLUMNS = ("open", "high", "low", "close")
REQUIRED_COLUMNS = (*PRICE_COLUMNS, "volume")
UNIVERSE = "in_universe"
OF_BARS = (*REQUIRED_COLUMNS, "adj_close", "amount", "vwap", UNIVERSE)
"""Levels that are known when the bar closes: no pattern of features stands for one, and none is a label."""
