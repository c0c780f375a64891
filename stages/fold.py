"""One model on one fold: its data, its fit, its out-of-fold predictions. The part of train that knows the packages."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from factor_data import SEGMENTS, Augmentation, Batch, FeatureStore, Fold, Segment, WindowDataset
from factor_metrics import rank_ic
from factor_models import (
    QuantileLoss,
    Table,
    TabularModel,
    build_model,
    count_flops,
    count_parameters,
    gather_predictions,
    input_kind,
    model_card,
    model_sizes,
    predict,
    save_model,
    set_seed,
)
from stages.params import Params
from stages.run import RESULTS
from stages.sample_weights import DatedBatch, SampleWeights
from stages.teacher import teach
from stages.training_loss import training_loss

DATES_AT_ONCE = 16  # dates a process predicts in one forward pass
ROUNDING = 1e-5  # of the largest forecast: what float32 may make of equal ones


class FoldRun:
    """A model, a fold, and this process's share of the work.

    After `predict` of the valid dates `scores` holds the rank IC per horizon. Of a network, `best_epoch` is the epoch
    that was kept and `notes` what was met on the way; whoever trains it (stages.network) sets them.
    """

    score_name = "valid rank IC"

    def __init__(
        self,
        name: str,
        params: Params,
        store: FeatureStore,
        targets: NDArray[np.float32],
        fold: Fold,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.name, self.config, self.store, self.fold = name, params.zoo[name], store, fold
        self.settings = params.train
        self.rank, self.world_size = rank, world_size
        self.kind = input_kind(name)
        self.is_tabular = self.kind == "last_bar"
        self.inputs = (store.tokens if self.kind == "tokens" else store.inputs)(fold.index)
        self.targets = targets
        self.weights = SampleWeights.of_fold(params.train.weights, store, fold, RESULTS / "split" / "panel")
        self.loss = training_loss(params.train, store.horizons)
        outputs = 1 if self.is_tabular else self.loss.outputs_per_target
        sizes = {"num_features": self.inputs.shape[1], "num_horizons": len(store.horizons) * outputs}
        self.symbol_ids: NDArray[np.integer] | None = None
        if "num_tokens" in model_sizes(name):
            sizes["num_tokens"] = store.tokenizer(fold.index).num_tokens
        if "num_symbols" in model_sizes(name):
            vocabulary = store.vocabulary(fold.index)
            sizes["num_symbols"] = vocabulary.num_ids
            self.symbol_ids = vocabulary.encode(store.symbols)[store.symbol_code]
        self.texts = store.documents(fold.index) if "text_dim" in model_sizes(name) else None
        if "text_dim" in model_sizes(name):
            sizes["text_dim"] = 0 if self.texts is None else self.texts.dimensions
        self.model_config: dict[str, Any] = {"name": name, **sizes, **asdict(self.config)}
        self.train_windows = self.windows("train")
        self.scores: dict[int, float] = {}
        self.best_epoch: int | None = None
        self.notes: tuple[str, ...] = ()
        self.quantiles: list[pd.DataFrame] = []

    def windows(
        self, segment: Segment, last_dates: int | None = None, targets: NDArray[np.float32] | None = None
    ) -> WindowDataset:
        """The samples of a segment, or of its last dates; with other targets than the run's if they are given."""
        rows = self.store.rows(self.fold, segment)
        if last_dates is not None:
            rows &= np.isin(self.store.dates, self.fold.dates(segment)[-last_dates:])[self.store.date_code]
        dataset = WindowDataset(
            self.inputs,
            self.targets if targets is None else targets,
            getattr(self.config, "lookback", 1),
            symbol_code=self.store.symbol_code,
            date_code=self.store.date_code,
            rows=rows,
            symbol_ids=self.symbol_ids,
            texts=self.texts,
            weights=self.weights.within_date,
        )
        if len(dataset) == 0:
            raise ValueError(
                f"fold {self.fold.index}: no sample in {segment} has {dataset.lookback} bars of history"
            )
        return dataset

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of a network."""
        return self.train_windows.num_batches(self.settings.batch_dates)

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole fit; a tabular model takes one."""
        return 1 if self.is_tabular else self.settings.epochs * self.steps_per_epoch

    def new_network(self) -> nn.Module:
        """The network with the weights that the seed gives it."""
        set_seed(self.settings.seed)
        model = build_model(**self.model_config)
        assert isinstance(model, nn.Module)
        return model

    def fit_tabular(self) -> TabularModel:
        """Fit a linear model or trees on the last bar of each window."""
        set_seed(self.settings.seed)
        model = build_model(**self.model_config)
        assert isinstance(model, TabularModel)
        return model.fit(*(self._table(self.windows(segment).rows) for segment in ("train", "valid")))

    def _table(self, rows: NDArray[np.integer]) -> Table:
        """Panel rows as a tabular model reads them."""
        weights = self.weights.product
        return Table(
            features=self.inputs[rows],
            targets=self.targets[rows],
            groups=self.store.date_code[rows],
            symbols=None if self.symbol_ids is None else self.symbol_ids[rows],
            weights=None if weights is None else weights[rows],
        )

    def with_teacher(self) -> NDArray[np.float32]:
        """The targets and, in as many further columns, a teacher's forecasts of the training rows."""
        config = self.settings.distillation
        assert config is not None
        rows = self.train_windows.rows
        taught = teach(config, self.store, self.fold, self.targets, rows, self.weights.product)
        return np.concatenate([self.targets, taught], axis=1)

    def train_batches(self, epoch: int, start_step: int) -> Iterable[Batch]:
        """This process's batches of an epoch, from a step on."""
        batches = self.train_windows.batches(
            self.settings.batch_dates,
            dates_per_run=self.settings.consecutive_dates,
            seed=self.settings.seed,
            epoch=epoch,
            rank=self.rank,
            world_size=self.world_size,
            start_step=start_step,
            augmentation=self._augmentation(),
        )
        of_date = self.weights.of_date
        return batches if of_date is None else (DatedBatch.of(batch, of_date) for batch in batches)

    def _augmentation(self) -> Augmentation | None:
        """What is done to training windows; tokens can be masked only."""
        augmentation = self.settings.augmentation
        if augmentation is None or self.kind == "features":
            return augmentation
        return replace(augmentation, noise_std=0.0, time_warp=0.0)

    def predict_rows(
        self, model: nn.Module | TabularModel, segment: Segment, last_dates: int | None = None
    ) -> tuple[NDArray, NDArray]:
        """Rows and (num_rows, num_horizons) predictions of a segment, the same on every process."""
        if isinstance(model, TabularModel):
            rows = self.windows(segment, last_dates).rows
            return rows, model.predict(self._table(rows))
        rows, outputs = self._outputs(model, segment, last_dates)
        return rows, self.loss.point(torch.from_numpy(outputs)).numpy()

    def _outputs(
        self, model: nn.Module, segment: Segment, last_dates: int | None = None
    ) -> tuple[NDArray, NDArray]:
        """Rows of a segment and what the network says of them, the same on every process."""
        dataset = self.windows(segment, last_dates)
        batches = dataset.batches(self.world_size * DATES_AT_ONCE, rank=self.rank, world_size=self.world_size)
        return gather_predictions(*predict(model, batches))

    def valid_rank_ic(self, model: nn.Module | TabularModel) -> dict[int, float]:
        """Mean rank IC on the valid dates per horizon; NaN where the predictions are constant throughout."""
        return mean_rank_ic(self.store, self.fold.valid, *self.predict_rows(model, "valid"))

    def valid_loss(self, model: nn.Module) -> float:
        """The loss of the labels on the valid dates, in one piece; without sample weights and without a teacher."""
        rows, outputs = self._outputs(model, "valid")
        dates, groups = np.unique(self.store.date_code[rows], return_inverse=True)
        loss = training_loss(replace(self.settings, distillation=None), self.store.horizons)
        target, group = torch.from_numpy(self.targets[rows]), torch.from_numpy(groups.astype(np.int64))
        sums = loss.batch_statistic(target, group, len(dates))
        if sums is not None:
            loss.start_step((sums.double() / len(dates)).tolist())
        with torch.no_grad():
            terms = loss(torch.from_numpy(outputs), target, group, len(dates))
        return float(torch.stack(list(terms.values())).sum())

    def predict(self, model: nn.Module | TabularModel, segment: Segment) -> pd.DataFrame:
        """Predictions of a segment as the long frame (timestamp, symbol, fold, segment, horizon, prediction).

        Those of the valid dates are scored. Of a network with quantile levels the frame of all levels is kept for
        `save`. ValueError if those of the valid dates are constant.
        """
        levels: dict[str, NDArray] = {}
        if isinstance(self.loss, QuantileLoss) and not isinstance(model, TabularModel):
            rows, outputs = self._outputs(model, segment)
            levels_NHQ = self.loss.quantiles(torch.from_numpy(outputs)).numpy()
            values = levels_NHQ[:, :, len(self.loss.levels) // 2]
            levels = {
                quantile_column(level): levels_NHQ[:, :, number].T.reshape(-1)
                for number, level in enumerate(self.loss.levels)
            }
        else:
            rows, values = self.predict_rows(model, segment)
        if segment == "valid":
            self.scores = checked_rank_ic(self.name, self.store, self.fold, rows, values)
        frame = prediction_frame(self.store, self.fold, segment, rows, values)
        if levels:
            self.quantiles.append(frame.drop(columns="prediction").assign(**levels))
        return frame

    def save(self, folder: Path, model: nn.Module | TabularModel) -> None:
        metadata = self.metadata(model)
        save_model(folder, model, self.model_config, metadata)
        (folder / "model_card.md").write_text(model_card(self.model_config, metadata), encoding="utf-8")
        if self.quantiles:
            pd.concat(self.quantiles, ignore_index=True).to_parquet(folder / "quantiles.parquet", index=False)

    def metadata(self, model: nn.Module | TabularModel) -> dict[str, Any]:
        """What a user of the model has to know, and a check that the inputs are the ones it was fitted on."""
        index, store = self.fold.index, self.store
        normaliser = store.normaliser(index)
        encoder = {} if self.texts is None else {"text_encoder": store.text_encoder(index)}
        settings = {"loss": self.settings.loss, "loss_settings": asdict(self.settings.loss_settings)}
        trained_for = {} if self.is_tabular else settings
        return {
            **encoder,
            **trained_for,
            "features": list(normaliser.names),
            "normaliser_sha256": normaliser.hash,
            "tokenizer_sha256": store.tokenizer(index).hash,
            "horizons": list(store.horizons),
            "delay": store.delay,
            "target": self.settings.target,
            "seed": self.settings.seed,
            "fold": self.fold.describe(),
            "train_samples": len(self.train_windows),
            "missing_inputs": int(np.isnan(self.inputs[self.train_windows.rows]).sum())
            if self.kind != "tokens"
            else 0,
            "valid_rank_ic": {str(horizon): score for horizon, score in self.scores.items()},
            "best_head": max(self.scores, key=lambda horizon: self.scores[horizon]),
            "best_epoch": self.best_epoch,
            "num_parameters": count_parameters(model),
            "flops_per_window": count_flops(model, self.model_config),
            "determinism": self.settings.determinism,
            "start": self.settings.start,
            "notes": list(self.notes),
        }


def quantile_column(level: float) -> str:
    """Name of a level's column: q5, q50, q97.5."""
    return f"q{100 * level:g}"


def prediction_frame(
    store: FeatureStore, fold: Fold, segment: Segment, rows: NDArray, values: NDArray
) -> pd.DataFrame:
    """Predictions (num_rows, num_horizons) as the long frame that a model's `predictions.parquet` holds."""
    heads = len(store.horizons)
    codes = np.tile(store.symbol_code[rows], heads)
    return pd.DataFrame(
        {
            "timestamp": np.tile(store.dates[store.date_code[rows]], heads),
            "symbol": pd.Categorical.from_codes(codes, pd.Index(store.symbols)),
            "fold": np.int16(fold.index),
            "segment": pd.Categorical([segment] * len(codes), categories=SEGMENTS),
            "horizon": np.repeat(np.array(store.horizons, dtype=np.int16), len(rows)),
            "prediction": values.T.reshape(-1),
        }
    )


def checked_rank_ic(
    name: str, store: FeatureStore, fold: Fold, rows: NDArray, values: NDArray
) -> dict[int, float]:
    """`mean_rank_ic` on the valid dates of a trained model's forecasts (num_rows, num_horizons).

    ValueError if the forecasts of a horizon do not tell symbols apart: on no date do they differ by more than rounding,
    or no date has a defined rank IC.
    """
    order = np.argsort(store.date_code[rows], kind="stable")
    starts = np.flatnonzero(np.diff(store.date_code[rows][order], prepend=-1))
    ordered = values[order]
    spread = np.maximum.reduceat(ordered, starts) - np.minimum.reduceat(ordered, starts)
    constant = spread.max(axis=0) <= ROUNDING * np.abs(values).max(axis=0)
    scores = mean_rank_ic(store, fold.valid, rows, values)
    if refused := [
        h for h, flat in zip(store.horizons, constant, strict=True) if flat or np.isnan(scores[h])
    ]:
        raise ValueError(
            f"fold {fold.index}: predictions of {name} at horizon {', '.join(map(str, refused))} are constant on every "
            "valid date"
        )
    return scores


def mean_rank_ic(
    store: FeatureStore, dates: NDArray[np.datetime64], rows: NDArray, values: NDArray
) -> dict[int, float]:
    """Mean rank IC per horizon of values (num_rows, num_horizons) on the dates; NaN where none is defined."""
    scores = {}
    for head, horizon in enumerate(store.horizons):
        spread = np.full(len(store.date_code), np.nan)
        spread[rows] = values[:, head]
        label = store.matrix(store.labels[:, head], dates)
        per_date = rank_ic(store.matrix(spread, dates), label)
        scores[horizon] = float(np.nanmean(per_date)) if np.isfinite(per_date).any() else float("nan")
    return scores
