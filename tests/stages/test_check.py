"""make check: a run without a fault passes; each planted fault fails its own check, with exit status 1."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from factor_data import write_parquet, write_sums
from stages import ROOT
from stages.commands.check import LISTS, Row, go_through
from stages.commands.checks.asked import Asked
from stages.commands.checks.before import LOCK, device
from stages.params.presets import with_preset
from stages.params.reading import parse_params, read_document
from stages.running.files import LOCKS
from stages.running.lock import exclusive
from workplace import Workplace

pytestmark = pytest.mark.slow

MODELS = ("linear", "kronos", "lstm")


@pytest.fixture(scope="module")
def trained(tokenized: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A whole run of a linear model, a network and a K-line model. Tests must not change it."""
    workplace = tokenized.copy(tmp_path_factory.mktemp("check") / "factorcast")
    for name in ("requirements.in", "requirements.lock"):
        shutil.copyfile(ROOT / name, workplace.path / name)
    workplace.change_params(lambda params: params.update(models=list(MODELS)))
    workplace.run("plan")
    for stage in ("tokenize_kline", "inputs"):
        workplace.made(stage)
    workplace.run("train", "lstm")  # it leaves a log beside its outputs, at which tests look
    for model in MODELS:
        for stage in ("train", "evaluate", "report")[model == "lstm" :]:
            workplace.made(stage, model)
    workplace.run("stack")
    workplace.run("report_stack")
    return workplace


@pytest.fixture
def copy(trained: Workplace, tmp_path: Path) -> Workplace:
    return trained.copy(tmp_path / "factorcast")


def rows_of(workplace: Workplace, only: str | None = None) -> dict[str, Row]:
    with chdir(workplace.path):
        return {row.what: row for row in go_through(only)}


def failed(workplace: Workplace, only: str | None = None) -> dict[str, str]:
    return {row.what: row.said for row in rows_of(workplace, only).values() if row.state == "FAILED"}


def test_a_run_without_a_fault_passes_and_every_check_says_what_it_found(
    trained: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(trained)
    assert [row.when for row in rows.values()] == [when for when, checks in LISTS.items() for _ in checks]
    assert not failed(trained)
    states = {what: row.state for what, row in rows.items()}
    assert {what for what, state in states.items() if state == "-"} <= {"pretrained weights", "GPU is used"}
    assert {what for what, state in states.items() if state == "not yet"} == set(LISTS["during"]) - {"GPU is used"}
    assert rows["context"].said == "lookback 8 + reach 21 = 29 <= kronos: 32"
    assert "3 models, labels h1, h5, h20" in rows["settings"].said
    with pytest.raises(SystemExit) as ended:
        trained.run("commands.check")
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "Nothing failed." in printed
    assert all(what in printed for what in rows)


def test_what_should_be_there_by_then_and_is_not_fails(tokenized: Workplace, trained: Workplace) -> None:
    with pytest.raises(SystemExit) as ended:
        trained.run("commands.check", "during")
    assert ended.value.code == 1
    assert rows_of(tokenized)["artefacts"].state == "not yet"
    assert {"artefacts", "forecasts", "losses"} <= set(failed(tokenized, "after"))
    assert "say when: make check WHEN=<one of before, during, after>" in trained.refused("commands.check", "later")


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def rewrite_forecasts(workplace: Workplace, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = workplace.results / "train" / "lstm" / "predictions.parquet"
    write_parquet(path, change(pd.read_parquet(path)))
    write_sums(path.parent)


def plant_loss(workplace: Workplace) -> None:
    path = next((workplace.results / "train" / "lstm" / "live" / "plots" / "metrics").rglob("loss.tsv"))
    frame = pd.read_csv(path, sep="\t").astype({"step": int})
    frame.iloc[0, -1] = float("nan")
    frame.to_csv(path, sep="\t", index=False)


def plant_perplexity(workplace: Workplace) -> None:
    path = workplace.results / "tokenize_kline" / "kronos" / "report.json"
    report = json.loads(path.read_text())
    report["folds"][0]["valid"]["perplexity_pairs"] = 1.01
    path.write_text(json.dumps(report))


def change(key: str, **values: Any) -> Callable[[Workplace], None]:
    def plant(workplace: Workplace) -> None:
        workplace.change_params(lambda params: params[key].update(values))
        workplace.run("plan")

    return plant


def without_data(workplace: Workplace) -> None:
    """Data that DVC has and that are not checked out."""
    shutil.rmtree(workplace.path / "data" / "bars")


def with_another_library(workplace: Workplace) -> None:
    lock = workplace.path / LOCK
    lock.write_text(lock.read_text().replace("\nnumpy==", "\nnumpy==1."))


def with_a_slip_in_params(workplace: Workplace) -> None:
    workplace.change_params(lambda params: params["train"].update(epohcs=3))


FAULTS: dict[str, tuple[Callable[[Workplace], None], str, str]] = {
    "settings": (with_a_slip_in_params, "settings", "train.epohcs: unknown key"),
    "damaged data": (
        lambda place: spoil(next((place.path / "data" / "bars").iterdir())), "data", "its bytes are not those"
    ),
    "library": (with_another_library, "libraries", "1 differ from requirements.lock: numpy 2"),
    "precision": (change("train", precision="fp16"), "device", "precision: fp16 needs a GPU"),
    "settings that changed": (
        lambda place: place.change_params(lambda params: params["train"].update(lr=0.1)),
        "settings of the results",
        "has changed since the results were planned: make repro",
    ),
    "damaged artefact": (
        lambda place: spoil(place.results / "train" / "linear" / "predictions.parquet"), "artefacts", "are not those"
    ),
    "loss": (plant_loss, "losses", "the loss of epoch"),
    "collapsed tokens": (plant_perplexity, "K-line tokens", "perplexity 1.01, must be >= 1.5"),
    "constant forecasts": (
        lambda place: rewrite_forecasts(place, lambda frame: frame.assign(prediction=0.5)),
        "forecasts",
        "lstm: forecasts of h1, h5, h20 are the same for all symbols of every date",
    ),
    "forecasts that are not finite": (
        lambda place: rewrite_forecasts(place, lambda frame: frame.assign(prediction=float("inf"))),
        "forecasts",
        "forecasts are not finite",
    ),
    "no forecast": (
        lambda place: rewrite_forecasts(place, lambda frame: frame[frame["segment"] == "valid"]),
        "test dates",
        "lstm: has forecast none of the",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails_its_check(fault: str, copy: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
    plant, what, said = FAULTS[fault]
    plant(copy)
    assert said in failed(copy)[what]
    with pytest.raises(SystemExit) as ended:
        copy.run("commands.check")
    assert ended.value.code == 1
    assert "checks failed: " in capsys.readouterr().out


def test_data_that_are_not_there_yet_fail_only_where_they_are_asked_for(copy: Workplace) -> None:
    without_data(copy)
    assert rows_of(copy)["data"].state == "not yet"
    assert "make use-data brings yours" in failed(copy, "before")["data"]


def test_weights_that_are_not_those_of_their_hash_fail_before_any_data_are_read(copy: Workplace) -> None:
    folder = copy.results / "tokenize_kline" / "kronos" / "fold_00"
    shutil.copytree(folder, copy.path / "mine")
    copy.change_params(lambda params: params["tokenize_kline"].update(pretrained="mine@000000000000"))
    without_data(copy)
    assert "mine holds other weights than 000000000000" in failed(copy)["pretrained weights"]


def test_too_little_disk_and_memory_fail(copy: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.commands.checks.before.MIN_FREE_BYTES", 2**60)
    monkeypatch.setenv("FACTORCAST_MEMORY_MB", str(2**30))
    found = failed(copy)
    assert "free some space" in found["disk"]
    assert "lower FACTORCAST_MEMORY_MB" in found["memory"]


def test_a_training_under_way_is_seen_and_one_that_stands_still_fails(copy: Workplace) -> None:
    log = copy.path / ".live" / "lstm" / "train.log"
    partial = copy.results / "train" / ".lstm.1.partial"
    shutil.copytree(copy.results / "train" / "lstm" / "live", partial / "live")
    with chdir(copy.path), exclusive(LOCKS / "train.lstm"):
        rows = rows_of(copy, "during")
        assert {row.state for what, row in rows.items() if what != "GPU is used"} == {"ok"}
        assert f"train.lstm (process {os.getpid()}" in rows["a stage runs"].said
        os.utime(log, (0, 0))
        assert "nothing was said for" in failed(copy)["it moves"]
        shutil.move(partial / "live", copy.results / "train" / "lstm" / "other")
        shutil.rmtree(copy.results / "train" / "lstm" / "live")
        (copy.results / "train" / "lstm" / "other").rename(copy.results / "train" / "lstm" / "live")
        plant_loss(copy)
        shutil.copytree(copy.results / "train" / "lstm" / "live", partial / "live")
        assert "is not finite" in failed(copy)["losses so far"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU multiplies bf16")
def test_bf16_is_said_to_be_slow_where_the_cpu_has_nothing_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(parse_params(with_preset(read_document(ROOT / "params.yaml"), "direction_hourly"), "params.yaml"))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert "zoo.lstm.train, zoo.tft.train: bf16 is several times slower than fp32" in device(asked)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert "bf16" not in device(asked)
