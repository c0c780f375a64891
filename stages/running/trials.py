"""The ledger of trials: each evaluation is written down where it is made, so that none is forgotten later."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from factor_experiments.git import Git
from factor_experiments.ledger import Ledger, trial_of
from factor_experiments.stored import folder_digest
from stages.running.costs import cost_of
from stages.running.planned import Plan

TABLE = "ic.parquet"


def note_trial(name: str, plan: Plan, folder: Path) -> None:
    """Write the evaluation in `folder` into the ledger of the repository (`factor_experiments.ledger`).

    A queued experiment runs in a copy that is deleted after it: DVC then names the main repository in DVC_ROOT, and its
    ledger is written. Where there is no git, or it cannot be written to, the stage goes on and says so: no result
    depends on the ledger.
    """
    try:
        git = Git(os.environ.get("DVC_ROOT") or Path())
        trial = trial_of(
            name,
            (folder / TABLE).read_bytes(),
            commit=git.find(os.environ.get("DVC_EXP_BASELINE_REV") or "HEAD"),
            experiment=os.environ.get("DVC_EXP_NAME"),
            settings=plan.settings,
            cpu_seconds=cost_of(name),
        )
        Ledger(git).add([trial], {folder_digest(folder): trial.table})
    except (ValueError, OSError) as error:
        print(f"{name} is not in the ledger of trials: {error}", file=sys.stderr)
