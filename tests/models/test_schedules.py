"""Learning rates step by step against torch's schedulers; the plateau against torch's."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from factor_models import EngineConfig, ScheduleOptions
from factor_models.training.engine_config import learning_rate
from factor_models.training.inputs import Batch
from factor_models.training.lr_range import RangeTest, range_test, rising_rates
from factor_models.training.schedules import SCHEDULES, Plateau

STEPS, LR = 60, 0.3


def ours(schedule: str, warmup_share: float = 0.0, steps: int = STEPS, **options: Any) -> np.ndarray:
    config = EngineConfig(
        lr=LR, schedule=schedule, warmup_share=warmup_share, schedule_options=ScheduleOptions(**options)
    )
    return np.array([learning_rate(step, steps, config) for step in range(steps)])


def torchs(make: Callable[..., Any], steps: int = STEPS) -> np.ndarray:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(rates)


CASES = {
    "constant": (ours("constant"), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    "cosine": (
        ours("warmup_cosine", floor=0.1),
        lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.1 * LR),
    ),
    "warm-up, then cosine": (
        ours("warmup_cosine", warmup_share=0.2),
        lambda o: lr_scheduler.SequentialLR(
            o,
            [
                lr_scheduler.LinearLR(o, start_factor=1 / 12, end_factor=1.0, total_iters=11),
                lr_scheduler.CosineAnnealingLR(o, 48),
            ],
            milestones=[12],
        ),
    ),
    "equal restarts": (
        ours("cosine_restarts", cycles=3, floor=0.05),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=20, eta_min=0.05 * LR),
    ),
    "growing restarts": (
        ours("cosine_restarts", cycles=4, cycle_growth=2.0),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=4, T_mult=2),
    ),
    "one cycle": (
        ours("one_cycle", warmup_share=0.3, start_share=0.04, final_share=1e-4),
        lambda o: lr_scheduler.OneCycleLR(o, LR, total_steps=STEPS, pct_start=0.3, div_factor=25),
    ),
    "step": (
        ours("step", drops=2, factor=0.1),
        lambda o: lr_scheduler.StepLR(o, step_size=20, gamma=0.1),
    ),
    "exponential": (
        ours("exponential", final_share=0.01),
        lambda o: lr_scheduler.ExponentialLR(o, gamma=0.01 ** (1 / STEPS)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_trace_is_that_of_torch_s_scheduler(case: str) -> None:
    trace, make = CASES[case]
    np.testing.assert_allclose(trace, torchs(make), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("schedule", sorted(set(SCHEDULES) - {"one_cycle"}))
def test_every_other_schedule_begins_with_the_same_linear_rise(schedule: str) -> None:
    np.testing.assert_allclose(ours(schedule, warmup_share=0.25)[:15], LR * np.arange(1, 16) / 15)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_short_runs_have_finite_rates_and_the_course_stays_where_it_ends(schedule: str, steps: int) -> None:
    config = EngineConfig(lr=LR, schedule=schedule, warmup_share=0.5)
    rates = [learning_rate(step, steps, config) for step in range(steps + 3)]
    assert all(0.0 <= rate <= LR * (1 + 1e-12) for rate in rates)
    assert rates[steps] == pytest.approx(rates[steps + 2])


def test_the_plateau_drops_the_rate_when_torch_s_does() -> None:
    scores = [0.1, 0.2, 0.2, 0.1, math.nan, 0.3, 0.29, 0.28, 0.27, 0.26, 0.25, 0.31, 0.3]
    options = ScheduleOptions(factor=0.5, patience=1)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=1, threshold=0.0)
    plateau, rate, rates, expected = Plateau(), 1.0, [], []
    for score in scores:
        rate *= plateau.update(score, options)
        reference.step(score)
        rates.append(rate)
        expected.append(optimizer.param_groups[0]["lr"])
    assert rates == expected
    assert rates[-1] < 0.2


def test_a_plateau_that_is_saved_goes_on_where_it_was() -> None:
    options, scores = ScheduleOptions(patience=2), [0.3, 0.1, 0.1, 0.1, 0.1, 0.4, 0.1]
    whole, first = Plateau(), Plateau()
    trace = [whole.update(score, options) for score in scores]
    before = [first.update(score, options) for score in scores[:3]]
    second = Plateau(best=first.best, num_bad=first.num_bad)
    assert before + [second.update(score, options) for score in scores[3:]] == trace


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"floor": 1.0}, r"^floor = 1.0: must be in \[0, 1\)"),
        ({"cycles": 0}, "^cycles = 0: must be >= 1"),
        ({"factor": 1.0}, r"^factor = 1.0: must be in \(0, 1\)"),
        ({"final_share": 0.0}, r"^final_share = 0.0: must be in \(0, 1\)"),
    ],
)
def test_numbers_without_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScheduleOptions(**options)


class Bowl:
    """Loss w^2 with steps w -= rate * 2 w: it falls fastest near rate 1/2 and explodes above 1."""

    lr_factor = 1.0

    def __init__(self) -> None:
        self.weight = 1.0

    def train_step(self, batch: Batch) -> Any:
        loss = self.weight**2
        self.weight -= 0.01 * self.lr_factor * 2.0 * self.weight
        return SimpleNamespace(loss=loss)


def test_the_range_test_finds_the_rates_between_standstill_and_explosion() -> None:
    config = EngineConfig(lr=0.01, schedule="constant", warmup_share=0.0)
    rates = rising_rates(1e-4, 10.0, 120)
    assert rates[0] == 1e-4
    assert rates[-1] == pytest.approx(10.0)
    found = range_test(Bowl(), iter(lambda: None, 1), rates, config)
    assert 0.005 < found.steepest < 0.5
    # A step at rate r multiplies the weight by 1 - 2 r: the loss falls up to rate 1 and rises above it.
    turn = next(index for index, rate in enumerate(rates) if rate > 1.0)
    assert found.losses.index(min(found.losses)) == turn
    assert len(found.losses) < 120, "it goes on after the explosion"


def test_the_steepest_and_the_lowest_rate_of_a_curve_with_a_known_answer() -> None:
    curve = [1.0, 0.95, 0.5, 0.3, 2.0]  # falls over two steps: 0.5, 0.65, -1.5
    found = RangeTest(rates=[1e-4, 1e-3, 1e-2, 1e-1, 1.0], losses=[9.0] * 5, smoothed=curve)
    assert (found.steepest, found.lowest) == (1e-2, 1e-1)


def test_the_range_test_refuses_schedules_and_rates_without_sense() -> None:
    with pytest.raises(ValueError, match="must be 'constant' and 0"):
        range_test(Bowl(), [], [1.0], EngineConfig())
    with pytest.raises(ValueError, match="must be 0 < low < high"):
        rising_rates(1.0, 0.1, 10)
    with pytest.raises(ValueError, match="ended after 0 steps"):
        range_test(Bowl(), [], [1.0], EngineConfig(schedule="constant", warmup_share=0.0))
