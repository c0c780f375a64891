"""Floors as members of a stack: `stack.floors` names signals that are not fitted and forecast beside the models.

A floor is plus or minus one input of the models, so that it has an order among the symbols of the universe, and is
saved as a linear model with that one weight: whoever reads a bundle needs to know nothing of floors. A symbol whose
input is missing counts as the middle, as in any linear model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from factor_data import FeatureStore, Fold
from factor_metrics import rank_ic
from factor_models import SelectedRows, Table
from factor_models.tabular.linear import LinearConfig, RidgeRegressor
from stages.judging.judge import mean_of_known
from stages.params.stack import FLOOR_INPUTS
from stages.predictions import OutOfFold, prediction_frame
from stages.running.stage import StageError

PREFIX = "floor_"
"""Before the name of a floor where it stands among models."""


def floor_forecasts(member: str, store: FeatureStore, folds: Sequence[Fold]) -> OutOfFold:
    """Return the out-of-fold forecasts of a floor, the same for every label."""
    frames = []
    for fold in folds:
        model, inputs = floor_model(member, store, fold), store.inputs(fold.index)
        for segment in ("valid", "test"):
            rows = np.flatnonzero(store.rows(fold, segment))
            values = model.predict(Table(features=SelectedRows(inputs, rows)))
            frames.append(prediction_frame(store, fold, segment, rows, values))
    return OutOfFold.of(pd.concat(frames), store)


def is_floor(member: str) -> bool:
    """Return whether a member of a stack is a floor, and no model of the zoo."""
    return member.removeprefix(PREFIX) in FLOOR_INPUTS and member.startswith(PREFIX)


def floor_members(floors: Sequence[str], store: FeatureStore, folds: Sequence[Fold]) -> dict[str, OutOfFold]:
    """Return the floors of `stack.floors` by the names that they have as members."""
    return {PREFIX + name: floor_forecasts(PREFIX + name, store, folds) for name in floors}


def floor_model(member: str, store: FeatureStore, fold: Fold) -> RidgeRegressor:
    """Return a floor as a model of a fold's inputs; StageError where its input is none of them."""
    name = member.removeprefix(PREFIX)
    wanted, sign = FLOOR_INPUTS[name]
    inputs = list(store.normaliser(fold.index).names)
    if wanted not in inputs:
        raise StageError(
            f"params.yaml: stack.floors: {name} is read from the input {wanted}, which tokenize.features does not make"
        )
    model = RidgeRegressor(LinearConfig(alpha=0.0), num_features=len(inputs), num_horizons=len(store.heads))
    model.weights = np.zeros((len(inputs), len(store.heads)))
    model.weights[inputs.index(wanted)] = sign
    return model


def save_floor(member: str, store: FeatureStore, fold: Fold, folder: Path) -> None:
    """Write a floor as the folder of a linear model."""
    from factor_models import save_model  # which loads torch: seconds that a stack without floors need not spend

    model = floor_model(member, store, fold)
    config = {
        "name": "linear", "num_features": model.num_features, "num_horizons": model.num_horizons, "alpha": 0.0,
    }  # fmt: skip
    normaliser = store.normaliser(fold.index)
    metadata = {"heads": list(store.heads), "normaliser_sha256": normaliser.hash, "inputs": list(normaliser.names)}
    save_model(folder, model, config, metadata | {"floor": member.removeprefix(PREFIX), "threads": 1})


def scores_alone(
    floors: Mapping[str, OutOfFold], store: FeatureStore, min_symbols: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return per floor and label the mean rank IC on valid and on test dates, as models have them of `evaluate`."""
    return {
        name: {
            label: {
                "valid_rank_ic": mean_rank_ic(floor, label, "valid", store, min_symbols),
                "rank_ic": mean_rank_ic(floor, label, "test", store, min_symbols),
            }
            for label in store.heads
        }
        for name, floor in floors.items()
    }


def mean_rank_ic(floor: OutOfFold, label: str, segment: str, store: FeatureStore, min_symbols: int) -> float:
    """Return the mean over folds and dates of the rank IC; NaN where none is defined."""
    dates = floor.dates(segment)
    outcome = store.matrix(store.label(label), dates)
    found = np.stack(
        [rank_ic(floor.matrix(label, segment, fold, dates), outcome, min_symbols) for fold in floor.folds()]
    )
    return mean_of_known(found)
