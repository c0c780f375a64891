"""A stage that ends before its time: Ctrl-C, SIGTERM, the end of who started it; what dead runs leave, and locks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from stages import ROOT
from stages.running.files import LOCKS, stage_output
from stages.running.lock import exclusive
from stages.running.stage import StageError

KEPT = ["results/split/good", "results/split/sums.json"]
STAGE = """
import sys, time
from pathlib import Path
from stages.running import starter
from stages.running.files import stage_output
from stages.running.stage import run

def main():
    with stage_output("split") as folder:
        (folder / "half").write_text("half")
        print("working", flush=True)
        {work}

run("split", main)
"""
DEAF = """
        import ctypes
        starter.GRACE_SECONDS = 0.2
        mutex, lock = ctypes.create_string_buffer(64), ctypes.CDLL(None).pthread_mutex_lock
        lock(mutex), lock(mutex)
"""


def start(folder: Path, work: str, **environment: str) -> subprocess.Popen[str]:
    """A stage in a process of its own, at work."""
    process = subprocess.Popen(
        [sys.executable, "-c", STAGE.format(work=work)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n", process.communicate()[1]
    return process


def results(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in (folder / "results").rglob("*") if path.is_file())


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which split has ended well."""
    monkeypatch.chdir(tmp_path)
    with stage_output("split") as folder:
        (folder / "good").write_text("good")
    return tmp_path


@pytest.mark.parametrize(
    ("number", "work"),
    [(signal.SIGINT, "time.sleep(60)"), (signal.SIGTERM, "time.sleep(60)"), (signal.SIGINT, DEAF)],
    ids=["Ctrl-C", "SIGTERM", "deaf"],
)
def test_a_stage_that_is_asked_to_end_does_so_in_one_line(number: signal.Signals, work: str, done: Path) -> None:
    process = start(done, work)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "Traceback" not in said
    if work is not DEAF:
        assert said.strip().splitlines()[0].startswith(f"split: stopped ({number.name}). ")
        assert results(done) == KEPT


def test_a_stage_ends_with_dvc(done: Path) -> None:
    """A process called dvc starts it, by a shell, and is killed."""
    (done / "dvc").write_text("import subprocess, sys; subprocess.run(sys.argv[1], shell=True)")
    command = [sys.executable, "-c", STAGE.format(work="time.sleep(60)")]
    shell = f"\"{command[0]}\" -c '{command[2]}'"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": "split"}
    with subprocess.Popen(
        [sys.executable, "dvc", shell], cwd=done, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as dvc:
        assert dvc.stdout is not None
        assert dvc.stdout.readline() == b"working\n"
        below = psutil.Process(dvc.pid).children(recursive=True)
        assert below
        dvc.kill()
        _, alive = psutil.wait_procs(below, timeout=20)
    assert not alive, "an orphan is left"
    assert results(done) == KEPT


def test_a_second_run_is_told_who_holds_the_stage_and_does_not_touch_its_work(done: Path) -> None:
    process = start(done, "time.sleep(60)")
    partial = f"results/.split.{process.pid}.partial/half"
    with pytest.raises(StageError, match=rf"another run \(process {process.pid}: .*\) holds .live/locks/split"):
        exclusive(LOCKS / "split", wait_seconds=0.2).__enter__()
    assert results(done) == [partial, *KEPT]
    process.kill()
    process.wait()
    assert results(done) == [partial, *KEPT]
    with stage_output("split") as folder:
        (folder / "better").write_text("better")
    assert results(done) == ["results/split/better", "results/split/sums.json"], "what the dead run has left is gone"


def test_the_last_result_comes_back_after_a_kill_between_the_two_renames(done: Path) -> None:
    Path("results/split").rename("results/.split.old")
    with pytest.raises(ValueError, match="wrong"), stage_output("split"):
        raise ValueError("wrong")
    assert results(done) == KEPT


LOADS_LONG = """
import pathlib, sys, time

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            pathlib.Path("loading").touch()
            time.sleep(60)

sys.meta_path.insert(0, Slow())
"""


def test_a_stage_that_is_interrupted_while_it_loads_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(LOADS_LONG)
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.train", "lstm"], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
    )  # fmt: skip
    while not (tmp_path / "loading").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode in (-signal.SIGINT, 130)
    assert "Traceback" not in said
