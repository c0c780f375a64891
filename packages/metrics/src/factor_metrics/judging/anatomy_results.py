"""What a forecast is made of, in means with their intervals."""

from __future__ import annotations

from dataclasses import dataclass

from factor_metrics.judging.profile import Estimates


@dataclass(frozen=True, kw_only=True, eq=False)
class Anatomy:
    """The rank IC of one forecast taken apart; what cannot be said of the data has no names."""

    exposure: Estimates
    """Mean rank correlation of the forecast with what is known of its symbols: beta, size, volatility, momentum."""
    neutral: Estimates
    """Mean rank IC as it is, neutral to each of them, and to all, over the symbols of which all are known."""
    neutral_decay: Estimates
    """Mean rank IC of what is neutral to all of them, by the age of the forecast in dates."""
    by_size: Estimates
    """Mean rank IC inside terciles of the money traded."""
    by_volatility: Estimates
    """Mean rank IC inside terciles of volatility."""
    by_regime: Estimates
    """Mean rank IC on dates when the market had risen, fallen, been calm or wild."""
    by_weekday: Estimates
    """Mean rank IC by day of the week of the forecast."""
    by_month: Estimates
    """Mean rank IC by calendar month of the forecast."""
