"""Run under the launcher by test_models_engine.py: trains tiny models in many ways, writes the weights, one file a way.

Usage: engine_worker.py OUT MODE, MODE = all (every way), or run / killed (one run with resume; killed ends it after epoch 1).
"""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import save_file

from factor_models import build_model, fit, gather_predictions, get_loss, predict, set_seed
from factor_models.engine import Engine, finish_distributed, start_distributed
from factor_models.engine_config import EngineConfig, ZeroConfig
from factor_models.resume import RunFolder

NUM_DATES, NUM_SYMBOLS, LOOKBACK, NUM_FEATURES, NUM_HORIZONS = 12, 10, 6, 5, 2
DATES_PER_BATCH = 4
EPOCHS = 4


def make_batches(ranks, dates_per_batch=DATES_PER_BATCH):
    """Windows whose targets a model can learn; this process's share of each global batch of dates."""
    generator = np.random.default_rng(3)
    windows = generator.standard_normal((NUM_DATES, NUM_SYMBOLS, LOOKBACK, NUM_FEATURES), np.float32)
    windows[0, 0, :, 0] = np.nan
    targets = np.nan_to_num(windows[:, :, -1, :NUM_HORIZONS] - windows[:, :, -2, :NUM_HORIZONS])
    targets[1, :3, 0] = np.nan
    batches = []
    for first in range(0, NUM_DATES, dates_per_batch):
        dates = np.arange(first, min(first + dates_per_batch, NUM_DATES))
        mine = np.array_split(dates, ranks.world_size)[ranks.rank]
        rows = (mine[:, None] * NUM_SYMBOLS + np.arange(NUM_SYMBOLS)).ravel()
        batches.append(
            SimpleNamespace(
                windows=windows[mine].reshape(-1, LOOKBACK, NUM_FEATURES),
                targets=targets[mine].reshape(-1, NUM_HORIZONS),
                groups=np.repeat(np.arange(len(mine)), NUM_SYMBOLS),
                rows=rows,
            )
        )
    return batches


def train(
    ranks, stage, *, accumulation=1, dates_per_batch=DATES_PER_BATCH, folder=None, stop_after=None, **engine
):
    """Weights of the best epoch and of the last; `stop_after` kills the process after that epoch."""
    set_seed(11)
    batches = make_batches(ranks, dates_per_batch)
    model = build_model(
        "lstm", num_features=NUM_FEATURES, num_horizons=NUM_HORIZONS, lookback=LOOKBACK, hidden=8, dropout=0.0
    )
    config = EngineConfig(lr=1e-2, accumulation=accumulation, zero=ZeroConfig(stage=stage), **engine)
    trainer = Engine(model, config, total_steps=EPOCHS * len(batches))

    def score(module):
        _, predictions = gather_predictions(*predict(module, batches))
        return -float(np.abs(predictions).mean()) + trainer.step

    def save_or_stop(record, state):
        if folder is not None:
            folder.save(trainer, state)
        if stop_after == record.epoch:
            os._exit(9)

    state = folder.restore(trainer) if folder is not None else None
    result = fit(
        trainer,
        lambda epoch: batches,
        score,
        get_loss("mse_ic"),
        epochs=EPOCHS,
        patience=EPOCHS,
        on_epoch=[save_or_stop],
        state=state,
    )
    weights = trainer.full_state_dict()
    trainer.close()
    return weights, result


class StopHere(Exception):
    """Ends a run in the middle."""


def interrupted(ranks, stage, root):
    """The same training, stopped after epoch 1 and continued by a new engine from its folder."""
    folder = RunFolder(root, f"stage{stage}")

    class Stopping(RunFolder):
        def save(self, engine, state):
            super().save(engine, state)
            if state.next_epoch == 2:
                raise StopHere

    try:
        train(ranks, stage, folder=Stopping(root, f"stage{stage}"))
    except StopHere:
        torch.manual_seed(999)
    weights, result = train(ranks, stage, folder=folder)
    assert len(result.history) == EPOCHS
    folder.delete()
    assert not folder.directory.exists()
    return weights


def run_every_way(ranks, out):
    ways = {f"stage{stage}": train(ranks, stage)[0] for stage in (0, 1, 2, 3)}
    ways["again"] = train(ranks, 2)[0]
    ways["accumulated"] = train(ranks, 2, accumulation=3)[0]
    ways["uneven"] = train(ranks, 2, dates_per_batch=5)[0]
    ways["uneven_stage3"] = train(ranks, 3, dates_per_batch=5)[0]
    ways["bf16"] = train(ranks, 2, precision="bf16")[0]
    for stage in (0, 2, 3):
        ways[f"resumed{stage}"] = interrupted(ranks, stage, out / "runs")
    others = [None] * ranks.world_size
    torch.distributed.all_gather_object(
        others, {name: float(w["head.weight"].double().sum()) for name, w in ways.items()}
    )
    assert all(other == others[0] for other in others), "the processes ended with different weights"
    if ranks.rank == 0:
        for name, weights in ways.items():
            save_file(weights, out / f"{name}.safetensors")


def main():
    torch.set_num_threads(1)
    out, mode = Path(sys.argv[1]), sys.argv[2]
    ranks = start_distributed()
    if mode == "all":
        run_every_way(ranks, out)
    else:
        weights, _ = train(ranks, 2, folder=RunFolder(out, "run"), stop_after=1 if mode == "killed" else None)
        save_file(weights, out / "run.safetensors")
    finish_distributed()


if __name__ == "__main__":
    main()
