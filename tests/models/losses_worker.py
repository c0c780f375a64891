"""Trains a tiny network with the losses that have a state or parameters; run by test_losses_engine.py.

Usage: losses_worker.py OUT. Writes the weights of each way of training, and the loss's own state beside them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from engine_worker import NUM_HORIZONS, StopHere, make_batches
from safetensors.torch import save_file
from torch import nn

from factor_models import (
    DistilledLoss,
    Rules,
    build_model,
    fit,
    gather_predictions,
    get_loss,
    predict,
    set_seed,
)
from factor_models.losses import RegimeConfig
from factor_models.training.distributed import Ranks
from factor_models.training.engine import Engine, finish_distributed, start_distributed
from factor_models.training.engine_config import EngineConfig, ZeroConfig
from factor_models.training.resume import RunFolder

EPOCHS = 2
TARGETS = ("h1", "h5")
REGIME = {"memory": 4, "least": 1, "volatile": 1.02, "calm": 0.98}


def make_loss(name: str) -> Any:
    if name == "distilled":
        return DistilledLoss(make_loss("quantitative"), 0.3)
    settings = {
        "quantitative": {
            "target_ic": 0.9,
            "rho": 1.0,
            "regime": RegimeConfig(**REGIME),
            "target_weights": "learned",
        },
        "quantile": {"target_weights": "learned"},
    }
    return get_loss(name, TARGETS, **settings[name])


def batches_of(ranks: Ranks, name: str) -> Any:
    """Those of engine_worker, weighted; with a teacher's columns where the loss asks for them."""
    batches = make_batches(ranks)
    for number, batch in enumerate(batches):
        batch.weights = (1.0 + batch.rows % 3).astype(np.float32)
        batch.date_weights = (0.5 + (batch.rows // 10) % 2).astype(np.float32)
        batch.targets = batch.targets * (1.0, 1.3, 0.7)[number]  # so that regimes change
        batch.rows = 2 * batch.rows  # no bar follows another: turnover depends on where a batch is cut
        if name == "distilled":
            batch.targets = np.concatenate([batch.targets, np.tanh(batch.targets)], axis=1)
        batch.targets = batch.targets.astype(np.float32)
    return batches


def train(ranks: Ranks, name: str, folder: Path | None = None, **settings: Any) -> Any:
    set_seed(11)
    batches, loss = batches_of(ranks, name), make_loss(name)
    heads = NUM_HORIZONS * loss.outputs_per_target
    model = build_model("lstm", num_features=5, num_horizons=heads, lookback=6, hidden=8)
    stage = settings.pop("stage", 2)
    config = EngineConfig(lr=1e-2, zero=ZeroConfig(stage=stage), **settings)
    engine = Engine(model, loss, config, total_steps=EPOCHS * len(batches))
    states = []

    def note(step: Any, record: Any) -> None:
        trained = engine._engine.module.loss  # a copy of the loss that was given
        inner = getattr(trained, "loss", trained)
        states.append(getattr(inner, "regime", None) and inner.regime.state)

    def score(module: nn.Module) -> Any:
        _, predictions = gather_predictions(*predict(module, batches))
        return -float(np.abs(predictions).mean()) + engine.step

    state = folder.restore(engine) if folder is not None else None
    fit(
        engine,
        lambda epoch, start_step: batches[start_step:],
        score,
        Rules(epochs=EPOCHS, patience=EPOCHS),
        on_step=[note],
        on_epoch=[lambda record, now: folder and folder.save(engine, now)],
        state=state,
    )
    weights = engine.full_state_dict()
    engine.close()
    return weights, states


def interrupted(ranks: Ranks, name: str, root: Path, **settings: Any) -> Any:
    """The same training, stopped after epoch 0 and continued by a new engine from its folder."""

    class Stopping(RunFolder):
        def save(self, engine: Any, state: Any) -> None:
            super().save(engine, state)
            if state.next_epoch == 1:
                raise StopHere

    try:
        train(ranks, name, folder=Stopping(root, name), **settings)
    except StopHere:
        torch.manual_seed(999)
    return train(ranks, name, folder=RunFolder(root, name), **settings)


def main() -> None:
    torch.set_num_threads(1)
    out, ranks = Path(sys.argv[1]), start_distributed()
    ways = {name: train(ranks, name) for name in ("quantitative", "quantile", "distilled")}
    ways["quantitative_accumulated"] = train(ranks, "quantitative", accumulation=3)
    ways["quantitative_stage3"] = train(ranks, "quantitative", stage=3)
    ways["quantitative_resumed"] = interrupted(ranks, "quantitative", out / "runs")
    ways["quantitative_resumed3"] = interrupted(ranks, "quantitative", out / "runs3", stage=3)
    if ranks.rank == 0:
        for name, (weights, _) in ways.items():
            save_file(weights, out / f"{name}.safetensors")
        (out / "states.json").write_text(json.dumps({name: states for name, (_, states) in ways.items()}))
    finish_distributed()


if __name__ == "__main__":
    main()
