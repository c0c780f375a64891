"""Forecasts of a member that lies in a folder, for any dates, by the code that forecast them when it was trained."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from factor_data import FeatureStore, Fold, Panel, training_targets
from factor_models import TabularModel, load_model, model_config
from factor_models.kline import PathForecaster, point_forecasts
from stages.fitting.determinism import set_determinism
from stages.fitting.families import family_of
from stages.fitting.inputs import FoldInputs
from stages.fitting.network import NetworkFold, network_loss
from stages.fitting.tabular import FittedTabular, TabularFold
from stages.kline.bars import KlineData
from stages.params.tabular import TabularParams
from stages.params.train import parse_train
from stages.running.planned import Plan
from stages.scoring import Scoring


def forecasts_again(
    name: str, plan: Plan, member: Path, store: FeatureStore, panel: Path, fold: Fold, dates: NDArray[np.datetime64]
) -> dict[str, NDArray[np.float32]]:
    """Return the forecasts of the dates per label, (num_dates, num_symbols); NaN where there is none.

    Parameters
    ----------
    plan : of the training of this model
    member : folder of the trained model
    store, panel, fold : what it was trained on; the fold's inputs are there for all dates
    """
    rows, values = rows_again(name, plan, member, store, panel, replace(fold, test=dates))
    found = {}
    for head, label in enumerate(store.heads):
        spread = np.full(len(store.date_code), np.nan, dtype=np.float32)
        spread[rows] = values[:, head]
        found[label] = store.matrix(spread, dates)
    return found


def rows_again(
    name: str, plan: Plan, member: Path, store: FeatureStore, panel: Path, fold: Fold
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows of the test dates of a fold and their forecasts, (num_rows, num_labels)."""
    model, _ = load_model(member)
    torch.set_num_threads(plan.value("train.threads"))
    if isinstance(model, PathForecaster):
        return of_paths(model, store, panel, fold)
    set_determinism(plan.value("train.determinism"))
    settings: Any = plan.section(f"zoo.{name}", model_config(name))
    inputs = partial(FoldInputs, name, settings, store, fold=fold, panel=panel)
    inputs = partial(inputs, scoring=Scoring.of(plan.value("evaluate")))
    if family_of(name) == "tabular":
        assert isinstance(model, TabularModel)
        tabular = plan.section("train", TabularParams)
        of_fold = inputs(targets=training_targets(store, tabular.target), weights=tabular.weights)
        return FittedTabular(TabularFold(of_fold, tabular), model).predict_rows("test")
    assert isinstance(model, torch.nn.Module)
    train = parse_train(plan.with_untracked("train"), tuple(store.heads), where="train.")
    of_fold = inputs(
        targets=training_targets(store, train.target),
        weights=train.weights,
        outputs_per_target=network_loss(train, store.heads, taught=False).outputs_per_target,
        rules=train.windows,
    )
    return NetworkFold(of_fold, train, plan.code).predict_rows(model.eval(), "test")


def of_paths(
    model: PathForecaster, store: FeatureStore, panel: Path, fold: Fold
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows of the test dates and what a K-line model forecasts for them, (num_rows, num_labels), date by date."""
    data, heads = KlineData(Panel.load(panel)), list(store.heads.values())
    rows = data.bars.ends(store.rows(fold, "test"), model.lookback)
    known = store.dates[np.isin(store.dates, fold.train)]
    codes = store.date_code[rows]
    values = np.empty((len(rows), len(heads)), dtype=np.float32)
    for code in np.unique(codes):
        chosen = codes == code
        said = model.of_date(data.bars, data.dates, rows[chosen], store.dates[code], known, heads)
        values[chosen] = point_forecasts(said, heads)
    return rows, values
