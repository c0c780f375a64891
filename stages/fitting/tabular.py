"""Linear models and trees on a fold: fitted in one call on the last bar of each window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data import FeatureStore, Fold, Segment, read_folds, training_targets
from factor_models import (
    SelectedRows,
    Table,
    TabularModel,
    build_model,
    count_flops,
    count_parameters,
    model_card,
    model_config,
    save_model,
    set_seed,
)
from stages.fitting.contract import Conditions, FoldModel, Predictions
from stages.fitting.inputs import FoldInputs
from stages.params.tabular import TabularParams
from stages.predictions import prediction_frame
from stages.processes.process import Process, Train
from stages.running.files import RESULTS, stored
from stages.running.planned import Plan
from stages.scoring import Scoring


class TabularFold:
    """A tabular model on a fold."""

    num_steps = 1

    def __init__(self, inputs: FoldInputs, params: TabularParams) -> None:
        self.inputs, self.params = inputs, params

    @property
    def fold(self) -> Fold:
        """Return the fold with its dates."""
        return self.inputs.fold

    def fit(self, conditions: Conditions) -> FittedTabular:
        """Fit on the rows of the training windows, with the validation rows to stop by."""
        set_seed(self.params.seed)
        model = build_model(**self.inputs.model_config)
        assert isinstance(model, TabularModel)
        valid = self.inputs.windows("valid").rows
        model.fit(self.table(self.inputs.train_windows.rows), self.table(valid))
        conditions.progress.step()
        return FittedTabular(self, model)

    def table(self, rows: NDArray[np.integer]) -> Table:
        """Panel rows as a tabular model reads them; their features stay where they are, mapped from the store."""
        inputs = self.inputs
        weights = inputs.weights.product
        return Table(
            features=SelectedRows(inputs.inputs, rows),
            targets=inputs.targets[rows],
            groups=inputs.store.date_code[rows],
            symbols=None if inputs.symbol_ids is None else inputs.symbol_ids[rows],
            weights=None if weights is None else weights[rows],
        )


class FittedTabular:
    """A fitted tabular model."""

    def __init__(self, fold: TabularFold, model: TabularModel) -> None:
        self.of, self.inputs, self.model = fold, fold.inputs, model

    def predict_rows(self, segment: Segment) -> tuple[NDArray, NDArray]:
        """Return the rows of a segment and their predictions (num_rows, num_labels).

        A date at a time, so that a forecast does not depend on which other dates are forecast.
        """
        rows = self.inputs.windows(segment).rows
        dates = self.inputs.store.date_code[rows]
        values = np.empty((len(rows), len(self.inputs.store.heads)), dtype=np.float32)
        for date in np.unique(dates):
            chosen = dates == date
            values[chosen] = self.model.predict(self.of.table(rows[chosen]))
        return rows, values

    def predict(self, segment: Segment) -> Predictions:
        """Return the predictions of a segment; for `valid` with their rank IC by label."""
        inputs = self.inputs
        rows, values = self.predict_rows(segment)
        judged = inputs.valid_scores(rows, values) if segment == "valid" else None
        return Predictions(frame=prediction_frame(inputs.store, inputs.fold, segment, rows, values), judged=judged)

    def save(self, folder: Path, valid: Predictions, test: Predictions) -> None:
        """Write the model, its configuration and its card to a new folder."""
        inputs, params = self.of.inputs, self.of.params
        metadata = {
            **inputs.metadata(params.target, params.seed, valid.scores),
            "best_epoch": None,
            "num_parameters": count_parameters(self.model),
            "flops_per_window": count_flops(self.model, inputs.model_config),
            "determinism": params.determinism,
            "start": params.start,
            "threads": params.threads,
            "notes": [],
        }
        save_model(folder, self.model, inputs.model_config, metadata)
        card = model_card(inputs.model_config, metadata)
        (folder / "model_card.md").write_text(card, encoding="utf-8")

    def discard_checkpoints(self) -> None:
        """There are none."""


class TabularFamily:
    """Models of the last bar; one process fits them."""

    score_name = "valid rank IC"

    def prepare(self, name: str, plan: Plan, rank: int, world_size: int) -> list[FoldModel]:
        """Return every fold, its inputs checked, without fitting any."""
        params = plan.section("train", TabularParams)
        settings: Any = plan.section(f"zoo.{name}", model_config(name))
        store = FeatureStore(RESULTS / "tokenize")
        targets = training_targets(store, params.target)
        return [
            TabularFold(
                FoldInputs(
                    name,
                    settings,
                    store,
                    targets,
                    fold,
                    params.weights,
                    RESULTS / "split" / "panel",
                    Scoring.of(plan.value("evaluate")),
                ),
                params,
            )
            for fold in read_folds(stored("split", "folds.json"))
        ]

    def start(self, name: str, plan: Plan, only: int | None, train: Train) -> None:
        """Train in this process."""
        train(name, plan, Process(), only)


FAMILY = TabularFamily()
