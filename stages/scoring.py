"""The rank IC of forecasts on the valid dates of a fold, by section `evaluate`; and why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data import FeatureStore, Fold, directions
from factor_metrics import auc, constant_dates, rank_ic

CROSS_SECTION, TIME_SERIES = "cross_section", "time_series"


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How forecasts of a segment are scored: date by date, or as one cross-section of all its cells (date, symbol)."""

    min_symbols: int
    """`evaluate.min_symbols`."""
    over_time: bool = False
    """True where `evaluate.scoring` is time_series."""

    @classmethod
    def of(cls, evaluate: Mapping[str, Any]) -> Scoring:
        """Return that of a section `evaluate`."""
        return cls(min_symbols=evaluate["min_symbols"], over_time=evaluate.get("scoring") == TIME_SERIES)

    def rows(self, matrix: NDArray) -> NDArray:
        """Return (num_dates, num_symbols) as the cross-sections that are scored, one a row."""
        return matrix.reshape(1, -1) if self.over_time else matrix


@dataclass(frozen=True, kw_only=True)
class ValidScores:
    """Scores of forecasts on the valid dates of a fold."""

    rank_ic: dict[str, float]
    """Mean rank IC per label; NaN where there is none."""
    undefined: dict[str, str]
    """Why, per label without one."""

    @property
    def no_signal(self) -> str | None:
        """Why the forecasts order no symbols: labels without a rank IC, and the reason; None where all have one."""
        return told(self.undefined)


def told(undefined: Mapping[str, str]) -> str | None:
    """Return labels without a rank IC and why, in words; None without any."""
    reasons: dict[str, list[str]] = {}
    for label, reason in undefined.items():
        reasons.setdefault(reason, []).append(label)
    return "; ".join(f"for {', '.join(of)} predictions {reason}" for reason, of in reasons.items()) or None


def valid_scores(store: FeatureStore, fold: Fold, rows: NDArray, values: NDArray, scoring: Scoring) -> ValidScores:
    """Return the mean rank IC per label of forecasts (num_rows, num_labels) on the valid dates of a fold.

    NaN where none is defined, and where on no date the values differ by more than float32 rounds equal ones: whether
    these come out equal or not depends on the CPU.
    """
    scores, undefined = {}, {}
    for head, name in enumerate(store.heads):
        spread = np.full(len(store.date_code), np.nan)
        spread[rows] = values[:, head]
        label = scoring.rows(store.matrix(store.labels[:, head], fold.valid))
        forecast = scoring.rows(store.matrix(spread, fold.valid))
        reason = why_unscored(forecast, label, scoring.min_symbols, "valid")
        scores[name] = float("nan") if reason else float(np.nanmean(rank_ic(forecast, label, scoring.min_symbols)))
        if reason:
            undefined[name] = reason
    return ValidScores(rank_ic=scores, undefined=undefined)


def valid_auc(store: FeatureStore, fold: Fold, rows: NDArray, values: NDArray) -> dict[str, float]:
    """Return the AUC per label over all cells of the valid dates, of forecasts (num_rows, num_labels) of directions.

    NaN where all known directions are the same.
    """
    outcomes = directions(store)
    found = {}
    for head, name in enumerate(store.heads):
        spread = np.full(len(store.date_code), np.nan)
        spread[rows] = values[:, head]
        forecast, outcome = (store.matrix(one, fold.valid).reshape(1, -1) for one in (spread, outcomes[:, head]))
        found[name] = float(auc(forecast, outcome)[0])
    return found


def why_unscored(forecast: NDArray, label: NDArray, min_symbols: int, segment: str) -> str:
    """Say why forecasts (num_dates, num_symbols) have no rank IC on any date of a segment; "" where they have one."""
    if not np.isfinite(forecast).any():
        return f"are not finite on any {segment} date"
    present = np.isfinite(forecast) & np.isfinite(label)
    most = int(present.sum(axis=1).max(initial=0))
    if most < min_symbols:
        return (
            f"cannot be scored: no {segment} date has evaluate.min_symbols = {min_symbols} symbols with a forecast and "
            f"a label, the most is {most}"
        )
    if constant_dates(forecast, np.float32).all():
        by_date = np.nanmean(forecast[np.isfinite(forecast).any(axis=1)], axis=1)
        if not constant_dates(by_date[None], np.float32).all():
            return (
                f"are a forecast of the market: they differ between dates, but on every {segment} date are the same "
                "for all symbols up to rounding, so they order no symbols"
            )
        return f"are constant on every {segment} date, up to rounding"
    if np.isnan(rank_ic(forecast, label, min_symbols)).all():
        return (
            f"cannot be scored: on every {segment} date with evaluate.min_symbols = {min_symbols} symbols forecasts or "
            "labels are the same for all of them"
        )
    return ""
