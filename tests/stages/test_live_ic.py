"""IC on demand while a network trains, and every step's loss with its terms."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dvc.repo import Repo
from numpy.typing import NDArray

from factor_data import FeatureStore, Segment, read_folds
from factor_models import StepRecord
from stages import ROOT
from stages.commands import live_ic as command
from stages.params.train import LiveICParams
from stages.processes.live_ic import LiveIC
from stages.running.lock import exclusive
from stages.running.stage import StageError
from stages.scoring import Scoring
from workplace import Workplace


class Training:
    """A network that forecasts the targets, step by step, in a folder of its own."""

    def __init__(self, workplace: Workplace, resumed: bool = False, step: int = 0) -> None:
        store = FeatureStore(workplace.results / "tokenize")
        fold = read_folds(workplace.results / "split" / "folds.json")[0]
        targets = store.targets("rank")

        def predict(model: Any, segment: Segment, last_dates: int) -> tuple[NDArray, NDArray]:
            rows = np.flatnonzero(store.rows(fold, segment))
            return rows, targets[rows]

        self.engine: Any = SimpleNamespace(step=step, current_model=lambda: None, agree=lambda wanted: wanted)
        config = LiveICParams(every_steps=None, every_minutes=None)
        given: Any = (fold, store, targets, self.engine, predict, config, Scoring(min_symbols=5))
        self.live = LiveIC("lstm", *given, first=True, resumed=resumed)

    def make_step(self) -> None:
        self.engine.step += 1
        terms = {"ic_h1": 0.5 * self.engine.step, "rank_h1": 0.25}
        self.live.after_step(StepRecord(loss=float(self.engine.step), terms=terms, lr=0.01))


@pytest.fixture
def training(tokenized: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Training:
    monkeypatch.chdir(tmp_path)
    return Training(tokenized)


def steps_of(name: str) -> list[tuple[int, float]]:
    table = pd.read_csv(f".live/lstm/fold_00/steps/plots/metrics/{name}.tsv", sep="\t")
    return list(zip(table["step"].tolist(), table[name].tolist(), strict=True))


def test_every_step_is_kept_with_the_terms_of_its_loss(training: Training, tokenized: Workplace) -> None:
    for _ in range(3):
        training.make_step()
    assert steps_of("loss") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert steps_of("ic_h1") == [(1, 0.5), (2, 1.0), (3, 1.5)]
    assert steps_of("lr") == [(step, 0.01) for step in (1, 2, 3)]
    again = Training(tokenized, resumed=True, step=2)  # its checkpoint was made after two steps
    again.make_step()
    assert steps_of("loss") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    fresh = Training(tokenized)
    fresh.make_step()
    assert steps_of("loss") == [(1, 1.0)], "a new run begins anew"


def test_dvc_draws_the_curves_of_a_training_that_is_under_way(training: Training) -> None:
    """`dvc plots show` of a file that DVC would not look at if all of .live were in .dvcignore."""
    shutil.copy(ROOT / ".dvcignore", ".")
    Repo.init(no_scm=True)
    curve = ".live/lstm/fold_00/steps/plots/metrics/loss.tsv"
    for number in (1, 2):
        training.make_step()
        shown = Repo().plots.show([curve], props={"x": "step"})
        ((source, found),) = shown["workspace"]["sources"]["data"].items()
        assert source == curve
        assert [float(row["loss"]) for row in found["data"]] == [1.0, 2.0][:number]
    is_ignored = Repo().dvcignore.is_ignored_file
    assert not is_ignored(str(Path(curve).absolute()))
    for other in (".live/plan.json", ".live/lstm/train.log", ".live/lstm/fold_00/latest.json", ".live/kept/a"):
        assert is_ignored(str(Path(other).absolute())), other


def test_a_report_is_made_after_the_step_under_way_when_it_is_asked_for(
    training: Training, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    training.make_step()
    assert not Path(".live/lstm/fold_00/latest.json").exists()
    monkeypatch.setattr("sys.argv", ["live-ic", "lstm"])
    asking = threading.Thread(target=command.main)
    with exclusive(Path(".live/lstm/lock")):
        asking.start()
        deadline = time.monotonic() + 60
        while asking.is_alive() and time.monotonic() < deadline:
            training.make_step()
            time.sleep(0.05)
        asking.join(1)
    assert not asking.is_alive()
    report = json.loads(Path(".live/lstm/fold_00/latest.json").read_text())
    assert report["reason"] == "demand"
    assert report["targets"]["h1"]["out_of_sample"]["rank_ic"] > 0.9
    table = capsys.readouterr().out
    assert f"lstm fold_00, step {report['step']}: rank IC" in table
    assert all(word in table for word in ("in sample", "out of sample", "h1", "h20", "+1.0000"))
    before = len(json.loads(Path(".live/lstm/fold_00/history.json").read_text()))
    training.make_step()
    assert len(json.loads(Path(".live/lstm/fold_00/history.json").read_text())) == before, "asked once, told once"


def test_where_nothing_trains_the_command_says_so(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    training.make_step()
    monkeypatch.setattr(command, "SHORT_SECONDS", 0.1)
    monkeypatch.setattr("sys.argv", ["live-ic", "lstm"])
    with pytest.raises(StageError, match=r"^no report of lstm within 0\.1 s: it does not train now$"):
        command.main()
    assert not Path(".live/lstm/asked").exists()
    monkeypatch.setattr(command, "WAIT_SECONDS", 0.3)
    with (
        exclusive(Path(".live/lstm/lock")),
        pytest.raises(StageError, match=r"^no report of lstm within 0\.3 s: a step is long$"),
    ):
        command.main()
    assert not Path(".live/lstm/asked").exists()
    monkeypatch.setattr("sys.argv", ["live-ic", "gru"])
    with pytest.raises(StageError, match=r"say which network: make live-ic MODEL=<one that trains: lstm>"):
        command.main()
