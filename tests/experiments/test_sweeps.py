from __future__ import annotations

import json
import math
import os
import re
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from experiments_samples import Fabricated, make_repository
from factor_experiments.history import queue_counts
from factor_experiments.importance import parameter_importance
from factor_experiments.stored import Stored
from factor_experiments.sweep_choice import Guided, Listed
from factor_experiments.sweep_devices import shares, visible_devices
from factor_experiments.sweep_page import sweep_page
from factor_experiments.sweep_run import (
    STANDALONE,
    Job,
    Record,
    _Running,
    best_of,
    experiments_here,
    find_ended,
    fold_scores,
    run_jobs,
)
from factor_experiments.sweeps import Sweep, next_look, overrides, trial_name
from stages import ROOT
from stages.commands.sweep import check_clean, check_name, check_values, main, read_sweep, with_values
from stages.commands.sweep_view import trials_table
from stages.params.reading import read_document
from stages.running.stage import StageError
from warm import path_of_programs
from workplace import smoke_document


def test_a_grid_has_every_combination_and_stops_at_its_budget() -> None:
    sweep = Sweep(model="linear", parameters={"a": [1, 2], "b": ["x", "y"]})
    assert sweep.expand() == [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]
    assert len(Sweep(model="linear", parameters={"a": [1, 2], "b": ["x", "y"]}, trials=3).expand()) == 3
    assert Sweep(model="linear", method="list", points=({"a": 1}, {"a": 1}, {"b": 2})).expand() == [{"a": 1}, {"b": 2}]


def test_random_draws_keep_to_their_range_and_come_again() -> None:
    parameters = {
        "lr": {"low": 1e-4, "high": 1e-2, "scale": "log"},
        "leaves": {"low": 2, "high": 9},
        "loss": ["a", "b"],
    }
    sweep = Sweep(model="lightgbm", method="random", parameters=parameters, trials=200, seed=3)
    points = sweep.expand()
    assert points == sweep.expand()
    assert all(1e-4 <= point["lr"] <= 1e-2 and 2 <= point["leaves"] <= 9 for point in points)
    assert {type(point["leaves"]) for point in points} == {int}
    below = sum(point["lr"] < 1e-3 for point in points) / len(points)
    assert 0.4 < below < 0.6, "half of the draws in each decade"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"parameters": {}}, "method grid takes parameters alone"),
        ({"method": "list", "parameters": {"a": [1]}}, "method list takes points alone"),
        ({"method": "random", "parameters": {"a": [1]}}, "method random needs their number"),
        ({"method": "optuna", "parameters": {"a": [1]}}, "method optuna needs their number"),
        ({"parameters": {"a": [1]}, "stop_after": 0}, "stop_after: 0 must be above 0"),
        ({"parameters": {"a": 3}}, "parameters.a: 3 must be a list of values"),
        ({"method": "random", "trials": 2, "parameters": {"a": {"low": 3, "high": 1}}}, "must have low < high"),
        ({"parameters": {"a": [1]}, "jobs": 0}, "jobs: 0 must be above 0"),
        ({"parameters": {"a": [1]}, "trials": 4_000_000_000}, "trials: 4000000000 must be at most 10,000"),
        (
            {"parameters": {"a": {"low": "x", "high": 1}}, "method": "random", "trials": 2},
            "parameters.a.low: 'x' must be",
        ),
        ({"parameters": {"a": {"low": 0, "high": [1]}}, "method": "optuna", "trials": 2}, r"parameters.a.high: \[1\]"),
        (
            {"parameters": {"a": {"low": False, "high": 1}}, "method": "random", "trials": 2},
            "low: False must be a number",
        ),
        ({"parameters": {"a": [1]}, "seed": -1}, "seed: -1 must be >= 0"),
        ({"parameters": {f"a{n}": list(range(10)) for n in range(30)}}, "the grid has more than 10,000 trials"),
    ],
)
def test_a_wrong_sweep_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Sweep(model="linear", **settings)


def test_values_are_written_as_dvc_reads_them() -> None:
    point = {"train.lr": 0.01, "train.loss": "mse", "models": ["a", "b"], "train.weights": None, "x": {"low": True}}
    assert overrides(point)[1::2] == [
        "++train.lr=0.01", "++train.loss='mse'", "++models=['a','b']", "++train.weights=null", "++x={low:true}",
    ]  # fmt: skip


def test_the_same_values_have_the_same_name_in_any_order() -> None:
    assert trial_name("s", {"a": 1, "b": 2}) == trial_name("s", {"b": 2, "a": 1})
    assert trial_name("s", {"a": 1}) != trial_name("s", {"a": 2})


def test_a_value_that_params_refuse_is_named_before_anything_runs() -> None:
    document = read_document(ROOT / "params.yaml")
    sweep = Sweep(model="lightgbm", parameters={"zoo.lightgbm.leaves": [1, 15]})
    jobs = [Job(name=str(number), point=point) for number, point in enumerate(sweep.expand())]
    check_values(jobs, sweep, document)
    assert [job.status for job in jobs] == ["refused", "waiting"]
    assert "zoo.lightgbm" in jobs[0].reason
    assert "must be >= 2" in jobs[0].reason
    assert with_values({"a": {"b": 1}}, {"a.c.d": 2}) == {"a": {"b": 1, "c": {"d": 2}}}


def test_the_example_is_valid(tmp_path: Path) -> None:
    assert len(read_sweep(ROOT / "sweeps" / "example.yaml").expand()) == 3
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("model: linear\nparameters: {a: [1]}\ntrails: 3\n")
    with pytest.raises(StageError, match=r"wrong.yaml: trails"):
        read_sweep(wrong)
    wrong.write_text("")
    with pytest.raises(StageError, match=r"wrong.yaml: None is refused: must be a section with the keys model, "):
        read_sweep(wrong)
    document = read_document(ROOT / "params.yaml")
    for models in (None, 5, {"linear": 1}):
        with pytest.raises(StageError, match=r"^params.yaml: models: "):
            check_values([], Sweep(model="linear", parameters={"a": [1]}), document | {"models": models})


def test_a_sweep_says_what_it_cannot_start_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="not a git repository"):
        check_clean()
    made = make_repository(tmp_path)
    with pytest.raises(StageError, match="there is no commit yet"):
        check_clean()
    made.commit("first")
    check_clean()
    (tmp_path / ".gitignore").write_text("")
    with pytest.raises(StageError, match=r"differ from the last commit \(.gitignore\)"):
        check_clean()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="git is not installed"):
        check_clean()


@pytest.mark.parametrize("name", ["my sweep", "a..b", "-x", "a~1", "x.lock", "a:b"])
def test_a_name_that_is_no_git_ref_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    make_repository(tmp_path)
    check_name(Path("sweeps/depth_2.yaml"))
    with pytest.raises(StageError, match="is no valid name of a git ref: rename it"):
        check_name(Path(f"sweeps/{name}.yaml"))


def test_a_trial_without_a_score_is_last_in_the_table() -> None:
    scores = {"a": 0.01, "b": math.nan, "c": 0.02}
    jobs = [Job(name=name, point={}, status="done", score=score) for name, score in scores.items()]
    assert [line.split()[-1] for line in trials_table(jobs).splitlines()] == ["c", "a", "b"]


def test_the_next_look_costs_more() -> None:
    assert next_look(20) == (
        "By luck alone the best of 20 independent trials stands 1.90 standard errors above zero; "
        "one more makes it 1.92."
    )


PROGRAM = """#!{python}
import os, signal, sys, time
value = sys.argv[-1].split("=")[1]
print("sees", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
os.makedirs("copies/" + value)
os.chdir("copies/" + value)
if value == "1": sys.exit(print("error in stage 'train': params.yaml: a = 1: must be >= 2") or 2)
if value == "2": os.kill(os.getpid(), signal.SIGKILL)
FAILED = "ERROR: failed to reproduce 'train': failed to run: python -m stages.train, exited with "
if value == "6": sys.exit(print(FAILED + "-9") or 255)
if value == "7": sys.exit(print("Killed", FAILED + "137", sep=chr(10)) or 255)
if value == "8": sys.exit(print("out of luck", FAILED + "1", sep=chr(10)) or 255)
time.sleep(0.5)
"""


def test_one_that_fails_and_one_that_is_killed_are_named_and_the_others_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_program(tmp_path, monkeypatch, PROGRAM.format(python=sys.executable))
    jobs = [Job(name=f"t{value}", point={"a": value}) for value in range(1, 9)]
    seen: list[str] = []
    run_jobs(tmp_path, Listed(jobs), tmp_path / "logs", 2, None, lambda job: seen.append(job.name), devices=["4", "7"])
    assert [job.status for job in jobs] == ["failed", "failed", "done", "done", "done", "failed", "failed", "failed"]
    assert jobs[0].reason == "error in stage 'train': params.yaml: a = 1: must be >= 2"
    assert jobs[1].reason == "killed by SIGKILL"
    assert [job.reason for job in jobs[5:7]] == ["python -m stages.train was killed by SIGKILL"] * 2, "in any shell"
    assert "out of luck" in jobs[7].reason
    assert sorted(seen) == [job.name for job in jobs]
    logs = [(tmp_path / "logs" / f"t{value}.log").read_text() for value in range(1, 6)]
    assert {log.splitlines()[0] for log in logs} == {"sees 4", "sees 7"}, "each has a GPU for itself"
    assert sorted(log.splitlines()[0] for log in logs[3:]) == ["sees 4", "sees 7"], "two at a time never the same"


def test_gpus_are_shared_evenly_and_those_of_the_user_are_kept_to() -> None:
    assert shares(["0", "1", "2", "3", "4"], 2) == [("0", "1"), ("2", "3")], "as many each, the rest is idle"
    assert shares(["0", "1"], 3) == [("0",), ("1",), ("0",)]
    assert shares(["0", "1"], 1) == [("0", "1")]
    assert shares([], 2) == [(), ()]
    assert visible_devices(2, {}) == ["0", "1"]
    assert visible_devices(2, {"CUDA_VISIBLE_DEVICES": "3, GPU-8a,-1,0"}) == ["3", "GPU-8a"]
    assert visible_devices(0, {"CUDA_VISIBLE_DEVICES": ""}) == []


@pytest.mark.parametrize(
    ("jobs", "gpus", "environment", "said"),
    [
        (3, 0, {}, "jobs: 3 with train.threads 2 are more than the 5 cores of this machine"),
        (2, 0, {"FACTORCAST_PROCESSES": "2"}, "train.threads 2, 2 processes a training are more than"),
        (2, 0, {"FACTORCAST_PARALLEL_FOLDS": "2"}, "train.threads 2, FACTORCAST_PARALLEL_FOLDS 2 are more than"),
        (2, 4, {}, "train.threads 2, 2 processes a training are more than"),
        (2, 2, {"FACTORCAST_PROCESSES": "2"}, "jobs: 2 leave each trial 1 of 2 GPUs, too few for FACTORCAST_PROCESSES"),
        (2, 0, {}, None),
        (2, 3, {}, None),
        (1, 8, {"FACTORCAST_PROCESSES": "8"}, None),
    ],
)
def test_trials_that_run_at_a_time_share_cores_and_gpus(
    jobs: int, gpus: int, environment: dict[str, str], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(5)))
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    for name in ("FACTORCAST_PROCESSES", "FACTORCAST_PARALLEL_FOLDS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    sweep = Sweep(model="linear", parameters={"zoo.linear.alpha": [1.0]}, jobs=jobs)
    trial, document = Job(name="t", point={"zoo.linear.alpha": 1.0}), smoke_document()
    document["models"], document["train"]["threads"] = ["linear"], 2
    if said is None:
        check_values([trial], sweep, document)
    else:
        with pytest.raises(StageError, match=said):
            check_values([trial], sweep, document)


def test_threads_of_a_model_of_its_own_count() -> None:
    document = smoke_document()
    document["models"], document["zoo"]["mlp"]["train"] = ["linear", "mlp"], {"threads": 900}
    sweep = Sweep(model="linear", parameters={"zoo.linear.alpha": [1.0]}, jobs=2)
    with pytest.raises(StageError, match=r"jobs: 2 with zoo.mlp.train.threads 900 are more than"):
        check_values([Job(name="t", point={})], sweep, document)


def test_a_run_that_ends_without_an_experiment_is_not_done(tmp_path: Path) -> None:
    """DVC lets a run that ends take over another one that begins just then, and that one ends with nothing."""
    made = make_repository(tmp_path)
    commit = made.commit("first")
    jobs = [Job(name=name, point={}, status="done") for name in ("s-made", "s-none")]
    made.run("git", "update-ref", f"refs/exps/{commit[:2]}/{commit[2:]}/s-made", commit)
    for job in jobs:
        find_ended(made.git, Stored(made.path), job, "linear", "h1")
    assert [job.status for job in jobs] == ["done", "failed"]
    assert jobs[1].reason == "DVC has ended without an experiment of it: its log says what happened"


def test_no_trial_starts_after_the_budget_of_time(tmp_path: Path) -> None:
    jobs = [Job(name="late", point={"a": 1})]
    run_jobs(tmp_path, Listed(jobs), tmp_path / "logs", 1, 0.0, lambda job: None)
    assert jobs[0].status == "waiting"


def test_the_best_is_by_valid_dates_and_undefined_scores_are_none() -> None:
    jobs = [Job(name="a", point={}, score=0.01), Job(name="b", point={}, score=0.02), Job(name="c", point={})]
    assert best_of(jobs) is jobs[1]
    assert best_of(jobs[2:]) is None
    assert math.isnan(jobs[2].score)


def put_program(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A `dvc` that comes first on the path."""
    program = folder / "dvc"
    program.write_text(text)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


TRAINING = """#!{python}
import json, os, pathlib, subprocess, sys, time
value, name = float(sys.argv[-1].split("=")[1]), sys.argv[-3]
program = os.path.abspath(sys.argv[0])
if not os.environ.get("CHILD"):
    os.makedirs("copies/" + name)
    os.chdir("copies/" + name)  # as DVC does
    try:
        sys.exit(subprocess.run([sys.executable, program, *sys.argv[1:]], env=os.environ | {{"CHILD": "1"}}).returncode)
    except KeyboardInterrupt:
        sys.exit(255)
for fold in range(2):
    folder = pathlib.Path(f"results/train/.linear.7.partial/folds/fold_0{{fold}}")
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps({{"valid_rank_ic": {{"h1": value + fold, "h5": 9}}}}))
    time.sleep(15 if fold == 0 and value < 0.5 else 0.3)
"""


def test_optuna_stops_bad_trials_after_their_first_fold_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    put_program(tmp_path, monkeypatch, TRAINING.format(python=sys.executable))
    monkeypatch.setattr("factor_experiments.sweep_run.LOOK", 0.1)
    values = [0.9, 0.8, 0.7, 0.4, 0.6]
    sweep = Sweep(model="linear", method="optuna", trials=4, seed=1, parameters={"a": values})
    done: dict[str, float] = {}

    def run() -> tuple[Guided, list[str]]:
        record, seen = Record(tmp_path / "logs", "a" * 40), []

        def prepare(job: Job) -> None:
            if job.name in done:
                job.status, job.score = "done", done[job.name]
            record.restore(job)

        def finished(job: Job) -> None:
            seen.append(job.name)
            if job.status == "done":
                job.score = done[job.name] = job.point["a"]
            record.keep(job)

        choice = Guided(sweep, "s", prepare)
        run_jobs(tmp_path, choice, tmp_path / "logs", 1, None, finished, "linear", "h1")
        return choice, seen

    monkeypatch.setattr("factor_experiments.sweep_choice.LEAST_STARTUP", 2)
    choice, seen = run()
    statuses = {job.point["a"]: job.status for job in choice.jobs}
    assert len(seen) == 4
    assert statuses.pop(0.4) == "stopped"
    assert set(statuses.values()) == {"done"}
    (stopped,) = (job for job in choice.jobs if job.status == "stopped")
    assert stopped.folds == [0.4]
    assert "below the median of the others after 1 folds (+0.4000)" in stopped.reason
    assert all(job.cpu_seconds > 0 for job in choice.jobs)
    again, seen = run()
    assert seen == []
    assert [(job.name, job.status) for job in again.jobs] == [(job.name, job.status) for job in choice.jobs]
    for commit, status in (("a" * 40, "stopped"), ("b" * 40, "waiting")):
        job = Job(name=stopped.name, point=stopped.point)
        Record(tmp_path / "logs", commit).restore(job)
        assert job.status == status, "with other code it has not been tried"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[" * 100_000,
        "[]",
        '{"a": 5}',
        '{"a": {"folds": 5}}',
        '{"a": {"folds": ["x"]}}',
        '{"a": {"seconds": null}}',
    ],
)
def test_a_damaged_record_of_trials_is_named(text: str, tmp_path: Path) -> None:
    record = Record(tmp_path, "a" * 40)
    record.keep(Job(name="s-1", point={"a": 1}, status="stopped", folds=[0.1, float("nan")]))
    job = Job(name="s-1", point={"a": 1})
    Record(tmp_path, "a" * 40).restore(job)
    assert (job.status, job.folds[0]) == ("stopped", 0.1)
    record.file.write_text(text)
    with pytest.raises(ValueError, match=rf"{record.file}: is not .*: delete it"):
        Record(tmp_path, "a" * 40)


def test_optuna_takes_a_used_up_space_as_the_end_and_refuses_nothing_silently() -> None:
    pytest.importorskip("optuna")
    sweep = Sweep(model="m", method="optuna", trials=50, parameters={"a": ["x", "y"], "b": {"low": 1, "high": 2}})

    def prepare(job: Job) -> None:
        job.status, job.score = "done", float(job.point["b"])

    choice = Guided(sweep, "s", prepare)
    assert choice.next() is None
    points = {(job.point["a"], job.point["b"]) for job in choice.jobs}
    assert points == {("x", 1), ("x", 2), ("y", 1), ("y", 2)}
    choice = Guided(replace(sweep, parameters={"a": ["x", "y"]}), "s", lambda job: None)
    first, second = choice.next(), choice.next()
    assert first is not None
    assert second is not None
    asked = [(choice.next(), len(choice._study.trials)) for _ in range(3)]
    assert asked == [asked[0]] * 3, "while both run nothing is proposed over and over"
    first.status, first.score = "done", 0.1
    choice.ended(first)
    assert choice.next() is None
    assert len(choice._study.trials) > asked[0][1]


def test_optuna_goes_on_where_trials_ran_beside_one_another_and_ended_in_any_order(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    space = {"a": {"low": 0.001, "high": 1.0, "scale": "log"}, "b": ["x", "y", "z"], "c": [1, 2, 4, 8]}
    sweep = Sweep(model="m", method="optuna", trials=12, jobs=2, parameters=space)
    record = Record(tmp_path, "a" * 40)
    first, running = Guided(sweep, "s", lambda job: None), []
    for _ in range(12):
        running += [job for job in (first.next() for _ in range(2 - len(running))) if job is not None]
        job = running.pop(-1)  # the one that began last ends first
        job.status, job.score = "done", job.point["c"] - job.point["a"]
        first.ended(job)
        record.keep(job)
    assert [job.status for job in first.jobs] == ["done"] * 12

    def prepare(job: Job) -> None:
        if job.name in scores:
            job.status, job.score = "done", scores[job.name]

    scores = {job.name: job.score for job in first.jobs}
    again = Guided(sweep, "s", prepare, Record(tmp_path, "a" * 40).points)
    assert again.next() is None, "nothing is missing"
    assert {job.name for job in again.jobs} == set(scores)
    smaller = Guided(replace(sweep, parameters=space | {"b": ["x"]}), "s", prepare, record.points)
    assert smaller.next() is not None
    inside = [point for point in record.points if point["b"] == "x"]
    assert 0 < len(inside) < 12
    assert [job.point for job in smaller.jobs[: len(inside)]] == inside, "others are no longer in the space"
    missing = record.points[3]
    del scores[trial_name("s", missing)]
    job = Guided(sweep, "s", prepare, record.points).next()
    assert job is not None
    assert job.point == missing
    assert Record(tmp_path, "b" * 40).points == []


def test_optuna_finds_the_top_of_a_hill_in_fewer_trials_than_a_grid() -> None:
    pytest.importorskip("optuna")
    grid = [round(0.1 * step, 1) for step in range(1, 11)]
    for seed in range(3):
        sweep = Sweep(model="m", method="optuna", trials=40, seed=seed, parameters={"a": grid, "b": grid})

        def prepare(job: Job) -> None:
            job.status, job.score = "done", -((job.point["a"] - 0.7) ** 2) - (job.point["b"] - 0.3) ** 2

        choice = Guided(sweep, "s", prepare)
        assert choice.next() is None
        best = best_of(choice.jobs)
        assert best is not None
        assert best.score >= -0.0201, "of 100 points one of the nine around the top"


def test_without_optuna_a_sweep_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match="pip install 'optuna>=4'"):
        Guided(Sweep(model="m", method="optuna", trials=2, parameters={"a": [1]}), "s", lambda job: None)


def test_the_page_of_a_sweep_shows_which_parameter_matters(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    jobs = []
    for number in range(24):
        point = {"train.lr": float(10.0 ** generator.uniform(-4, -1)), "zoo.x.kind": "ab"[number % 2], "same": 1}
        score = 0.05 - 0.01 * (math.log10(point["train.lr"]) + 2.5) ** 2 + 0.0005 * generator.normal()
        jobs.append(Job(name=f"s-{number}", point=point, status="done", score=score, cpu_seconds=1.5))
    jobs.append(Job(name="s-<b>", point={"train.lr": 0.1}, status="failed", reason="error: <script>"))
    found = parameter_importance([job.point for job in jobs[:24]], np.array([job.score for job in jobs[:24]]))
    assert list(found.share) == ["train.lr", "zoo.x.kind"]
    assert found.share["train.lr"][0] > 0.9
    assert found.r2 > 0.5
    text = sweep_page("s", jobs, "The next look costs.")
    assert text == sweep_page("s", jobs, "The next look costs.")
    for part in ("Importance", "Slices", "Parallel coordinates", "train.lr (logarithmic)", "36 CPU seconds"):
        assert part in text
    assert "<script>" not in text.split("<main>")[1].split("</main>")[0]
    assert "src=" not in text
    assert "at least 8 that differ" in sweep_page("s", jobs[:3], "")


def test_folds_are_read_of_the_label_that_decides(tmp_path: Path) -> None:
    for fold, scores in enumerate([{"h1": 0.5, "h5": 0.1}, {"h1": None, "h5": 0.2}, {"h1": 0.25, "h5": 0.75}]):
        folder = tmp_path / f"results/train/.linear.9.partial/folds/fold_{fold:02d}"
        folder.mkdir(parents=True)
        (folder / "metadata.json").write_text(json.dumps({"valid_rank_ic": scores}))
    (tmp_path / "results/train/.linear.9.partial/folds/fold_03").mkdir()
    assert fold_scores(tmp_path, "linear", "h1") == [0.5, 0.25], "undefined ones are none, nor is one that is written"
    assert fold_scores(tmp_path, "linear", None) == [0.3, 0.5], "the mean over labels"
    assert fold_scores(tmp_path, "linear", "h9") == []
    assert fold_scores(tmp_path, "lightgbm", "h1") == []
    assert fold_scores(tmp_path, "linear", "h1", has_trained=True) == []
    (tmp_path / "results/train/.linear.9.partial").rename(tmp_path / "results/train/linear")
    assert fold_scores(tmp_path, "linear", "h1", has_trained=True) == [0.5, 0.25]


WORK = """import json, os, pathlib, signal, time
import yaml
alpha = yaml.load(pathlib.Path("params.yaml").read_text(), yaml.CSafeLoader)["zoo"]["linear"]["alpha"]
if "MENDED" not in os.environ:
    assert alpha != 3.0, "error: alpha must not be 3"
    if alpha == 4.0:
        os.killpg(0, signal.SIGKILL)  # with DVC, as by a batch system
    if alpha == 5.0:
        os.kill(os.getpid(), signal.SIGKILL)  # alone, as by a system without memory
if "FOLDS" in os.environ:
    fold = pathlib.Path("results/train/linear/folds/fold_00")
    fold.mkdir(parents=True)
    (fold / "metadata.json").write_text(json.dumps({"valid_rank_ic": {"h1": alpha / 100}}))
    time.sleep(300 if alpha == 2.0 else 0.5)
folder = pathlib.Path("results/evaluate/linear")
folder.mkdir(parents=True, exist_ok=True)
(folder / "metrics.json").write_text(json.dumps({"h1": {"valid_rank_ic": alpha / 100}}))
"""


@pytest.fixture
def pipeline(tmp_path: Path) -> Fabricated:
    """A repository with the project's settings and a stage of its own, which DVC runs for real."""
    made = make_repository(tmp_path / "p")
    (made.path / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    with (made.path / ".gitignore").open("a") as file:
        file.write("/.live\n")
    document = smoke_document()
    document["models"], document["zoo"], document["train"]["threads"] = ["linear"], {"linear": {"alpha": 1.0}}, 1
    (made.path / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    (made.path / "work.py").write_text(WORK)
    (made.path / "dvc.yaml").write_text(
        "stages:\n  evaluate:\n    matrix:\n      model: [linear]\n    cmd: python work.py\n"
        "    params: [zoo.linear]\n    outs: ['results/evaluate/${item.model}']\n"
    )
    made.commit("a pipeline")
    return made


@pytest.mark.slow
def test_tasks_of_the_queue_are_counted_apart(pipeline: Fabricated) -> None:
    assert queue_counts(pipeline.path) == {"queued": 0, "running": 0, "failed": 0}
    pipeline.environment["PATH"] = path_of_programs()
    for alpha in ("2.0", "5.0"):
        pipeline.run("dvc", "exp", "run", "--queue", "--set-param", f"zoo.linear.alpha={alpha}")
    assert queue_counts(pipeline.path) == {"queued": 2, "running": 0, "failed": 0}


# The group of a fork is that of all forks, and the trial with alpha 4 kills its own.
COLD_WHERE_KILLED = """#!/bin/sh
case "$*" in *alpha=4.0*) PATH="{cold}";; *) PATH="{warm}";; esac
exec dvc "$@"
"""


@pytest.mark.slow
def test_of_eight_trials_the_refused_failed_and_killed_are_named_and_a_second_run_does_what_is_missing(
    pipeline: Fabricated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make sweep` itself, with DVC itself; one trial has the values of the commit that the sweep starts from."""
    program = COLD_WHERE_KILLED.format(cold=path_of_programs(cold=True), warm=path_of_programs())
    put_program(tmp_path, monkeypatch, program)
    (pipeline.path / "sweeps").mkdir()
    (pipeline.path / "sweeps" / "s.yaml").write_text(
        "model: linear\nlabel: h1\njobs: 2\nparameters:\n"
        "  zoo.linear.alpha: [-1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]\n"
    )
    pipeline.commit("a sweep")
    names = {alpha: trial_name("s", {"zoo.linear.alpha": alpha}) for alpha in (-1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)}
    monkeypatch.chdir(pipeline.path)
    monkeypatch.setattr(sys, "argv", ["sweep", "sweeps/s.yaml"])

    def run() -> tuple[int | str | None, str]:
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().out

    code, said = run()
    assert code == 1
    assert "8 trials, 7 to run" in said
    table = said[said.index("+0.0700  ") :]
    assert re.findall(r"(\S+)  s-\w+  zoo.linear.alpha (\S+)", table) == [
        ("+0.0700", "7.0"), ("+0.0600", "6.0"), ("+0.0200", "2.0"), ("+0.0100", "1.0"),
        ("refused", "-1.0"), ("failed", "3.0"), ("failed", "4.0"), ("failed", "5.0"),
    ]  # fmt: skip
    reasons = dict(re.findall(r"alpha (-1.0|3.0|4.0|5.0)\n +(.+)", table))
    assert "zoo.linear.alpha = -1.0: must be >= 0.0" in reasons["-1.0"]
    assert "alpha must not be 3" in reasons["3.0"]
    assert reasons["4.0"] == "killed by SIGKILL"
    assert reasons["5.0"] == "python work.py was killed by SIGKILL"
    listed = pipeline.run("dvc", "exp", "list", "--name-only").split()
    assert sorted(listed) == sorted(names[alpha] for alpha in (1.0, 2.0, 6.0, 7.0))

    monkeypatch.setenv("MENDED", "1")
    code, said = run()
    assert code == 1, "one is still refused"
    assert "8 trials, 3 to run" in said
    ended = re.findall(r"^(s-\w+) \(", said, re.MULTILINE)
    assert sorted(ended) == sorted(names[alpha] for alpha in (3.0, 4.0, 5.0))
    assert set(experiments_here(pipeline.git)) == {name for alpha, name in names.items() if alpha > 0}
    assert "8 trials, 0 to run" in run()[1]


def test_the_copy_of_a_trial_that_dvc_was_too_slow_to_end_goes_with_it(tmp_path: Path) -> None:
    copy, other = (tmp_path / STANDALONE / name for name in ("tmpone", "tmptwo"))
    for folder in (copy, other):
        (folder / "results" / "plan").mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        job = Job(name="o-1", point={}, status="running")
        running = _Running(
            job=job, process=process, log=tmp_path / "log", started=0.0, devices=(), folder=copy / "results"
        )
        running.stop("below the median")
    assert (job.status, job.reason) == ("stopped", "below the median")
    assert not copy.exists()
    assert (other / "results" / "plan").is_dir()


@pytest.mark.slow
def test_optuna_stops_a_trial_that_dvc_runs_by_its_first_fold(
    pipeline: Fabricated, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would take minutes; DVC takes its copy away, and it is no experiment."""
    pytest.importorskip("optuna")
    (pipeline.path / "sweeps").mkdir()
    (pipeline.path / "sweeps" / "o.yaml").write_text(
        "model: linear\nlabel: h1\nmethod: optuna\ntrials: 3\nparameters:\n  zoo.linear.alpha: [2.0, 6.0, 7.0]\n"
    )
    pipeline.commit("a sweep")
    monkeypatch.chdir(pipeline.path)
    monkeypatch.setattr(sys, "argv", ["sweep", "sweeps/o.yaml"])
    monkeypatch.setenv("MENDED", "1")
    monkeypatch.setenv("FOLDS", "1")
    monkeypatch.setattr("factor_experiments.sweep_run.LOOK", 0.1)
    main()
    said = capsys.readouterr().out
    name = trial_name("o", {"zoo.linear.alpha": 2.0})
    told = f"{name} (zoo.linear.alpha 2.0): stopped: below the median of the others after 1 folds (+0.0200)\n"
    assert f"{told}  2 done, 1 stopped, ETA 0:00:00, best o-" in said
    made = {trial_name("o", {"zoo.linear.alpha": alpha}) for alpha in (6.0, 7.0)}
    assert set(experiments_here(pipeline.git)) == made
    assert [copy.name for copy in (pipeline.path / ".dvc" / "tmp" / "exps" / "standalone").iterdir()] == ["run"]
    main()
    again = capsys.readouterr().out
    assert again[again.index("Page: ") :] == said[said.index("Page: ") :]
    assert not re.findall(r"^o-\w+ \(", again, re.MULTILINE), "nothing runs again"
