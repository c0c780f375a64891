"""train: one model, one fold after another; every prediction is out of fold. Networks go through DeepSpeed ZeRO.

`python -m stages.train lstm`. How many processes share the work is hardware and comes from the environment:
FACTORCAST_PROCESSES, by default one per GPU, else one.
"""

import os
import subprocess
import sys
from contextlib import nullcontext

import pandas as pd
import torch
from dvclive.live import Live

from factor_data import FeatureStore, read_folds
from factor_models import KLINE_MODELS, finish_distributed, input_kind, start_distributed
from stages.fold import FoldRun
from stages.identity import CHECKPOINTS
from stages.kronos import KronosRun, check_prerequisites
from stages.params import Params, read_params
from stages.progress import TrainingProgress
from stages.run import RESULTS, StageError, check_writable, run, stage_output
from stages.targets import training_targets


def main() -> None:
    params = read_params()
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in params.zoo:
        raise StageError(f"say which model: python -m stages.train <one of {', '.join(params.zoo)}>")
    if name in KLINE_MODELS:
        check_prerequisites(name, params)  # before any data are read
    elif input_kind(name) == "last_bar":
        train(name, params, rank=0, world_size=1)
        return
    check_writable(CHECKPOINTS)  # or the run would fail after its first epoch
    if "RANK" not in os.environ and num_processes() > 1:
        launch(name, num_processes(), params.train.batch_dates)
    else:
        ranks = start_distributed()
        train(name, params, ranks.rank, ranks.world_size)
        finish_distributed()


def num_processes() -> int:
    """Processes to share the work: FACTORCAST_PROCESSES, by default one per GPU, else one."""
    text = os.environ.get("FACTORCAST_PROCESSES", str(max(1, torch.cuda.device_count())))
    if not text.isdigit() or int(text) < 1:
        raise StageError(f"FACTORCAST_PROCESSES is {text!r}: must be a whole number >= 1")
    return int(text)


def launch(name: str, processes: int, batch_dates: int) -> None:
    """Run this stage once per process; torchrun finds a free port and stops all when one fails."""
    if batch_dates % processes:
        raise StageError(
            f"params.yaml: train.batch_dates: {batch_dates} must divide by {processes} processes"
        )
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
    ]
    done = subprocess.run([*launcher, "-m", "stages.train", name], check=False)
    if done.returncode:
        raise StageError(
            f"{processes} processes: one ended with status {done.returncode}, see its message above"
        )


def train(name: str, params: Params, rank: int, world_size: int) -> None:
    """Fit and predict fold by fold; the first process logs and writes."""
    torch.set_num_threads(params.train.threads)
    # On a CPU what the models use is deterministic anyway, and this switch takes seconds to load.
    if torch.cuda.is_available():
        torch.use_deterministic_algorithms(True)
    store = FeatureStore(RESULTS / "tokenize")
    folds = read_folds(RESULTS / "split" / "folds.json")
    first = rank == 0
    with stage_output(f"train/{name}") if first else nullcontext() as folder:
        live = Live(str(folder / "live"), save_dvc_exp=False, dvcyaml=None, report=None) if folder else None
        targets = training_targets(store, params.train.target, params.train.direction)
        fold_class = KronosRun if name in KLINE_MODELS else FoldRun
        # Every fold is set up once before the first is fitted: a fold without samples is refused at once.
        steps = max(fold_class(name, params, store, targets, fold).num_steps for fold in folds)
        frames, checkpoints = [], []
        with TrainingProgress(name, len(folds), steps, first, fold_class.score_name) as progress:
            for fold in folds:
                # One fold at a time is held: its inputs are mapped from disk and count as memory while they are.
                fold_run = fold_class(name, params, store, targets, fold, rank, world_size)
                model = fold_run.fit(progress, live)
                frames += [fold_run.predict(model, segment) for segment in ("valid", "test")]
                if not fold_run.is_tabular:
                    checkpoints.append(fold_run.checkpoint)
                if folder:
                    fold_run.save(folder / "folds" / f"fold_{fold.index:02d}", model)
        if live and folder:
            live.end()
            pd.concat(frames).to_parquet(folder / "predictions.parquet", index=False)
    for checkpoint in checkpoints:
        checkpoint.delete()


if __name__ == "__main__":
    run("train", main)
