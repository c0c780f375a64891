"""Whatever is wrong is refused before long work: file, key, value and rule are named, and nothing is lost."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from checkout import Checkout, make_checkout
from factor_data import write_sums
from stages import ROOT
from stages.params.reading import read_document, read_params
from stages.running.files import stage_output
from stages.running.stage import LOST_PEER, StageError, describe, run

Document = dict[str, Any]


def params_with(folder: Path, change: Callable[[Document], object]) -> Path:
    document = read_document(ROOT / "params.yaml")
    change(document)
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


REFUSALS: dict[str, tuple[Callable[[Document], object], list[str]]] = {
    "a misspelt key": (
        lambda d: d["train"].update(lrr=0.1),
        ["train.lrr", "unknown key", "did you mean 'lr'"],
    ),
    "a misspelt nested key": (
        lambda d: d["train"]["zero"].update(stag=1),
        ["train.zero.stag", "did you mean 'stage'"],
    ),
    "a misspelt section": (
        lambda d: d.update(evaluat={}),
        ["evaluat", "unknown key", "did you mean 'evaluate'"],
    ),
    "a missing key": (lambda d: d["tokenize"].pop("clip"), ["tokenize.clip", "missing"]),
    "the key of before": (lambda d: d["tokenize"].update(horizons=[1, 5]), ["tokenize.horizons", "unknown key"]),
    "a missing field of a fold scheme": (
        lambda d: d["split"]["folds"].pop("step"),
        ["split.folds", "scheme rolling needs step"],
    ),
    "a field of another fold scheme": (
        lambda d: d["split"]["folds"].update(num_groups=6),
        ["split.folds", "scheme rolling has no num_groups"],
    ),
    "an unknown action of a cleaning rule": (
        lambda d: d["split"]["clean"].update(actions={"volume_zero": "fill"}),
        ["split.clean.actions.volume_zero", "'fill'"],
    ),
    "a wrong type": (lambda d: d["train"].update(epochs="six"), ["train.epochs", "'six'", "integer"]),
    "a float for a count": (lambda d: d["split"]["folds"].update(train=10.5), ["split.folds.train", "10.5"]),
    "a text for a flag": (lambda d: d["tokenize"].update(strict="no"), ["tokenize.strict", "'no'"]),
    "horizon 0": (lambda d: d["tokenize"]["labels"]["h1"].update(horizon=0), ["tokenize.labels.h1.horizon: 0", ">= 1"]),
    "no label": (lambda d: d["tokenize"].update(labels={}), ["tokenize.labels: at least one label"]),
    "a purge that leaks": (lambda d: d["split"]["folds"].update(purge=20), ["split.folds.purge", "20", "21"]),
    "an unknown feature": (
        lambda d: d["tokenize"].update(features=["returns"]),
        ["tokenize.features", "returns"],
    ),
    "a rank of what is the same for all symbols": (
        lambda d: d["tokenize"].update(features=["bars", "calendar"]),
        ["tokenize.normaliser", "rank", "day_of_week", "use robust_zscore"],
    ),
    "an unknown model": (lambda d: d["zoo"].update(perceptron={}), ["zoo.perceptron", "unknown model"]),
    "a model that is not known": (
        lambda d: d.update(models=["lstmm"]),
        ["models", "'lstmm'", "unknown", "lstm"],
    ),
    "an unknown key of a model": (lambda d: d["zoo"]["lstm"].update(hiden=3), ["zoo.lstm.hiden", "'hidden'"]),
    "a ZeRO stage that is none": (lambda d: d["train"]["zero"].update(stage=4), ["train.zero", "4"]),
    "an unknown loss": (lambda d: d["train"].update(loss="rmse"), ["train.loss", "rmse"]),
    "a negative rate": (lambda d: d["train"].update(lr=-1.0), ["train", "lr", "-1"]),
    "one quantile": (lambda d: d["evaluate"].update(quantiles=1), ["evaluate.quantiles", "1", ">= 2"]),
    "too many tokens": (lambda d: d["tokenize"].update(num_tokens=256), ["tokenize.num_tokens", "256"]),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_params_are_refused_with_key_value_and_rule(case: str, tmp_path: Path) -> None:
    change, expected = REFUSALS[case]
    path = params_with(tmp_path, change)
    with pytest.raises(StageError) as refusal:
        read_params(path)
    message = str(refusal.value)
    assert str(path) in message
    for part in expected:
        assert part in message
    assert len(message.splitlines()) <= 5


def test_a_number_in_exponent_notation_is_a_number(tmp_path: Path) -> None:
    text, changed = re.subn(r"(\ntrain:\n(?:  .*\n)*?  lr: )\S+", r"\g<1>1e-3", (ROOT / "params.yaml").read_text())
    assert changed == 1
    (tmp_path / "params.yaml").write_text(text)
    assert read_params(tmp_path / "params.yaml").train.lr == 1e-3


def test_params_that_are_no_yaml_or_absent_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="does not exist"):
        read_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("train: [1,")
    with pytest.raises(StageError, match="not valid YAML"):
        read_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("just text")
    with pytest.raises(StageError, match="expected sections"):
        read_params(tmp_path / "params.yaml")


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy with the data and a finished split in place, for the tests to spoil copies of."""
    checkout = make_checkout(tmp_path_factory.mktemp("sampled") / "factorcast")
    assert checkout.stage("sample").returncode == 0
    shutil.copytree(checkout.path / "results" / "sample", checkout.path / "data")
    done = checkout.stage("split")
    assert done.returncode == 0, done.stderr
    return checkout


def one_bars_file(data: Path) -> Path:
    return sorted((data / "bars").iterdir())[0]


def rewrite(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    def spoil(data: Path) -> None:
        path = one_bars_file(data)
        change(pd.read_parquet(path)).to_parquet(path)
        write_sums(data)

    return spoil


def truncate(data: Path) -> None:
    path = one_bars_file(data)
    path.write_bytes(path.read_bytes()[:1000])


def empty_folder(data: Path) -> None:
    shutil.rmtree(data / "bars")
    (data / "bars").mkdir()


def mix_zones(data: Path) -> None:
    second = sorted((data / "bars").iterdir())[1]
    frame = pd.read_parquet(second)
    frame["timestamp"] = frame["timestamp"].dt.tz_localize("America/New_York")
    frame.to_parquet(second)
    write_sums(data)


SPOILT_DATA: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "no data": (shutil.rmtree, ["data", "does not exist", "use-data"]),
    "an empty folder": (empty_folder, ["bars", "no "]),
    "a truncated Parquet file": (truncate, [".parquet"]),
    "a missing column": (rewrite(lambda f: f.drop(columns="volume")), [".parquet", "volume"]),
    "a duplicate bar": (rewrite(lambda f: pd.concat([f, f.tail(1)])), [".parquet", "duplicate"]),
    "unsorted timestamps": (rewrite(lambda f: f.sample(frac=1.0, random_state=0)), [".parquet", "sorted"]),
    "mixed time zones": (mix_zones, [".parquet", "zone"]),
    "text in a number column": (rewrite(lambda f: f.assign(close="n/a")), [".parquet", "close"]),
    "a null timestamp": (
        rewrite(lambda f: f.assign(timestamp=f["timestamp"].where(f.index != f.index[3]))),
        ["timestamp"],
    ),
}


@pytest.mark.parametrize("case", SPOILT_DATA)
def test_spoilt_data_are_refused_and_the_last_split_stays(case: str, sampled: Checkout, tmp_path: Path) -> None:
    shutil.copytree(sampled.path, tmp_path / "copy")
    checkout = Checkout(tmp_path / "copy")
    before = (checkout.path / "results" / "split" / "folds.json").read_bytes()
    spoil, expected = SPOILT_DATA[case]
    spoil(checkout.path / "data")
    refused = checkout.stage("split")
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert refused.stderr.startswith("error in stage 'split'")
    for part in expected:
        assert part in refused.stderr
    assert (checkout.path / "results" / "split" / "folds.json").read_bytes() == before
    assert not list((checkout.path / "results").glob(".*")), "scratch files are left"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda params: params["split"]["folds"].update(train=5000), ["5000", "dates"]),
        (lambda params: params["evaluate"].update(quantiles=41), ["evaluate.quantiles", "41", "40"]),
    ],
)
def test_what_the_data_cannot_carry_is_refused_by_split(
    change: Callable[[Document], object], expected: list[str], sampled: Checkout, tmp_path: Path
) -> None:
    shutil.copytree(sampled.path, tmp_path / "copy")
    checkout = Checkout(tmp_path / "copy")
    checkout.change_params(change)
    refused = checkout.stage("split")
    assert refused.returncode == 2
    for part in expected:
        assert part in refused.stderr


def test_a_constant_label_is_refused_before_training(sampled: Checkout, tmp_path: Path) -> None:
    shutil.copytree(sampled.path, tmp_path / "copy")
    checkout = Checkout(tmp_path / "copy")
    panel = checkout.path / "results" / "split" / "panel"
    for path in panel.glob("column_*close*.npy"):
        np.save(path, np.ones_like(np.load(path)))
    write_sums(panel)
    refused = checkout.stage("tokenize_features")
    assert refused.returncode == 2
    assert "label h1 is constant" in refused.stderr


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").write_text("a file stands where the folder should be")
    with pytest.raises(StageError, match="results cannot be written"), stage_output("split"):
        pytest.fail("the work must not start")


def test_training_that_could_not_save_its_state_is_refused_before_the_work(sampled: Checkout, tmp_path: Path) -> None:
    shutil.copytree(sampled.path, tmp_path / "copy")
    checkout = Checkout(tmp_path / "copy")
    (checkout.path / ".checkpoints").write_text("a file stands where the folder should be")
    refused = checkout.stage("train", "lstm")
    assert refused.returncode == 2
    assert ".checkpoints cannot be written" in refused.stderr


def test_a_disk_without_room_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(StageError, match="MiB free, the stage needs"),
        stage_output("split", min_free_bytes=2**60),
    ):
        pytest.fail("the work must not start")


def test_a_disk_that_fills_up_during_the_work_keeps_the_last_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with stage_output("split") as folder:
        (folder / "good.txt").write_text("good")

    def main() -> None:
        with stage_output("split") as folder:
            (folder / "half.txt").write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "half.txt")

    with pytest.raises(SystemExit) as status:
        run("split", main)
    assert status.value.code == 2
    assert "half.txt: no room: more than 4 bytes are wanted, " in capsys.readouterr().err
    assert sorted(path.name for path in Path("results").rglob("*")) == ["good.txt", "split", "sums.json"]


def test_a_programming_error_keeps_its_traceback() -> None:
    def main() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        run("split", main)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (MemoryError("step 3 has no memory"), 2, "error in stage 'train': out of memory (step 3 has no memory): end"),
        (MemoryError(), 2, "out of memory (no memory is left): end other programs, lower FACTORCAST_MEMORY_MB"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
            2,
            "out of memory (DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes): end",
        ),
        (OSError(errno.EMFILE, "Too many open files", "a.npy"), 2, "open (at a.npy): raise the limit (ulimit -n 4096)"),
        (RuntimeError("[gloo/pair.cc:553] Connection closed by peer [127.0.0.1]:9"), LOST_PEER, "is lost"),
    ],
)
def test_a_lack_of_memory_and_a_lost_process_are_said_in_words(
    error: Exception, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run("train", main)
    assert ended.value.code == status
    assert said in capsys.readouterr().err


def test_any_other_error_at_run_time_keeps_its_traceback() -> None:
    def main() -> None:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        run("train", main)


def test_system_errors_are_said_in_words() -> None:
    assert "no permission for results/x" in describe(PermissionError(errno.EACCES, "denied", "results/x"))
    assert "does not exist" in describe(FileNotFoundError(errno.ENOENT, "missing", "results/x"))
