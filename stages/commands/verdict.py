"""make verdict FILE=sweeps/example.yaml: the trial that is best on valid dates, judged on its test dates.

A sweep looks at valid dates alone. This looks at the test dates of one trial, and writes into the ledger of trials that
it has; the more verdicts on the same dates, the more the next one has to show.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from factor_experiments.git import Git
from factor_experiments.ledger import Ledger
from factor_experiments.revision import Revision, read_revision
from factor_experiments.stored import Stored
from factor_experiments.sweep_run import Job, best_of, experiments_here, find_done
from factor_experiments.sweeps import Sweep
from factor_experiments.verdict import Choice, sweep_verdict
from stages.commands.sweep import check_name, read_sweep
from stages.running.stage import UNTOUCHED, StageError, run


def main() -> None:
    """Print the verdict as a sentence, or as JSON with --json; exit status 1 where the best trial does not hold."""
    files = [Path(argument) for argument in sys.argv[1:] if argument != "--json"]
    if len(files) != 1 or files[0] == Path():
        raise StageError("say of which sweep: make verdict FILE=sweeps/example.yaml")
    sweep, git = read_sweep(files[0]), Git(Path())
    check_name(files[0])
    stored = Stored(git.root)
    jobs = done_trials(git, stored, sweep, files[0].stem)
    best = best_of(jobs)
    if best is None:
        raise StageError(f"{files[0]}: no trial of this commit has a score on valid dates; make sweep FILE={files[0]}")
    chosen, base = read_revision(git, best.name), base_of(git)
    found = sweep_verdict(
        Ledger(git),
        stored,
        chosen,
        base,
        choice=Choice(
            sweep=files[0].stem, point=values_of(chosen, sweep), num_trials=len(jobs), valid_rank_ic=best.score
        ),
        model=sweep.model,
        label=sweep.label,
    )
    print(json.dumps(found.to_dict(), indent=2) if "--json" in sys.argv else found.sentence)
    if not found.holds:
        sys.exit(1)


def done_trials(git: Git, stored: Stored, sweep: Sweep, name: str) -> list[Job]:
    """Return the trials of a sweep that are experiments of the commit that is checked out, with their scores."""
    named = re.compile(rf"{re.escape(name)}-[0-9a-f]{{8}}")
    jobs = [Job(name=one, point={}) for one in sorted(experiments_here(git)) if named.fullmatch(one)]
    find_done(git, stored, jobs, sweep.model, sweep.label)
    return jobs


def base_of(git: Git) -> Revision | None:
    """Return the commit that the sweep starts from; None where nothing was run there."""
    try:
        return read_revision(git, "HEAD")
    except ValueError:
        return None


def values_of(chosen: Revision, sweep: Sweep) -> dict[str, Any]:
    """Return what the sweep has set in the trial that was chosen."""
    keys = dict.fromkeys([*sweep.parameters, *(key for point in sweep.points for key in point)])
    return {key: chosen.params[key] for key in keys if key in chosen.params}


if __name__ == "__main__":
    run("verdict", main, UNTOUCHED)
