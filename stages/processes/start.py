"""How the training of a network is started: in this process, in several, or fold by fold in processes of their own.

FACTORCAST_PROCESSES says how many share a fold, by default one per GPU, else one. FACTORCAST_PARALLEL_FOLDS folds are
trained at a time, each in a process of its own, where no fold begins with another one's weights (train.start: cold).
"""

from __future__ import annotations

import os
import sys

import torch

from factor_data import read_folds
from factor_models import StoppedError, finish_distributed, start_distributed
from stages.processes.launch import launch, launch_pool
from stages.processes.live_ic import LIVE, LOCK
from stages.processes.process import Process, Train
from stages.processes.progress import keep_log
from stages.processes.watch import Watch
from stages.running.environment import check_launcher, timeout_minutes, whole_number
from stages.running.files import CHECKPOINTS, check_writable, stored
from stages.running.lock import exclusive
from stages.running.planned import Plan
from stages.running.stage import StageError


def start_network(name: str, plan: Plan, only: int | None, train: Train) -> None:
    """Run `train` as the environment wants it; in a process of a launcher that process's part."""
    check_launcher()
    check_writable(CHECKPOINTS)  # or the run would fail at its first checkpoint
    processes = whole_number("FACTORCAST_PROCESSES", default=max(1, torch.cuda.device_count()))
    parallel = whole_number("FACTORCAST_PARALLEL_FOLDS", default=1)
    if "RANK" in os.environ or only is not None:
        train_here(name, plan, only, train)
        return
    with exclusive(LIVE / name / LOCK):
        if parallel > 1:
            train_folds_apart(name, plan, parallel)
        if processes > 1:
            check_shared(plan, processes)
            launch("stages.train", [name], processes, LIVE / name)
        else:
            train_here(name, plan, None, train)


def check_shared(plan: Plan, processes: int) -> None:
    """StageError unless the dates of a batch can be divided among the processes."""
    batch_dates = plan.value("train.batch_dates")
    if batch_dates % processes:
        raise StageError(f"params.yaml: train.batch_dates: {batch_dates} must divide by {processes} processes")


def train_here(name: str, plan: Plan, only: int | None, train: Train) -> None:
    """Do the part of this process; asked to stop, it ends with 128 + the signal and a checkpoint on disk."""
    with Watch() as watch:
        ranks = start_distributed(timeout_minutes())
        check_shared(plan, ranks.world_size)
        keep_log(LIVE / name, ranks.rank)
        try:
            train(name, plan, Process(rank=ranks.rank, world_size=ranks.world_size, watch=watch), only)
        except StoppedError as stopped:
            finish_distributed()
            if ranks.rank == 0:
                print(f"{name}: {stopped}. The same command again goes on from there.", file=sys.stderr)
            sys.exit(watch.exit_status)
        finish_distributed()


def train_folds_apart(name: str, plan: Plan, parallel: int) -> None:
    """Train each fold in a process of its own up to its last checkpoint, where `train` finds it."""
    start = plan.value("train.start")
    if start != "cold":
        raise StageError(
            f"FACTORCAST_PARALLEL_FOLDS is {parallel}: folds that begin with an earlier one's weights (train.start: "
            f"{start}) are trained one after another"
        )
    folds = read_folds(stored("split", "folds.json"))
    arguments = [[name, "--only-fold", str(fold.index)] for fold in folds]
    launch_pool("stages.train", arguments, parallel, LIVE / name)
