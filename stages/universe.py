"""Is the universe large enough for `evaluate.min_symbols` and `evaluate.quantiles`? Asked before there is any work.

A date with fewer symbols has no rank IC and no spread; where every date is such a one, a run would end with nothing but
undefined numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data import FeatureStore, Fold, Label, Labels, SavedPanel
from stages.running.stage import StageError
from stages.scoring import Scoring

INSTEAD = "; for few symbols, evaluate.scoring: time_series scores blocks of dates"
KEYS = {"quantiles": "no date would have a spread", "min_symbols": "no date would have an IC"}
UNIVERSE = "universe"
"""The benchmark that is no symbol: all of them in equal weights."""


def check_symbols(evaluate: Mapping[str, Any], num_symbols: int) -> None:
    """Refuse an evaluation that asks for more symbols than there are at all; over time it asks for cells."""
    if Scoring.of(evaluate).over_time:
        return
    for key, why in KEYS.items():
        if evaluate[key] > num_symbols:
            raise StageError(
                f"params.yaml: evaluate.{key}: {evaluate[key]} must be at most the number of symbols, "
                f"{num_symbols}: {why}{INSTEAD}"
            )


def check_benchmark(evaluate: Mapping[str, Any], symbols: Sequence[str] | NDArray[np.str_]) -> None:
    """Refuse a benchmark of books that is no symbol of the data."""
    name = evaluate.get("portfolio", {}).get("benchmark", UNIVERSE)
    if name != UNIVERSE and name not in symbols:
        raise StageError(
            f"params.yaml: evaluate.portfolio.benchmark: {name!r} must be {UNIVERSE} or one of the {len(symbols)} "
            f"symbols, {symbols[0]} to {symbols[-1]}"
        )


def check_sector(evaluate: Mapping[str, Any], columns: Collection[str]) -> None:
    """Refuse a sector that no column of the bars says."""
    name = evaluate.get("sector")
    if name is not None and name not in columns:
        raise StageError(
            f"params.yaml: evaluate.sector: {name!r} must be null or one of the columns of the bars, "
            f"{', '.join(sorted(columns))}"
        )


def check_label_columns(labels: Labels, columns: Collection[str]) -> None:
    """Refuse a label that is made of a column which the bars have not."""
    for name, label in labels.items():
        for column in label.columns:
            if column not in columns:
                raise StageError(
                    f"params.yaml: tokenize.labels.{name}: the bars have no column {column!r}; they have "
                    f"{', '.join(sorted(columns))}"
                )


def check_panel(evaluate: Mapping[str, Any], panel: SavedPanel, folds: Sequence[Fold], labels: Labels) -> None:
    """Refuse an evaluation that asks for more symbols than any date has: none of the test or a fold's valid dates."""
    if Scoring.of(evaluate).over_time:
        return
    tested = np.concatenate([fold.test for fold in folds])
    for name, how in labels.items():
        known, label = _most_labels(panel, how), f"more symbols with a label {name}"
        most = int(known[np.isin(panel.dates, tested)].max(initial=0))
        for key, why in KEYS.items():
            _refuse_above(key, evaluate[key], most, f"no test date has {label}", why)
        for fold in folds:
            most = int(known[np.isin(panel.dates, fold.valid)].max(initial=0))
            key, reason = "min_symbols", f"no valid date of fold {fold.index} has {label}"
            _refuse_above(key, evaluate[key], most, reason, KEYS[key])


def check_store(store: FeatureStore, folds: Sequence[Fold], scoring: Scoring) -> None:
    """Refuse, before anything is fitted, folds on whose valid dates nothing could be scored."""
    for fold in folds:
        for name in store.heads:
            known = scoring.rows(np.isfinite(store.matrix(store.label(name), fold.valid))).sum(axis=1)
            reason = f"no valid date of fold {fold.index} has more symbols with a label {name}"
            _refuse_above("min_symbols", scoring.min_symbols, int(known.max(initial=0)), reason, KEYS["min_symbols"])


def check_forecasts(
    name: str, label: str, evaluate: Any, forecast: NDArray[np.floating], outcome: NDArray[np.floating]
) -> None:
    """Refuse forecasts (num_dates, num_symbols) of which no date can be judged, for want of symbols."""
    most = int((np.isfinite(forecast) & np.isfinite(outcome)).sum(axis=1).max(initial=0))
    for key, why in KEYS.items():
        reason = f"no test date has more symbols with a label {label} and a forecast of {name}"
        _refuse_above(key, getattr(evaluate, key), most, reason, why)


def _refuse_above(key: str, value: int, most: int, reason: str, why: str) -> None:
    if value > most:
        raise StageError(f"params.yaml: evaluate.{key}: {value} must be at most {most}: {reason}, so {why}{INSTEAD}")


def _most_labels(panel: SavedPanel, label: Label) -> NDArray[np.int64]:
    """(num_dates,) symbols that can have a label at most: in the universe, their market with bars at entry and exit.

    At exit only where a symbol that stops before has no label; of a column only the universe is known.
    """
    markets, num_dates = panel.markets, len(panel.dates)
    counts = np.zeros(markets.open.size, dtype=np.int64)
    bars = np.zeros_like(counts)
    for spans in panel.symbol_parts():
        market = markets.code[panel.symbol_code.gather(spans)].astype(np.int64)
        place = market * num_dates + panel.date_code.gather(spans)
        bars += np.bincount(place, minlength=len(bars))
        counts += np.bincount(place[panel.in_universe(spans)], minlength=len(bars))
    first = num_dates * np.arange(len(markets.names))[:, None]
    most = counts.reshape(markets.open.shape)
    needed = () if label.column is not None else (label.delay, label.ahead)
    for steps in needed[: 2 if label.delisting == "drop" else 1]:
        ahead = markets.ahead(steps)
        most = np.minimum(most, np.where(ahead >= 0, bars[first + np.maximum(ahead, 0)], 0))
    return most.sum(axis=0)
