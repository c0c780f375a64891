"""The plain trainer: the engine's steps without DeepSpeed, by hand and against the engine's own weights."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from factor_models import Rules, build_model, fit, get_loss, set_seed
from factor_models.training.engine_config import EngineConfig
from factor_models.training.plain import PlainTrainer

SETTINGS = {"plain": {}, "accumulated": {"accumulation": 3}, "unclipped": {"clip_norm": 0.0}}


def make_batches() -> list[Any]:
    """3 batches of 4, 4 and 2 dates with 6 symbols; some targets are unknown."""
    generator = np.random.default_rng(3)
    batches = []
    for num_dates in (4, 4, 2):
        windows = generator.standard_normal((num_dates * 6, 5, 4), np.float32)
        targets = windows[:, -1, :2] - windows[:, -2, :2]
        targets[:2, 0] = np.nan
        groups = np.repeat(np.arange(num_dates), 6)
        rows = np.arange(len(groups))
        batches.append(SimpleNamespace(windows=windows, targets=targets, groups=groups, rows=rows))
    return batches


def make_model() -> nn.Module:
    set_seed(0)
    return build_model("lstm", num_features=4, num_horizons=2, lookback=5, hidden=8)


def make_config(**settings: Any) -> EngineConfig:
    return EngineConfig(lr=1e-2, warmup_share=0.2, **settings)


def train(trainer: PlainTrainer) -> dict[str, Any]:
    for _ in range(4):
        for batch in make_batches():
            trainer.train_step(batch)
    return trainer.full_state_dict()


def train_engine(out: Path) -> None:
    from factor_models.training.engine import Engine, finish_distributed

    for name, settings in SETTINGS.items():
        engine = Engine(make_model(), get_loss("mse_ic"), make_config(**settings), total_steps=12)
        save_file(train(engine), Path(out) / f"{name}.safetensors")
        engine.close()
    finish_distributed()


@pytest.fixture(scope="module")
def engine_weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Weights of DeepSpeed ZeRO in a process of its own, by settings."""
    out = tmp_path_factory.mktemp("engine")
    from models.test_engine import launch_worker  # not there in that process

    done = launch_worker("test_plain", str(out), processes=1)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: load_file(out / f"{name}.safetensors") for name in SETTINGS}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_engine_takes_the_same_steps(engine_weights: dict[str, Any], name: str) -> None:
    trained = train(PlainTrainer(make_model(), get_loss("mse_ic"), make_config(**SETTINGS[name]), 12))
    start = make_model().state_dict()
    for key, value in engine_weights[name].items():
        torch.testing.assert_close(trained[key], value, rtol=0, atol=5e-6)
        assert (value - start[key]).abs().max() > 1e-3


def test_a_step_is_adamw_on_the_clipped_gradient() -> None:
    """Written out with torch.optim and no trainer."""
    model, by_hand = make_model(), make_model()
    config = make_config(clip_norm=0.05, schedule="constant")
    trainer, loss = PlainTrainer(model, get_loss("mse"), config, total_steps=10), get_loss("mse")
    matrices = [one for one in by_hand.parameters() if one.ndim == 2]
    vectors = [one for one in by_hand.parameters() if one.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.005)
    batch = make_batches()[0]
    for lr in (0.005, 0.01):
        record = trainer.train_step(batch)
        optimizer.zero_grad()
        prediction = by_hand(torch.from_numpy(batch.windows))
        terms = loss(prediction, torch.from_numpy(batch.targets), torch.from_numpy(batch.groups), 4)
        assert record.terms == pytest.approx({key: float(value.detach()) for key, value in terms.items()})
        assert record.loss == pytest.approx(sum(record.terms.values()))
        sum(terms.values()).backward()
        total = torch.cat([one.grad.ravel() for one in by_hand.parameters()]).norm()
        for one in by_hand.parameters():
            one.grad *= min(1.0, 0.05 / float(total))
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
    for ours, theirs in zip(model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_the_loop_trains_with_it() -> None:
    trainer = PlainTrainer(make_model(), get_loss("mse"), make_config(), total_steps=45)
    scores = []

    def score(module: nn.Module) -> float:
        assert not module.training
        batch = make_batches()[0]
        with torch.no_grad():
            error = module(torch.from_numpy(batch.windows)) - torch.from_numpy(batch.targets)
        scores.append(-float(error.nanmean().square()))
        return scores[-1]

    result = fit(trainer, lambda epoch, first: make_batches()[first:], score, Rules(epochs=15, patience=15))
    assert result.best_epoch == int(np.argmax(scores))
    assert result.history[-1].loss < 0.7 * result.history[0].loss


def test_what_needs_deepspeed_is_refused() -> None:
    with pytest.raises(ValueError, match="precision = 'bf16': without DeepSpeed it must be 'fp32'"):
        PlainTrainer(make_model(), get_loss("mse"), make_config(precision="bf16"), 3)
    with pytest.raises(ValueError, match="total_steps = 0: must be >= 1"):
        PlainTrainer(make_model(), get_loss("mse"), make_config(), 0)
    empty = SimpleNamespace(**{key: value[:0] for key, value in vars(make_batches()[0]).items()})
    with pytest.raises(ValueError, match="the batch is empty"):
        PlainTrainer(make_model(), get_loss("mse"), make_config(), 3).train_step(empty)


if __name__ == "__main__":
    train_engine(sys.argv[1])
