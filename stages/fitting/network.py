"""A network on a fold: trained through the engine, from where a killed run stopped."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from factor_data import Augmentation, Batch, FeatureStore, Fold, Segment, read_folds, training_targets, write_parquet
from factor_models import Batch as BatchLike
from factor_models import (
    Engine,
    FitResult,
    QuantileLoss,
    RunFolder,
    SeedEnsemble,
    build_model,
    count_flops,
    count_parameters,
    gather_predictions,
    model_card,
    model_config,
    predict,
    replay_dates,
    save_model,
    set_seed,
)
from factor_models.networks.blocks import symbol_tables
from stages.fitting.before import Start, check_later, folds_before, weights_before
from stages.fitting.contract import Conditions, Fitted, FoldModel, Predictions
from stages.fitting.engine_fit import Training, reserve_checkpoints
from stages.fitting.identity import digest
from stages.fitting.inputs import FoldInputs
from stages.fitting.loss import training_loss
from stages.fitting.memory import made_ahead, smaller
from stages.fitting.teacher import teach
from stages.params.train import TrainParams, parse_train
from stages.predictions import SEEDS_FILE, prediction_frame, quantile_column
from stages.processes.live_ic import LiveIC
from stages.processes.process import Train
from stages.processes.start import start_network
from stages.running.files import RESULTS, stored
from stages.running.planned import Plan
from stages.scoring import Scoring, ValidScores, valid_auc

log = logging.getLogger("factorcast.train")

DATES_AT_ONCE = 1  # of a process: a forecast does not depend, to the last bit, on which other dates are forecast


class NetworkFold:
    """A network on a fold, and this process's share of the work."""

    def __init__(
        self,
        inputs: FoldInputs,
        params: TrainParams,
        code: str,
        rank: int = 0,
        world_size: int = 1,
        suffix: str = "",
    ) -> None:
        self.inputs, self.params, self.code = inputs, params, code
        self.rank, self.world_size = rank, world_size
        self.suffix = suffix  # tells the files of one of several seeds from those of the others
        self.loss = network_loss(params, inputs.store.heads, taught=True)
        self.scores: ValidScores | None = None  # of the last epoch
        self.rank_ic = float("nan")

    @property
    def fold(self) -> Fold:
        """Return the fold with its dates."""
        return self.inputs.fold

    @property
    def steps_per_epoch(self) -> int:
        """Return the steps of an epoch, the same in all processes."""
        return self.inputs.train_windows.num_batches(self.params.batch_dates)

    @property
    def num_steps(self) -> int:
        """Return the steps of all epochs and seeds."""
        return self.params.seeds * self.params.epochs * self.steps_per_epoch

    def of_seeds(self) -> list[NetworkFold]:
        """Return the network once per seed, each as it would be alone; itself where there is one seed."""
        if self.params.seeds == 1:
            return [self]
        seeds = range(self.params.seed, self.params.seed + self.params.seeds)
        return [
            NetworkFold(
                self.inputs,
                replace(self.params, seed=seed, seeds=1),
                self.code,
                self.rank,
                self.world_size,
                suffix=f"_seed_{seed}",
            )
            for seed in seeds
        ]

    def new_network(self) -> nn.Module:
        """The network with the weights that the seed gives it."""
        set_seed(self.params.seed)
        model = build_model(**self.inputs.model_config)
        assert isinstance(model, nn.Module)
        return model

    def fit(self, conditions: Conditions) -> FittedNetwork:
        """Train from where the last checkpoint is; the best epoch's network of every seed in evaluation mode."""
        if self.params.distillation is not None:
            self.inputs.train_windows = self.inputs.windows("train", targets=self.with_teacher())
        networks = []
        for number, one in enumerate(self.of_seeds()):
            conditions.progress.start_seed(number, self.params.seeds)
            networks.append(one.fit_network(conditions, number))
        return FittedNetwork(self, networks)

    def fit_network(self, conditions: Conditions, number: int) -> TrainedNetwork:
        """Train the network of one seed, the `number`-th; it may begin with the weights that one had before."""
        assert conditions.watch is not None
        model = self.new_network()
        start = start_weights(self.inputs.name, self.params.start, conditions.earlier, number)
        weights = None if start is None else inherit(model, start, self.inputs)
        training = self.training(model, weights)
        result = training.run(conditions.progress, conditions.live, conditions.watch)
        return TrainedNetwork(seed=self.params.seed, model=model, result=result, checkpoints=training.folder)

    def training(self, model: nn.Module, start: Mapping[str, Tensor] | None) -> Training:
        """Return what the training of a network on this fold needs; `start`: weights to begin with."""
        params = self.params
        return Training(
            fold=self.fold.index,
            network=model,
            loss=self.loss,
            config=params,
            epochs=params.epochs,
            patience=params.patience,
            steps_per_epoch=self.steps_per_epoch,
            batches=self.train_batches,
            most_pieces=-(-params.batch_dates // self.world_size),
            score=self.score,
            identity=identity(self.inputs, start),
            code=self.code,
            checkpoint=params.checkpoint,
            guard=params.guard,
            keep_last=True,
            advice=smaller(
                ("train.batch_dates", params.batch_dates, self.world_size),
                (f"zoo.{self.inputs.name}.lookback", self.inputs.train_windows.lookback, 1),
            ),
            describe=self.dates_of,
            shown=lambda record: self.rank_ic,
            reporter=self.live_ic,
            suffix=self.suffix,
        )

    def with_teacher(self) -> NDArray[np.float32]:
        """The targets and, in as many further columns, a teacher's forecasts of the training rows."""
        config, inputs = self.params.distillation, self.inputs
        assert config is not None
        rows = inputs.train_windows.rows
        taught = teach(config, inputs.store, self.fold, inputs.targets, rows, inputs.weights.product)
        return np.concatenate([inputs.targets, taught], axis=1)

    def train_batches(self, epoch: int, start_step: int) -> Iterable[Batch]:
        """The batches of this process in an epoch, from a step on."""
        made = self.inputs.train_windows.batches(
            self.params.batch_dates,
            dates_per_run=self.params.consecutive_dates,
            seed=self.params.seed,
            epoch=epoch,
            rank=self.rank,
            world_size=self.world_size,
            start_step=start_step,
            augmentation=self._augmentation(),
        )
        batches = made_ahead(made, attrgetter("num_bytes"), self._largest_batch())
        of_date = self.inputs.weights.of_date
        return batches if of_date is None else (batch.dated(of_date) for batch in batches)

    def _largest_batch(self) -> int:
        """About the bytes of this process's share of a batch: dates with as many windows as the fullest has."""
        windows = self.inputs.train_windows
        most = int(np.bincount(self.inputs.store.date_code[windows.rows]).max())
        texts = self.inputs.texts
        per_bar = 4 * windows.num_features * (1 + self.inputs.missing_mask)
        per_bar += 0 if texts is None else 4 * texts.per_bar * texts.dimensions
        return -(-self.params.batch_dates // self.world_size) * most * (windows.lookback * per_bar + 64)

    def _augmentation(self) -> Augmentation | None:
        """What is done to training windows; tokens can be masked only."""
        augmentation = self.params.augmentation
        if augmentation is None or self.inputs.kind == "features":
            return augmentation
        return replace(augmentation, noise_std=0.0, time_warp=0.0)

    def outputs(self, model: nn.Module, segment: Segment, last_dates: int | None = None) -> tuple[NDArray, NDArray]:
        """Rows of a segment and what the network says of them, the same on every process."""
        dataset = self.inputs.windows(segment, last_dates)
        batches = dataset.batches(self.world_size * DATES_AT_ONCE, rank=self.rank, world_size=self.world_size)
        return gather_predictions(*predict(model, batches))

    def predict_rows(
        self, model: nn.Module, segment: Segment, last_dates: int | None = None
    ) -> tuple[NDArray, NDArray]:
        """Rows and (num_rows, num_labels) predictions of a segment, the same on every process."""
        rows, outputs = self.outputs(model, segment, last_dates)
        return rows, self.loss.point(torch.from_numpy(outputs)).numpy()

    def score(self, network: nn.Module) -> float:
        """What early stopping and the plateau look at on valid: the rank IC, the AUC, or minus the loss there."""
        rows, values = self.predict_rows(network, "valid")
        self.scores = self.inputs.valid_scores(rows, values)
        self.rank_ic = float(np.mean(list(self.scores.rank_ic.values())))
        if self.params.stop_on == "auc":
            return float(np.mean(list(valid_auc(self.inputs.store, self.fold, rows, values).values())))
        return self.rank_ic if self.params.stop_on == "rank_ic" else -self.valid_loss(network)

    def valid_loss(self, model: nn.Module) -> float:
        """The loss of the labels on the valid dates, in one piece; without sample weights and without a teacher."""
        rows, outputs = self.outputs(model, "valid")
        store, targets = self.inputs.store, self.inputs.targets
        dates, groups = np.unique(store.date_code[rows], return_inverse=True)
        loss = network_loss(self.params, store.heads, taught=False)
        target, group = torch.from_numpy(targets[rows]), torch.from_numpy(groups.astype(np.int64))
        sums = loss.batch_statistic(target, group, len(dates))
        if sums is not None:
            loss.start_step((sums.double() / len(dates)).tolist())
        with torch.no_grad():
            terms = loss(torch.from_numpy(outputs), target, group, len(dates))
        return float(torch.stack(list(terms.values())).sum())

    def live_ic(self, engine: Engine, resumed: bool) -> LiveIC:
        """Return the reporter of the IC during training."""
        inputs = self.inputs
        return LiveIC(
            inputs.name,
            self.fold,
            inputs.store,
            inputs.targets,
            engine,
            self.predict_rows,
            self.params.live_ic,
            inputs.scoring,
            first=self.rank == 0,
            resumed=resumed,
            suffix=self.suffix,
        )

    def dates_of(self, batch: BatchLike) -> str:
        """The dates of this process's share of a batch."""
        store = self.inputs.store
        dates = store.dates[store.date_code[batch.rows]]
        if len(dates) == 0:
            return "no dates"
        first, last = (np.datetime_as_string(date, unit="m") for date in (dates.min(), dates.max()))
        return f"dates {first} to {last}"


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedNetwork:
    """The network of one seed."""

    seed: int
    model: nn.Module
    result: FitResult
    checkpoints: RunFolder


class FittedNetwork:
    """A trained network; of several seeds the ensemble of them."""

    def __init__(self, fold: NetworkFold, networks: Sequence[TrainedNetwork]) -> None:
        self.of, self.networks = fold, networks
        models = [one.model for one in networks]
        self.model = models[0] if len(models) == 1 else SeedEnsemble(models).eval()

    def predict(self, segment: Segment) -> Predictions:
        """Point forecasts; of a network with quantile levels also those of every level."""
        of, inputs, levels = self.of, self.of.inputs, None
        if isinstance(of.loss, QuantileLoss):
            rows, outputs = of.outputs(self.model, segment)
            levels_NHQ = of.loss.quantiles(torch.from_numpy(outputs)).numpy()
            values = levels_NHQ[:, :, len(of.loss.levels) // 2]
            levels = {
                quantile_column(level): levels_NHQ[:, :, number].T.reshape(-1)
                for number, level in enumerate(of.loss.levels)
            }
        else:
            rows, values = of.predict_rows(self.model, segment)
        judged = inputs.valid_scores(rows, values) if segment == "valid" else None
        frame = prediction_frame(inputs.store, inputs.fold, segment, rows, values)
        table = None if levels is None else frame.drop(columns="prediction").assign(**levels)
        seeds = self.seed_predictions() if segment == "test" and len(self.networks) > 1 else None
        return Predictions(frame=frame, judged=judged, table=table, seeds=seeds)

    def seed_predictions(self) -> pd.DataFrame:
        """The forecasts of the test dates by every seed alone, in the long form, with the seed in a column."""
        of, frames = self.of, []
        for one in self.networks:
            rows, values = of.predict_rows(one.model, "test")
            frame = prediction_frame(of.inputs.store, of.inputs.fold, "test", rows, values)
            frames.append(frame.assign(seed=np.int64(one.seed)))
        return pd.concat(frames, ignore_index=True)

    def save(self, folder: Path, valid: Predictions, test: Predictions) -> None:
        """Write weights, configuration, model card and, where it has them, quantiles and seeds to a new folder."""
        metadata, config = self.metadata(valid.scores), self.model_config
        save_model(folder, self.model, config, metadata)
        card = model_card(config, metadata)
        (folder / "model_card.md").write_text(card, encoding="utf-8")
        if valid.table is not None and test.table is not None:
            levels = pd.concat([valid.table, test.table], ignore_index=True)
            write_parquet(folder / "quantiles.parquet", levels)
        if test.seeds is not None:
            write_parquet(folder / SEEDS_FILE, test.seeds)

    @property
    def model_config(self) -> dict[str, Any]:
        """Return the arguments of `build_model` for what is saved."""
        count = len(self.networks)
        return self.of.inputs.model_config | ({"seeds": count} if count > 1 else {})

    def metadata(self, scores: dict[str, float]) -> dict[str, Any]:
        """Return what is kept beside the weights: how the model was trained, and its validation scores."""
        inputs, params = self.of.inputs, self.of.params
        encoder = {} if inputs.texts is None else {"text_encoder": inputs.store.text_encoder(inputs.fold.index)}
        return {
            **encoder,
            "loss": params.loss,
            "loss_settings": asdict(params.loss_settings),
            **inputs.metadata(params.target, params.seed, scores),
            **self.of_training(),
            "num_parameters": count_parameters(self.model),
            "flops_per_window": count_flops(self.model, self.model_config),
            "determinism": params.determinism,
            "start": params.start,
            "threads": params.threads,
        }

    def of_training(self) -> dict[str, Any]:
        """The epoch that was kept and what happened on the way; of several seeds by each of them."""
        networks = self.networks
        if len(networks) == 1:
            return {"best_epoch": networks[0].result.best_epoch, "notes": list(networks[0].result.notes)}
        return {
            "seeds": [one.seed for one in networks],
            "best_epoch": [one.result.best_epoch for one in networks],
            "notes": [f"seed {one.seed}: {note}" for one in networks for note in one.result.notes],
        }

    def discard_checkpoints(self) -> None:
        """Delete the checkpoints, which nothing goes on from any more."""
        for one in self.networks:
            one.checkpoints.delete()


class NetworkFamily:
    """Networks of windows of features, tokens and texts."""

    score_name = "valid rank IC"

    def prepare(self, name: str, plan: Plan, rank: int, world_size: int) -> list[FoldModel]:
        """Return every fold, its inputs checked, without fitting any."""
        store = FeatureStore(RESULTS / "tokenize")
        params = parse_train(plan.with_untracked("train"), tuple(store.heads), where="train.")
        settings: Any = plan.section(f"zoo.{name}", model_config(name))
        targets = training_targets(store, params.target)
        outputs = network_loss(params, store.heads, taught=False).outputs_per_target
        inputs = partial(
            FoldInputs,
            name,
            settings,
            store,
            targets,
            weights=params.weights,
            panel=RESULTS / "split" / "panel",
            scoring=Scoring.of(plan.value("evaluate")),
            outputs_per_target=outputs,
            rules=params.windows,
        )
        cut, before = read_folds(stored("split", "folds.json")), folds_before()
        if params.start != "cold":
            check_later(before, cut[0])
        dates = replayed([*before, *cut], params.replay, params.seed)[len(before) :]
        folds = [
            NetworkFold(inputs(fold=fold, train_dates=own), params, plan.code, rank, world_size)
            for fold, own in zip(cut, dates, strict=True)
        ]
        if rank == 0:
            reserve_checkpoints(folds[0].new_network(), params, params.checkpoint, params.seeds * len(folds))
        return list(folds)

    def start(self, name: str, plan: Plan, only: int | None, train: Train) -> None:
        """Train in this process or in as many as the environment asks for."""
        start_network(name, plan, only, train)


FAMILY = NetworkFamily()


def network_loss(params: TrainParams, heads: Iterable[str], taught: bool) -> Any:
    """The loss of section `train`; `taught`: with its teacher, where it has one."""
    teacher = params.distillation if taught else None
    return training_loss(
        params.loss,
        params.loss_settings,
        list(heads),
        share=None if teacher is None else teacher.share,
        temperature=1.0 if teacher is None else teacher.temperature,
    )


def replayed(folds: Sequence[Fold], share: float | None, seed: int) -> list[NDArray[np.datetime64] | None]:
    """The dates that each fold learns from: None for all of its training dates, as the first fold and without replay.

    Any other has those that no fold before has trained on, and a share of those that one has.
    """
    dates: list[NDArray[np.datetime64] | None] = [None for _ in folds]
    seen = np.empty(0, dtype="datetime64[ns]")
    for place, fold in enumerate(folds):
        if share is not None and place:
            is_old = np.isin(fold.train, seen)
            try:
                dates[place] = replay_dates(fold.train[~is_old], fold.train[is_old], share, seed=seed + place)
            except ValueError as error:
                raise ValueError(f"train.replay: fold {fold.index}: {error}") from None
        seen = np.union1d(seen, fold.train)
    return dates


def start_weights(name: str, start: str, earlier: Sequence[Fitted], number: int) -> Start | None:
    """Weights to begin with: none, the last fold's, or those of the fold with the best score so far.

    A refit has one fold, and the member that was judged comes before it. Of several seeds the `number`-th goes on
    from the `number`-th.
    """
    fitted = [one for one in earlier if isinstance(one, FittedNetwork)]
    if start == "cold":
        return None
    if not fitted:
        return weights_before(name, number)
    best = max(fitted, key=lambda one: one.networks[number].result.best_score)
    chosen = fitted[-1] if start == "previous" else best
    return Start(weights=chosen.networks[number].result.state_dict, vocabulary=chosen.of.inputs.vocabulary)


def inherit(model: nn.Module, start: Start, inputs: FoldInputs) -> dict[str, Tensor]:
    """Begin with the weights of an earlier fold, and return them; tables of another size begin anew.

    What was learned of a symbol goes with the symbol, which may have another id in this fold; a new symbol begins anew.
    """
    own, weights = model.state_dict(), dict(start.weights)
    if missing := sorted(set(own) ^ set(weights)):
        raise ValueError(f"train.start: the earlier fold's network has other weights, first {missing[0]}")
    for name in symbol_tables(model):
        assert inputs.vocabulary is not None
        assert start.vocabulary is not None
        known = sorted(set(inputs.vocabulary.symbols) & set(start.vocabulary.symbols))
        table = own[name].clone()
        table[inputs.vocabulary.encode(known)] = weights[name][start.vocabulary.encode(known)]
        weights[name] = table
    for name in sorted(name for name, value in weights.items() if value.shape != own[name].shape):
        log.warning("train.start: %s has another shape in this fold and begins anew", name)
        weights[name] = own[name]
    model.load_state_dict(weights)
    return weights


def identity(inputs: FoldInputs, start: Mapping[str, Tensor] | None) -> dict[str, Any]:
    """What decides the weights besides the settings of the training and the code."""
    texts = inputs.texts
    return {
        "model": inputs.model_config,
        "fold": inputs.fold.describe(),
        "inputs": digest(inputs.inputs),
        "targets": digest(inputs.targets),
        "texts": None if texts is None else [digest(texts.vectors), digest(texts.bounds)],
        "weights": [None if one is None else digest(one) for one in vars(inputs.weights).values()],
        **asdict(inputs.scoring),
        "start": None if start is None else {name: digest(value.numpy()) for name, value in sorted(start.items())},
    }
