"""A list of running stages that a killed DVC has left cut off is removed, unless a DVC runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from dvc.rwlock import RWLockFileCorruptedError, RWLockFileFormatError, rwlock

from stages import ROOT
from stages.running.rwlock import RWLOCK, remove_broken_rwlock

WHOLE = '{"write": {}, "read": {"/a": [{"pid": 1, "cmd": "dvc repro"}]}}'
CUT = [WHOLE[:length] for length in range(len(WHOLE))]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    RWLOCK.parent.mkdir(parents=True)
    return RWLOCK


@pytest.mark.parametrize("content", ["", CUT[20], "\0", "[]"])
def test_dvc_refuses_what_is_removed_and_starts_after_it(
    content: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dvc.fs import localfs

    def start_dvc() -> None:
        with rwlock(str(file.parent.absolute()), localfs, "dvc repro", [], [], False):
            pass

    file.write_text(content)
    with pytest.raises((RWLockFileCorruptedError, RWLockFileFormatError)):
        start_dvc()
    remove_broken_rwlock()
    assert capsys.readouterr().err.splitlines() == [
        f"{RWLOCK}: a DVC that was killed has left it cut off, so DVC would not start: removed"
    ]
    start_dvc()


def test_no_part_of_the_list_is_whole_and_the_whole_one_stays(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stages.running.rwlock.dvc_runs", lambda folder: False)
    for content in CUT:
        file.write_text(content)
        remove_broken_rwlock()
        assert not file.exists()
    assert len(capsys.readouterr().err.splitlines()) == len(CUT)
    file.write_text(WHOLE)
    remove_broken_rwlock()
    assert file.read_text() == WHOLE
    file.unlink()
    remove_broken_rwlock()
    assert capsys.readouterr().err == ""


def test_it_stays_while_a_dvc_runs_here_and_not_for_one_elsewhere(file: Path, tmp_path: Path) -> None:
    (tmp_path / "dvc").write_text("print(flush=True)\ninput()\n")
    for folder, stays in ((tmp_path / "below", True), (tmp_path.parent, False)):
        folder.mkdir(exist_ok=True)
        file.write_text("")
        with subprocess.Popen(
            [sys.executable, str(tmp_path / "dvc")], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            remove_broken_rwlock()
            assert file.exists() == stays
            other.kill()


def test_whatever_starts_dvc_looks_after_it_first() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    for recipe in text.split("\n\n"):
        if "@dvc repro" in recipe:
            assert recipe.index("python -m stages.params") < recipe.index("@dvc repro")
    commands = {f"commands/{name}" for name in ("use_data", "news_effect", "restore", "sweep", "registry")}
    for name in {"params/__main__", *commands}:
        assert "remove_broken_rwlock()" in (ROOT / "stages" / f"{name}.py").read_text(encoding="utf-8")
