"""What Optuna with pruning saves against a grid, both by `make sweep`, on the market of the default run.

    python -m studies.sweeps [--seeds 5] [--cost]

The grid is run once, Optuna with several seeds. Each sweep has a copy of the repository for itself, in .studies/sweeps,
with one split and one set of inputs, which DVC shares between the trials; what one sweep has trained, another cannot
take from its run cache. CPU seconds are those of each trial with all processes that it starts, DVC's among them. The
best is by valid dates alone. Writes docs/results/sweeps.md with the sweeps that are there; one that was interrupted
goes on, as `make sweep` does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import yaml

from factor_experiments.git import Git
from factor_experiments.stored import Stored
from factor_experiments.sweep_run import RECORD, Job, best_of, find_done
from stages import ROOT
from stages.json_files import read_json
from studies.attained import QUIETLY, table
from studies.workspace import STUDIES, base_params, changed, digest

PAGE = ROOT / "docs" / "results" / "sweeps.md"
MODEL, LABEL = "lightgbm", "h1"
SYMBOLS = 100
CHANGES: dict[str, Any] = {"models": [MODEL], "sample.symbols": SYMBOLS, "evaluate.bootstrap": 200, **QUIETLY}
SPACE: dict[str, list[Any]] = {
    "zoo.lightgbm.learning_rate": [0.01, 0.03, 0.1, 0.3],
    "zoo.lightgbm.leaves": [3, 7, 15, 31],
}
POINTS = prod(len(values) for values in SPACE.values())
TRIALS = 10
SECONDS = 20
"""CPU seconds of a trial, about: what is said before the grid has been run."""
SHARED = ("split", "tokenize", "inputs")
"""Stages that are run once, before the sweeps."""


@dataclass(frozen=True, kw_only=True)
class Swept:
    """A sweep that has ended."""

    jobs: list[Job]
    """Its trials in the order in which they ended."""

    @property
    def best(self) -> Job:
        found = best_of(self.jobs)
        if found is None:
            raise ValueError("no trial of the sweep has a score: its logs say why")
        return found

    @property
    def cpu_seconds(self) -> float:
        return sum(job.cpu_seconds for job in self.jobs)

    def until(self, score: float) -> list[Job]:
        """The trials up to the first one that is as good; all of them where none is."""
        places = [place for place, job in enumerate(self.jobs) if job.status == "done" and job.score >= score]
        return self.jobs[: places[0] + 1] if places else self.jobs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="of Optuna; sweeps that are there are not run again")
    parser.add_argument("--cost", action="store_true", help="say what it would cost, and stop")
    options = parser.parse_args()
    sweeps = {"grid": sweep("grid")} | {f"optuna_{seed}": sweep("optuna", seed) for seed in range(options.seeds)}
    trials = POINTS + options.seeds * TRIALS
    print(
        f"{POINTS} points by grid, at most {TRIALS} trials for each of {options.seeds} seeds: at most {trials} trials, "
        f"some {trials * SECONDS / 60:.0f} CPU minutes of one core; trials that are there are not run again",
        flush=True,
    )
    if options.cost:
        return
    found: dict[str, Swept] = {}
    for name, document in sweeps.items():
        found[name] = run_sweep(name, document)
        spent = sum(one.cpu_seconds for one in found.values())
        left = found["grid"].cpu_seconds * TRIALS / POINTS * (len(sweeps) - len(found))
        print(f"{name}: {spent / 60:.1f} CPU minutes so far, at most {left / 60:.0f} to go", flush=True)
    PAGE.write_text(page(found.pop("grid"), list(found.values())), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def sweep(method: str, seed: int = 0) -> dict[str, Any]:
    """The document of a sweep."""
    drawn = {"trials": TRIALS, "seed": seed} if method == "optuna" else {}
    return {"model": MODEL, "label": LABEL, "method": method, **drawn, "parameters": SPACE}


def run_sweep(name: str, document: dict[str, Any]) -> Swept:
    """Run what is missing of a sweep, in a copy of its own, in sight."""
    base = shared_copy()
    folder = base.with_name(f"{name}-{digest(document)[:10]}")
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(base, partial, symlinks=True)
        (partial / "sweeps" / f"{name}.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        commit(partial, "a sweep")
        partial.rename(folder)
    start(folder, "make", "--no-print-directory", "--old-file", "install", "sweep", f"FILE=sweeps/{name}.yaml")
    known = read_json(folder / ".live" / "sweeps" / name / RECORD)
    kept = ("status", "folds", "cpu_seconds")
    jobs = [Job(name=trial, point=one["point"], **{key: one[key] for key in kept}) for trial, one in known.items()]
    find_done(Git(folder), Stored(folder), jobs, MODEL, LABEL)
    return Swept(jobs=jobs)


def shared_copy() -> Path:
    """A copy of the repository with the params of the study, its market and its inputs, committed."""
    params = changed(base_params(), CHANGES)
    params["zoo"][MODEL]["num_threads"] = 1
    folder = STUDIES / "sweeps" / digest(params)[:10] / "shared"
    if folder.exists():
        return folder
    partial = folder.with_name("shared.partial")
    shutil.rmtree(partial, ignore_errors=True)
    names = Git(ROOT).run("ls-files", "--cached", "--others", "--exclude-standard", "-z").decode().split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, partial / name)
    (partial / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    start(partial, "git", "init", "--quiet", "--initial-branch", "main")
    start(partial, "git", "config", "user.name", "study")
    start(partial, "git", "config", "user.email", "study@factorcast.invalid")
    start(partial, "dvc", "repro", "--quiet", *SHARED)
    commit(partial, "a market and its inputs")
    partial.rename(folder)
    return folder


def commit(folder: Path, message: str) -> None:
    start(folder, "git", "add", "--all")
    start(folder, "git", "commit", "--quiet", "--message", message)


def start(folder: Path, *command: str) -> None:
    """Run a command in a copy, with the code of the copy; what it says is seen."""
    code = os.pathsep.join(str(path) for path in sorted(folder.glob("packages/*/src")))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path, "PYTHONPATH": code}, check=True)


def page(grid: Swept, guided: Sequence[Swept]) -> str:
    """The study as a page of Markdown."""
    rows = []
    for seed, one in enumerate(guided):
        until = one.until(grid.best.score)
        is_reached = one.best.score >= grid.best.score
        spent = sum(job.cpu_seconds for job in until)
        rows.append(
            [
                seed,
                f"{one.best.score:+.4f}",
                f"trial {len(until)}" if is_reached else "not reached",
                f"{spent:.0f}",
                f"{spent / grid.cpu_seconds:.0%}",
                sum(job.status == "stopped" for job in one.jobs),
                f"{one.cpu_seconds:.0f}",
                f"{one.cpu_seconds / grid.cpu_seconds:.0%}",
            ]
        )
    head = ["seed", "best", "the grid's best", "CPU s until then", "share", "stopped early", "CPU s of all", "share"]
    scores = [[told(job), f"{job.score:+.4f}", " ".join(f"{one:+.4f}" for one in job.folds), f"{job.cpu_seconds:.0f}"]
              for job in sorted(grid.jobs, key=lambda job: -job.score)]  # fmt: skip
    said = HEAD.format(best=told(grid.best), score=grid.best.score, cpu=grid.cpu_seconds)
    return "\n".join(
        [
            said,
            *table(head, rows),
            "",
            "## The grid",
            "",
            *table(["learning rate, leaves", "valid rank IC", "by fold", "CPU s"], scores),
        ]
    ) + "\n"  # fmt: skip


def told(job: Job) -> str:
    return ", ".join(f"{value:g}" for value in job.point.values())


HEAD = f"""# What Optuna with pruning saves against a grid, by make sweep

The market of the default run with {SYMBOLS} of its symbols, the same 1,500 days and three folds, LightGBM alone:
{POINTS} points, learning rates times numbers of leaves. The grid runs them all. Optuna may run {TRIALS} of them, one
after another, with five seeds; a trial that is below the median of the others after a fold is stopped. Every trial is a
DVC experiment that trains, judges, stacks and draws. CPU seconds are those of a trial and all processes that it starts.
The split and the inputs are made once, before; sweeps do not share what they have trained. Made by `make study-sweeps`.

The best of the grid is learning rate and leaves {{best}}, with a rank IC of {{score:+.4f}} on valid dates, after
{{cpu:.0f}} CPU seconds of all its trials. Test dates were not looked at.
"""


if __name__ == "__main__":
    main()
