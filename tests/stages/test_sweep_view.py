"""The view of a sweep: repainted on a terminal that is real to the program, lines elsewhere."""

from __future__ import annotations

import os
import re
import select
import stat
import sys
import threading
from pathlib import Path

import pytest

from factor_experiments.sweep_choice import Listed
from factor_experiments.sweep_run import Job, run_jobs
from stages.commands import sweep_view
from stages.commands.sweep_view import SweepView

WIDTH = 80
DVC = """#!{python}
import os, sys, time
value = sys.argv[-1].split("=")[1]
os.makedirs("copies/" + value)
os.chdir("copies/" + value)
time.sleep(1)
if value == "1": sys.exit(print("error in stage 'train': params.yaml: zoo.linear.alpha = 1: must be >= 2") or 2)
"""


class Screen:
    """What a terminal shows of what it is told: line ends, cursor up, and lines that are erased."""

    def __init__(self) -> None:
        self.lines, self.row, self.column = [""], 0, 0

    def feed(self, text: str) -> None:
        for control, number, letter, plain in re.findall(r"(\x1b\[\??(\d*)[\d;]*([A-Za-z]))|([\s\S])", text):
            if plain == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif plain == "\r":
                self.column = 0
            elif plain:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + plain + line[self.column + 1 :]
                self.column += 1
            elif letter == "A":
                self.row -= int(number or 1)
            elif letter == "K":
                self.lines[self.row] = ""
            else:
                assert letter in "mhl", control


def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five trials, two at a time, of which the first fails."""
    program = tmp_path / "dvc"
    program.write_text(DVC.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    jobs = [Job(name=f"alpha-{value}", point={"zoo.linear.alpha": value}) for value in range(1, 6)]
    view = SweepView(Listed(jobs))

    def finished(job: Job) -> None:
        if job.status == "done":
            job.score, job.interval = job.point["zoo.linear.alpha"] / 100, (-0.01, 0.07)
        view.ended(job)

    with view:
        run_jobs(tmp_path, view.choice, tmp_path / "logs", 2, None, finished)


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": str(WIDTH), "LINES": "24"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sweep_view, "REFRESH_SECONDS", 0.05)
    monkeypatch.setattr("factor_experiments.sweep_run.LOOK", 0.05)


def on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return what the screen showed after each time that something was written to it."""
    ours, theirs = os.openpty()
    told: list[bytes] = []

    def read() -> None:
        part = b""
        while True:
            try:
                part += os.read(ours, 65536)
                while select.select([ours], [], [], 0.02)[0]:  # a frame may come in several parts
                    part += os.read(ours, 65536)
            except OSError:  # the other end is closed
                return
            finally:
                told.append(part)
            part = b""

    reader = threading.Thread(target=read)
    with os.fdopen(theirs, "w") as terminal:
        reader.start()
        monkeypatch.setattr(sys, "stdout", terminal)
        sweep(tmp_path, monkeypatch)
        monkeypatch.undo()
    reader.join()
    os.close(ours)
    screen, shown = Screen(), []
    for part in told:
        screen.feed(part.decode())
        shown.append([line.rstrip() for line in screen.lines])
    return shown


@pytest.mark.usefixtures("plain_environment")
def test_a_terminal_shows_one_view_that_is_repainted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = on_a_terminal(tmp_path, monkeypatch)
    assert max(len(line) for lines in shown for line in lines if " must be " not in line) <= WIDTH
    texts = ["\n".join(lines) for lines in shown]
    early = r"2 running, 3 waiting; 0:00:0\d so far, ETA -:--:--\nrunning +alpha-1 .*\nrunning +alpha-2 "
    assert any(re.search(early, text) for text in texts)
    late = [text for text in texts if re.search(r"^[234] done, 1 failed", text, re.MULTILINE)]
    assert late
    for text in late:
        assert len(re.findall(r"\d done, 1 failed.*; 0:00:\d\d so far, ETA 0:00:\d\d$", text, re.MULTILINE)) == 1
        best = r"^best alpha-(\d) \+0\.0\d00 \[-0\.0100, \+0\.0700\] on valid dates \(zoo\.linear\.alpha \1\)$"
        assert len(re.findall(best, text, re.MULTILINE)) == 1
        failed = text[text.rindex("\nfailed ") :]
        assert re.search(r"^failed +alpha-1 ", failed, re.MULTILINE)
        assert "mustbe>=2" in re.sub(r"\s", "", failed), "the reason is whole"
    ended = [line.split(":")[0] for line in shown[-1] if line]
    assert sorted(ended) == [f"alpha-{value} (zoo.linear.alpha {value})" for value in range(1, 6)], "the view is gone"


@pytest.mark.usefixtures("plain_environment")
@pytest.mark.parametrize("where", ["in a log", "in CI"])
def test_elsewhere_there_are_two_lines_a_trial(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if where == "in CI":
        monkeypatch.setenv("CI", "true")
        monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True)
    sweep(tmp_path, monkeypatch)
    said = capsys.readouterr().out
    assert "\x1b" not in said
    first, second = said.splitlines()[::2], said.splitlines()[1::2]
    assert sorted(line.split(" ")[0] for line in first) == [f"alpha-{value}" for value in range(1, 6)]
    assert any(line.endswith("zoo.linear.alpha = 1: must be >= 2") for line in first)
    assert second[-1] == "  4 done, 1 failed, ETA 0:00:00, best alpha-5 +0.0500 [-0.0100, +0.0700] on valid dates"
