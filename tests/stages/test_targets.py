"""make targets: a table of what passed and failed, the exit status, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages import ROOT
from stages.commands import targets
from stages.running.stage import StageError


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The numbers of a run."""
    numbers = {
        "summary.json": {"promoted": 1},
        "stack/metrics.json": {"h5": {"auc": 0.59, "auc_low": 0.56, "num_cells": 30000}},
        "evaluate/lstm/metrics.json": {"h5": {"auc": 0.58, "auc_gap": 0.03, "ic": None}},
    }
    for name, document in numbers.items():
        path = tmp_path / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def held(file: Path, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    monkeypatch.setattr("sys.argv", ["targets", str(file)])
    with pytest.raises(SystemExit) as ended:
        targets.main()
    return ended.value.code


def test_what_misses_its_threshold_fails_the_command(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert held(ROOT / "targets" / "direction_hourly.yaml", monkeypatch) == 1
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 7
    assert table[2].startswith("FAIL  evaluate.lstm.h5.auc_gap")
    assert [line[:4] for line in table[:6]].count("pass") == 5
    assert table[-1] == "1 of 6 failed"


def test_all_passed_is_status_0_and_a_number_that_is_not_there_has_failed(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = finished / "mine.yaml"
    file.write_text("stack.h5.auc: {minimum: 0.58}\nsummary.promoted: {minimum: 1}\n")
    assert held(file, monkeypatch) == 0
    file.write_text("evaluate.lstm.h5.ic: {minimum: 0.0}\nstack.h12.auc: {minimum: 0.1}\n")
    assert held(file, monkeypatch) == 1
    assert capsys.readouterr().out.count("(not measured)") == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stack.h5.auc: {least: 0.58}", r"mine\.yaml: stack\.h5\.auc\.least: unknown key"),
        ("stack.h5.auc: {}", "needs a finite minimum or maximum"),
        ("stack.h5.auc: 0.58", r"mine\.yaml: stack\.h5\.auc"),
    ],
)
def test_a_wrong_threshold_is_refused(text: str, message: str, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (finished / "mine.yaml").write_text(text + "\n")
    monkeypatch.setattr("sys.argv", ["targets", "mine.yaml"])
    with pytest.raises(StageError, match=message):
        targets.main()


def test_without_a_file_or_a_run_it_says_so(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, message in (([], "say which thresholds"), (["none.yaml"], "no such file of thresholds")):
        monkeypatch.setattr("sys.argv", ["targets", *arguments])
        with pytest.raises(StageError, match=message):
            targets.main()
    (finished / "results" / "stack" / "metrics.json").unlink()
    monkeypatch.setattr("sys.argv", ["targets", str(ROOT / "targets" / "direction_hourly.yaml")])
    with pytest.raises(StageError, match="no finished run"):
        targets.main()


@pytest.mark.parametrize(("text", "found"), [("", "nothing"), ("[1]\n", "list")])
def test_a_file_without_thresholds_is_refused_in_its_own_words(
    finished: Path, monkeypatch: pytest.MonkeyPatch, text: str, found: str
) -> None:
    (finished / "mine.yaml").write_text(text)
    monkeypatch.setattr("sys.argv", ["targets", "mine.yaml"])
    with pytest.raises(StageError, match=f"mine.yaml: must have a threshold per number, .*; found {found}"):
        targets.main()
