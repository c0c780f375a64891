from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments_samples import DATES, Fabricated, draws, make_repository, table
from factor_experiments.git import Git
from factor_experiments.ledger import Ledger
from factor_experiments.revision import read_revision
from factor_experiments.stored import Stored
from factor_experiments.verdict import Choice, SweepVerdict, sweep_verdict
from factor_metrics import mean_test, paired_difference


@pytest.fixture
def made(tmp_path: Path) -> Fabricated:
    return make_repository(tmp_path / "here")


def judged(made: Fabricated, chosen: str, base: str | None = None, label: str | None = "h1") -> SweepVerdict:
    git = Git(made.path)
    return sweep_verdict(
        Ledger(git),
        Stored(git.root),
        read_revision(git, chosen),
        None if base is None else read_revision(git, base),
        choice=Choice(sweep="s", point={"zoo.linear.alpha": 3.0}, num_trials=12, valid_rank_ic=0.04),
        model="linear",
        label=label,
    )


def test_the_chosen_trial_is_judged_on_test_dates_beside_its_base(made: Fabricated) -> None:
    base, other = draws(2, mean=0.02)
    made.results({"linear": table({"h1": base})})
    first = made.commit("base")
    better = base + 0.01 + 0.02 * draws(1, seed=5)[0]
    made.results({"linear": table({"h1": better})})
    second = made.commit("chosen")
    found = judged(made, second, first)
    expected = mean_test(better)
    assert found.test.mean == pytest.approx(expected.mean)
    assert found.corrected_p_value == pytest.approx(expected.p_value / 2)
    assert found.holds
    assert found.beside_base is not None
    assert found.beside_base.mean == pytest.approx(paired_difference(better, base).mean)
    assert "Of 12 trials" in found.sentence
    assert "the first verdict on such dates" in found.sentence
    assert "more than chance would make" in found.sentence
    made.results({"linear": table({"h1": other})})
    third = judged(made, made.commit("another"), second)
    assert third.num_verdicts == 2
    assert third.corrected_p_value == pytest.approx(1 - (1 - mean_test(other).p_value / 2) ** 2)
    assert judged(made, second).num_verdicts == 2, "the same verdict again is no other look"
    assert judged(made, second, second).beside_base is None


def test_verdicts_on_other_dates_or_labels_cost_nothing_and_travel_with_the_ledger(
    made: Fabricated, tmp_path: Path
) -> None:
    first, second, third = draws(3)
    made.results({"linear": table({"h1": first[:200], "h5": second[:200]})})
    one = made.commit("early")
    made.results({"linear": table({"h1": third[:100]}, np.arange("2022-01-01", "2022-04-11", dtype="datetime64[D]"))})
    two = made.commit("late")
    assert [judged(made, *case).num_verdicts for case in ((one,), (two,))] == [1, 1]
    assert judged(made, one, None, "h5").num_verdicts == 1
    made.run("git", "init", "--quiet", "--bare", str(tmp_path / "bare"))
    made.run("git", "remote", "add", "origin", str(tmp_path / "bare"))
    made.run("git", "push", "--quiet", "origin", "main")
    Ledger(made.git).push("origin")
    made.run("git", "clone", "--quiet", str(tmp_path / "bare"), str(tmp_path / "clone"))
    clone = Ledger(Git(tmp_path / "clone"))
    clone.fetch("origin")
    assert len(clone.verdicts()) == 3
    assert clone.read() == []


def test_a_trial_without_a_signal_does_not_hold_and_what_is_missing_is_named(made: Fabricated) -> None:
    made.results({"linear": table({"h1": draws(1, mean=-0.01)[0], "h5": draws(1)[0][:3]})})
    commit = made.commit("chosen")
    found = judged(made, commit)
    assert not found.holds
    assert "does not hold" in found.sentence
    with pytest.raises(ValueError, match="label 'h9' is not in linear"):
        judged(made, commit, None, "h9")
    made.run("rm", "--recursive", ".dvc/cache")
    with pytest.raises(ValueError, match="neither in DVC's cache nor in its remote: DVC has no remote here"):
        judged(made, commit)


def test_test_dates_that_other_folds_validate_on_are_not_judged(made: Fabricated) -> None:
    """A trial is chosen on them: lifted there and nowhere else it is worth nothing."""
    ic = draws(1)[0]
    where = np.zeros(400, dtype=bool)
    where[100:150] = where[250:300] = True
    made.results(
        {"linear": table({"h1": ic + 0.2 * where, "h5": ic}, overlaps={"h5": 5})},
        valid=[DATES[100:150], DATES[250:300]],
    )
    commit = made.commit("chosen")
    found = judged(made, commit)
    assert found.left_out == 100
    assert found.test.mean == pytest.approx(ic[~where].mean())
    assert not found.holds
    assert "on 300 test dates (100 more are left out: other folds validate there)" in found.sentence
    near = np.zeros(400, dtype=bool)
    near[96:154] = near[246:304] = True
    assert judged(made, commit, None, "h5").test.mean == pytest.approx(ic[~near].mean())
    everywhere = {"linear": table({"h1": ic})}
    made.results(everywhere, valid=[DATES])
    assert (
        "0 test dates but for 400 that other folds validate on are too few" in judged(made, made.commit("all")).sentence
    )
