"""plan: check the whole configuration, and say for every stage which settings and which code decide its result.

It takes seconds, comes before all else, and writes one small file per stage and model to results/plan, kept by git. The
other stages depend on their plan file and on data, so an edit that can change no result runs nothing but this. What
this stage refuses is refused before anything is deleted.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from factor_data.whole_file import write_bytes
from stages.json_files import json_bytes, read_json
from stages.params.reading import Params, read_params
from stages.planning.closure import READ
from stages.planning.plots import PLOTS_FILE, plots_document
from stages.planning.prerequisites import check_prerequisites, unread_texts
from stages.planning.stages import make_plan, stage_names
from stages.running.files import LOCKS, RESULTS, check_writable
from stages.running.lock import exclusive
from stages.running.planned import MADE_OF, PLANS, made_of, plan_path
from stages.running.stage import UNTOUCHED, run

PER_MODEL = ("train", "evaluate", "report")
"""Results that hold a folder per model."""


def main() -> None:
    """Run the stage `plan`: write the plans of all stages, touching only those that changed."""
    params = read_params()
    check_prerequisites(params)
    if warning := unread_texts(params):
        print(warning, file=sys.stderr)
    check_writable(PLANS)
    with exclusive(LOCKS / "plan"):
        write_plans(params)


def note_if_current() -> None:
    """Note that the plans are those of params.yaml and the code of now, where they are.

    A clone, or an experiment that was applied, brings plans along, and DVC has no reason to run this stage.
    """
    if MADE_OF.is_file() and read_json(MADE_OF) == made_of():
        return
    plans = all_plans(read_params())
    if not changed_plans(plans) and set(PLANS.glob("*.json")) == set(plans):
        check_writable(MADE_OF.parent)
        write_bytes(MADE_OF, json_bytes(made_of()))


def all_plans(params: Params) -> dict[Path, dict[str, Any]]:
    """Return the plan of every stage and model, by its file."""
    plans = {plan_path(plan["stage"]): plan for plan in (make_plan(*name, params) for name in stage_names(params))}
    READ.save()
    return plans


def changed_plans(plans: Mapping[Path, Any]) -> list[Path]:
    """Return the files that are missing or hold another plan."""
    return [path for path, plan in plans.items() if not path.exists() or path.read_bytes() != json_bytes(plan)]


def write_plans(params: Params) -> None:
    """Write the plans that changed, and delete those of stages and models that are no more."""
    plans = all_plans(params)
    changed = changed_plans(plans)
    for path in changed:
        write_bytes(path, json_bytes(plans[path]))
    plots = plots_document(params)
    if not PLOTS_FILE.is_file() or PLOTS_FILE.read_bytes() != plots:
        write_bytes(PLOTS_FILE, plots)
    check_writable(MADE_OF.parent)
    write_bytes(MADE_OF, json_bytes(made_of()))
    for path in set(PLANS.glob("*.json")) - set(plans):
        path.unlink()
    remove_unlisted(params)
    names = sorted(plans[path]["stage"] for path in changed)
    print(f"{len(plans)} stages planned, {len(names)} changed" + (f": {', '.join(names)}" if names else ""))


def remove_unlisted(params: Params) -> None:
    """Folders of models that `models` no longer names: the stack would depend on them. DVC's cache has them."""
    for stage in PER_MODEL:
        for folder in (RESULTS / stage).glob("*/"):
            if folder.name not in (*params.models, "stack"):
                shutil.rmtree(folder)


if __name__ == "__main__":
    run("plan", main, hint=UNTOUCHED)
