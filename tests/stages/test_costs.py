"""CPU seconds of a training go into the ledger where it was run, and nowhere where its result was restored."""

from __future__ import annotations

import sys
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages import train
from stages.running.costs import cost_of, note_cost
from stages.running.stage import run


def write_result(text: str) -> None:
    folder = Path("results/train/lstm")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sums.json").write_text(text)


def test_the_cost_belongs_to_the_result_that_it_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with chdir(tmp_path):
        assert cost_of("lstm") is None
        monkeypatch.setattr(train, "read_plan", lambda stage, model: None)
        family = SimpleNamespace(start=lambda name, plan, only, fit: write_result("one"))
        monkeypatch.setattr(train, "load_family", lambda name: family)
        monkeypatch.setattr(sys, "argv", ["train", "lstm", "--only-fold", "0"])
        train.main()
        assert cost_of("lstm") is None, "one fold is no training"
        monkeypatch.setattr(sys, "argv", ["train", "lstm"])
        train.main()
        seconds = cost_of("lstm")
        assert seconds is not None
        assert seconds > 0.0
        write_result("another, from the run cache")
        assert cost_of("lstm") is None
        monkeypatch.setenv("RANK", "1")
        note_cost("lstm")
        assert cost_of("lstm") is None, "a process of a group leaves it to its parent"
        monkeypatch.delenv("RANK")
        run("evaluate", lambda: None)
        assert cost_of("lstm") is None
