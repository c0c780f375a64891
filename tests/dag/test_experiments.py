"""Sweep, comparison, trials and leaderboard over runs of the pipeline itself, as `make` calls them."""

from __future__ import annotations

import json

import pytest

from checkout import Checkout

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

SWEEP = """model: linear
label: h1
parameters:
  zoo.linear.alpha: [-1.0, 3.0, 300.0]
"""


def factor_exp(checkout: Checkout, *arguments: str) -> str:
    return checkout.run("python", "-m", "factor_experiments.cli", *arguments).stdout


def test_a_sweep_is_run_compared_counted_and_ranked(copy_of_run: Checkout) -> None:
    copy_of_run.change_params(lambda params: params.update(models=["linear"]))
    (copy_of_run.path / "sweeps" / "alpha.yaml").write_text(SWEEP)
    copy_of_run.run("dvc", "repro")
    copy_of_run.commit("one model")
    swept = copy_of_run.run("python", "-m", "stages.commands.sweep", "sweeps/alpha.yaml", check=False)
    assert swept.returncode == 1, "one is refused"
    assert "3 trials, 2 to run" in swept.stdout
    assert "params.yaml: zoo.linear.alpha = -1.0: must be >= 0.0" in swept.stdout
    names = copy_of_run.run("dvc", "exp", "list", "--name-only").stdout.split()
    assert len(names) == 2
    again = copy_of_run.run("python", "-m", "stages.commands.sweep", "sweeps/alpha.yaml", check=False)
    assert "3 trials, 0 to run" in again.stdout

    judged = copy_of_run.run("python", "-m", "stages.commands.verdict", "sweeps/alpha.yaml", "--json", check=False)
    verdict = json.loads(judged.stdout)
    assert judged.returncode == (0 if verdict["holds"] else 1)
    assert verdict["experiment"] in names
    assert verdict["choice"]["point"] in ({"zoo.linear.alpha": 3.0}, {"zoo.linear.alpha": 300.0})
    assert (verdict["choice"]["num_trials"], verdict["num_verdicts"]) == (2, 1)
    assert verdict["beside_base"]["num_dates"] > 0
    page = (copy_of_run.path / ".live" / "sweeps" / "alpha" / "page.html").read_text()
    assert "zoo.linear.alpha (logarithmic)" in page

    compared = json.loads(factor_exp(copy_of_run, "compare", *names, "--json"))
    assert set(compared["differences"]["params"]) == {"zoo.linear.alpha"}
    assert compared["differences"]["modules"] == {}
    assert {one["status"] for one in compared["forecasts"]} == {"compared"}
    assert all(one["net_return_difference"] for one in compared["forecasts"])

    counted = json.loads(factor_exp(copy_of_run, "trials", "--json"))
    # The first run had six models; stacks of one model and of six, and of each alpha: (6 + 1) + 1 + 2 * 2.
    # Stages wrote them down; what is new are those of the lock file that the copy began with, whose tables it lacks.
    gathered, verdict = counted["gathered"], counted["verdict"]
    assert gathered["trials"] - gathered["new"] == 12
    assert verdict["num_bare"] == gathered["new"]
    assert gathered["missing"] == ["tables that DVC's cache lacks could not be fetched: DVC has no remote here"]
    judged = {trial["name"].split(" @ ")[1] for trial in verdict["selection"]["trials"]}
    assert set(names) <= judged

    board = json.loads(factor_exp(copy_of_run, "leaderboard", "--json"))
    assert {place["name"] for place in board["places"]} == {"linear", "stack"}
    assert all(place["beside_equal"] for place in board["places"] if place["name"] == "stack")
