"""train: one model, one fold after another; every prediction is out of fold. Networks go through DeepSpeed ZeRO.

`python -m stages.train lstm`. How many processes share the work is hardware and comes from the environment
(`stages.processes.start`). `--only-fold 3` trains this fold up to its last checkpoint and writes no result.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext

import numpy as np
import pandas as pd
import torch
from dvclive.live import Live

from factor_data import FeatureStore, read_folds, write_parquet
from factor_data.store import fold_folder
from stages.fitting.contract import Conditions, Fitted, FoldModel
from stages.fitting.determinism import set_determinism
from stages.fitting.families import family_of, load_family
from stages.processes.process import Process
from stages.processes.progress import TrainingProgress
from stages.running.costs import note_cost
from stages.running.files import RESULTS, stage_output, stored
from stages.running.planned import Plan, check_loaded, read_plan
from stages.running.stage import StageError, run
from stages.scoring import Scoring, ValidScores
from stages.universe import check_store


def main() -> None:
    """Run the stage `train` for one model."""
    name, only = read_arguments(sys.argv[1:])
    plan = read_plan("train", name)
    load_family(family_of(name)).start(name, plan, only, train)
    if only is None:  # one fold alone is no training
        note_cost(name)


def read_arguments(arguments: list[str]) -> tuple[str, int | None]:
    """A model, and the only fold that is trained."""
    match arguments:
        case [name]:
            return name, None
        case [name, "--only-fold", number] if number.isdigit():
            return name, int(number)
    raise StageError(f"got {arguments}: expected python -m stages.train <model> [--only-fold <number>]")


def train(name: str, plan: Plan, process: Process, only: int | None) -> None:
    """Fit and predict fold by fold; the first process logs and writes."""
    torch.set_num_threads(plan.value("train.threads"))
    set_determinism(plan.value("train.determinism"))
    family = load_family(family_of(name))
    folds = read_folds(stored("split", "folds.json"))
    check_store(FeatureStore(RESULTS / "tokenize"), folds, Scoring.of(plan.value("evaluate")))
    waiting = family.prepare(name, plan, process.rank, process.world_size)
    steps, num_folds = max(fold.num_steps for fold in waiting), len(waiting)
    writes = process.rank == 0 and only is None
    finished: list[Fitted] = []
    frames: list[pd.DataFrame] = []
    with stage_output(f"train/{name}") if writes else nullcontext() as folder:
        live = Live(str(folder / "live"), save_dvc_exp=False, dvcyaml=None, report=None) if folder else None
        with TrainingProgress(name, num_folds, steps, writes, family.score_name) as progress:
            while waiting:
                fold: FoldModel = waiting.pop(0)  # its inputs are let go of when it is done
                if only not in (None, fold.fold.index):
                    continue
                progress.start_fold(fold.fold.index)
                finished.append(
                    fold.fit(Conditions(progress=progress, live=live, watch=process.watch, earlier=finished))
                )
                if only is not None:
                    return
                valid, test = (finished[-1].predict(segment) for segment in ("valid", "test"))
                check_signal(plan, fold.fold.index, valid.judged, progress)
                frames += [valid.frame, test.frame]
                log_best(live, fold.fold.index, valid.scores)
                if folder:
                    finished[-1].save(fold_folder(folder / "folds", fold.fold.index), valid, test)
        if live and folder:
            live.end()
            write_parquet(folder / "predictions.parquet", pd.concat(frames))
            check_loaded(plan)
    for one in finished:
        one.discard_checkpoints()


def check_signal(plan: Plan, fold: int, judged: ValidScores | None, progress: TrainingProgress) -> None:
    """Say that a model has no signal in a fold; StageError where the run is to fail then (train.no_signal)."""
    reason = None if judged is None else judged.no_signal
    if reason is None:
        return
    if plan.value("train.no_signal") == "fail":
        raise StageError(f"fold {fold}: {reason}; train.no_signal: leave_out lets the run go on without this model")
    progress.note(f"no signal: {reason}; the stack will leave this model out (train.no_signal: fail ends the run)")


def log_best(live: Live | None, fold: int, scores: dict[str, float]) -> None:
    """Log the mean validation rank IC of a fold, where there is one and something to log to: a number, no curve."""
    mean = float(np.mean(list(scores.values())))
    if live and np.isfinite(mean):
        live.log_metric(f"fold_{fold}/best_valid_rank_ic", mean, plot=False)


if __name__ == "__main__":
    run("train", main)
