"""docs/flows/kline.md as a user follows it, at smoke size: one CSV of many symbols, two phases, each alone or again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from checkout import Checkout, preset_checkout, stages_that_ran
from factor_models.kline import KronosTokenizer
from stages import ROOT

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

SKIP_TOKENIZER = ("dvc", "repro", "--single-item", "plan", "inputs", "train@kronos")


def smaller(params: dict[str, Any]) -> None:
    """The sizes of a test; all else is the preset's."""
    params["tokenize_kline"] |= {"lookback": 32, "every": 12, "epochs": 1}
    params["tokenize_kline"]["model"] |= {"d_model": 8, "n_heads": 1, "ff_dim": 8, "s1_bits": 3, "s2_bits": 3}
    params["zoo"]["kronos"] |= {"d_model": 8, "n_layers": 1, "n_heads": 1, "ff_dim": 8, "samples": 1, "max_context": 64}
    params["zoo"]["kronos"]["train"] |= {"epochs": 1}


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The preset laid over params.yaml, and the CSV imported."""
    folder = tmp_path_factory.mktemp("kline") / "factorcast"
    checkout, imported = preset_checkout(folder, "kline", smaller, "--symbols", "12", "--days", "10")
    assert "'timestamps' as timestamp, 'ticker' as symbol in kline.csv" in imported
    return checkout


def report(checkout: Checkout) -> dict[str, Any]:
    return json.loads((checkout.path / "results" / "tokenize_kline" / "kronos" / "report.json").read_text())


def test_two_phases_end_in_a_judged_model_and_a_bundle_and_each_can_be_left_out(flow: Checkout) -> None:
    header = (flow.path / "build" / "kline" / "kline.csv").read_text().splitlines()[:2]
    assert header[0] == "timestamps,ticker,open,high,low,close,volume"
    assert re.match(r"2015/1/2 9:35,S0000,", header[1])

    # --skip-tokenizer before there is a tokenizer: refused, nothing is trained.
    said = flow.run("dvc", "repro", "tokenize").stderr
    assert "split.folds makes one fold: no earlier one teaches the stack its weights" in said
    assert "the later half of the valid dates is tested" in said
    early = flow.run(*SKIP_TOKENIZER, check=False)
    assert early.returncode != 0
    assert "results/tokenize_kline" in early.stderr
    assert not (flow.path / "results" / "train").exists()

    # --skip-basemodel: the first phase alone.
    first = flow.run("dvc", "repro", "tokenize_kline")
    assert {"split", "tokenize_kline"} & stages_that_ran(first.stdout) == {"tokenize_kline"}
    assert (report(flow)["lookback"], report(flow)["num_ahead"]) == (32, 1)
    assert not (flow.path / "results" / "train").exists()

    # --skip-tokenizer: the second phase alone, even if the first has other settings by now. Then all that is left.
    flow.change_params(lambda params: params["tokenize_kline"].update(lr=0.004))
    assert stages_that_ran(flow.run(*SKIP_TOKENIZER).stdout) == {"inputs", "train@kronos"}
    flow.change_params(lambda params: params["tokenize_kline"].update(lr=0.002))
    last = stages_that_ran(flow.run("dvc", "repro").stdout)
    assert {"evaluate@kronos", "stack", "report@kronos", "report_stack"} <= last
    assert not {"tokenize_kline", "train@kronos"} & last
    gates = json.loads((flow.path / "results" / "stack" / "gates.json").read_text())
    assert gates["promoted"] is False
    assert (flow.path / "results" / "stack" / "bundle").is_dir()
    assert (flow.path / "results" / "report" / "stack" / "report.html").is_file()
    shown = flow.run("python", "-m", "stages.commands.show").stdout
    assert re.search(r"kronos +│ +[+-]0\.\d+ \[", shown)
    forecasts = pd.read_parquet(flow.path / "results" / "train" / "kronos" / "predictions.parquet")
    assert set(forecasts["segment"]) == {"valid", "test"}

    # --skip-existing: what is there and of the same settings is kept; another rate of one phase is not.
    assert not stages_that_ran(flow.run("dvc", "repro").stdout)
    flow.change_params(lambda params: params["zoo"]["kronos"]["train"].update(lr=0.0005))
    again = stages_that_ran(flow.run("dvc", "repro", "train@kronos").stdout)
    assert again == {"train@kronos"}


def test_two_processes_train_the_second_phase(flow: Checkout) -> None:
    """--multi-gpu 2, here on two processes of a CPU."""
    flow.run("dvc", "repro", "tokenize_kline", "inputs")
    done = flow.stage("train", "kronos", FACTORCAST_PROCESSES="2")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (flow.path / ".live" / "kronos" / "rank_1.log").is_file()


def test_a_trained_tokenizer_is_taken_as_it_is(flow: Checkout, tmp_path: Path) -> None:
    """--skip-tokenizer with one from elsewhere: no epoch, the same weights, tokens of these data."""
    flow.run("dvc", "repro", "tokenize_kline")
    folder = flow.path / "results" / "tokenize_kline" / "kronos" / "fold_00"
    (tmp_path / "mine").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "mine" / name).write_bytes((folder / name).read_bytes())
    key = KronosTokenizer.from_pretrained(tmp_path / "mine").content_hash
    pinned = f"{tmp_path / 'mine'}@{key[:12]}"
    flow.change_params(lambda params: params["tokenize_kline"].update(epochs=0, pretrained=pinned))
    flow.run("dvc", "repro", "tokenize_kline")
    assert report(flow)["pretrained_sha256"] == report(flow)["folds"][0]["tokenizer_sha256"] == key
    assert report(flow)["folds"][0]["best_epoch"] == 0
    flow.change_params(lambda params: params["tokenize_kline"].update(pretrained=None))
    refused = flow.stage("plan")
    assert refused.returncode == 2
    assert "tokenize_kline.epochs: 0 takes the weights as they are, so it needs pretrained" in refused.stderr
    flow.change_params(lambda params: params["tokenize_kline"].update(epochs=1))


def test_a_file_of_your_own_is_a_configuration(flow: Checkout) -> None:
    """--config FILE."""
    flow.commit("the data")
    (flow.path / "presets" / "mine.yaml").write_text("zoo: {kronos: {train: {lr: 0.0001, weight_decay: 0.2}}}\n")
    flow.run("python", "-m", "stages.commands.preset", "mine")
    changed: dict[str, Any] = {}
    flow.change_params(changed.update)
    assert changed["zoo"]["kronos"]["train"]["lr"] == 0.0001
    assert changed["zoo"]["kronos"]["train"]["weight_decay"] == 0.2
    assert changed["zoo"]["kronos"]["train"]["clip_norm"] == 3.0


def test_the_page_names_each_flag_of_the_guide() -> None:
    page = (ROOT / "docs" / "flows" / "kline.md").read_text(encoding="utf-8")
    for flag in ("--skip-tokenizer", "--skip-basemodel", "--skip-existing", "--multi-gpu", "--config"):
        assert f"`{flag}" in page
