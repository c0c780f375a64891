"""make sweep FILE=sweeps/example.yaml: try values of params.yaml as DVC experiments; best is by valid dates alone.

Values are checked before anything runs. Run again, it does what is missing and what has failed. A page tells which
parameters matter.
"""

from __future__ import annotations

import copy
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from factor_experiments.git import Git
from factor_experiments.stored import Stored
from factor_experiments.sweep_choice import Choice, Guided, Listed
from factor_experiments.sweep_devices import shares, visible_devices
from factor_experiments.sweep_page import sweep_page
from factor_experiments.sweep_run import Job, Record, best_of, find_done, find_ended, run_jobs
from factor_experiments.sweeps import Sweep, next_look, trial_name
from factor_experiments.writing import write_text
from stages.params.checking import validate
from stages.params.plain_yaml import parse_yaml
from stages.params.reading import PARAMS_FILE, Params, parse_params, read_document
from stages.running.environment import whole_number
from stages.running.stage import UNTOUCHED, StageError, run

LOGS = Path(".live") / "sweeps"
PAGE = "page.html"


def main() -> None:
    """Run a sweep in sight; then print a table, what the next trial would cost, and where the page is."""
    if len(sys.argv) != 2 or not sys.argv[1]:
        raise StageError("say which sweep: make sweep FILE=sweeps/example.yaml")
    file = Path(sys.argv[1])
    sweep, document = read_sweep(file), read_document(PARAMS_FILE)
    check_clean()
    check_name(file)
    git, logs = Git(Path()), LOGS / file.stem
    stored, record = Stored(git.root), Record(logs, git.commit("HEAD"))

    def prepare(*jobs: Job) -> None:
        check_values(jobs, sweep, document)
        find_done(git, stored, jobs, sweep.model, sweep.label)
        for job in jobs:
            record.restore(job)

    choice = choose(sweep, file.stem, prepare)
    left = sum(job.status == "waiting" for job in choice.jobs)
    number = f"{len(choice.jobs)} trials, {left} to run" if choice.jobs else f"up to {sweep.trials} trials"
    print(f"{file.stem}: {number}; logs: {logs}")

    begun, ran = time.monotonic(), 0

    def finished(job: Job) -> None:
        nonlocal ran
        find_ended(git, stored, job, sweep.model, sweep.label)
        record.keep(job)
        ran += 1
        each = (time.monotonic() - begun) / ran
        print(progress(job, choice.jobs, each, sweep.trials if sweep.method == "optuna" else None), flush=True)

    deadline = None if sweep.minutes is None else begun + 60.0 * sweep.minutes
    run_jobs(git.root, choice, logs, sweep.jobs, deadline, finished, sweep.model, devices())
    # DVC lets a run that ends take over another one that begins just then: what it has made is there by now.
    find_done(git, stored, choice.jobs, sweep.model, sweep.label)
    jobs, said = choice.jobs, next_look(sum(job.status == "done" for job in choice.jobs))
    print(table(jobs))
    print(f"{said} make verdict FILE={file} looks at the test dates of the best.")
    write_text(logs / PAGE, sweep_page(file.stem, jobs, said))
    print(f"Page: {logs / PAGE}")
    if any(job.status not in ("done", "stopped") for job in jobs):
        sys.exit(1)


def choose(sweep: Sweep, name: str, prepare: Callable[..., None]) -> Choice:
    """Return the trials of a sweep as they come: all at once, or one after another by their results."""
    if sweep.method == "optuna":
        prepare(Job(name="", point={}, status="refused"))  # what is wrong with the sweep as a whole is said at once
        return Guided(sweep, name, prepare)
    jobs = [Job(name=trial_name(name, point), point=point) for point in sweep.expand()]
    prepare(*jobs)
    return Listed(jobs)


def read_sweep(file: Path) -> Sweep:
    """Return the sweep of a file. StageError naming file, key, value and rule where it is wrong."""
    if not file.is_file():
        raise StageError(f"{file} does not exist")
    try:
        document = parse_yaml(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StageError(f"{file}: {error}") from None
    sweep: Sweep = validate(Sweep, document, f"{file}: ")
    return sweep


def check_clean() -> None:
    """Refuse where tracked files differ from the commit: a trial that is there would not say what it was made of.

    ValueError without git, outside a repository, or before its first commit.
    """
    git = Git(Path())
    if git.find("HEAD") is None:
        raise StageError("there is no commit yet: make one, so that trials start from it")
    changed = git.text("diff", "--name-only", "HEAD").splitlines()
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise StageError(
            f"tracked files differ from the last commit ({', '.join(changed[:3])}{more}): commit them, so that trials "
            "start from it"
        )


def check_name(file: Path) -> None:
    """Refuse a file whose name, by which its experiments begin, git does not take in a ref."""
    if not Git(Path()).can_name_experiments(file.stem):
        raise StageError(
            f"{file}: its experiments are named by the file, and {file.stem!r} is no valid name of a git ref: rename "
            "it, with letters, digits, - and _ alone"
        )


def check_values(jobs: Sequence[Job], sweep: Sweep, document: Mapping[str, Any]) -> None:
    """Mark trials whose values params.yaml refuses, with its reason. StageError where the sweep as a whole is wrong."""
    models = parse_params(document, PARAMS_FILE.name).models
    if sweep.model not in models:
        raise StageError(f"model: {sweep.model} is none of models in {PARAMS_FILE}: {', '.join(models)}")
    for job in jobs:
        try:
            params = parse_params(with_values(document, job.point), PARAMS_FILE.name)
        except ValueError as error:
            job.status, job.reason = "refused", str(error)
            continue
        if sweep.label is not None and sweep.label not in params.tokenize.labels:
            raise StageError(f"label: {sweep.label} is none of tokenize.labels: {', '.join(params.tokenize.labels)}")
        check_shares(sweep.jobs, params, devices())


def devices() -> list[str]:
    """Return the GPUs that the trials share."""
    return visible_devices(torch.cuda.device_count(), os.environ)


def check_shares(jobs: int, params: Params, gpus: Sequence[str]) -> None:
    """Refuse more threads than there are cores, since trials would wait for one another, and processes without a GPU.

    Threads are those of the model that takes most, in as many processes as the environment wants.
    """
    if jobs == 1:
        return
    each = len(shares(gpus, jobs)[0])
    processes = whole_number("FACTORCAST_PROCESSES", default=max(1, each))
    if gpus and processes > each:
        raise StageError(
            f"jobs: {jobs} leave each trial {each} of {len(gpus)} GPUs, too few for FACTORCAST_PROCESSES {processes}"
        )
    threads = {f"zoo.{name}.train.threads": params.train_of(name).threads for name in params.models}
    if params.kline_models:
        threads["tokenize_kline.threads"] = params.tokenize_kline.threads
    key, most = max(threads.items(), key=lambda item: item[1])
    folds, cores = whole_number("FACTORCAST_PARALLEL_FOLDS", 1), len(os.sched_getaffinity(0))
    if jobs * most * processes * folds > cores:
        said = f"jobs: {jobs} with {'train.threads' if most == params.train.threads else key} {most}"
        said += f", {processes} processes a training" if processes > 1 else ""
        said += f", FACTORCAST_PARALLEL_FOLDS {folds}" if folds > 1 else ""
        raise StageError(f"{said} are more than the {cores} cores of this machine")


def with_values(document: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
    """Return params.yaml with the values of dotted keys."""
    changed: dict[str, Any] = copy.deepcopy(dict(document))
    for key, value in point.items():
        *path, last = key.split(".")
        section = changed
        for part in path:
            if not isinstance(section.get(part), dict):
                section[part] = {}
            section = section[part]
        section[last] = value
    return changed


def progress(job: Job, jobs: Sequence[Job], each: float, wanted: int | None = None) -> str:
    """Return the lines that are printed when a trial ends.

    `each` are seconds from one end to the next so far, `wanted` all trials of a sweep that goes on choosing.
    """
    statuses = ("done", "stopped", "failed", "refused", "running", "waiting")
    counts = {status: sum(one.status == status for one in jobs) for status in statuses}
    counts["waiting"] += max(0, (wanted or 0) - len(jobs))
    eta = timedelta(seconds=round(each * (counts["waiting"] + counts["running"])))
    said = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    best = best_of(jobs)
    told = "" if best is None else f", best {best.name} {score_of(best)} on valid dates"
    what = score_of(job) if job.status == "done" else f"{job.status}: {job.reason.splitlines()[-1]}"
    return f"{job.name} ({values_of(job)}): {what}\n  {said}, ETA {eta}{told}"


def score_of(job: Job) -> str:
    """Return the rank IC of a trial that is done with its interval, in words where there is none."""
    if not math.isfinite(job.score):
        return "no IC"
    low, high = job.interval
    return f"{job.score:+.4f}" + (f" [{low:+.4f}, {high:+.4f}]" if math.isfinite(low) else "")


def values_of(job: Job) -> str:
    """Return the values of a trial in words."""
    return ", ".join(f"{key} {value}" for key, value in job.point.items())


def table(jobs: Sequence[Job]) -> str:
    """Return all trials, best first by their rank IC on valid dates, and below them why others have none."""
    done = [job for job in jobs if job.status == "done"]
    done.sort(key=lambda job: (not math.isfinite(job.score), -job.score, job.name))
    wide = max([7, *(len(score_of(job)) for job in done)])
    lines = [f"{score_of(job):>{wide}}  {job.name}  {values_of(job)}" for job in done]
    lines += [f"{job.status:>7}  {job.name}  {values_of(job)}" for job in jobs if job.status == "waiting"]
    for job in jobs:
        if job.status in ("failed", "refused", "stopped"):
            lines.append(f"{job.status:>7}  {job.name}  {values_of(job)}")
            lines += [f"         {line}" for line in job.reason.splitlines()]
    return "\n".join(lines)


if __name__ == "__main__":
    run("sweep", main, UNTOUCHED)
