"""make sweep FILE=sweeps/example.yaml: try values of params.yaml as DVC experiments; best is by valid dates alone.

Values are checked before anything runs. Run again, it does what is missing and what has failed. A page tells which
parameters matter.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from factor_experiments.git import Git
from factor_experiments.stored import Stored
from factor_experiments.sweep_choice import Choice, Guided, Listed
from factor_experiments.sweep_devices import shares, visible_devices
from factor_experiments.sweep_page import sweep_page
from factor_experiments.sweep_run import Job, Record, find_done, find_ended, run_jobs
from factor_experiments.sweeps import Sweep, next_look, trial_name
from factor_experiments.writing import write_text
from stages.commands.sweep_view import SweepView, trials_table
from stages.params.checking import validate
from stages.params.plain_yaml import parse_yaml
from stages.params.reading import PARAMS_FILE, Params, parse_params, read_document
from stages.running.environment import whole_number
from stages.running.rwlock import remove_broken_rwlock
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
    remove_broken_rwlock()
    git, logs = Git(Path()), LOGS / file.stem
    stored, record = Stored(git.root), Record(logs, git.commit("HEAD"))

    def prepare(*jobs: Job) -> None:
        check_values(jobs, sweep, document)
        find_done(git, stored, jobs, sweep.model, sweep.label)
        for job in jobs:
            record.restore(job)

    choice = choose(sweep, file.stem, prepare, record.points)
    left = sum(job.status == "waiting" for job in choice.jobs)
    number = f"{len(choice.jobs)} trials, {left} to run" if choice.jobs else f"up to {sweep.trials} trials"
    print(f"{file.stem}: {number}; logs: {logs}")
    view = SweepView(choice, sweep.trials if sweep.method == "optuna" else None)

    def finished(job: Job) -> None:
        find_ended(git, stored, job, sweep.model, sweep.label)
        record.keep(job)
        view.ended(job)

    deadline = None if sweep.minutes is None else view.begun + 60.0 * sweep.minutes
    with view:
        run_jobs(git.root, choice, logs, sweep.jobs, deadline, finished, sweep.model, sweep.label, devices())
    # DVC lets a run that ends take over another one that begins just then: what it has made is there by now.
    find_done(git, stored, choice.jobs, sweep.model, sweep.label)
    jobs, said = choice.jobs, next_look(sum(job.status == "done" for job in choice.jobs))
    print(trials_table(jobs))
    print(f"{said} make verdict FILE={file} looks at the test dates of the best.")
    write_text(logs / PAGE, sweep_page(file.stem, jobs, said))
    print(f"Page: {logs / PAGE}")
    if any(job.status not in ("done", "stopped") for job in jobs):
        sys.exit(1)


def choose(sweep: Sweep, name: str, prepare: Callable[..., None], known: Sequence[Mapping[str, Any]]) -> Choice:
    """Return the trials of a sweep as they come: all at once, or one after another by their results.

    `known` are points that were tried before.
    """
    if sweep.method == "optuna":
        prepare(Job(name="", point={}, status="refused"))  # what is wrong with the sweep as a whole is said at once
        return Guided(sweep, name, prepare, known)
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


if __name__ == "__main__":
    run("sweep", main, UNTOUCHED)
