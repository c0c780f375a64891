"""Trains tiny models in many ways and writes the final weights, one file a way; run by test_engine.py.

Usage: engine_worker.py OUT MODE
MODE = all (every way), few (some ways), bytes (with and without offload, and unclipped), run (one run that can be
resumed) or killed (the same, ended at step 5).
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Never

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from factor_models import Rules, build_model, fit, gather_predictions, get_loss, predict, set_seed
from factor_models.training.distributed import Ranks, finish_distributed, start_distributed
from factor_models.training.engine import Engine
from factor_models.training.engine_config import EngineConfig, ZeroConfig
from factor_models.training.plain import PlainTrainer
from factor_models.training.resume import RunFolder

NUM_DATES, NUM_SYMBOLS, LOOKBACK, NUM_FEATURES, NUM_HORIZONS = 12, 10, 6, 5, 2
NUM_TOKENS = 4
DATES_PER_BATCH = 4
EPOCHS = 3


def make_batches(ranks: Ranks, dates_per_batch: Any = DATES_PER_BATCH) -> Any:
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


def make_model(name: str) -> Any:
    sizes = {"num_features": NUM_FEATURES, "num_horizons": NUM_HORIZONS, "lookback": LOOKBACK}
    settings = {
        "lstm": {"hidden": 8},
        "gru": {"hidden": 8, "layers": 2},
        "adv_alstm": {"hidden": 8},
        "gan_lstm": {"hidden": 8},
        "tcn_attention": {"channels": 8, "levels": 2, "heads": 2},
        "token_transformer": {"dim": 8, "heads": 2, "num_tokens": NUM_TOKENS},
    }
    return build_model(name, **sizes, **settings[name])


def train(
    ranks: Ranks,
    stage: int,
    *,
    name: str = "lstm",
    dates_per_batch: Any = DATES_PER_BATCH,
    folder: Path | None = None,
    stop_at: Any = None,
    stop: Any = None,
    plain: bool = False,
    **settings: Any,
) -> Any:
    """Last weights and the result of `fit`; after `stop_at` steps a checkpoint is written and `stop` called.

    Where the folder has a checkpoint, the run goes on from it.
    """
    set_seed(11)
    batches = make_batches(ranks, dates_per_batch)
    if name == "token_transformer":
        for batch in batches:
            batch.windows = np.digitize(batch.windows, [-0.5, 0.0, 0.5]).astype(np.uint8)
    offload = settings.pop("offload_optimizer", False)
    config = EngineConfig(lr=1e-2, zero=ZeroConfig(stage=stage, offload_optimizer=offload), **settings)
    make = PlainTrainer if plain else Engine
    trainer = make(make_model(name), get_loss("mse_ic"), config, total_steps=EPOCHS * len(batches))

    def score(module: nn.Module) -> Any:
        _, predictions = gather_predictions(*predict(module, batches))
        return -float(np.abs(predictions).mean()) + trainer.step

    def save_or_stop(record: Any, state: Any) -> None:
        if trainer.step == stop_at:
            folder.save(trainer, state)
            stop()

    state = folder.restore(trainer) if folder is not None else None
    result = fit(
        trainer,
        lambda epoch, start_step: batches[start_step:],
        score,
        Rules(epochs=EPOCHS, patience=EPOCHS),
        on_step=[save_or_stop],
        state=state,
    )
    weights = trainer.full_state_dict()
    if not plain:
        trainer.close()
    return weights, result


class StopHere(Exception):
    """Ends a run in the middle."""


def interrupted(ranks: Ranks, stage: int, root: Path, *then: int, **settings: Any) -> list[Any]:
    """The same training, stopped in the middle of epoch 1 and continued by a new engine at each of these stages."""
    folder = RunFolder(root, f"stage{stage}-{len(settings)}")

    def stop() -> Never:
        raise StopHere

    weights = []
    with suppress(StopHere):
        train(ranks, stage, folder=folder, stop_at=5, stop=stop, **settings)
    assert folder.steps() == [5]
    for after in then:
        torch.manual_seed(999)
        last, result = train(ranks, after, folder=folder, **settings)
        assert len(result.history) == EPOCHS
        weights.append(last)
    folder.delete()
    assert not folder.directory.exists()
    return weights


def run_every_way(ranks: Ranks, out: Path) -> None:
    ways = {f"stage{stage}": train(ranks, stage)[0] for stage in (0, 1, 2, 3)}
    if ranks.world_size == 1:
        ways["plain"] = train(ranks, 0, plain=True)[0]
    ways["averaged"] = train(ranks, 2, ema_decay=0.9)[0]
    (ways["resumed_averaged"],) = interrupted(ranks, 2, out / "runs", 2, ema_decay=0.9)
    for stage, then in ((3, 1), (0, 3), (2, 0)):
        ways[f"resumed{stage}"], ways[f"moved{stage}to{then}"] = interrupted(ranks, stage, out / "runs", stage, then)
    ways["again"] = train(ranks, 2)[0]
    ways["accumulated"] = train(ranks, 2, accumulation=3)[0]
    ways["uneven"] = train(ranks, 2, dates_per_batch=5)[0]
    ways["uneven_stage3"] = train(ranks, 3, dates_per_batch=5)[0]
    ways["offloaded"] = train(ranks, 2, offload_optimizer=True)[0]
    for name in ("gru", "adv_alstm", "gan_lstm", "tcn_attention", "token_transformer"):
        for stage in (0, 3):
            ways[f"{name}{stage}"] = train(ranks, stage, name=name)[0]
    ways["token_transformer_bf16"] = train(ranks, 3, name="token_transformer", precision="bf16")[0]
    ways["bf16"] = train(ranks, 2, precision="bf16")[0]
    write(ranks, out, ways)


def run_few_ways(ranks: Ranks, out: Path) -> None:
    ways = {f"stage{stage}": train(ranks, stage)[0] for stage in (0, 1, 2, 3)}
    ways["accumulated"] = train(ranks, 2, accumulation=4)[0]
    write(ranks, out, ways)


def run_ways_of_the_same_bytes(ranks: Ranks, out: Path) -> None:
    write(
        ranks,
        out,
        {
            "stage2": train(ranks, 2)[0],
            "offloaded": train(ranks, 2, offload_optimizer=True)[0],
            "unclipped": train(ranks, 2, clip_norm=0.0)[0],
        },
    )


def write(ranks: Ranks, out: Path, ways: Any) -> None:
    sums = {name: float(sum(value.double().sum() for value in weights.values())) for name, weights in ways.items()}
    others = [None] * ranks.world_size
    torch.distributed.all_gather_object(others, sums)
    assert all(other == sums for other in others), "the processes ended with different weights"
    if ranks.rank == 0:
        for name, weights in ways.items():
            save_file(weights, out / f"{name}.safetensors")


def main() -> None:
    torch.set_num_threads(1)
    out, mode = Path(sys.argv[1]), sys.argv[2]
    ranks = start_distributed()
    if mode == "all":
        run_every_way(ranks, out)
    elif mode == "few":
        run_few_ways(ranks, out)
    elif mode == "bytes":
        run_ways_of_the_same_bytes(ranks, out)
    else:
        stop_at = 5 if mode == "killed" else None
        weights, _ = train(ranks, 2, folder=RunFolder(out, "run"), stop_at=stop_at, stop=lambda: os._exit(9))
        save_file(weights, out / "run.safetensors")
    assert threads_of_exchange(), "the threads are looked for by another name"
    if mode == "bytes":
        gc.unfreeze()  # of a fork of warm.py: what holds a group has to be found
    finish_distributed()
    if mode == "bytes":  # others leave an engine unclosed, or use ZeRO 3, whose engines DeepSpeed holds
        assert threads_of_exchange() == [], "a thread that outlives the interpreter may abort the process at exit"


def threads_of_exchange() -> list[str]:
    """Names of the threads that gloo runs in this process."""
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return sorted(name for name in names if "gloo" in name)


if __name__ == "__main__":
    main()
