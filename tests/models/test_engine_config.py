"""Settings of the engine: the schedule of the learning rate, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from factor_models import get_loss
from factor_models.training.engine_config import EngineConfig, ZeroConfig, learning_rate

pytestmark = pytest.mark.numeric


def test_learning_rate_rises_then_follows_the_cosine_down() -> None:
    config = EngineConfig(lr=1.0, schedule="warmup_cosine", warmup_share=0.2)
    rates = [learning_rate(step, 10, config) for step in range(11)]
    expected = [0.5, 1.0] + [0.5 * (1 + np.cos(np.pi * k / 8)) for k in range(9)]
    np.testing.assert_allclose(rates, expected, atol=1e-15)


def test_constant_schedule_stays_after_the_warm_up() -> None:
    config = EngineConfig(lr=0.5, schedule="constant", warmup_share=0.0)
    assert [learning_rate(step, 10, config) for step in (0, 5, 10)] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "^lr = 0.0: must be a finite number > 0"),
        ({"lr": float("nan")}, "^lr = nan"),
        ({"accumulation": 0}, r"^accumulation = 0: must be >= 1"),
        ({"clip_norm": -1.0}, "^clip_norm = -1.0: must be >= 0"),
        ({"warmup_share": 1.0}, r"^warmup_share = 1.0: must be in \[0, 1\)"),
        (
            {"schedule": "steps"},
            "^schedule = 'steps': must be one of 'constant', 'warmup_cosine'",
        ),
        ({"precision": "fp8"}, "^precision = 'fp8'"),
    ],
)
def test_engine_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EngineConfig(**settings)


def test_zero_settings_are_checked() -> None:
    with pytest.raises(ValueError, match=r"^stage = 4: must be one of 0, 1, 2, 3"):
        ZeroConfig(stage=4)
    with pytest.raises(ValueError, match=r"offload_optimizer = True: needs stage >= 1"):
        ZeroConfig(stage=0, offload_optimizer=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="fp16 is allowed on a GPU")
def test_fp16_is_refused_on_a_cpu() -> None:
    from factor_models.training.engine import Engine

    with pytest.raises(ValueError, match=r"^precision = 'fp16': needs a GPU"):
        Engine(torch.nn.Linear(2, 1), get_loss("mse"), EngineConfig(precision="fp16"), total_steps=1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU multiplies bf16")
@pytest.mark.parametrize(("capability", "said"), [("AVX2", 1), ("AVX512", 0)])
def test_bf16_without_instructions_for_it_is_said_to_be_slow_once(
    capability: str, said: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from factor_models.training.engine import Engine
    from factor_models.training.optimizers import warn_of_slow_precision

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    warn_of_slow_precision.cache_clear()
    for precision in ("fp32", "bf16", "bf16"):
        Engine(torch.nn.Linear(2, 1), get_loss("mse"), EngineConfig(precision=precision), total_steps=1)
    warn_of_slow_precision.cache_clear()
    assert caplog.text.count("no instruction of this CPU multiplies bf16") == said
