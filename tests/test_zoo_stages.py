"""Every model of the zoo goes through the stage train, on a small market with news."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from checkout import Checkout, make_checkout
from factor_data import FeatureStore, read_folds
from factor_models import KLINE_MODELS, MODELS, input_kind, load_model, model_sizes
from factor_models.kline import Kronos, KronosTokenizer
from stages import ROOT
from stages.fold import FoldRun
from stages.params import read_params
from stages.train import train
from stages.watch import Watch

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The smoke preset with the whole zoo as params.yaml has it, up to tokenize."""
    checkout = make_checkout(tmp_path_factory.mktemp("zoo") / "factorcast")
    zoo = yaml.safe_load((ROOT / "params.yaml").read_text())["zoo"]

    def whole_zoo(params: dict) -> None:
        params["zoo"] = {**zoo, **params["zoo"]}
        params["tokenize"]["news_vectors"] = {"dimensions": 4, "cutoff_minutes": 960, "documents_per_bar": 3}

    checkout.change_params(whole_zoo)
    checkout.run("python", "-m", "stages.sample")
    (checkout.path / "data").symlink_to(Path("results") / "sample")
    for stage in ("split", "tokenize_features"):
        done = checkout.stage(stage)
        assert done.returncode == 0, done.stderr
    return checkout


def test_every_model_has_a_section_in_params() -> None:
    assert set(yaml.safe_load((ROOT / "params.yaml").read_text())["zoo"]) == {*MODELS, *KLINE_MODELS}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_trained_predicts_out_of_fold_and_can_be_loaded(
    name: str, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout.path)  # where the stage reads and writes; in this process, to import once
    if input_kind(name) == "last_bar":
        train(name, read_params(), rank=0, world_size=1)
    else:
        with Watch() as watch:
            train(name, read_params(), rank=0, world_size=1, watch=watch)
    folder = Path("results") / "train" / name
    frame = pd.read_parquet(folder / "predictions.parquet")
    assert np.isfinite(frame["prediction"]).all()
    assert set(frame["horizon"]) == {1, 5, 20}
    spread = frame.groupby(["timestamp", "horizon", "fold"])["prediction"].std()
    assert (spread > 0).mean() > 0.99
    _, metadata = load_model(folder / "folds" / "fold_00")
    assert metadata["best_head"] in (1, 5, 20)
    assert (metadata["best_epoch"] is None) == (input_kind(name) == "last_bar")
    assert ("text_encoder" in metadata) == ("text_dim" in model_sizes(name))


@pytest.mark.parametrize("name", ["linear", "tft"])
def test_a_model_whose_output_is_constant_fails_the_stage(
    name: str, checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inputs that do not tell symbols apart: every forecast of a date is the same number, up to rounding."""
    shutil.copytree(checkout.path, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    for path in Path("results", "tokenize").rglob("inputs.npy"):
        np.save(path, np.zeros_like(np.load(path)))
    shutil.rmtree(Path("results", "train"), ignore_errors=True)
    with Watch() as watch, pytest.raises(ValueError, match="constant on every valid date"):
        train(name, read_params(), rank=0, world_size=1, watch=None if name == "linear" else watch)
    assert not Path("results", "train", name).exists(), "nothing is left that could be evaluated"


def test_all_levels_of_quantiles_are_kept(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Checkout(tmp_path / "copy")
    shutil.copytree(checkout.path, copy.path, symlinks=True)
    settings = {"loss": "quantile", "loss_settings": {"levels": [0.025, 0.5, 0.975]}, "epochs": 1}
    copy.change_params(lambda params: params["train"].update(settings))
    monkeypatch.chdir(copy.path)
    with Watch() as watch:
        train("gru", read_params(), rank=0, world_size=1, watch=watch)
    folder = Path("results", "train", "gru")
    parts = [pd.read_parquet(path) for path in sorted(folder.glob("folds/*/quantiles.parquet"))]
    frame = pd.read_parquet(folder / "predictions.parquet").merge(pd.concat(parts), validate="one_to_one")
    assert len(frame) == len(pd.read_parquet(folder / "predictions.parquet"))
    np.testing.assert_array_equal(frame["prediction"], frame["q50"])
    assert (frame["q2.5"] < frame["q50"]).all()
    assert (frame["q50"] < frame["q97.5"]).all()


@pytest.fixture(scope="module")
def with_kline(checkout: Checkout) -> Checkout:
    """The same, after the stages of the K-line model."""
    for stage in ("tokenize_kline", "train", "evaluate"):
        done = checkout.stage(stage, "kronos")
        assert done.returncode == 0, done.stderr
    return checkout


def kline_weights(checkout: Checkout, fold: int) -> dict[str, np.ndarray]:
    folder = checkout.path / "results" / "train" / "kronos" / "folds" / f"fold_{fold:02d}"
    return load_file(folder / "model.safetensors")


def test_the_kline_model_is_trained_on_its_tokens(with_kline: Checkout) -> None:
    assert list(KLINE_MODELS) == ["kronos"]
    results = with_kline.path / "results"
    frame = pd.read_parquet(results / "train" / "kronos" / "predictions.parquet")
    assert np.isfinite(frame["prediction"]).all()
    folder = results / "train" / "kronos" / "folds" / "fold_00"
    assert {"config.json", "model.safetensors", "paths.parquet", "tokenizer"} <= {
        path.name for path in folder.iterdir()
    }
    assert (results / "evaluate" / "kronos" / "windows.csv").exists()


def test_two_processes_give_the_kline_model_of_one(with_kline: Checkout, tmp_path: Path) -> None:
    copy = Checkout(tmp_path / "copy")
    shutil.copytree(with_kline.path, copy.path, symlinks=True)
    shutil.rmtree(copy.path / "results" / "train" / "kronos")
    done = copy.stage("train", "kronos", FACTORCAST_PROCESSES="2")
    assert done.returncode == 0, done.stderr
    assert (copy.path / ".live" / "kronos" / "rank_1.log").exists(), "two processes shared the work"
    expected, got = kline_weights(with_kline, 0), kline_weights(copy, 0)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=0, atol=2e-5, err_msg=name)
    keys = ["timestamp", "symbol", "horizon", "fold", "segment"]
    frames = [
        pd.read_parquet(one.path / "results" / "train" / "kronos" / "predictions.parquet").set_index(keys)
        for one in (with_kline, copy)
    ]
    pd.testing.assert_index_equal(frames[0].index, frames[1].index)
    same = np.isclose(frames[0]["prediction"], frames[1]["prediction"], rtol=0, atol=1e-6)
    assert same.mean() > 0.99, "rounding may turn a draw, and with it a path, but seldom"


def test_the_kline_model_begins_with_pretrained_folders_that_belong_together(
    with_kline: Checkout, tmp_path: Path
) -> None:
    """At a rate of nearly nothing tokenizer and predictor stay what they began as."""
    copy, saved = Checkout(tmp_path / "copy"), tmp_path / "saved"
    shutil.copytree(with_kline.path, copy.path, symlinks=True)
    results = copy.path / "results"
    shutil.copytree(results / "train" / "kronos" / "folds" / "fold_00", saved / "predictor")
    shutil.copytree(results / "tokenize_kline" / "kronos" / "fold_00", saved / "tokenizer")
    shutil.copytree(results / "tokenize_kline" / "kronos" / "fold_00", saved / "other")
    other = load_file(saved / "other" / "model.safetensors")
    save_file({name: value + 0.01 for name, value in other.items()}, saved / "other" / "model.safetensors")

    def begin_with(params: dict, tokenizer: str) -> None:
        params["tokenize_kline"] |= {"pretrained": tokenizer, "lr": 1e-9, "weight_decay": 0.0}
        params["zoo"]["kronos"] |= {"pretrained": pinned("predictor"), "lr": 1e-9}

    def pinned(folder: str) -> str:
        kind = Kronos if folder == "predictor" else KronosTokenizer
        return f"{saved / folder}@{kind.from_pretrained(saved / folder).content_hash[:12]}"

    # Without the hash of the weights, or with that of others, DVC would not see that they have changed.
    for value, said in (
        (str(saved / "tokenizer"), "needs the hash of its weights"),
        (f"{saved / 'tokenizer'}@{'0' * 12}", "holds other weights than 000000000000"),
        (f"{saved / 'tokenizer'}@{pinned('tokenizer')[-12:-6]}", "holds other weights than"),
        (str(saved / "nowhere"), "is no folder"),
    ):
        copy.change_params(lambda params, value=value: begin_with(params, value))
        refused = copy.stage("tokenize_kline", "kronos")
        assert refused.returncode == 2
        assert f"tokenize_kline.pretrained: {value.partition('@')[0]} {said}" in refused.stderr
        assert "nowhere" in value or f"write {pinned('tokenizer')}" in refused.stderr
    copy.change_params(lambda params: begin_with(params, pinned("tokenizer")))
    for stage in ("tokenize_kline", "train"):
        done = copy.stage(stage, "kronos")
        assert done.returncode == 0, done.stderr
    expected, got = load_file(saved / "predictor" / "model.safetensors"), kline_weights(copy, 0)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=0, atol=1e-6, err_msg=name)
    copy.change_params(lambda params: begin_with(params, pinned("other")))
    done = copy.stage("tokenize_kline", "kronos")
    assert done.returncode == 0, done.stderr
    before = (results / "train" / "kronos" / "predictions.parquet").read_bytes()
    refused = copy.stage("train", "kronos")
    assert refused.returncode == 2
    assert f"{saved / 'predictor'}: was trained with the tokenizer" in refused.stderr
    assert "their tokens do not mean the same" in refused.stderr
    assert (results / "train" / "kronos" / "predictions.parquet").read_bytes() == before


def test_without_news_nothing_of_them_is_stored_and_models_that_read_texts_read_prices(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Checkout(tmp_path / "copy")
    shutil.copytree(checkout.path, copy.path, symlinks=True)
    copy.change_params(lambda params: params["tokenize"].update(use_news=False))
    (copy.path / "results" / "split" / "news.parquet").write_bytes(b"never opened")
    done = copy.stage("tokenize_features")
    assert done.returncode == 0, done.stderr
    assert not list((copy.path / "results" / "tokenize").rglob("*news*"))
    monkeypatch.chdir(copy.path)
    store, params = FeatureStore(Path("results") / "tokenize"), read_params()
    folds = read_folds(Path("results") / "split" / "folds.json")
    for name in (name for name in MODELS if "text_dim" in model_sizes(name)):
        run = FoldRun(name, params, store, store.targets("rank"), folds[0])
        assert run.model_config["text_dim"] == 0
        assert next(iter(run.train_windows.batches(2))).texts is None
