"""train: one model, one fold after another; every prediction is out of fold. Networks go through DeepSpeed ZeRO.

`python -m stages.train lstm`. How many processes share the work is hardware and comes from the environment:
FACTORCAST_PROCESSES, by default one per GPU, else one. FACTORCAST_PARALLEL_FOLDS folds are trained at a time, each in
a process of its own, where no fold begins with another one's weights (train.start: cold).
"""

import os
import sys
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from dvclive.live import Live

from factor_data import FeatureStore, read_folds
from factor_models import KLINE_MODELS, StoppedError, finish_distributed, input_kind, start_distributed
from stages.fold import FoldRun
from stages.identity import CHECKPOINTS
from stages.kline import read_kline_data
from stages.kronos import KronosRun, check_prerequisites
from stages.launch import launch, launch_pool
from stages.live_ic import LIVE
from stages.network import Finished, NetworkFit, checkpoint_bytes, set_determinism
from stages.params import Params, read_params
from stages.progress import TrainingProgress, keep_log
from stages.run import (
    MIN_FREE_BYTES,
    RESULTS,
    StageError,
    check_writable,
    exclusive,
    run,
    stage_output,
    whole_number,
)
from stages.targets import training_targets
from stages.watch import Watch, timeout_minutes


def main() -> None:
    params = read_params()
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in params.zoo:
        raise StageError(f"say which model: python -m stages.train <one of {', '.join(params.zoo)}>")
    only = read_only(sys.argv[2:])
    if name in KLINE_MODELS:
        check_prerequisites(name, params)  # before any data are read
    elif input_kind(name) == "last_bar":
        train(name, params, rank=0, world_size=1)
        return
    check_writable(CHECKPOINTS)  # or the run would fail at its first checkpoint
    processes = whole_number("FACTORCAST_PROCESSES", default=max(1, torch.cuda.device_count()))
    parallel = whole_number("FACTORCAST_PARALLEL_FOLDS", default=1)
    if "RANK" in os.environ or only is not None:
        train_network(name, params, only)
        return
    with exclusive(LIVE / name / "lock"):
        if parallel > 1:
            train_folds_apart(name, params, parallel)
        if processes > 1:
            check_shared(params.train.batch_dates, processes)
            launch("stages.train", [name], processes, LIVE / name)
        else:
            train_network(name, params, None)


def read_only(arguments: list[str]) -> int | None:
    """`--only-fold 3`: train this fold up to its last checkpoint and write no result."""
    if not arguments:
        return None
    if len(arguments) != 2 or arguments[0] != "--only-fold" or not arguments[1].isdigit():
        raise StageError(f"unknown arguments {arguments}: expected none, or --only-fold and a number")
    return int(arguments[1])


def check_shared(batch_dates: int, processes: int) -> None:
    if batch_dates % processes:
        raise StageError(
            f"params.yaml: train.batch_dates: {batch_dates} must divide by {processes} processes"
        )


def train_network(name: str, params: Params, only: int | None) -> None:
    """This process's part; asked to stop, it ends with 128 + the signal and a checkpoint on disk."""
    with Watch() as watch:
        ranks = start_distributed(timeout_minutes())
        check_shared(params.train.batch_dates, ranks.world_size)
        keep_log(LIVE / name, ranks.rank)
        try:
            train(name, params, ranks.rank, ranks.world_size, watch, only)
        except StoppedError as stopped:
            finish_distributed()
            if ranks.rank == 0:
                print(f"{name}: {stopped}. The same command again goes on from there.", file=sys.stderr)
            sys.exit(watch.exit_status)
        finish_distributed()


def train_folds_apart(name: str, params: Params, parallel: int) -> None:
    """Train each fold in a process of its own up to its last checkpoint, where `train` finds it."""
    if params.train.start != "cold":
        raise StageError(
            f"FACTORCAST_PARALLEL_FOLDS is {parallel}: folds that begin with an earlier one's weights (train.start: "
            f"{params.train.start}) are trained one after another"
        )
    folds = read_folds(RESULTS / "split" / "folds.json")
    arguments = [[name, "--only-fold", str(fold.index)] for fold in folds]
    launch_pool("stages.train", arguments, parallel, LIVE / name)


def train(
    name: str,
    params: Params,
    rank: int,
    world_size: int,
    watch: Watch | None = None,
    only: int | None = None,
) -> None:
    """Fit and predict fold by fold; the first process logs and writes."""
    torch.set_num_threads(params.train.threads)
    set_determinism(params.train.determinism)
    store = FeatureStore(RESULTS / "tokenize")
    folds = read_folds(RESULTS / "split" / "folds.json")
    targets = training_targets(store, params.train.target, params.train.direction)
    run_class = partial(KronosRun, data=read_kline_data()) if name in KLINE_MODELS else FoldRun
    steps = 0
    # Every fold is set up once before the first is fitted: a fold without samples is refused at once.
    for fold in folds:
        fold_run = run_class(name, params, store, targets, fold)
        steps = max(steps, fold_run.num_steps)
        if watch is not None and rank == 0 and fold is folds[0]:
            kept = checkpoint_bytes(fold_run.new_network(), params.train, len(folds))
            check_writable(CHECKPOINTS, MIN_FREE_BYTES + kept)
    writes = rank == 0 and only is None
    finished: list[Finished] = []
    with stage_output(f"train/{name}") if writes else nullcontext() as folder:
        live = Live(str(folder / "live"), save_dvc_exp=False, dvcyaml=None, report=None) if folder else None
        frames = []
        with TrainingProgress(name, len(folds), steps, writes, fold_run.score_name) as progress:
            for fold in folds:
                if only not in (None, fold.index):
                    continue
                # One fold at a time is held: its inputs are mapped from disk and count as memory while they are.
                fold_run = run_class(name, params, store, targets, fold, rank, world_size)
                progress.start_fold(fold.index)
                model: Any
                if watch is None:
                    assert isinstance(fold_run, FoldRun)
                    model = fold_run.fit_tabular()
                    progress.step()
                elif isinstance(fold_run, KronosRun):
                    finished.append(fold_run.fit(progress, live, watch))
                    model = finished[-1].model
                else:
                    start = start_weights(params.train.start, finished)
                    finished.append(NetworkFit(fold_run, start).fit(progress, live, watch))
                    model = finished[-1].model
                if only is not None:
                    return
                frames += [fold_run.predict(model, segment) for segment in ("valid", "test")]
                log_best(live, fold.index, fold_run.scores)
                if folder:
                    fold_run.save(folder / "folds" / f"fold_{fold.index:02d}", model)
        if live and folder:
            live.end()
            pd.concat(frames).to_parquet(folder / "predictions.parquet", index=False)
    for one in finished:
        one.checkpoints.delete()


def start_weights(start: str, finished: list[Finished]) -> dict[str, torch.Tensor] | None:
    """Weights to begin the next fold with: none, the last fold's, or those of the fold with the best score so far."""
    if start == "cold" or not finished:
        return None
    chosen = finished[-1] if start == "previous" else max(finished, key=lambda one: one.result.best_score)
    return chosen.result.state_dict


def log_best(live: Live | None, fold: int, scores: dict[int, float]) -> None:
    if live:
        live.log_metric(f"fold_{fold}/best_valid_rank_ic", float(np.mean(list(scores.values()))))


if __name__ == "__main__":
    run("train", main)
