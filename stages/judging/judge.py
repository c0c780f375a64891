"""Predictions and floors judged the same way, for models and for the stack."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import FeatureStore, Label, Panel, TargetKind, decided_by_delisting, read_parquet, training_target
from factor_metrics import (
    EvaluationConfig,
    OrderedMatrix,
    Profile,
    profile_forecast,
)
from factor_metrics.judging.profile import DELAYS
from factor_metrics.report import RowCounts
from stages.judging.kept import Arrays, Kept
from stages.judging.time_series import BY_DATE, View
from stages.records import plain
from stages.running.planned import Plan

TRUE_DELAY = 1
"""Delay of the labels whose true expectation a simulated market brings along."""


def mean_of_known(by_date: NDArray[np.float64]) -> float:
    """Return the mean of the values that are defined; NaN where none is."""
    return float(np.nanmean(by_date)) if np.isfinite(by_date).any() else float("nan")


def attainable_rank_ic(path: Path, label: Label, dates: NDArray[np.datetime64]) -> NDArray[np.float64] | None:
    """Rank IC per date of the true expectation on a simulated market.

    None on real data, without a signal, and of a label whose expectation is not known.
    """
    truth = read_parquet(path)
    if (label.measure, label.delay, label.price, label.neutral) != ("return", TRUE_DELAY, "close", None):
        return None
    truth = truth[truth["horizon"] == label.horizon]
    known = pd.Series(
        truth["attainable_rank_ic"].to_numpy(), index=truth["timestamp"].to_numpy().astype("datetime64[ns]")
    )
    on_dates = known.reindex(dates).to_numpy(dtype=np.float64)
    return on_dates if np.isfinite(on_dates).any() else None


def profile(
    prediction: OrderedMatrix,
    target: NDArray,
    label: str,
    outcomes: Mapping[str, OrderedMatrix],
    store: FeatureStore,
    config: EvaluationConfig,
    view: View = BY_DATE,
) -> Profile:
    """Quantiles, decay and calibration of a prediction; `target` is what it was fitted to, in its unit.

    The decay goes over the labels of `outcomes`; these and the prediction are as `view.ordered` returns them.
    """
    overlaps = {name: view.overlap(store.overlap(name)) for name in outcomes}
    delays = DELAYS if view.point_of_date is None else DELAYS[:1]  # ages count dates, and blocks have no dates
    return profile_forecast(prediction, outcomes, label, view(target), overlaps=overlaps, config=config, delays=delays)


def ordered_outcomes(
    listed: Sequence[str], dates: NDArray[np.datetime64], store: FeatureStore, view: View
) -> dict[str, OrderedMatrix]:
    """Return the labels on some dates, by name, as `view.ordered` does."""
    return {name: view.ordered(store.matrix(store.label(name), dates)) for name in listed}


def kept_labels(plan: Plan) -> Kept:
    """Return where what labels alone decide is kept."""
    return Kept.by(plan, __name__)


def target_on(
    dates: NDArray[np.datetime64], store: FeatureStore, kind: TargetKind, label: str, kept: Kept
) -> NDArray[np.float32]:
    """Return what models are fitted to for a label, (num_dates, num_symbols) on some dates; read where it is kept."""
    decided_by = [json.dumps([kind, label, plain(store.heads[label])]).encode(), dates.tobytes()]
    found = kept.arrays(
        decided_by, lambda: {"target": store.matrix(training_target(store, kind, label), dates)}, ["target"]
    )
    return found["target"]


def delisted_on(
    dates: NDArray[np.datetime64], store: FeatureStore, panel: Panel, label: Label, kept: Kept | None
) -> NDArray[np.bool_]:
    """Return (num_dates, num_symbols) whether a delisting decides a label; read where it is kept."""

    def found() -> Arrays:
        return {"delisted": store.matrix(decided_by_delisting(panel, label).astype(np.float64), dates) > 0}

    if kept is None:
        return found()["delisted"]
    decided_by = [json.dumps(["delisted", plain(label)]).encode(), dates.tobytes()]
    return kept.arrays(decided_by, found, ["delisted"])["delisted"]


def row_counts(
    prediction: NDArray,
    name: str,
    dates: NDArray[np.datetime64],
    store: FeatureStore,
    panel: Panel,
    kept: Kept | None = None,
) -> RowCounts:
    """Counts of the rows of the scored dates by what became of them; what was delisted is read where it is `kept`."""
    label = store.heads[name]
    on_dates = np.isin(store.dates, dates)[store.date_code]
    in_universe = int((on_dates & store.in_universe).sum())
    predicted = np.isfinite(prediction)
    known = np.isfinite(store.matrix(store.label(name), dates))
    ended = np.searchsorted(store.dates, dates) + store.dates_ahead(name) >= len(store.dates)
    delisted = delisted_on(dates, store, panel, label, kept)
    return RowCounts(
        label=name,
        rule=label.describe(),
        bars=int(on_dates.sum()),
        in_universe=in_universe,
        without_prediction=in_universe - int(predicted.sum()),
        without_price=int((predicted & ~known)[~ended].sum()),
        delisted=int((predicted & delisted).sum()),
        after_the_end=int((predicted & ~known)[ended].sum()),
        scored=int((predicted & known).sum()),
    )
