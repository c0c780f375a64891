"""The K-line model goes through its stages: tokens, training by one process and two, pretrained folders, its page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file

from factor_data import read_folds
from factor_models import KLINE_MODELS, fit
from factor_models.kline import Kronos, KronosTokenizer
from factor_models.training.optimizers import build_optimizer
from stages import ROOT
from stages.kline.heritage import trained_until
from warm import path_of_programs
from workplace import Workplace

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def with_kline(tokenized: Workplace) -> Workplace:
    """The market, after the stages of the K-line model."""
    for stage in ("tokenize_kline", "inputs"):
        tokenized.made(stage)
    for stage in ("train", "evaluate", "report"):
        tokenized.made(stage, "kronos")
    return tokenized


def kline_weights(workplace: Workplace, fold: int) -> dict[str, np.ndarray]:
    folder = workplace.results / "train" / "kronos" / "folds" / f"fold_{fold:02d}"
    return load_file(folder / "model.safetensors")


def test_the_kline_model_is_trained_on_its_tokens(with_kline: Workplace) -> None:
    assert list(KLINE_MODELS) == ["kronos"]
    results = with_kline.results
    frame = pd.read_parquet(results / "train" / "kronos" / "predictions.parquet")
    assert np.isfinite(frame["prediction"]).all()
    folder = results / "train" / "kronos" / "folds" / "fold_00"
    assert {"config.json", "model.safetensors", "paths.parquet", "tokenizer"} <= {
        path.name for path in folder.iterdir()
    }
    assert (results / "evaluate" / "kronos" / "windows.csv").exists()


def test_its_page_and_card_are_drawn(with_kline: Workplace) -> None:
    folds = sorted((with_kline.results / "train" / "kronos" / "folds").glob("fold_*"))
    own = (folds[-1] / "model_card.md").read_text()
    drawn = with_kline.results / "report" / "kronos"
    card = (drawn / "model_card.md").read_text()
    assert card.startswith(own.rstrip())
    assert f"{len(folds)} folds" in card
    assert "kronos" in (drawn / "report.html").read_text()


def test_two_processes_give_the_kline_model_of_one(with_kline: Workplace, tmp_path: Path) -> None:
    """As a user starts it: each process also holds what it has loaded against the plan."""
    copy = with_kline.copy(tmp_path / "copy")
    shutil.rmtree(copy.results / "train" / "kronos")
    done = subprocess.run(
        ["python", "-m", "stages.train", "kronos"],
        cwd=copy.path,
        env={**os.environ, "PATH": path_of_programs(), "PYTHONPATH": str(ROOT), "FACTORCAST_PROCESSES": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (copy.path / ".live" / "kronos" / "rank_1.log").exists(), "two processes shared the work"
    expected, got = kline_weights(with_kline, 0), kline_weights(copy, 0)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=0, atol=2e-5, err_msg=name)
    keys = ["timestamp", "symbol", "label", "fold", "segment"]
    frames = [
        pd.read_parquet(one.results / "train" / "kronos" / "predictions.parquet").set_index(keys)
        for one in (with_kline, copy)
    ]
    pd.testing.assert_index_equal(frames[0].index, frames[1].index)
    same = np.isclose(frames[0]["prediction"], frames[1]["prediction"], rtol=0, atol=1e-6)
    assert same.mean() > 0.99, "rounding may turn a draw, and with it a path, but seldom"


@dataclass
class Trainings:
    """What reaches each training: rate and decays of its optimizer's groups, epochs, patience."""

    groups: list[list[tuple[float, float]]] = field(default_factory=list)
    epochs: list[tuple[int, int]] = field(default_factory=list)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    seen = Trainings()

    def build(*arguments: Any) -> torch.optim.Optimizer:
        made = build_optimizer(*arguments)
        seen.groups.append([(group["lr"], group["weight_decay"]) for group in made.param_groups])
        return made

    def fitted(*arguments: Any, **settings: Any) -> Any:
        rules = arguments[3]
        seen.epochs.append((rules.epochs, rules.patience))
        return fit(*arguments, **settings)

    monkeypatch.setattr("factor_models.training.engine.build_optimizer", build)
    monkeypatch.setattr("stages.fitting.engine_fit.fit", fitted)
    return seen


def test_the_kline_model_begins_with_pretrained_folders_that_belong_together(
    with_kline: Workplace, tmp_path: Path, caplog: pytest.LogCaptureFixture, trainings: Trainings
) -> None:
    """At a rate of nearly nothing tokenizer and predictor stay what they began as.

    Rate, decay, epochs and patience of either phase are its own, and reach its optimizer.
    """
    copy, saved = with_kline.copy(tmp_path / "copy"), tmp_path / "saved"
    results = copy.results
    shutil.copytree(results / "train" / "kronos" / "folds" / "fold_00", saved / "predictor")
    shutil.copytree(results / "tokenize_kline" / "kronos" / "fold_00", saved / "tokenizer")
    shutil.copytree(results / "tokenize_kline" / "kronos" / "fold_00", saved / "other")
    other = load_file(saved / "other" / "model.safetensors")
    save_file({name: value + 0.01 for name, value in other.items()}, saved / "other" / "model.safetensors")
    (saved / "other" / "sha256.json").unlink()  # changed on purpose

    def begin_with(params: dict[str, Any], tokenizer: str) -> None:
        params["tokenize_kline"] |= {
            "pretrained": tokenizer,
            "lr": 1e-9,
            "weight_decay": 0.2,
            "epochs": 2,
            "patience": 2,
        }
        own = {"lr": 2e-9, "weight_decay": 0.3, "epochs": 1, "patience": 3}
        params["zoo"]["kronos"] |= {"pretrained": pinned("predictor"), "train": own}

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
        refused = copy.refused("plan")
        assert f"tokenize_kline.pretrained: {value.partition('@')[0]} {said}" in refused
        assert "nowhere" in value or f"write {pinned('tokenizer')}" in refused
        assert "python -m stages.plan" in copy.refused("tokenize_kline"), "the plan before is of other params"
    copy.change_params(lambda params: begin_with(params, pinned("tokenizer")))
    copy.run("plan")
    copy.run("tokenize_kline")
    num_folds = len(trainings.groups)
    assert trainings.groups == [[(1e-9, 0.2), (1e-9, 0.0)]] * num_folds
    assert trainings.epochs == [(2, 2)] * num_folds
    copy.run("train", "kronos")
    assert trainings.groups[num_folds:] == [[(2e-9, 0.3), (2e-9, 0.0)]] * num_folds
    assert trainings.epochs[num_folds:] == [(1, 3)] * num_folds
    expected, got = load_file(saved / "predictor" / "model.safetensors"), kline_weights(copy, 0)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=0, atol=1e-6, err_msg=name)

    # Weights that have learned a test date of a fold are refused before anything is trained; unknown ones are told of.
    folds = read_folds(results / "split" / "folds.json")
    tested = str(np.datetime_as_string(folds[1].test[0], unit="D"))
    metadata = saved / "predictor" / "metadata.json"
    known = json.loads(metadata.read_text())
    assert np.datetime64(known["trained_until"], "ns") == max(folds[0].train[-1], folds[0].valid[-1])
    before = (results / "train" / "kronos" / "predictions.parquet").read_bytes()
    metadata.write_text(json.dumps(known | {"trained_until": tested}))
    refused = copy.refused("train", "kronos")
    first = str(np.datetime_as_string(folds[0].test[0], unit="D"))
    assert f"zoo.kronos.pretrained: {saved / 'predictor'} was trained until {tested}" in refused
    assert f"fold 0 tests from {first} on" in refused
    assert (results / "train" / "kronos" / "predictions.parquet").read_bytes() == before
    metadata.write_text(json.dumps(known | {"trained_until": None}))
    with caplog.at_level("WARNING", logger="factorcast.train"):
        assert trained_until(folds[0], pinned("predictor"), "zoo.kronos.pretrained") is None
    assert "does not say until when it was trained" in caplog.text
    metadata.write_text(json.dumps(known))

    copy.change_params(lambda params: begin_with(params, pinned("other")))
    copy.run("plan")
    copy.run("tokenize_kline")
    before = (results / "train" / "kronos" / "predictions.parquet").read_bytes()
    refused = copy.refused("train", "kronos")
    assert f"{saved / 'predictor'}: was trained with the tokenizer" in refused
    assert "their tokens do not mean the same" in refused
    assert (results / "train" / "kronos" / "predictions.parquet").read_bytes() == before
