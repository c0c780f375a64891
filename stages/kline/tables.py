"""Evaluation of generated paths: against baselines that need no model, and calibration of their quantiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from factor_data import FeatureStore, Fold, Label
from factor_metrics import random_ranking, rank_ic, to_json_safe
from factor_models.checkpoints import METADATA_FILE, METADATA_HASH, content_hash
from factor_models.kline import QUANTILES, calibration
from stages.json_files import write_json
from stages.predictions import quantile_column
from stages.scoring import Scoring

QUANTILE_COLUMNS = [quantile_column(level) for level in QUANTILES]
VOLATILITY = "volatility_20"


def baseline_table(store: FeatureStore, fold: Fold, paths: pd.DataFrame, scoring: Scoring) -> list[dict[str, Any]]:
    """Return the paths beside their baselines, a row per label that is a return.

    Mean rank IC and root mean squared error of the paths' mean beside last close and random walk, and rank
    correlation with the size of the return of the paths' volatility beside that of the last 20 bars.
    """
    rows = []
    for name in returns(store):
        chosen = paths[paths["label"] == name]
        dates = np.sort(chosen["timestamp"].unique()).astype("datetime64[ns]")
        label = store.matrix(store.label(name), dates)
        mean, volatility = (spread(store, chosen, column, dates) for column in ("mean", "volatility"))
        known = np.isfinite(label) & np.isfinite(mean)
        size = np.where(known, np.abs(label), np.nan)
        walk = np.where(known, random_ranking(label.shape, fold.index), np.nan)
        row = {
            "label": name,
            "rank_ic": mean_rank_ic(mean, label, scoring),
            "rank_ic_random_walk": mean_rank_ic(walk, label, scoring),
            "rmse": root_mean_square((mean - label)[known]),
            "rmse_last_close": root_mean_square(label[known]),
            "size_rank_ic": mean_rank_ic(volatility, size, scoring),
        }
        if VOLATILITY in store.feature_names:
            past = np.where(known, store.matrix(store.feature(VOLATILITY), dates), np.nan)
            row["size_rank_ic_20_bar_volatility"] = mean_rank_ic(past, size, scoring)
        rows.append(row)
    return rows


def mean_rank_ic(forecast: NDArray, outcome: NDArray, scoring: Scoring) -> float:
    """Mean rank IC of (num_dates, num_symbols), scored as section `evaluate` says."""
    return mean_of(rank_ic(scoring.rows(forecast), scoring.rows(outcome), scoring.min_symbols))


def calibration_table(store: FeatureStore, paths: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how well quantiles are calibrated, a row per label that is a return and level.

    The share of returns below the paths' quantile, and below that of a Gaussian random walk with the volatility of
    the last 20 bars.
    """
    rows = []
    for name, how in returns(store).items():
        chosen = paths[paths["label"] == name]
        dates = np.sort(chosen["timestamp"].unique()).astype("datetime64[ns]")
        label = store.matrix(store.label(name), dates).ravel()
        quantiles = np.column_stack([spread(store, chosen, column, dates).ravel() for column in QUANTILE_COLUMNS])
        covered = np.isfinite(quantiles).all(axis=1)
        tables = {"paths": quantiles}
        if VOLATILITY in store.feature_names:
            past = store.matrix(store.feature(VOLATILITY), dates).ravel() * np.sqrt(how.overlap)
            tables["random_walk"] = past[:, None] * ndtri(np.array(QUANTILES))
            covered &= np.isfinite(past)
        label = np.where(covered, label, np.nan)
        below = {of: calibration(table, label) for of, table in tables.items()}
        for number, level in enumerate(QUANTILES):
            rows.append({"label": name, "level": level} | {of: one.below[number] for of, one in below.items()})
    return rows


def returns(store: FeatureStore) -> dict[str, Label]:
    """The labels that are returns, in the order of the heads."""
    return {name: label for name, label in store.heads.items() if label.measure == "return"}


def spread(store: FeatureStore, chosen: pd.DataFrame, column: str, dates: NDArray) -> NDArray[np.float64]:
    """(num_dates, num_symbols) of a column of the paths."""
    matrix = np.full((len(dates), len(store.symbols)), np.nan)
    row = np.searchsorted(dates, chosen["timestamp"].to_numpy().astype("datetime64[ns]"))
    symbol = np.searchsorted(store.symbols, chosen["symbol"].to_numpy().astype(str))
    matrix[row, symbol] = chosen[column]
    return matrix


def write_report(path: Path, fold: int, metadata: dict[str, Any], tables: dict[str, list]) -> None:
    """metadata.json beside `path`, the tables in it, and both tables printed."""
    safe = to_json_safe(metadata)
    write_json(path.with_name(METADATA_FILE), safe | {METADATA_HASH: content_hash(safe)})
    write_json(path, to_json_safe(tables))
    for name, rows in tables.items():
        print(f"fold {fold}, {name} on test dates")
        print(pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.4f}"))


def mean_of(series: NDArray[np.float64]) -> float:
    """Return the mean without NaN; NaN where there is no value."""
    return float(np.nanmean(series)) if np.isfinite(series).any() else float("nan")


def root_mean_square(values: NDArray[np.float64]) -> float:
    """Return the root of the mean square; NaN of nothing."""
    return float(np.sqrt(np.mean(np.square(values)))) if len(values) else float("nan")
