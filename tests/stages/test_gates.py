"""The gates of a stack: by label, with what is short, with all looks, over files that are what was written."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factor_data import FeatureStore, write_sums
from factor_experiments.git import Git
from factor_experiments.ledger import Ledger, trial_of
from stages.judging.looks import count_looks
from stages.params.reading import parse_params
from stages.running.planned import MADE_OF
from stages.running.stage import StageError
from workplace import Workplace, smoke_document

EASY = {"min_oof_rows": 0, "min_t_stat": 0.0, "max_attained": 100.0, "max_correlation": 0.99, "max_overfit_gap": 9.0}


@pytest.fixture(scope="module")
def good(tokenized: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Two models that know their labels well enough to be promoted."""
    place = tokenized.copy(tmp_path_factory.mktemp("gates") / "copy")

    def change(document: dict[str, Any]) -> None:
        document["models"] = ["linear", "lightgbm"]
        document["stack"]["gates"] = EASY

    place.change_params(change)
    place.run("plan")
    for model in ("linear", "lightgbm"):
        place.made("train", model)
        tell_labels(place, model)
        place.run("evaluate", model)
    place.run("stack")
    return place


def tell_labels(place: Workplace, model: str) -> None:
    file = place.results / "train" / model / "predictions.parquet"
    frame, store = pd.read_parquet(file), FeatureStore(place.results / "tokenize")
    dates = np.searchsorted(store.dates, frame["timestamp"].to_numpy().astype(store.dates.dtype))
    symbols = np.searchsorted(store.symbols, frame["symbol"].to_numpy().astype(str))
    known = np.full(len(frame), np.nan)
    for label in store.heads:
        values = store.matrix(store.label(label), store.dates)
        chosen = (frame["label"] == label).to_numpy()
        known[chosen] = (values / np.nanstd(values))[dates[chosen], symbols[chosen]]
    noise = np.random.default_rng(len(model)).standard_normal(len(frame))
    frame["prediction"] = (0.3 * np.nan_to_num(known) + noise).astype(np.float32)
    frame.to_parquet(file, index=False)
    write_sums(file.parent)


def run_gates(place: Workplace, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        place.run("commands.gates")
    return int(ended.value.code or 0), capsys.readouterr().out


def again(place: Workplace, path: Path, change: Callable[[dict[str, Any]], None]) -> Workplace:
    copy = place.copy(path / "again")
    copy.change_params(change)
    copy.run("plan")
    return copy


def test_a_stack_that_passes_every_gate_ends_with_status_0(good: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = run_gates(good, capsys)
    assert (status, said.splitlines()[-1]) == (0, "Promoted: h1")
    assert "FAIL" not in said
    for gate in ("equal_weight", "member linear", "member lightgbm", "artefacts"):
        assert f"pass  {gate}" in said
    assert "9 looks: 9 of this run and 0 before (looks counted: this run only" in said
    gates = json.loads((good.results / "stack" / "gates.json").read_text())
    assert gates["looks"] == {"num": 9, "counted": "this run only: its models and their stack, for every label"}
    assert json.loads((good.results / "stack" / "bundle" / "manifest.json").read_text())["promoted"] is True


def test_a_clone_that_brings_plans_and_results_is_judged_and_settings_that_changed_are_not(
    good: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a clone DVC has no reason to run `plan`, so nothing is noted there of what the plans were made of."""
    copy = good.copy(tmp_path / "copy")
    (copy.path / MADE_OF).unlink()
    assert run_gates(copy, capsys)[0] == 0
    assert (copy.path / MADE_OF).is_file()
    copy.change_params(lambda document: document["stack"]["gates"].update(min_t_stat=0.1))
    for known in (True, False):
        if not known:
            (copy.path / MADE_OF).unlink()
        with pytest.raises(StageError, match="changed since the plan was made"):
            copy.run("commands.gates")


@pytest.mark.parametrize("folder", ["stack/bundle/models/lightgbm", "train/linear/folds/fold_00"])
def test_a_weight_file_that_is_deleted_fails(
    good: Workplace, folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = good.copy(tmp_path / "copy")
    file = next(path for path in sorted((copy.results / folder).iterdir()) if path.name != "config.json")
    file.unlink()
    status, said = run_gates(copy, capsys)
    assert status == 1
    assert "FAIL  artefacts" in said
    assert file.name in said
    assert said.splitlines()[-1] == "NOT promoted: h1"


def test_each_label_has_thresholds_of_its_own_and_what_is_measured_has_bounds(
    good: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(document: dict[str, Any]) -> None:
        document["stack"]["gate_labels"] = {"h1": {}, "h5": {"min_t_stat": 1000}}
        bounds = {"turnover": {"maximum": 0.01}, "attained": {"minimum": 0.1}}
        bounds |= {"net_sharpe": {"minimum": 1e6}, "net_sharp": {"minimum": 0.0}}
        document["stack"]["gates"] = EASY | {"measured": bounds}

    copy = again(good, tmp_path, change)
    copy.run("stack")
    gates = json.loads((copy.results / "stack" / "gates.json").read_text())
    failed = {(gate["label"], gate["name"]) for gate in gates["gates"] if not gate["passed"]}
    assert {gate["label"] for gate in gates["gates"]} == {"h1", "h5"}
    assert {("h1", "turnover"), ("h1", "net_sharpe"), ("h5", "stack_t_stat")} <= failed
    assert not failed & {("h1", "attained"), ("h1", "stack_t_stat")}
    status, said = run_gates(copy, capsys)
    assert (status, said.splitlines()[-1]) == (1, "NOT promoted: h1, h5")
    short = next(line for line in said.splitlines() if "h5: stack_t_stat" in line)
    value = next(gate["value"] for gate in gates["gates"] if (gate["label"], gate["name"]) == ("h5", "stack_t_stat"))
    assert short.endswith(f"; short by {1000 - value:.4g}")
    assert "not measured" in next(line for line in said.splitlines() if "h1: net_sharp " in line)
    assert "short by 1e+06" in next(line for line in said.splitlines() if "h1: net_sharpe " in line)


def test_stop_ends_the_stage_with_what_is_short_and_writes_nothing(good: Workplace, tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["stack"] |= {"on_fail": "stop", "gates": EASY | {"min_oof_rows": 10**4}}

    copy = again(good, tmp_path, change)
    before = (copy.results / "stack" / "gates.json").read_bytes()
    with pytest.raises(StageError, match=r"(?s)not promoted, and stack.on_fail is stop.*FAIL  oof_rows.*short by 6940"):
        copy.run("stack")
    assert (copy.results / "stack" / "gates.json").read_bytes() == before


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"h7": {}}, "stack.gate_labels: 'h7' is no label"),
        ({"h5": {"min_t": 1}}, "stack.gate_labels.h5.min_t: must be one of min_oof_rows"),
        ({"h5": {"min_t_stat": -1}}, "gate_labels.h5.min_t_stat must be finite and at least 0, got -1"),
        ({"h5": {"min_t_stat": "x"}}, "stack.gate_labels.h5.min_t_stat"),
    ],
)
def test_thresholds_of_a_label_that_make_no_sense_are_named(own: dict[str, Any], said: str) -> None:
    document = smoke_document()
    document["stack"]["gate_labels"] = own
    with pytest.raises(StageError, match=said.replace("[", r"\[")):
        parse_params(document, "params.yaml")


def commit(folder: Path, text: str, branch: str | None = None) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)

    if not (folder / ".git").exists():
        git("init", "-q")
    (folder / "results").mkdir(exist_ok=True)
    (folder / "results" / "summary.json").write_text(text)
    git("add", "-A")
    git("commit", "-q", "--allow-empty", "-m", text)
    if branch is not None:
        git("update-ref", branch, "HEAD")
        git("reset", "-q", "--hard", "HEAD~1")


def test_looks_are_the_other_results_that_commits_and_experiments_have(tmp_path: Path) -> None:
    with chdir(tmp_path):
        assert count_looks(9).total == 9
        assert count_looks(9).source.startswith("looks counted: this run only, since git does not read a repository")
        assert "not a git repository" in count_looks(9).source
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", "")
            assert count_looks(9).source.endswith("(git is not installed)")
        commit(tmp_path, "one")
        assert count_looks(9).total == 9, "the result that is there is this run"
        commit(tmp_path, "two")
        commit(tmp_path, "one")
        assert count_looks(9).earlier == 1, "the same result again is no other look"
        commit(tmp_path, "three", "refs/exps/aa/bb/exp-a")
        commit(tmp_path, "four", "refs/exps/aa/cc/exp-b")
        commit(tmp_path, "waits", "refs/exps/stash")
        assert count_looks(9).earlier == 3
        (tmp_path / "results" / "summary.json").write_text("five")
        looks = count_looks(9)
        assert (looks.this_run, looks.earlier, looks.total) == (9, 4, 13)
        assert looks.source.endswith("the larger of 0 in the ledger of trials and 4 in git and DVC")


def test_other_evaluations_in_the_books_are_looks_at_every_label(good: Workplace, tmp_path: Path) -> None:
    place = good.copy(tmp_path / "copy")
    commit(place.path, (place.results / "summary.json").read_text())
    table = (place.results / "stack" / "ic.parquet").read_bytes()
    with chdir(place.path):
        ledger = Ledger(Git(place.path))
        ledger.add([trial_of("stack", table, commit=None)])
        assert count_looks(9, ["linear", "lightgbm"]).earlier == 0, "that is this run"
        ledger.add([trial_of("lstm", table, commit=None)])
        looks = count_looks(9, ["linear", "lightgbm"])
    assert (looks.earlier, looks.total) == (3, 12)


def test_earlier_looks_make_the_interval_gate_harder(
    good: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = good.copy(tmp_path / "copy")
    level = [line for line in run_gates(copy, capsys)[1].splitlines() if "stack_interval" in line]
    for number in range(5):
        commit(copy.path, f"result {number}")
    after = [line for line in run_gates(copy, capsys)[1].splitlines() if "stack_interval" in line]
    assert "(95% over 9 looks)" in level[0]
    assert "(95% over 13 looks)" in after[0]
    assert float(after[0].split()[2]) < float(level[0].split()[2])
