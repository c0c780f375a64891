"""The K-line model on a fold: the predictor is trained on the fold's tokens, its paths become predictions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from factor_data import FeatureStore, Fold, Segment, read_folds, write_parquet
from factor_data.store import fold_folder
from factor_metrics import to_json_safe
from factor_models import (
    FitResult,
    TensorBatch,
    count_parameters,
    gather_predictions,
    get_loss,
    model_card,
    set_seed,
    tensor_batch,
)
from factor_models.kline import (
    KlineBatch,
    Kronos,
    KronosConfig,
    KronosPredictor,
    KronosTokenizer,
    PathForecaster,
    check_context,
    date_batches,
    freeze,
    kline_batches,
    merge,
    num_batches,
    point_forecasts,
    token_windows,
)
from stages.fitting.contract import Conditions, FoldModel, Predictions
from stages.fitting.engine_fit import Training, reserve_checkpoints
from stages.fitting.identity import digest
from stages.json_files import read_json
from stages.kline.bars import KlineData, read_kline_data, read_pretrained
from stages.kline.heritage import METADATA, TRAINED_UNTIL, trained_until
from stages.kline.memory import ahead_of_steps, shorter
from stages.kline.tables import QUANTILE_COLUMNS, baseline_table, calibration_table, write_report
from stages.params.train import TrainParams, parse_train
from stages.predictions import prediction_frame
from stages.processes.process import Train
from stages.processes.start import start_network
from stages.running.files import RESULTS, stored
from stages.running.planned import Plan
from stages.running.stage import StageError
from stages.scoring import Scoring, valid_scores

STATISTICS = (
    "mean",
    "median",
    *QUANTILE_COLUMNS,
    "up_probability",
    "volatility",
)


def check_pair(name: str, config: KronosConfig, report: dict[str, Any], source: Path) -> None:
    """Refuse, before any data are read, a missing tokenizer or a pair that does not belong together."""
    if not report["needed"] or not report["folds"]:
        raise StageError(f"{source} holds no tokenizer for {name}: run 'dvc repro tokenize_kline'")
    check_context(report["lookback"], report["num_ahead"], config.max_context)
    for number, fold in enumerate(report["folds"]):
        tokenizer = read_tokenizer(source, number, fold["tokenizer_sha256"])
        start_predictor(config, tokenizer, report)


def tokens_folder(name: str) -> Path:
    """Return the folder of the tokens that a model reads."""
    return stored("tokenize_kline", name)


def read_tokenizer(source: Path, number: int, expected_hash: str) -> KronosTokenizer:
    """A fold's tokenizer; StageError if it is not the one that wrote the tokens."""
    folder = fold_folder(source, number)
    tokenizer = KronosTokenizer.from_pretrained(folder)
    if tokenizer.content_hash != expected_hash:
        raise StageError(f"{folder} is not the tokenizer that wrote its tokens: run 'dvc checkout' or 'dvc repro'")
    return tokenizer


def start_predictor(config: KronosConfig, tokenizer: KronosTokenizer, report: dict[str, Any]) -> Kronos:
    """The pretrained predictor of a local folder, or one with random weights, made for a tokenizer's bits.

    A predictor that says which tokenizer it was trained with (metadata.json) must get that one, or one that was
    fine-tuned from it.
    """
    if config.pretrained is None:
        return Kronos(**config.arguments(tokenizer.s1_bits, tokenizer.s2_bits))
    model, folder = read_pretrained(Kronos, "zoo.kronos.pretrained", config.pretrained)
    if (model.s1_bits, model.s2_bits) != (tokenizer.s1_bits, tokenizer.s2_bits):
        raise StageError(
            f"{folder}: predicts tokens of {model.s1_bits} + {model.s2_bits} bits, the tokenizer's have "
            f"{tokenizer.s1_bits} + {tokenizer.s2_bits}"
        )
    metadata = folder / METADATA
    known = read_json(metadata).get("kline_tokenizer_sha256") if metadata.is_file() else None
    if known not in (None, tokenizer.content_hash, report["pretrained_sha256"]):
        raise StageError(
            f"{folder}: was trained with the tokenizer {known[:12]}..., which is neither this fold's nor the one "
            "tokenize_kline.pretrained started from: their tokens do not mean the same"
        )
    return model


class KronosFold:
    """A predictor on a fold, and this process's share of the work."""

    def __init__(
        self,
        name: str,
        config: KronosConfig,
        params: TrainParams,
        store: FeatureStore,
        fold: Fold,
        data: KlineData,
        source: Path,
        plan: Plan,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.name, self.config, self.store, self.fold, self.code = name, config, store, fold, plan.code
        self.scoring = Scoring.of(plan.value("evaluate"))
        self.params = params
        self.rank, self.world_size = rank, world_size
        self.data, self.source = data, source
        self.report = read_json(source / "report.json")
        self.lookback, self.num_ahead = self.report["lookback"], self.report["num_ahead"]
        self.tokenizer_hash = self.report["folds"][fold.index]["tokenizer_sha256"]
        self.tokenizer = read_tokenizer(source, fold.index, self.tokenizer_hash)
        self.trained_until = trained_until(fold, config.pretrained, f"zoo.{name}.pretrained")
        torch.manual_seed(self.params.seed)
        self.model = start_predictor(self.config, self.tokenizer, self.report)
        self.start_hash = self.model.content_hash
        self.model = freeze(self.model, self.config)
        self.model.first_learned = self.lookback if self.config.learn == "ahead" else 0
        folder = fold_folder(source, fold.index)
        self.ends = {segment: np.load(folder / f"{segment}_ends.npy") for segment in ("train", "valid")}
        self.tokens = {
            segment: np.load(folder / f"{segment}_tokens.npy", mmap_mode="r") for segment in ("train", "valid")
        }
        self.training = self._training()

    def _training(self) -> Training:
        dates = self.data.bars.date_code[self.ends["train"]]
        params = self.params
        return Training(
            fold=self.fold.index,
            network=self.model,
            loss=get_loss("mse"),
            config=params,
            epochs=params.epochs,
            patience=params.patience,
            batches=lambda epoch, first: self._batches(
                "train", first, epoch=epoch, seed=params.seed, rank=self.rank, world_size=self.world_size
            ),
            most_pieces=-(-params.batch_dates // self.world_size),
            checkpoint=params.checkpoint,
            guard=params.guard,
            steps_per_epoch=num_batches(dates, params.batch_dates),
            score=self._score,
            code=self.code,
            advice=shorter(
                f"zoo.{self.name}", params.batch_dates, self.lookback, self.num_ahead, self.config.max_context
            ),
            identity={
                "what": self.name,
                "model": asdict(self.config),
                "start": self.start_hash,
                "tokenizer": self.tokenizer_hash,
                "tokens": [digest(np.asarray(tokens)) for tokens in self.tokens.values()],
            },
        )

    @property
    def num_steps(self) -> int:
        """Return the steps of all epochs."""
        return self.training.num_steps

    def _batches(self, segment: str, first: int = 0, **order: Any) -> Iterator[KlineBatch]:
        ends, bars = self.ends[segment], self.data.bars

        def read(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
            codes = bars.dates(ends[numbers], self.lookback, self.num_ahead)
            return token_windows(np.asarray(self.tokens[segment][numbers]), self.data.stamps, codes)

        dates = bars.date_code[ends]
        order_of_dates = date_batches(dates, self.params.batch_dates, **order)
        batches = kline_batches(read, dates, islice(order_of_dates, first, None))
        return ahead_of_steps(batches, dates, self.params.batch_dates, self.lookback + self.num_ahead)

    @torch.no_grad()
    def _score(self, model: torch.nn.Module) -> float:
        """Minus the mean cross-entropy of a token pair's halves on the valid windows, by dates."""
        assert isinstance(model, Kronos)
        device = next(model.parameters()).device
        total, num_dates = 0.0, 0
        for batch in self._batches("valid"):
            tensors: TensorBatch = tensor_batch(batch, device)
            terms = model.training_terms(tensors, lambda prediction: {})
            total += float(sum(terms.values())) * tensors.num_dates
            num_dates += tensors.num_dates
        return -total / num_dates

    def fit(self, conditions: Conditions) -> FittedKronos:
        """Train on the fold's tokens; the predictor that is best on the valid dates."""
        assert conditions.watch is not None
        set_seed(self.params.seed)
        result = self.training.run(conditions.progress, conditions.live, conditions.watch)
        model = merge(self.model).eval()
        KronosPredictor(model, self.tokenizer, str(next(model.parameters()).device), self.config.max_context)
        return FittedKronos(self, model, result)

    def statistics(self, model: Kronos, segment: Segment) -> tuple[NDArray, NDArray[np.float32]]:
        """Rows and what their paths say, (num_rows, num_labels, STATISTICS).

        One date at a time, so that a prediction does not depend on which other dates are predicted; dates are spread
        over processes and threads.
        """
        rows = self.data.bars.ends(self._predicted(segment), self.lookback)
        codes = self.store.date_code[rows]
        dates = [rows[codes == code] for code in np.unique(codes)][self.rank :: self.world_size]
        known = self.store.dates[np.isin(self.store.dates, self.fold.train)]
        forecaster, heads = self.forecaster(model), list(self.store.heads.values())

        def say(chosen: NDArray[np.int64]) -> NDArray[np.float32]:
            date = self.store.dates[codes[np.searchsorted(rows, chosen[0])]]
            return forecaster.of_date(self.data.bars, self.data.dates, chosen, date, known, heads)

        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # a date is small: threads pay between dates, not inside one
        with ThreadPoolExecutor(self.params.threads) as pool:
            parts = list(pool.map(say, dates))
        torch.set_num_threads(threads)
        shape = (len(self.store.heads), len(STATISTICS))
        values = np.concatenate(parts) if parts else np.empty((0, *shape), np.float32)
        mine = np.concatenate(dates) if dates else np.empty(0, np.int64)
        gathered_rows, gathered = gather_predictions(mine, values.reshape(len(values), -1))
        return gathered_rows, gathered.reshape(-1, *shape)

    def forecaster(self, model: Kronos) -> PathForecaster:
        """The pair with all that decides its forecasts."""
        return PathForecaster(
            model=model,
            tokenizer=self.tokenizer,
            max_context=self.config.max_context,
            seed=self.params.seed,
            **self.window(),
            **self.sampling(),
        )

    def window(self) -> dict[str, Any]:
        """Bars of a window, those of its paths, and the bound of normalised values."""
        return {key: self.report[key] for key in ("lookback", "num_ahead", "clip")}

    def sampling(self) -> dict[str, Any]:
        """How paths are drawn."""
        return {key: getattr(self.config, key) for key in ("temperature", "top_p", "samples")}

    def _predicted(self, segment: Segment) -> NDArray[np.bool_]:
        rows = self.store.rows(self.fold, segment)
        if segment == "valid":
            kept = self.fold.valid[:: self.config.valid_every]
            rows &= np.isin(self.store.dates, kept)[self.store.date_code]
        return rows


class FittedKronos:
    """A trained predictor."""

    def __init__(self, fold: KronosFold, model: Kronos, result: FitResult) -> None:
        self.of, self.model, self.result = fold, model, result

    def predict(self, segment: Segment) -> Predictions:
        """The mean return of the paths, or their volatility where that is the label; beside it all that they say."""
        of = self.of
        rows, values = of.statistics(self.model, segment)
        points = point_forecasts(values, of.store.heads.values())
        judged = valid_scores(of.store, of.fold, rows, points, of.scoring) if segment == "valid" else None
        frame = prediction_frame(of.store, of.fold, segment, rows, points)
        flat = values.transpose(1, 0, 2).reshape(-1, len(STATISTICS))
        table = frame.drop(columns="prediction").assign(**dict(zip(STATISTICS, flat.T, strict=True)))
        return Predictions(frame=frame, judged=judged, table=table)

    def save(self, folder: Path, valid: Predictions, test: Predictions) -> None:
        """The predictor in the published form with its tokenizer, what its paths say, and how well that fits."""
        of = self.of
        self.model.save_pretrained(folder)
        of.tokenizer.save_pretrained(folder / "tokenizer")
        shutil.copyfile(fold_folder(of.source, of.fold.index) / METADATA, folder / "tokenizer" / METADATA)
        metadata = self.metadata(valid.scores) | {"num_parameters": count_parameters(self.model)}
        card = model_card({"name": of.name, **asdict(of.config)}, metadata)
        (folder / "model_card.md").write_text(card, encoding="utf-8")
        assert valid.table is not None
        assert test.table is not None
        paths = pd.concat([valid.table, test.table], ignore_index=True)
        write_parquet(folder / "paths.parquet", paths)
        on_test = paths[paths["segment"] == "test"]
        tables = {
            "baselines": baseline_table(of.store, of.fold, on_test, of.scoring),
            "calibration": calibration_table(of.store, on_test),
        }
        write_report(folder / "paths.json", of.fold.index, metadata, tables)

    def metadata(self, scores: dict[str, float]) -> dict[str, Any]:
        """Metadata for a user of the predictor."""
        of = self.of
        return {
            "name": of.name,
            "kline_tokenizer_sha256": of.tokenizer_hash,
            TRAINED_UNTIL: of.trained_until,
            "window": of.window(),
            "sampling": of.sampling(),
            "threads": of.params.threads,
            "max_context": of.config.max_context,
            "heads": list(of.store.heads),
            "labels": {name: label.describe() for name, label in of.store.heads.items()},
            "seed": of.params.seed,
            "fold": of.fold.describe(),
            "train_samples": len(of.ends["train"]),
            "valid_rank_ic": to_json_safe(scores),
            "best_epoch": self.result.best_epoch,
            "notes": list(self.result.notes),
        }

    def discard_checkpoints(self) -> None:
        """Delete the checkpoints, which nothing goes on from any more."""
        self.of.training.folder.delete()


class KlineFamily:
    """Models that read bars and generate paths."""

    score_name = "valid -cross-entropy"

    def prepare(self, name: str, plan: Plan, rank: int, world_size: int) -> list[FoldModel]:
        """Return every fold, tokenizer and predictor checked against each other, without fitting any."""
        config = plan.section(f"zoo.{name}", KronosConfig)
        source = tokens_folder(name)
        check_pair(name, config, read_json(source / "report.json"), source)
        store = FeatureStore(RESULTS / "tokenize")
        params = parse_train(plan.with_untracked("train"), tuple(store.heads), where="train.")
        data = read_kline_data()
        folds = [
            KronosFold(name, config, params, store, fold, data, source, plan, rank, world_size)
            for fold in read_folds(stored("split", "folds.json"))
        ]
        if rank == 0:
            reserve_checkpoints(folds[0].model, params, params.checkpoint, len(folds))
        return list(folds)

    def start(self, name: str, plan: Plan, only: int | None, train: Train) -> None:
        """Train in this process or in as many as the environment asks for."""
        start_network(name, plan, only, train)


FAMILY = KlineFamily()
