"""Every model of the zoo goes through the stage train, on a small market with news."""

from __future__ import annotations

import shutil
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from factor_data import FeatureStore, read_folds
from factor_data.sums import write_sums
from factor_models import KLINE_MODELS, MODELS, input_kind, load_model, model_sizes
from stages import ROOT
from stages.fitting.families import family_of
from stages.fitting.inputs import FoldInputs
from stages.fitting.network import NetworkFold
from stages.fitting.tabular import FittedTabular
from stages.params.reading import read_document
from stages.planning.stages import plan_of
from stages.processes.process import Process
from stages.processes.watch import Watch
from stages.scoring import Scoring
from stages.train import train
from workplace import Workplace, in_this_process, make_workplace, smoke_document

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Up to tokenize, with vectors and documents of the news; as few symbols and dates as every model can be fit on.

    Tests must not change it.
    """
    document = smoke_document()
    document["models"] = ["linear"]
    document["sample"] |= {"symbols": 24, "bars": 214}
    document["split"]["folds"] |= {"train": 120, "valid": 12, "test": 16, "step": 16}
    document["tokenize"]["news_vectors"] = {"dimensions": 4, "cutoff_minutes": 960, "documents_per_bar": 3}
    workplace = make_workplace(tmp_path_factory.mktemp("small") / "factorcast", document)
    for stage in ("plan", "sample", "split", "tokenize_features"):
        workplace.run(stage)
    return workplace


def train_here(workplace: Workplace, name: str) -> None:
    """Train by the plan that params.yaml gives, whether or not the model is listed there."""
    with chdir(workplace.path), in_this_process("train"):
        plan = plan_of("train", name, workplace.params())
        if family_of(name) == "tabular":
            train(name, plan, Process(), None)
        else:
            with Watch() as watch:
                train(name, plan, Process(watch=watch), None)


def test_every_model_has_a_section_in_params() -> None:
    assert set(read_document(ROOT / "params.yaml")["zoo"]) == {*MODELS, *KLINE_MODELS}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_trained_predicts_out_of_fold_and_can_be_loaded(name: str, small: Workplace) -> None:
    train_here(small, name)
    folder = small.results / "train" / name
    frame = pd.read_parquet(folder / "predictions.parquet")
    assert np.isfinite(frame["prediction"]).all()
    assert set(frame["label"]) == {"h1", "h5", "h20"}
    spread = frame.groupby(["timestamp", "label", "fold"], observed=True)["prediction"].std()
    assert (spread > 0).mean() > 0.99
    _, metadata = load_model(folder / "folds" / "fold_00")
    assert metadata["best_head"] in ("h1", "h5", "h20")
    assert (metadata["best_epoch"] is None) == (input_kind(name) == "last_bar")
    assert ("text_encoder" in metadata) == ("text_dim" in model_sizes(name))


def round_forecasts(monkeypatch: pytest.MonkeyPatch, last_bits: int) -> None:
    """Let forecasts of a date be its first one, plus up to so many last bits: what another CPU may make of them."""
    for kind in (NetworkFold, FittedTabular):
        predict_rows = kind.predict_rows

        def rounded(self: Any, *arguments: Any, predict: Any = predict_rows) -> tuple[NDArray, NDArray]:
            rows, values = predict(self, *arguments)
            store = self.inputs.store
            _, first, date = np.unique(store.date_code[rows], return_index=True, return_inverse=True)
            equal = np.asarray(values, np.float32)[first][date]
            bits = np.random.default_rng(0).integers(0, last_bits + 1, equal.shape)
            return rows, equal + bits * np.spacing(equal)

        monkeypatch.setattr(kind, "predict_rows", rounded)


@pytest.mark.numeric
@pytest.mark.parametrize("last_bits", [None, 0, 3])
@pytest.mark.parametrize("name", ["linear", "tft"])
def test_a_model_whose_output_is_constant_fails_the_stage_where_that_is_asked_for(
    name: str, last_bits: int | None, small: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inputs that do not tell symbols apart: every forecast of a date is the same number, up to rounding.

    How equal forecasts round is this CPU's way (None), or to the same bits (0), or to different ones.
    """
    if last_bits is not None:
        round_forecasts(monkeypatch, last_bits)
    copy = small.copy(tmp_path / "copy")
    for path in (copy.results / "tokenize").rglob("inputs.npy"):
        np.save(path, np.zeros_like(np.load(path)))
    write_sums(copy.results / "tokenize")
    shutil.rmtree(copy.results / "train", ignore_errors=True)
    copy.change_params(lambda params: params["train"].update(no_signal="fail"))
    with pytest.raises(ValueError, match="constant on every valid date"):
        train_here(copy, name)
    assert not (copy.results / "train" / name).exists(), "nothing is left that could be evaluated"


def test_all_levels_of_quantiles_are_kept(small: Workplace, tmp_path: Path) -> None:
    copy = small.copy(tmp_path / "copy")
    settings = {"loss": "quantile", "loss_settings": {"levels": [0.025, 0.5, 0.975]}, "epochs": 1}
    copy.change_params(lambda params: params["train"].update(settings))
    train_here(copy, "gru")
    folder = copy.results / "train" / "gru"
    parts = [pd.read_parquet(path) for path in sorted(folder.glob("folds/*/quantiles.parquet"))]
    frame = pd.read_parquet(folder / "predictions.parquet").merge(pd.concat(parts), validate="one_to_one")
    assert len(frame) == len(pd.read_parquet(folder / "predictions.parquet"))
    np.testing.assert_array_equal(frame["prediction"], frame["q50"])
    assert (frame["q2.5"] < frame["q50"]).all()
    assert (frame["q50"] < frame["q97.5"]).all()


def test_without_news_nothing_of_them_is_stored_and_models_that_read_texts_read_prices(
    small: Workplace, tmp_path: Path
) -> None:
    copy = small.copy(tmp_path / "copy")
    copy.change_params(lambda params: params["tokenize"].update(use_news=False))
    (copy.results / "split" / "news.parquet").write_bytes(b"never opened")
    copy.run("plan")
    copy.run("tokenize_features")
    assert not list((copy.results / "tokenize").rglob("*news*"))
    store, params = FeatureStore(copy.results / "tokenize"), copy.params()
    folds = read_folds(copy.results / "split" / "folds.json")
    panel = copy.results / "split" / "panel"
    for name in (name for name in MODELS if "text_dim" in model_sizes(name)):
        settings = params.zoo[name].settings
        inputs = FoldInputs(
            name, settings, store, store.targets("rank"), folds[0], None, panel, Scoring(min_symbols=10)
        )
        assert inputs.model_config["text_dim"] == 0
        assert next(iter(inputs.train_windows.batches(2))).texts is None
