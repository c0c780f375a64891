from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments_samples import draws, make_repository, table
from factor_experiments.cli import main
from factor_experiments.git import Git
from factor_experiments.ledger import REF, Ledger, Trial, trial_of
from factor_experiments.lock import lock_outs

NUM_DATES = len(draws(1)[0])


def some(number: int, seed: int = 0) -> list[Trial]:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    return [
        trial_of(f"model{position}", table({"h1": values, "h5": values[::-1]}), commit=None, when=when)
        for position, values in enumerate(draws(number, seed=seed))
    ]


def test_what_is_added_is_read_back(tmp_path: Path) -> None:
    made = make_repository(tmp_path)
    made.commit("first")
    ledger, trials = Ledger(made.git), some(3)
    assert ledger.add(trials) == 3
    read = {trial.name: trial for trial in ledger.read()}
    for trial in trials:
        again = read[trial.name]
        assert (again.table, again.time, again.id) == (trial.table, trial.time, trial.id)
        assert again.series is not None
        assert trial.series is not None
        for label, one in trial.series.items():
            np.testing.assert_array_equal(again.series[label].dates, one.dates)
            np.testing.assert_allclose(again.series[label].rank_ic, one.rank_ic, atol=5e-6)
            assert again.series[label].floor == "reversal_1"
            assert again.series[label].overlap == one.overlap
    assert ledger.add(trials) == 0, "the same evaluation is the same trial"
    assert made.run("git", "status", "--porcelain") == "", "nothing appears in the working tree"


def test_missing_rank_ics_stay_missing(tmp_path: Path) -> None:
    made = make_repository(tmp_path)
    made.commit("first")
    values = draws(1)[0]
    values[[0, 7]] = np.nan
    Ledger(made.git).add([trial_of("m", table({"h1": values}), commit=None)])
    (trial,) = Ledger(made.git).read()
    assert trial.series is not None
    np.testing.assert_array_equal(np.isnan(trial.series["h1"].rank_ic), np.isnan(values))


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    made = make_repository(tmp_path)
    made.commit("first")
    running = []
    for seed in range(4):
        if (child := os.fork()) == 0:
            status = 1
            try:
                for trial in some(4, seed):
                    Ledger(Git(tmp_path)).add([trial])
                status = 0
            finally:
                os._exit(status)
        running.append(child)
    assert [os.waitpid(child, 0)[1] for child in running] == [0, 0, 0, 0]
    assert Ledger(Git(tmp_path)).count() == 16


def test_a_trial_without_series_gets_them_later_and_keeps_its_place(tmp_path: Path) -> None:
    made = make_repository(tmp_path)
    made.commit("first")
    full, ledger = some(1)[0], Ledger(made.git)
    bare = Trial(name=full.name, table=full.table, time=full.time, commit=None)
    assert ledger.add([bare]) == 1
    assert ledger.read()[0].series is None
    assert ledger.add([full]) == 0
    assert ledger.read()[0].series is not None


def test_two_machines_are_merged_and_pushed_in_any_order(tmp_path: Path) -> None:
    made = make_repository(tmp_path / "a")
    made.commit("first")
    made.run("git", "init", "--quiet", "--bare", str(tmp_path / "bare"))
    made.run("git", "remote", "add", "origin", str(tmp_path / "bare"))
    made.run("git", "push", "--quiet", "origin", "main")
    made.run("git", "clone", "--quiet", str(tmp_path / "bare"), str(tmp_path / "b"))
    here, there = Ledger(made.git), Ledger(Git(tmp_path / "b"))
    shared, mine, theirs = some(2), some(3, seed=1), some(4, seed=2)
    here.add([*shared, *mine])
    there.add([*shared, *theirs])
    assert there.fetch("origin") == (0, "origin has no ledger yet: factor-exp push puts them there")
    assert here.push("origin") == 5
    assert there.push("origin") == 9
    assert here.fetch("origin") == (4, None)
    assert {trial.id for trial in here.read()} == {trial.id for trial in there.read()}
    assert Git(tmp_path / "a").find(REF) == Git(tmp_path / "b").find(REF)


def test_books_that_bring_nothing_new_add_no_commit(tmp_path: Path) -> None:
    made = make_repository(tmp_path)
    made.commit("first")
    ledger = Ledger(made.git)
    ledger.add(some(2))
    made.run("git", "update-ref", "refs/factorcast/remotes/origin", REF)
    ledger.add(some(3, seed=1))
    tip = made.git.find(REF)
    assert ledger.merge("refs/factorcast/remotes/origin") == 0
    assert made.git.find(REF) == tip


@pytest.mark.parametrize("theirs_is_ahead", [True, False])
def test_a_merge_goes_on_where_another_process_writes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs_is_ahead: bool
) -> None:
    made = make_repository(tmp_path)
    made.commit("first")
    ledger, other = Ledger(made.git), "refs/factorcast/remotes/origin"
    ledger.add(some(2))
    if theirs_is_ahead:
        made.run("git", "update-ref", other, REF)
    Ledger(made.git, other).add(some(3, seed=1))
    ledger.git, looked = made.git, Git.find
    late = some(4, seed=2)

    def find(git: Git, revision: str) -> str | None:
        found = looked(git, revision)
        if git is ledger.git and revision == REF and late:
            writing, late[:] = list(late), []
            Ledger(made.git).add(writing)
        return found

    monkeypatch.setattr(Git, "find", find)
    assert ledger.merge(other) == 3
    assert ledger.count() == 9


def test_a_file_name_of_a_remote_is_no_command_of_git(tmp_path: Path) -> None:
    made = make_repository(tmp_path)
    head = made.commit("first")
    ledger = Ledger(made.git)
    ledger.add(some(1))
    line = "a <a@b> 0 +0000\ndata 0\n\n"
    inside = f"data 0\n\ncommit refs/heads/other\ncommitter {line}from {head}\nM 100644 inline trials/y"
    name = f"trials/x\n{inside}".replace("\n", "\\n")
    theirs = f'commit refs/theirs\ncommitter {line}M 100644 inline "{name}"\ndata 2\n{{}}\n'
    made.git.run("fast-import", "--quiet", stdin=theirs.encode())
    assert ledger.merge("refs/theirs") == 0
    assert list(ledger.left_out.values()) == ["is no file of a ledger"]
    assert made.git.find("refs/heads/other") is None


def test_a_digest_that_is_a_path_to_elsewhere_is_no_output() -> None:
    outs = "".join(f"    - path: {md5[:1]}\n      md5: {md5}\n" for md5 in ("../../secret", f"{'a' * 32}.dir"))
    text = f"stages:\n  evaluate@a:\n    outs:\n{outs}"
    assert lock_outs(text, ("evaluate@",), "dvc.lock") == {"a": f"{'a' * 32}.dir"}


def test_books_that_were_deleted_are_missed(tmp_path: Path) -> None:
    made = make_repository(tmp_path)
    made.commit("first")
    ledger = Ledger(made.git)
    ledger.add(some(3))
    assert ledger.lost() == 0
    made.run("git", "update-ref", "-d", REF)
    assert ledger.lost() == 3


def test_the_ref_survives_git_gc(tmp_path: Path) -> None:
    made = make_repository(tmp_path)
    made.commit("first")
    Ledger(made.git).add(some(3))
    made.run("git", "reflog", "expire", "--expire=now", "--all")
    made.run("git", "gc", "--quiet", "--prune=now")
    assert len(Ledger(made.git).read()) == 3


def spoilt(document: Any, place: tuple[str, ...], value: Any) -> bytes:
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return json.dumps(document).encode()


DAMAGES: dict[str, tuple[str, Callable[[Any], bytes], str]] = {
    "no JSON": ("trials/", lambda one: b"{", "is not JSON"),
    "too deep": ("trials/", lambda one: b"[" * 100_000, "is not JSON"),
    "a list": ("trials/", lambda one: b"[]", "must be an object"),
    "a list that is gone": (
        "trials/",
        lambda one: b'{"name": "m", "table": "t", "time": "T", "labels": {"h1": {"dates": "gone"}}}',
        "'h1'",
    ),
    "a number for the time": ("trials/", lambda one: spoilt(one, ("time",), 1e308), "time: must be text"),
    "a number for the commit": ("trials/", lambda one: spoilt(one, ("commit",), 1.5), "commit: must be text"),
    "signs for the terminal": (
        "trials/",
        lambda one: spoilt(one, ("name",), "\x1b[31m"),
        "name: must be text that can",
    ),
    "settings that are none": ("trials/", lambda one: spoilt(one, ("settings",), [1]), "settings: must be an object"),
    "an IC above 1": (
        "trials/",
        lambda one: spoilt(one, ("labels", "h1", "rank_ic"), [10**40] * NUM_DATES),
        "whole numbers",
    ),
    "an IC too few": ("trials/", lambda one: spoilt(one, ("labels", "h1", "rank_ic"), [0]), "a number per date"),
    "a floor that is none": ("trials/", lambda one: spoilt(one, ("labels", "h1", "floor_rank_ic"), {}), "rank_ic"),
    "an overlap of 0": ("trials/", lambda one: spoilt(one, ("labels", "h1", "overlap"), 0), "overlap: must be a whole"),
    "numbers for dates": ("lists/", lambda one: json.dumps(list(range(NUM_DATES))).encode(), "a list of texts"),
    "a date twice": ("lists/", lambda one: json.dumps(["2020-01-01"] * NUM_DATES).encode(), "in order, each once"),
    "a date far away": ("lists/", lambda one: json.dumps([*one[:-1], "9999-01-01"]).encode(), "from 1770 to 2170"),
    "no dates": ("lists/", lambda one: b"null", "a list of texts"),
    "a verdict without a time": ("verdicts/", lambda one: b'{"label": "h1", "dates": []}', "time: must be text"),
    "a verdict of one date": ("verdicts/", lambda one: spoilt(one, ("dates",), ["2020-01-01"]), "two texts or none"),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    made = make_repository(tmp_path_factory.mktemp("kept"))
    made.commit("first")
    ledger = Ledger(made.git)
    ledger.add(some(1))
    ledger.note_verdict("ab" * 16, {"time": "2026-01-02T00:00:00+00:00", "label": "h1", "dates": []})
    return ledger


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_the_ledger_is_named_with_the_rule_that_it_breaks(damage: str, kept: Ledger) -> None:
    """Remotes bring the files, so none of them may be believed, nor end a command with a traceback."""
    folder, spoil, said = DAMAGES[damage]
    git, tip, files = kept.git, kept.git.find(REF), kept.git.files(REF)
    documents = dict(zip(files, (json.loads(one or b"") for one in git.contents(list(files.values()))), strict=True))
    paths = [path for path in files if path.startswith(folder)]
    path = next(one for one in paths if folder != "lists/" or isinstance(documents[one][0], str))
    kept._commit(tip, {path: spoil(documents[path])}, ())
    try:
        with pytest.raises(ValueError, match=r" of the ledger is damaged: ") as told:
            kept.verdicts() if folder == "verdicts/" else kept.read()
        assert said in str(told.value)
        assert folder == "lists/" or str(told.value).startswith(path)
        assert str(told.value).isprintable()
    finally:
        git.run("update-ref", REF, tip or "")


@pytest.mark.parametrize("content", [b"[]", b"[" * 100_000, b'{"time": 5}'])
def test_a_damaged_trial_of_a_remote_is_named_and_left_out(content: bytes, tmp_path: Path) -> None:
    made = make_repository(tmp_path)
    made.commit("first")
    mine, theirs = Ledger(made.git), Ledger(made.git, "refs/other/trials")
    mine.add(some(1))
    theirs.add(some(2))
    path = next(one for one in made.git.files(REF) if one.startswith("trials/"))
    theirs._commit(made.git.find(theirs.ref), {path: content}, ())
    assert mine.merge(theirs.ref) == 1
    assert list(mine.left_out) == [path]
    assert len(mine.read()) == 2


@pytest.fixture(scope="module")
def cloned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two clones of one remote, whose ledgers are the same; the addresses of the remote are relative."""
    folder = tmp_path_factory.mktemp("cloned")
    made = make_repository(folder / "a")
    made.commit("first")
    made.run("git", "init", "--quiet", "--bare", "../bare")
    made.run("git", "remote", "add", "origin", "../bare")
    made.run("git", "push", "--quiet", "origin", "main")
    made.run("git", "clone", "--quiet", "../bare", "../b")
    here, there = Ledger(made.git), Ledger(Git(folder / "b"))
    there.git.run("remote", "set-url", "origin", "../bare")
    here.add(some(2))
    here.push("origin")
    there.fetch("origin")
    return folder


def two_clones(cloned: Path, folder: Path) -> tuple[Ledger, Ledger]:
    """Copies of these."""
    shutil.copytree(cloned, folder, dirs_exist_ok=True, symlinks=True)
    return Ledger(Git(folder / "a")), Ledger(Git(folder / "b"))


FORGED: dict[str, Callable[[dict[str, dict[str, bytes]]], dict[str, bytes | None]]] = {
    "no JSON": lambda files: {"trials/" + "0" * 32 + ".json": b"{"},
    "another trial's name": lambda files: {"trials/" + "0" * 32 + ".json": next(iter(files["trials/"].values()))},
    "another list's name": lambda files: {"lists/" + "0" * 32 + ".json": next(iter(files["lists/"].values()))},
    "a list of ours": lambda files: {next(iter(files["lists/"])): b'["1999-01-01"]\n'},
    "a trial of ours": lambda files: {next(iter(files["trials/"])): b"[]"},
    "trials that are gone": lambda files: dict.fromkeys(files["trials/"]),
    "a folder without a table": lambda files: {"folders/" + "0" * 32 + ".dir.json": b"[1]"},
    "a verdict of nothing": lambda files: {"verdicts/" + "0" * 32 + ".json": b"{}"},
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_damaged_ledger_that_comes_by_fast_forward_does_not_lock_out(
    forged: str, cloned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The remote's commits follow ours; what is good in them is taken in, the rest is counted and named, every time."""
    here, there = two_clones(cloned, tmp_path)
    before = {trial.id for trial in here.read()}
    files: dict[str, dict[str, bytes]] = {"trials/": {}, "lists/": {}}
    paths = there.git.files(REF)
    for path, content in zip(paths, there.git.contents(list(paths.values())), strict=True):
        files.setdefault(path.partition("/")[0] + "/", {})[path] = content or b""
    spoilt_files = FORGED[forged](files)
    there.add(some(3, seed=1))
    there._commit(there.git.find(REF), spoilt_files, ())
    there.git.run("push", "--quiet", "origin", f"{REF}:{REF}")
    number, said = here.fetch("origin")
    assert number == 3
    assert len(here.read()) == 5
    assert before < {trial.id for trial in here.read()}
    assert (here.tables(), here.verdicts()) == ({}, [])
    assert here.fetch("origin") == (0, said), "said each time"
    count = f"1 damaged files of the ledger of origin were left out, first {next(iter(spoilt_files))!r}: "
    is_gone = forged == "trials that are gone"
    assert said is None if is_gone else str(said).startswith(count)
    assert main(["-C", str(here.git.root), "push"]) == 0
    assert ("1 damaged files that it had are no longer in it" in capsys.readouterr().out) == (not is_gone)
    assert main(["-C", str(there.git.root), "mend"]) == 0  # whoever has it in their own ledger
    assert capsys.readouterr().out.startswith("0 damaged") == is_gone
    assert there.fetch("origin")[1] is None
    assert {trial.id for trial in there.read()} == {trial.id for trial in here.read()}


def test_outside_a_repository_git_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a git repository"):
        Git(tmp_path)


def test_a_full_disk_is_one_line_and_the_ledger_is_as_it_was(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(tmp_path)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    try:
        subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
        ledger = Ledger(Git(tmp_path))
        ledger.note_verdict("a", {"time": "2026", "label": "h1", "dates": []})
        room = shutil.disk_usage(tmp_path).free - 4096
        (tmp_path / "other").write_bytes(bytes(room))
        many = {"time": "2026", "label": "h1", "dates": [], "more": os.urandom(20_000).hex()}
        with pytest.raises(ValueError, match=r"no room for what git writes: 40,\d+ bytes are wanted, [\d,]+ are free"):
            ledger.note_verdict("b", many)
        assert not list((tmp_path / ".git").glob("fast_import_crash_*"))
        assert [one["label"] for one in ledger.verdicts()] == ["h1"]
        (tmp_path / "other").unlink()
        ledger.note_verdict("b", many)
        assert len(ledger.verdicts()) == 2
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)
