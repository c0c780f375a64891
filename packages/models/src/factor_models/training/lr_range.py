"""The learning rate range test (Smith 2017, "Cyclical Learning Rates"): a short run whose rate rises step by step.

The loss first hardly moves, then falls, then explodes. The rate at which it falls fastest is a good peak rate; one near
the lowest loss is too high.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from factor_models.training.engine_config import EngineConfig
from factor_models.training.guards import NonFiniteError
from factor_models.training.inputs import Batch
from factor_models.training.loop import Trainer

SMOOTHING = 0.9
EXPLODED = 3.0


@dataclass(frozen=True, kw_only=True)
class RangeTest:
    """One value a step that was done."""

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    """Exponential mean with bias correction."""

    @property
    def steepest(self) -> float:
        """The rate at which the smoothed loss falls fastest per factor of the rate."""
        falls = [self.smoothed[i - 1] - self.smoothed[i + 1] for i in range(1, len(self.smoothed) - 1)]
        return self.rates[1 + falls.index(max(falls))]

    @property
    def lowest(self) -> float:
        """The rate at which the smoothed loss is lowest: too high for a peak rate, which is to lie well below."""
        return self.rates[self.smoothed.index(min(self.smoothed))]


def rising_rates(low: float, high: float, num_steps: int) -> list[float]:
    """Rates with a constant factor from one to the next."""
    if not 0.0 < low < high:
        raise ValueError(f"low = {low}, high = {high}: must be 0 < low < high")
    if num_steps < 5:
        raise ValueError(f"num_steps = {num_steps}: must be >= 5")
    return [low * (high / low) ** (step / (num_steps - 1)) for step in range(num_steps)]


def range_test(engine: Trainer, batches: Iterable[Batch], rates: list[float], config: EngineConfig) -> RangeTest:
    """Train one step per rate; ends early when the loss explodes or is not finite.

    `engine` must have a constant schedule at `config.lr` without warm-up: its factor is what rises.
    """
    if config.schedule != "constant" or config.warmup_share:
        raise ValueError(
            f"config.schedule = {config.schedule!r}, warmup_share = {config.warmup_share}: must be 'constant' and 0"
        )
    losses: list[float] = []
    smoothed: list[float] = []
    mean = 0.0
    for step, (rate, batch) in enumerate(zip(rates, batches, strict=False), start=1):
        engine.lr_factor = rate / config.lr
        try:
            losses.append(engine.train_step(batch).loss)
        except NonFiniteError:
            break
        mean = SMOOTHING * mean + (1.0 - SMOOTHING) * losses[-1]
        smoothed.append(mean / (1.0 - SMOOTHING**step))
        if step > 3 and smoothed[-1] - min(smoothed) > (EXPLODED - 1.0) * max(abs(min(smoothed)), 1e-12):
            break
    if len(losses) < 5 or not math.isfinite(smoothed[-1]):
        raise ValueError(f"the test ended after {len(losses)} steps: begin with a lower rate")
    return RangeTest(rates=rates[: len(losses)], losses=losses, smoothed=smoothed)
