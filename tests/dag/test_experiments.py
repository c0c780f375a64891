"""The tutorial, carried out: sweep, comparison, verdict, trials, forecast, remote, over runs of the pipeline itself."""

from __future__ import annotations

import json
import os
import re

import pandas as pd
import pytest

from checkout import Checkout, stages_that_ran
from stages import ROOT

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
SWEEP = re.findall(r"^```yaml\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL)[0]
MAY_SAY_NO = ("make sweep", "make verdict", "make gates")
"""Commands that end with 1, and make with 2, where something is refused or not good enough."""


def chapter(number: int) -> list[str]:
    """The commands of a chapter of the tutorial, a line each, without comments."""
    text = re.split(r"^## ", TUTORIAL, flags=re.MULTILINE)[number]
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]


def carry_out(checkout: Checkout, lines: list[str]) -> str:
    """Run lines one after another in one shell, as a reader types them; nothing is installed."""
    shell = ["set -e", 'make() { command make --no-print-directory -o install "$@"; }']
    shell += [f"{line} || test $? = 2" if line.startswith(MAY_SAY_NO) else line for line in lines]
    packages = os.pathsep.join(str(path) for path in (checkout.path / "packages").glob("*/src"))
    return checkout.run("bash", "-c", "\n".join(shell), PYTHONPATH=packages).stdout


def factor_exp(checkout: Checkout, *arguments: str) -> str:
    return checkout.run("python", "-m", "factor_experiments.cli", *arguments).stdout


def test_the_tutorial_is_carried_out(copy_of_run: Checkout) -> None:
    copy_of_run.change_params(lambda params: params.update(models=["linear"]))
    copy_of_run.run("dvc", "repro")
    copy_of_run.commit("one model")
    (copy_of_run.path / "sweeps" / "alpha.yaml").write_text(SWEEP)
    swept = carry_out(copy_of_run, chapter(2))
    assert "3 trials, 2 to run" in swept
    assert "params.yaml: zoo.linear.alpha = -1.0: must be >= 0.0" in swept
    names = ["alpha-0535ae4f", "alpha-233a315a"]
    assert sorted(copy_of_run.run("dvc", "exp", "list", "--name-only").stdout.split()) == names
    assert "3 trials, 0 to run" in carry_out(copy_of_run, chapter(2)[1:2])
    page = (copy_of_run.path / ".live" / "sweeps" / "alpha" / "page.html").read_text()
    assert "zoo.linear.alpha (logarithmic)" in page

    first, second = carry_out(copy_of_run, chapter(3)).split("{", 1)
    assert "zoo.linear.alpha" in first
    compared = json.loads("{" + second)
    assert set(compared["differences"]["params"]) == {"zoo.linear.alpha"}
    assert compared["differences"]["modules"] == {}
    assert {one["status"] for one in compared["forecasts"]} == {"compared"}
    assert all(one["net_return_difference"] for one in compared["forecasts"])

    judged = carry_out(copy_of_run, chapter(4))
    assert re.search(r"Of 2 trials alpha-\w+ \(zoo.linear.alpha [\d.]+\) is best on valid dates", judged)
    assert "the first verdict on such dates" in judged
    board = (copy_of_run.path / ".live" / "board" / "index.html").read_text()
    assert all(f"linear @ {name}" in board for name in names)
    assert "sweeps/alpha.html" in board

    counted = json.loads(factor_exp(copy_of_run, "trials", "--json"))
    # The first run had six models; stacks of one model and of six, and of each alpha: (6 + 1) + 1 + 2 * 2.
    # Stages wrote them down; others are those of the lock file that the copy began with, whose tables it lacks.
    gathered, verdict = counted["gathered"], counted["verdict"]
    assert gathered["trials"] - verdict["num_bare"] == 12
    assert set(gathered["missing"]) <= {"tables that DVC's cache lacks could not be fetched: DVC has no remote here"}
    trials = {trial["name"].split(" @ ")[1] for trial in verdict["selection"]["trials"]}
    assert set(names) <= trials

    ranked = json.loads(factor_exp(copy_of_run, "leaderboard", "--json"))
    assert {place["name"] for place in ranked["places"]} == {"linear", "stack"}
    assert all(place["beside_equal"] for place in ranked["places"] if place["name"] == "stack")

    kept = carry_out(copy_of_run, chapter(5))
    assert not stages_that_ran(kept)
    carry_out(copy_of_run, chapter(6))
    forecasts = pd.read_parquet(copy_of_run.path / "forecasts.parquet")
    assert len(forecasts) > 0
    (copy_of_run.path / "forecasts.parquet").unlink()
    (copy_of_run.path.parent / "store").mkdir()
    copy_of_run.run("git", "init", "--quiet", "--bare", "../bare")
    shared = carry_out(copy_of_run, chapter(7))
    assert "up to date" in shared
    assert not stages_that_ran(shared)
    assert f"{gathered['trials']} trials in the ledger" in shared
