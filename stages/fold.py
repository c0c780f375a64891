"""One model on one fold: its data, its fit, its out-of-fold predictions. The part of train that knows the packages."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from dvclive.live import Live
from numpy.typing import NDArray
from torch import nn

from factor_data import SEGMENTS, Augmentation, Batch, FeatureStore, Fold, Segment, WindowDataset
from factor_metrics import rank_ic
from factor_models import (
    Engine,
    EpochRecord,
    FitState,
    RunFolder,
    StepRecord,
    Table,
    TabularModel,
    build_model,
    count_flops,
    count_parameters,
    fit,
    gather_predictions,
    get_loss,
    input_kind,
    model_sizes,
    predict,
    run_key,
    set_seed,
)
from stages import ROOT
from stages.live_ic import LiveIC
from stages.params import Params
from stages.progress import TrainingProgress

CHECKPOINTS = Path(".checkpoints")
DATES_AT_ONCE = 16  # dates a process predicts in one forward pass


class FoldRun:
    """A model, a fold, and this process's share of the work.

    After `fit`: `scores` holds the valid rank IC per horizon, `best_epoch` the epoch that was kept (networks only).
    """

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
        sizes = {"num_features": self.inputs.shape[1], "num_horizons": len(store.horizons)}
        self.symbol_ids: NDArray[np.integer] | None = None
        if "num_tokens" in model_sizes(name):
            sizes["num_tokens"] = store.tokenizer(fold.index).num_tokens
        if "num_symbols" in model_sizes(name):
            vocabulary = store.vocabulary(fold.index)
            sizes["num_symbols"] = vocabulary.num_ids
            self.symbol_ids = vocabulary.encode(store.symbols)[store.symbol_code]
        self.model_config: dict[str, Any] = {"name": name, **sizes, **asdict(self.config)}
        self.train_windows = self.windows("train")
        self.scores: dict[int, float] = {}
        self.best_epoch: int | None = None

    def windows(self, segment: Segment, last_dates: int | None = None) -> WindowDataset:
        """The samples of a segment, or of its last dates."""
        rows = self.store.rows(self.fold, segment)
        if last_dates is not None:
            rows &= np.isin(self.store.dates, self.fold.dates(segment)[-last_dates:])[self.store.date_code]
        dataset = WindowDataset(
            self.inputs,
            self.targets,
            getattr(self.config, "lookback", 1),
            symbol_code=self.store.symbol_code,
            date_code=self.store.date_code,
            rows=rows,
            symbol_ids=self.symbol_ids,
        )
        if len(dataset) == 0:
            raise ValueError(
                f"fold {self.fold.index}: no sample in {segment} has {dataset.lookback} bars of history"
            )
        return dataset

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole fit; a tabular model takes one."""
        if self.is_tabular:
            return 1
        return self.settings.epochs * self.train_windows.num_batches(self.settings.batch_dates)

    def fit(self, progress: TrainingProgress, live: Live | None) -> nn.Module | TabularModel:
        """Train, keep the epoch with the best valid rank IC, and return the model that predicts."""
        set_seed(self.settings.seed)
        progress.start_fold(self.fold.index)
        model = self._fit_tabular() if self.is_tabular else self._fit_network(progress, live)
        self.scores = self._valid_rank_ic(model)
        if np.isnan(list(self.scores.values())).any():
            raise ValueError(
                f"fold {self.fold.index}: predictions of {self.name} are constant on every valid date"
            )
        if self.is_tabular:
            progress.step()
        if live:
            live.log_metric(
                f"fold_{self.fold.index}/best_valid_rank_ic", float(np.mean(list(self.scores.values())))
            )
        return model

    def _fit_tabular(self) -> TabularModel:
        model = build_model(**self.model_config)
        assert isinstance(model, TabularModel)
        return model.fit(*(self._table(self.windows(segment).rows) for segment in ("train", "valid")))

    def _table(self, rows: NDArray[np.integer]) -> Table:
        """Panel rows as a tabular model reads them."""
        return Table(
            features=self.inputs[rows],
            targets=self.targets[rows],
            groups=self.store.date_code[rows],
            symbols=None if self.symbol_ids is None else self.symbol_ids[rows],
        )

    def _fit_network(self, progress: TrainingProgress, live: Live | None) -> nn.Module:
        model = build_model(**self.model_config)
        assert isinstance(model, nn.Module)
        engine = Engine(model, get_loss(self.settings.loss), self.settings, total_steps=self.num_steps)

        state = self.checkpoint.restore(engine)
        for record in state.history if state else []:
            self._log(record, live)  # a run that goes on logs the epochs before it was killed as well

        live_ic = LiveIC(
            self.name,
            self.fold,
            self.store,
            self.targets,
            engine,
            self.predict_rows,
            self.settings.live_ic,
            first=self.rank == 0,
            resumed=state is not None,
        )

        def after_step(num_steps: int, step: StepRecord) -> None:
            progress.step()
            live_ic.after_step()

        def after_epoch(record: EpochRecord, state: FitState) -> None:
            progress.epoch(record.epoch, record.loss, record.score, record.lr)
            live_ic.report()
            self.checkpoint.save(engine, state)
            self._log(record, live)

        result = fit(
            engine,
            self._train_batches,
            lambda network: float(np.mean(list(self._valid_rank_ic(network).values()))),
            epochs=self.settings.epochs,
            patience=self.settings.patience,
            on_step=[after_step],
            on_epoch=[after_epoch],
            state=state,
        )
        engine.close()
        self.best_epoch = result.best_epoch
        model.load_state_dict(result.state_dict)
        return model.to(engine.device).eval()

    def _log(self, record: EpochRecord, live: Live | None) -> None:
        if live:
            live.step = record.epoch
            terms = record.terms if len(record.terms) > 1 else {}
            for metric, value in {
                "loss": record.loss,
                **terms,
                "score": record.score,
                "lr": record.lr,
            }.items():
                live.log_metric(f"fold_{self.fold.index}/{metric}", value)
            live.next_step()

    def _train_batches(self, epoch: int) -> Iterable[Batch]:
        return self.train_windows.batches(
            self.settings.batch_dates,
            seed=self.settings.seed,
            epoch=epoch,
            rank=self.rank,
            world_size=self.world_size,
            augmentation=self._augmentation(),
        )

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
        dataset = self.windows(segment, last_dates)
        if isinstance(model, TabularModel):
            return dataset.rows, model.predict(self._table(dataset.rows))
        batches = dataset.batches(self.world_size * DATES_AT_ONCE, rank=self.rank, world_size=self.world_size)
        return gather_predictions(*predict(model, batches))

    def _valid_rank_ic(self, model: nn.Module | TabularModel) -> dict[int, float]:
        """Mean rank IC on the valid dates per horizon; NaN where the predictions are constant throughout."""
        rows, values = self.predict_rows(model, "valid")
        scores = {}
        for head, horizon in enumerate(self.store.horizons):
            spread = np.full(len(self.store.date_code), np.nan)
            spread[rows] = values[:, head]
            prediction = self.store.matrix(spread, self.fold.valid)
            label = self.store.matrix(self.store.labels[:, head], self.fold.valid)
            per_date = rank_ic(prediction, label)
            scores[horizon] = float(np.nanmean(per_date)) if np.isfinite(per_date).any() else float("nan")
        return scores

    def predict(self, model: nn.Module | TabularModel, segment: Segment) -> pd.DataFrame:
        """Predictions of a segment as the long frame (timestamp, symbol, fold, segment, horizon, prediction)."""
        rows, values = self.predict_rows(model, segment)
        store, heads = self.store, len(self.store.horizons)
        codes = np.tile(store.symbol_code[rows], heads)
        return pd.DataFrame(
            {
                "timestamp": np.tile(store.dates[store.date_code[rows]], heads),
                "symbol": pd.Categorical.from_codes(codes, pd.Index(store.symbols)),
                "fold": np.int16(self.fold.index),
                "segment": pd.Categorical([segment] * len(codes), categories=SEGMENTS),
                "horizon": np.repeat(np.array(store.horizons, dtype=np.int16), len(rows)),
                "prediction": values.T.reshape(-1),
            }
        )

    def metadata(self, model: nn.Module | TabularModel) -> dict[str, Any]:
        """What a user of the model has to know, and a check that the inputs are the ones it was fitted on."""
        index, store = self.fold.index, self.store
        normaliser = store.normaliser(index)
        return {
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
        }

    @cached_property
    def checkpoint(self) -> RunFolder:
        """Where a killed run goes on; the key holds all that decides the weights."""
        identity = {
            "model": self.model_config,
            "train": {**asdict(self.settings), "live_ic": None},  # it decides nothing
            "fold": self.fold.describe(),
            "inputs": digest(self.inputs),
            "targets": digest(self.targets),
            "code": code_digest(),
            "world_size": self.world_size,
        }
        return RunFolder(CHECKPOINTS, run_key(**identity))


def digest(values: NDArray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


@cache
def code_digest() -> str:
    """One hash of the code that training runs."""
    files = [*ROOT.glob("packages/*/src/**/*.py"), *ROOT.glob("stages/*.py")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()
