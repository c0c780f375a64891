from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from experiments_samples import DATES, Fabricated, draws, make_repository, table
from factor_experiments.cli import main
from factor_experiments.gathering import Gathered, gather
from factor_experiments.git import Git, file_commands
from factor_experiments.ledger import REF, Ledger
from factor_experiments.stored import Stored
from factor_experiments.trials import Verdict, clusters, judge
from factor_metrics import deflated_sharpe_ratio, judge_trials, superior_predictive_ability
from factor_metrics.significance.distributions import moments
from warm import path_of_programs


def gathered(made: Fabricated, *, remotes: bool = True) -> Gathered:
    git = Git(made.path)
    return gather(git, Stored(git.root), remotes=remotes)


def verdict_over(made: Fabricated, label: str | None = None) -> Verdict:
    return judge(gathered(made), label, num_bootstrap=500)


def sweep(made: Fabricated, series: list[NDArray[np.float64]]) -> list[str]:
    """Commit one result per series, as commits of a branch."""
    commits = []
    for values in series:
        made.results({"linear": table({"h1": values})})
        commits.append(made.commit("a trial"))
    return commits


def long_sweep(made: Fabricated, series: list[NDArray[np.float64]]) -> None:
    """The same in one process of git; but for dvc.lock all files are those of the first commit."""
    (last,) = sweep(made, series[:1])
    stream = [f"reset refs/heads/main\nfrom {last}\n".encode()]
    for values in series[1:]:
        made.results({"linear": table({"h1": values})})
        made.clock += 60
        stream.append(
            f"commit refs/heads/main\ncommitter tests <tests@factorcast.invalid> {made.clock} +0000\ndata 0\n".encode()
        )
        stream += file_commands({"dvc.lock": (made.path / "dvc.lock").read_bytes()})
    made.git.run("fast-import", "--quiet", stdin=b"".join(stream))
    made.run("git", "reset", "--quiet", "--hard", "main")
    assert made.run("git", "rev-list", "--count", "main") == str(len(series))


@pytest.fixture
def made(tmp_path: Path) -> Fabricated:
    return make_repository(tmp_path / "here")


def test_every_commit_is_a_trial_and_the_same_result_is_one(made: Fabricated) -> None:
    first, second = draws(2)
    sweep(made, [first, second, first])
    found = gathered(made)
    assert (len(found.trials), found.new, found.gone, found.missing) == (2, 2, 0, ())
    assert gathered(made).new == 0


def test_signatures_that_git_log_shows_are_no_commits(made: Fabricated, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    for name, value in (("gpg.format", "ssh"), ("user.signingKey", f"{key}.pub"), ("log.showSignature", "true")):
        made.run("git", "config", name, value)
    made.results({"linear": table({"h1": draws(1)[0]})})
    made.commit("signed", "--gpg-sign")
    assert len(gathered(made).trials) == 1


def test_a_branch_is_not_written_down_as_an_experiment(made: Fabricated) -> None:
    sweep(made, draws(1))
    found = gathered(made)
    assert [trial.experiment for trial in found.trials] == [None]
    assert list(found.names.values()) == ["linear @ main"], "a branch names a trial while it points at it"
    made.run("git", "update-ref", f"refs/exps/aa/{'b' * 38}/exp-a", made.commit("as an experiment"))
    made.results({"linear": table({"h1": draws(2)[1]})})
    made.run("git", "update-ref", f"refs/exps/aa/{'b' * 38}/exp-b", made.commit("another"))
    assert [trial.experiment for trial in gathered(made).trials] == [None, "exp-b"]


def test_the_numbers_are_those_of_factor_metrics(made: Fabricated) -> None:
    series = draws(5, mean=0.004)
    sweep(made, series)
    found = verdict_over(made)
    assert found.selection is not None
    by_name = dict(zip([one.name for one in found.selection.trials], found.selection.trials, strict=True))
    columns = {str(position): values for position, values in enumerate(series)}
    expected = judge_trials(columns, num_bootstrap=500)
    best = series[int(expected.best)]
    assert found.rank_ic == pytest.approx(best.mean(), abs=1e-6)
    assert found.corrected_p_value == pytest.approx(expected.superior_p_value, abs=0.01)
    assert found.overfitting == pytest.approx(expected.probability_of_overfitting, abs=0.002)
    sharpes = [one.sharpe for one in by_name.values()]
    deflated = deflated_sharpe_ratio(max(sharpes), 400, 5, float(np.std(sharpes, ddof=1)), *moments(best))
    assert found.deflated_sharpe == pytest.approx(deflated, abs=1e-3)
    assert (found.num_trials, found.effective_trials, found.num_dates) == (5, 5, 400)
    hansen = superior_predictive_ability(np.column_stack(series), 1, 500).p_value
    assert found.floor_p_value == pytest.approx(hansen, abs=0.01), "the floors are zero here"
    assert found.path["best"] == np.maximum.accumulate(found.path["rank_ic"]).tolist()


def test_trials_that_go_together_count_as_one_look() -> None:
    generator = np.random.default_rng(0)
    families = [generator.normal(size=500) for _ in range(3)]
    values = [family + 0.3 * generator.normal(size=500) for family in families for _ in range(6)]
    groups = clusters(np.column_stack(values))
    assert groups.reshape(3, 6).tolist() == [[group] * 6 for group in groups[::6].tolist()]
    assert len(set(groups.tolist())) == 3
    assert len(set(clusters(np.column_stack([families[0], -families[0]])).tolist())) == 2


def test_trials_on_other_dates_are_no_looks_and_those_on_some_are(made: Fabricated) -> None:
    first, second, third = draws(3)
    made.results({"linear": table({"h1": second[:100]}, DATES[300:])})
    made.commit("some of the dates")
    made.results({"linear": table({"h1": third[:50]}, DATES[350:])})
    made.commit("none of them")
    made.results({"linear": table({"h1": first[:350]}, DATES[:350])})
    made.commit("now")
    found = verdict_over(made)
    assert (found.num_judged, found.num_partial, found.num_elsewhere, found.num_trials) == (1, 1, 1, 2)


def test_a_result_whose_table_is_lost_is_counted(made: Fabricated) -> None:
    first, second = draws(2)
    sweep(made, [first])
    made.run("rm", "--recursive", ".dvc/cache")
    sweep(made, [second])
    found = gathered(made)
    assert found.missing == ("tables that DVC's cache lacks could not be fetched: DVC has no remote here",)
    verdict = judge(found, num_bootstrap=200)
    assert (verdict.num_judged, verdict.num_bare, verdict.num_trials, verdict.effective_trials) == (1, 1, 2, 2)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("[core]\n    remote = store\n['remote \"store\"']\n    url = s3://bucket/factorcast\n", "requires 'dvc-s3'"),
        ("[core]\n    remote = gone\n", "remote 'gone' doesn't exist"),
    ],
)
def test_a_remote_that_dvc_cannot_open_is_named_and_the_rest_is_judged(
    made: Fabricated, monkeypatch: pytest.MonkeyPatch, config: str, said: str
) -> None:
    monkeypatch.setitem(sys.modules, "dvc_s3", None)
    sweep(made, draws(2))
    next((made.path / ".dvc" / "cache" / "files" / "md5").glob("*/*")).unlink()
    (made.path / ".dvc" / "config").write_text(config)
    found = gathered(made)
    assert len(found.trials) == 2
    assert len(found.missing) == 1
    assert said in found.missing[0]


def test_a_clone_without_a_checkout_is_refused_by_name(
    made: Fabricated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep(made, draws(1))
    bare = str(tmp_path / "elsewhere")
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", str(made.path), bare], check=True)
    assert main(["-C", bare, "trials", "--offline"]) == 2
    assert f"{bare}: DVC cannot open the repository that is checked out: you are not inside" in capsys.readouterr().err


def test_a_folder_that_differs_by_another_file_is_the_same_trial(made: Fabricated, tmp_path: Path) -> None:
    """Also in a clone that has the ledger and no cache: it says which table a folder of dvc.lock holds."""
    first = table({"h1": draws(1)[0]})
    for page in (b"1", b"2"):
        made.results({"linear": first}, beside={"page.json": page})
        made.commit("a run")
    assert len(gathered(made).trials) == 1
    made.run("git", "init", "--quiet", "--bare", str(tmp_path / "bare"))
    made.run("git", "push", "--quiet", str(tmp_path / "bare"), "main", REF)
    subprocess.run(["git", "clone", "--quiet", str(tmp_path / "bare"), str(tmp_path / "clone")], check=True)
    found = gathered(Fabricated(tmp_path / "clone"))
    assert (len(found.trials), found.new, found.missing) == (1, 0, ())


def test_a_folder_whose_listing_is_lost_is_a_trial_until_it_is_found(made: Fabricated) -> None:
    sweep(made, draws(1))
    cache, aside = made.path / ".dvc" / "cache", made.path.parent / "aside"
    cache.rename(aside)
    assert [trial.series for trial in gathered(made).trials] == [None]
    aside.rename(cache)
    (trial,) = gathered(made).trials
    assert trial.series is not None
    assert not trial.table.endswith(".dir")


def test_many_lost_looks_can_still_be_survived(made: Fabricated) -> None:
    long_sweep(made, draws(150))
    made.run("rm", "--recursive", ".dvc/cache")
    sweep(made, [draws(1, seed=1)[0] + 0.03])
    found = verdict_over(made)
    assert (found.num_bare, found.finding) == (150, "survives")
    assert found.path["luck"][-1] == found.luck > 0.0  # the curve that the page draws, where it was 0
    assert 0.0 < found.corrected_p_value < 0.05


def test_amended_rebased_and_deleted_commits_stay_in_the_books(made: Fabricated) -> None:
    base, *others = draws(4)
    sweep(made, [base])
    made.run("git", "switch", "--quiet", "--create", "side")
    sweep(made, others[:2])
    made.results({"linear": table({"h1": others[2]})})
    made.run("git", "add", "--all")
    made.run("git", "commit", "--quiet", "--amend", "--message", "amended")
    assert len(gathered(made).trials) == 4, "the amended commit is in the reflog"
    made.run("git", "switch", "--quiet", "main")
    (made.path / "note").write_text("main goes on")
    made.commit("a note")
    rebase = ("git", "rebase", "--quiet", "--strategy-option", "theirs", "--onto", "main", "side~1", "side")
    made.run(*rebase)  # the first commit of the branch is dropped
    assert made.run("git", "rev-parse", "side~1") == made.run("git", "rev-parse", "main")
    assert len(gathered(made).trials) == 4
    made.run("git", "switch", "--quiet", "main")
    made.run("git", "branch", "--quiet", "-D", "side")
    made.run("git", "reflog", "expire", "--expire=now", "--all")
    made.run("git", "gc", "--quiet", "--prune=now")
    found = gathered(made)
    assert (len(found.trials), found.gone) == (4, 3)
    assert judge(found, num_bootstrap=200).num_judged == 4, "with their series"


def test_a_removed_experiment_stays_in_the_books(made: Fabricated) -> None:
    first, second = draws(2)
    base = sweep(made, [first])[0]
    made.results({"linear": table({"h1": second})})
    commit = made.commit("an experiment")
    ref = f"refs/exps/{base[:2]}/{base[2:]}/vapid-knit"
    made.run("git", "update-ref", ref, commit)
    made.run("git", "reset", "--quiet", "--hard", base)
    assert "linear @ vapid-knit" in gathered(made).names.values()
    made.environment["PATH"] = path_of_programs()
    made.run("dvc", "exp", "remove", "vapid-knit")
    assert not made.run("git", "for-each-ref", ref)
    made.run("git", "reflog", "expire", "--expire=now", "--all")
    made.run("git", "gc", "--quiet", "--prune=now")
    assert (len(gathered(made).trials), gathered(made).gone) == (2, 1)


def test_a_clone_takes_the_books_of_its_remote_and_says_where_there_are_none(made: Fabricated, tmp_path: Path) -> None:
    sweep(made, draws(3))
    gathered(made)
    made.run("git", "reset", "--quiet", "--hard", "HEAD~2")
    made.run("git", "init", "--quiet", "--bare", str(tmp_path / "bare"))
    made.run("git", "remote", "add", "origin", str(tmp_path / "bare"))
    made.run("git", "push", "--quiet", "origin", "main")
    said = gathered(made)
    assert (len(said.trials), said.missing) == (3, ("origin has no ledger yet: factor-exp push puts them there",))
    assert main(["-C", str(made.path), "push"]) == 0
    subprocess.run(["git", "clone", "--quiet", str(tmp_path / "bare"), str(tmp_path / "clone")], check=True)
    found = gathered(Fabricated(tmp_path / "clone"))
    assert (len(found.trials), found.missing) == (3, ())
    alone = gathered(Fabricated(tmp_path / "clone"), remotes=False)
    assert alone.missing == ("git remotes were not asked (--offline)",)


def test_a_shallow_clone_and_deleted_books_say_so(made: Fabricated, tmp_path: Path) -> None:
    sweep(made, draws(3))
    address = f"file://{made.path}"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", address, str(tmp_path / "shallow")], check=True)
    found = gathered(Fabricated(tmp_path / "shallow"))
    assert any(why.startswith("the clone is shallow") for why in found.missing)
    gathered(made)
    made.run("git", "reset", "--quiet", "--hard", "HEAD~2")
    made.run("git", "reflog", "expire", "--expire=now", "--all")
    made.run("git", "update-ref", "-d", REF)
    assert gathered(made).missing == ("the ledger of this clone once had 3 more trials than now",)


def test_a_remote_that_cannot_be_reached_is_named(made: Fabricated, tmp_path: Path) -> None:
    sweep(made, draws(1))
    made.run("git", "remote", "add", "origin", str(tmp_path / "nowhere"))
    (why,) = gathered(made).missing
    assert why.startswith("origin cannot be reached")


READING = (("trials", "--read-only"), ("board", "out", "--read-only"), ("leaderboard",), ("compare", "HEAD", "HEAD~1"))
WRITING = (("trials", "--offline"), ("board", "out", "--offline"))


def test_commands_that_read_change_no_ref_and_those_that_write_say_so(
    made: Fabricated, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sweep(made, draws(2))
    monkeypatch.chdir(tmp_path)

    def said(*command: str) -> str:
        assert main(["-C", str(made.path), *command]) == 0
        return capsys.readouterr().out

    before = made.run("git", "for-each-ref")
    told = {command[0]: said(*command) for command in READING}
    assert made.run("git", "for-each-ref") == before
    assert made.git.config("factorcast.trials") is None
    for name in ("trials", "board"):
        assert "2 of them are not written down (--read-only)" in told[name]
    assert "Of 2 trials" in told["trials"], "they are counted all the same"
    for command in WRITING:
        made.run("git", "update-ref", "-d", REF)
        assert "2 were written down now" in said(*command)
        assert REF in made.run("git", "for-each-ref")


def test_where_the_ledger_cannot_be_written_trials_are_counted_all_the_same(made: Fabricated) -> None:
    commits = sweep(made, draws(3))
    ref = REF.rpartition("/")[0]
    made.run("git", "update-ref", ref, commits[0])  # a ref in the place of the folder that ours lies in
    found = gathered(made)
    assert (len(found.trials), found.new) == (3, 3)
    assert "cannot lock ref" in found.unwritten, found.unwritten
    assert judge(found, num_bootstrap=200).num_judged == 3
    made.run("git", "update-ref", "-d", ref)
    assert (gathered(made).new, gathered(made).unwritten) == (3, "")


def test_the_command_prints_the_verdict_json_and_a_page(made: Fabricated, capsys: pytest.CaptureFixture[str]) -> None:
    series = draws(8)
    sweep(made, [*series[:7], series[7] + 0.03])
    page = made.path / "out" / "page.html"
    assert main(["-C", str(made.path), "trials", "--page", str(page)]) == 0
    printed = capsys.readouterr().out
    assert "Of 8 trials, worth 8 looks, the best at h1, linear @ main, has a rank IC of +0.0" in printed
    assert "and survives" in printed
    text = page.read_text()
    assert "chart-luck" in text
    assert "Two-sided p as if it were the only one" in text
    assert "One-sided p corrected for all looks" in text
    assert "http" not in text.replace("http://www.w3.org", "")
    assert main(["-C", str(made.path), "trials", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"]["finding"] == "survives"
    assert document["gathered"] == {
        "trials": 8, "gone": 0, "new": 0, "unwritten": "",
        "queue": {"queued": 0, "running": 0, "failed": 0}, "missing": [],
    }  # fmt: skip


def test_a_label_that_is_not_there_and_no_trial_are_refused(
    made: Fabricated, capsys: pytest.CaptureFixture[str]
) -> None:
    made.commit("nothing")
    assert main(["-C", str(made.path), "trials"]) == 2
    assert "there is no trial yet" in capsys.readouterr().err
    sweep(made, draws(1))
    assert main(["-C", str(made.path), "trials", "--label", "h9"]) == 2
    assert "label 'h9' is not in linear @ main: it has h1" in capsys.readouterr().err


def test_without_a_rank_ic_nothing_is_judged(made: Fabricated) -> None:
    sweep(made, [np.full(50, np.nan)])
    with pytest.raises(ValueError, match="linear @ main has no rank IC of h1 on any date"):
        verdict_over(made)


def test_trials_that_share_no_date_are_not_judged(made: Fabricated) -> None:
    for position, values in enumerate(draws(5)):
        values[80 * position : 80 * (position + 1)] = np.nan
        sweep(made, [values])
    made.results({"stack": table({"h1": draws(6)[5]})})
    made.commit("the stack")
    with pytest.raises(ValueError, match="the 6 trials with at least 80% of the 400 dates of stack @ main"):
        verdict_over(made)


def test_a_rank_ic_that_does_not_vary_is_not_judged(made: Fabricated) -> None:
    sweep(made, [np.full(400, 0.1)])
    with pytest.raises(ValueError, match="the rank IC of h1 does not vary in linear @ main"):
        verdict_over(made)


def test_too_few_dates_have_no_verdict(made: Fabricated) -> None:
    sweep(made, [values[:3] for values in draws(2)])
    assert verdict_over(made).finding == "undefined"


def test_the_books_name_a_trial_and_lose_no_order_of_labels(made: Fabricated) -> None:
    first, second = draws(2)
    made.results({"linear": table({"h5": first, "h1": second})})
    made.commit("one")
    gathered(made)
    (trial,) = Ledger(made.git).read()
    assert trial.series is not None
    assert list(trial.series) == ["h5", "h1"]
    assert verdict_over(made).label == "h5"
