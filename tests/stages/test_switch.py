"""Other data in the place of data/: after a kill at any point the old ones or the new ones, never half of each."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from stages.commands import switch, use_data
from stages.params.reading import Params
from stages.planning.prerequisites import check_prerequisites
from stages.running.files import DECIDED, LOCKS
from stages.running.lock import exclusive
from stages.running.stage import StageError

EVENTS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")
OLD = ["data.dvc old", "data/bars old", "data/dataset.yaml old", "simulated/dvc.yaml old"]
NEW = ["data.dvc new", "data/bars new"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the old data, and the new ones made ready aside."""
    monkeypatch.chdir(tmp_path)
    for line in OLD:
        write(line, Path())
    return tmp_path


def write(line: str, folder: Path) -> None:
    name, content = line.split()
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content)


def state() -> list[str]:
    return sorted(f"{path} {path.read_text()}" for path in Path().rglob("*") if path.is_file())


def bring_in() -> None:
    with switch.incoming() as folder:
        for line in NEW:
            write(line, folder)
        switch.switch(folder)


def killed_at(number: int, work: Callable[[], object]) -> bool:
    """Do the work in a copy of this process that ends dead at the n-th change of a file; False: it ended before."""
    child = os.fork()
    if child == 0:
        seen = 0

        def kill(event: str, arguments: object) -> None:
            nonlocal seen
            seen += event in EVENTS
            if seen >= number:
                os._exit(9)

        sys.addaudithook(kill)
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1] != 0


def test_a_kill_at_any_point_leaves_the_old_data_or_a_switch_that_is_finished_by_the_next(
    place: Path, smoke: Params
) -> None:
    number = 1
    while killed_at(number, bring_in):
        if DECIDED.exists():
            with pytest.raises(StageError, match="'make use-data' finishes that"):
                check_prerequisites(smoke)
            assert killed_at(2, switch.finish), "a kill of the one that finishes it is no harm either"
            switch.finish()
            assert state() == NEW
        else:
            assert [line for line in state() if not line.startswith(str(switch.INCOMING))] in (OLD, NEW)
        for path in ("data/dataset.yaml", "simulated/dvc.yaml"):
            Path(path).unlink(missing_ok=True)
        for line in OLD:
            write(line, Path())
        number += 1
    assert state() == NEW
    assert number > 10


def test_an_edited_description_is_kept_and_one_that_the_cache_has_is_not(place: Path) -> None:
    Path("data.dvc").write_text("outs:\n- md5: 0123456789.dir\n  path: data\n")
    listing = Path(".dvc/cache/files/md5/01/23456789.dir")
    listing.parent.mkdir(parents=True)
    listing.write_text('[{"relpath": "dataset.yaml", "md5": "149603e6c03516362a8da23f624db945"}]')  # of "old"
    assert switch.keep_description() is None
    Path("data/dataset.yaml").write_text("edited")
    kept = switch.keep_description()
    assert kept is not None
    assert kept.read_text() == "edited"


def test_no_git_repository_and_a_command_that_fails_are_said_in_a_line(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["use_data", "somewhere"])
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(place.parent))
    with pytest.raises(StageError, match="no git repository, which DVC needs: run 'git init' first"):
        use_data.main()
    with pytest.raises(StageError, match="git frobnicate failed"):
        use_data.run_quietly("git", "frobnicate")
    with pytest.raises(StageError, match="no-such-command is not installed"):
        use_data.run_quietly("no-such-command")
    assert state() == OLD


def test_scripts_call_the_command_by_its_short_name(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["use_data", "somewhere"])
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(place.parent))
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("stages.use_data", run_name="__main__", alter_sys=True)
    assert ended.value.code == 2
    assert "error in stage 'use-data': this folder is no git repository" in capsys.readouterr().err
    assert state() == OLD


def test_of_two_at_once_the_second_is_told_who_holds_the_data(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(use_data, "check_git", lambda: None)
    monkeypatch.setattr(use_data, "exclusive", partial(exclusive, wait_seconds=0.3))
    monkeypatch.setattr(sys, "argv", ["use_data", "--sample"])
    with exclusive(LOCKS / "use-data"):
        with pytest.raises(StageError, match=rf"another run \(process {os.getpid()}: .*\) holds .*use-data: wait"):
            use_data.main()
        assert "waiting for it" in capsys.readouterr().err
    assert [line for line in state() if not line.startswith(".live")] == OLD
