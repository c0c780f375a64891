"""Floors of a label: signals that need no model, judged on the dates and symbols that a forecast has."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from factor_data import Label, Panel
from factor_data.json_document import as_written
from factor_metrics import (
    Evaluation,
    EvaluationConfig,
    ICSummary,
    OrderedMatrix,
    price_floors,
    random_ranking,
    volatility_floors,
)
from stages.judging.kept import Arrays, Kept
from stages.judging.time_series import BY_DATE, View
from stages.records import parse, plain
from stages.running.planned import Plan

SUMMARIES = "summaries"
"""Name of the summaries among the arrays that are kept: JSON, as bytes."""


def kept_floors(plan: Plan) -> Kept:
    """Return where judged floors are kept."""
    return Kept.by(plan, __name__)


def floor_signals(
    panel: Panel, dates: NDArray[np.datetime64], seed: int, label: Label | None = None
) -> dict[str, NDArray[np.float64]]:
    """Signals (len(dates), num_symbols) that need no model: of adjusted closes up to each date, and a random one.

    A label that measures volatility is also held against what past moves say of its own bars.
    """
    closes = panel.to_matrix(panel.adjusted("close"))
    floors = price_floors(closes)
    if label is not None and (bars := volatility_bars(label)):
        floors |= volatility_floors(closes, *bars)
    position = np.searchsorted(panel.dates, dates)
    signals = {name: signal[position] for name, signal in floors.items()}
    return {**signals, "random": random_ranking((len(dates), panel.num_symbols), seed)}


def volatility_bars(label: Label) -> tuple[int, int] | None:
    """Horizon and delay of a label that measures volatility; None of another, for which all floors are the same."""
    return (label.horizon, label.delay) if label.measure == "volatility" and label.horizon is not None else None


def judge_floors(
    signals: Mapping[str, OrderedMatrix],
    prediction: OrderedMatrix,
    outcome: OrderedMatrix,
    overlap: int,
    config: EvaluationConfig,
    view: View = BY_DATE,
) -> dict[str, Evaluation]:
    """Each floor on exactly the dates and symbols that the model predicted; all as `view.ordered` returns them."""
    covered = ~np.isnan(prediction.values)
    return {floor: view.judge(signal.where(covered), outcome, overlap, config) for floor, signal in signals.items()}


def floors_beside(
    signals: Callable[[], Mapping[str, OrderedMatrix]],
    prediction: OrderedMatrix,
    outcome: OrderedMatrix,
    label: Label,
    overlap: int,
    config: EvaluationConfig,
    view: View = BY_DATE,
    kept: Kept | None = None,
) -> dict[str, Evaluation]:
    """Return `judge_floors`, read where the same floors are kept; `signals` is called where they are not."""

    def judged() -> dict[str, Evaluation]:
        return judge_floors(signals(), prediction, outcome, overlap, config, view)

    if kept is None:
        return judged()
    settings = {one.name: getattr(config, one.name) for one in fields(EvaluationConfig)}
    words = json.dumps([plain(label), overlap, settings, outcome.values.dtype.str, list(outcome.shape)])
    decided_by = [
        words.encode(),
        view.dates.tobytes(),
        b"" if view.point_of_date is None else view.point_of_date.tobytes(),
        np.packbits(~np.isnan(prediction.values)).tobytes(),
        outcome.values.tobytes(),
    ]
    found = kept.arrays(decided_by, lambda: packed(judged()), [SUMMARIES])
    with as_written(f"{kept.folder}: the floors of {len(view.dates)} dates"):
        return unpacked(found)


def packed(floors: Mapping[str, Evaluation]) -> Arrays:
    """Return evaluations as arrays with names, their summaries as JSON."""
    summaries = [(name, plain(one.ic_summary), plain(one.rank_ic_summary)) for name, one in floors.items()]
    arrays = {f"{place} {name}": values for place, one in enumerate(floors.values()) for name, values in series_of(one)}
    return {SUMMARIES: np.frombuffer(json.dumps(summaries).encode(), dtype=np.uint8), **arrays}


def unpacked(arrays: Arrays) -> dict[str, Evaluation]:
    """Return the evaluations of `packed`, the same to the bit."""
    summaries = json.loads(arrays[SUMMARIES].tobytes())
    found = {}
    for place, (name, of_ic, of_rank_ic) in enumerate(summaries):
        mark = f"{place} "
        series = {key.removeprefix(mark): values for key, values in arrays.items() if key.startswith(mark)}
        found[name] = Evaluation(
            **series, ic_summary=parse(ICSummary, of_ic), rank_ic_summary=parse(ICSummary, of_rank_ic)
        )
    return found


def series_of(one: Evaluation) -> list[tuple[str, NDArray[np.float64]]]:
    """Return the arrays of an evaluation by the names of their fields."""
    found = ((field.name, getattr(one, field.name)) for field in fields(one))
    return [(name, value) for name, value in found if isinstance(value, np.ndarray)]
