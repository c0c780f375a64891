from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from experiments_samples import draws, make_repository, table
from factor_experiments.git import Git, GitError
from factor_experiments.ledger import REF, Ledger, Trial, trial_of
from factor_experiments.lock import lock_outs


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
    code = (
        "import sys\nfrom test_ledger import some\nfrom factor_experiments.ledger import Ledger\n"
        "from factor_experiments.git import Git\n"
        "for trial in some(4, int(sys.argv[2])): Ledger(Git(sys.argv[1])).add([trial])\n"
    )
    path = [str(Path(__file__).parent), *sys.path]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{code}", str(tmp_path), str(seed)]
        )
        for seed in range(4)
    ]
    assert [process.wait() for process in running] == [0, 0, 0, 0]
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
    with pytest.raises(GitError, match="is no file of a ledger"):
        ledger.merge("refs/theirs")
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


def test_a_damaged_trial_is_named(tmp_path: Path) -> None:
    made = make_repository(tmp_path)
    made.commit("first")
    ledger = Ledger(made.git)
    ledger.add(some(1))
    (path,) = [name for name in made.git.files(REF) if name.startswith("trials/")]
    for content in (b"{", b'{"name": "m", "labels": {"h1": {"dates": "gone"}}}', b"[]"):
        ledger._commit(made.git.find(REF), {path: content}, ())
        with pytest.raises(ValueError, match=path):
            ledger.read()


def test_outside_a_repository_git_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a git repository"):
        Git(tmp_path)
