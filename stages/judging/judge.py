"""Predictions and floors judged the same way, for models and for the stack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import FeatureStore, Panel, read_parquet
from factor_metrics import (
    Evaluation,
    EvaluationConfig,
    Profile,
    evaluate_predictions,
    price_floors,
    profile_forecast,
    random_ranking,
)
from factor_metrics.report import RowCounts


def floor_signals(panel: Panel, dates: NDArray[np.datetime64], seed: int) -> dict[str, NDArray[np.float64]]:
    """Signals (len(dates), num_symbols) that need no model: of adjusted closes up to each date, and a random one."""
    floors = price_floors(panel.to_matrix(panel.adjusted("close")))
    position = np.searchsorted(panel.dates, dates)
    signals = {name: signal[position] for name, signal in floors.items()}
    return {**signals, "random": random_ranking((len(dates), panel.num_symbols), seed)}


def judge_floors(
    signals: Mapping[str, NDArray],
    prediction: NDArray,
    label: NDArray,
    horizon: int,
    config: EvaluationConfig,
) -> dict[str, Evaluation]:
    """Each floor on exactly the dates and symbols that the model predicted."""
    covered = {floor: np.where(np.isnan(prediction), np.nan, signal) for floor, signal in signals.items()}
    return {
        floor: evaluate_predictions(signal, label, horizon=horizon, config=config) for floor, signal in covered.items()
    }


def attainable_rank_ic(path: Path, horizon: int, dates: NDArray[np.datetime64]) -> NDArray[np.float64] | None:
    """Rank IC per date of the true expectation on a simulated market; None on real data and without a signal."""
    truth = read_parquet(path)
    truth = truth[truth["horizon"] == horizon]
    known = pd.Series(
        truth["attainable_rank_ic"].to_numpy(), index=truth["timestamp"].to_numpy().astype("datetime64[ns]")
    )
    on_dates = known.reindex(dates).to_numpy(dtype=np.float64)
    return on_dates if np.isfinite(on_dates).any() else None


def profile(
    prediction: NDArray,
    target: NDArray,
    horizon: int,
    dates: NDArray[np.datetime64],
    store: FeatureStore,
    config: EvaluationConfig,
) -> Profile:
    """Quantiles, decay and calibration of a prediction; `target` is what it was fitted to, in its unit.

    Both are (num_dates, num_symbols).
    """
    labels = {h: store.matrix(store.labels[:, head], dates) for head, h in enumerate(store.horizons)}
    return profile_forecast(prediction, labels, horizon, target, config=config)


def row_counts(prediction: NDArray, horizon: int, dates: NDArray[np.datetime64], store: FeatureStore) -> RowCounts:
    """Counts of the rows of the scored dates by what became of them."""
    on_dates = np.isin(store.dates, dates)[store.date_code]
    in_universe = int((on_dates & store.in_universe).sum())
    predicted = np.isfinite(prediction)
    known = np.isfinite(store.matrix(store.labels[:, store.horizons.index(horizon)], dates))
    ended = np.searchsorted(store.dates, dates) + store.dates_ahead(store.delay + horizon) >= len(store.dates)
    return RowCounts(
        horizon=horizon,
        bars=int(on_dates.sum()),
        in_universe=in_universe,
        without_prediction=in_universe - int(predicted.sum()),
        without_price=int((predicted & ~known)[~ended].sum()),
        after_the_end=int(predicted[ended].sum()),
        scored=int((predicted & known).sum()),
    )
