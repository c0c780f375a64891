"""make why STAGE=train@lstm: which setting, module or data has changed since the results in dvc.lock.

The plan is made anew, in memory, and held against the plan file that the lock was made with; data against their hashes.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from stages.params.reading import read_params
from stages.planning.explain import differences
from stages.planning.stages import make_plan, stage_names
from stages.running.planned import plan_path
from stages.running.stage import UNTOUCHED, StageError, run

LOCKS = (Path("dvc.lock"), Path("simulated/dvc.lock"), Path("refit/dvc.lock"))


def main() -> None:
    """Say what has changed for a stage since its results were made."""
    params = read_params()
    names = [f"{name}@{model}" if model else name for name, model in stage_names(params)]
    stage = sys.argv[1] if len(sys.argv) == 2 else ""
    if stage not in names:
        raise StageError(f"say which stage: make why STAGE=<one of {', '.join(names)}>")
    name, _, model = stage.partition("@")
    now = make_plan(name, model, params)
    locked = locked_plan(stage)
    lines = ["it has not run yet"] if locked is None else differences(locked, now)
    lines += data_changes(stage)
    print(f"{stage}: " + ("nothing has changed since its results were made" if not lines else ""))
    for line in lines:
        print(f"  {line}")


def lock_entry(stage: str) -> dict[str, Any] | None:
    """Return the entry of a stage in the first lock file that has it; None if none has."""
    for path in LOCKS:
        if path.is_file():
            stages = yaml.safe_load(path.read_text(encoding="utf-8")).get("stages", {})
            if stage in stages:
                return dict(stages[stage])
    return None


def locked_plan(stage: str) -> dict[str, Any] | None:
    """The plan that the results in dvc.lock were made with.

    It is the one whose hash stands in the lock, among the versions that git has and the one on disk.
    """
    entry, path = lock_entry(stage), plan_path(stage)
    if entry is None:
        return None
    wanted = next((dep["md5"] for dep in entry["deps"] if dep["path"] == str(path)), None)
    for text in versions(path):
        if hashlib.md5(text, usedforsecurity=False).hexdigest() == wanted:
            return dict(json.loads(text))
    raise StageError(f"the plan that dvc.lock has for {stage} is in no commit of this branch: run dvc repro")


def versions(path: Path) -> list[bytes]:
    """The file on disk, then as each commit that changed it left it, newest first."""
    found = [path.read_bytes()] if path.is_file() else []
    log = subprocess.run(["git", "log", "--format=%H", "--", str(path)], check=True, capture_output=True, text=True)
    for commit in log.stdout.split():
        shown = subprocess.run(["git", "show", f"{commit}:{path}"], check=False, capture_output=True)
        if shown.returncode == 0:
            found.append(shown.stdout)
    return found


def data_changes(stage: str) -> list[str]:
    """Dependencies besides the plan whose content differs from the lock, as `dvc status` finds them."""
    status = subprocess.run(
        [sys.executable, "-m", "dvc", "status", "--json", stage], check=False, capture_output=True, text=True
    )
    if status.returncode:
        raise StageError(f"dvc status {stage} failed: {status.stderr.strip()}")
    found = json.loads(status.stdout or "{}").get(stage, [])
    lines = []
    for change in (one for one in found if isinstance(one, dict)):
        for kind, word in (("changed deps", "data"), ("changed outs", "result")):
            for path, state in change.get(kind, {}).items():
                if not path.startswith("results/plan/"):
                    lines.append(f"{word} {path}: {state}")
    return lines


if __name__ == "__main__":
    run("why", main, hint=UNTOUCHED)
