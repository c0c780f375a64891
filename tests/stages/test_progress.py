"""The display of a training: all that is promised is there and whole at any width, and CI gets a line an epoch."""

from __future__ import annotations

import io
import logging
import re
import sys
import time
from pathlib import Path

import pytest

from factor_models import EpochRecord, FitState, StepRecord
from stages.processes import progress as shown
from stages.processes.progress import TrainingProgress, keep_log

TERMS = {"mse": 0.75, "ic": 0.25}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """In the place of stderr, for this test."""
    for name in ("CI", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(shown, "REFRESH_SECONDS", 1e-3)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def train(progress: TrainingProgress, num_folds: int, steps: int) -> None:
    """Folds of two epochs, the last one stopped early after the first."""
    with progress:
        for fold in range(num_folds):
            progress.start_fold(fold)
            for epoch in range(1 if fold == num_folds - 1 else 2):
                for step in range(steps):
                    time.sleep(2 * shown.REFRESH_SECONDS)  # each is shown
                    record = StepRecord(loss=1.0, terms=TERMS, lr=5e-3, num_windows=4000)
                    progress.step(record, FitState(next_epoch=epoch, next_step=step + 1))
                progress.epoch(EpochRecord(epoch=epoch, loss=1.0, terms=TERMS, score=0.03, lr=4e-3), 0.0312)


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_everything_without_cutting_anything(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(columns))
    train(TrainingProgress("tcn_attention", 12, 6, shown=True), num_folds=12, steps=3)
    frames = re.split(r"\x1b\[2K", re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()))
    lines = [line.rstrip() for frame in frames for line in re.split(r"[\r\n]+", frame)]
    assert max(map(len, lines)) <= columns
    said = " ".join(" ".join(lines).split())
    assert "…" not in said
    assert re.search(r"tcn_attention fold 12/12 \S+ 100 % \d:\d\d:\d\d ETA 0:00:00", said)
    assert re.search(r"tcn_attention fold 2/12 \S+ +\d+ % \d:\d\d:\d\d ETA \d:\d\d:\d\d", said)
    detail = r"epoch 2 step 3, loss 1\.0000 \(mse 0\.7500, ic 0\.2500\), lr 5\.00e-03, valid rank IC \+0\.0312, "
    assert re.search(detail + r"[\d,]+ windows/s, \d+\.\d GiB", said)
    epoch = r"tcn_attention fold 12/12 epoch 1: loss 1\.0000 \(mse 0\.7500, ic 0\.2500\), valid rank IC \+0\.0312, "
    assert re.search(epoch + r"lr 4\.00e-03, [\d,]+ windows/s, \d+\.\d GiB, ETA \d:\d\d:\d\d", said)


@pytest.mark.parametrize("where", ["in CI", "on a dumb terminal", "in a log"])
def test_elsewhere_there_is_a_line_an_epoch(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    monkeypatch.setenv(*{"in CI": ("CI", "true"), "in a log": ("FORCE_COLOR", "1")}.get(where, ("TERM", "dumb")))
    if where == "in a log":
        monkeypatch.setattr(Terminal, "isatty", lambda self: False)
    train(TrainingProgress("lstm", 2, 6, shown=True), num_folds=2, steps=3)
    lines = terminal.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "lstm fold 1/2 epoch 1",
        "lstm fold 1/2 epoch 2",
        "lstm fold 2/2 epoch 1",
    ]
    assert "\x1b" not in terminal.getvalue()


def test_the_other_processes_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    progress = TrainingProgress("lstm", 2, 6, shown=False)
    train(progress, num_folds=2, steps=3)
    progress.note("nobody reads this")
    assert terminal.getvalue() == ""


def test_the_time_that_is_left_knows_only_steps_that_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps of 10 s in a fold of at most 100 that stopped early: the other fold's 100 take 1000 s."""
    now = 0.0
    monkeypatch.setattr(shown.time, "monotonic", lambda: now)
    progress = TrainingProgress("lstm", 2, 100, shown=False)
    assert progress._left() == "-:--:--"
    progress.start_fold(0)
    for _ in range(3):
        now += 10.0
        progress.step()
    assert progress._left() == "0:32:50"
    progress.start_fold(1)
    assert progress._left() == "0:16:40"


@pytest.mark.parametrize("rank", [0, 1])
def test_warnings_of_the_packages_are_logged_and_those_of_the_first_process_shown(
    rank: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loggers = [logging.getLogger(name) for name in ("factor_models", "factorcast")]
    before = [(logger.handlers[:], logger.propagate, logger.level) for logger in loggers]
    try:
        keep_log(tmp_path, rank)
        logging.getLogger("factor_models.training").warning("this takes minutes")
        logging.getLogger("factor_models.training").info("step 3")
        logging.getLogger("factorcast.train").warning("the display has said so")
    finally:
        for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
            logger.handlers[:], logger.propagate = handlers, propagate
            logger.setLevel(level)
    logged = (tmp_path / ("train.log" if rank == 0 else "rank_1.log")).read_text()
    for sentence in ("this takes minutes", "step 3", "the display has said so"):
        assert logged.count(sentence) == 1
    assert capsys.readouterr().err == ("this takes minutes\n" if rank == 0 else "")
