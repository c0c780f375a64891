"""The learning rate of every step as a formula of the step, and the plateau rule that follows the score.

With p the peak rate, n the number of steps and w = round(warmup_share * n) steps of linear rise (step s < w has
p * (s + 1) / w), step s of the m = n - w others, t = s - w, has:

========================  ==========================================================================================
constant, plateau         p
warmup_cosine             f + (p - f) * (1 + cos(pi * t / m)) / 2 with f = floor * p
cosine_restarts           the same within each of `cycles` cycles, each `cycle_growth` times as long as the one before
                          (Loshchilov & Hutter 2017, "SGDR")
step                      p * factor ** (t // ceil(m / (drops + 1)))
exponential               p * final_share ** (t / m)
one_cycle                 up a half cosine from p * start_share to p until w - 1, then down one to p * start_share *
                          final_share at step n - 1 (Smith & Topin 2019, "Super-Convergence")
========================  ==========================================================================================

`plateau` is multiplied by `factor` after each `patience` + 1 epochs in a row without a better score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from factor_models.checks import check_at_least, check_share

Schedule = Literal["constant", "warmup_cosine", "cosine_restarts", "one_cycle", "plateau", "step", "exponential"]
SCHEDULES: tuple[str, ...] = get_args(Schedule)


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """Numbers of the schedules; each schedule reads its own."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    floor: float = 0.0
    """warmup_cosine, cosine_restarts, plateau: the lowest rate as a share of the peak."""
    cycles: int = 3
    """cosine_restarts: number of cycles."""
    cycle_growth: float = 1.0
    """cosine_restarts: length of a cycle over that of the one before."""
    factor: float = 0.5
    """step, plateau: factor of a drop on the rate."""
    drops: int = 2
    """step: number of drops, evenly spaced."""
    patience: int = 1
    """plateau: epochs without a better score before a drop."""
    start_share: float = 0.04
    """one_cycle: the first rate as a share of the peak."""
    final_share: float = 1e-4
    """exponential: the last rate as a share of the peak; one_cycle: of the first."""

    def __post_init__(self) -> None:
        check_share(self, "floor")
        check_at_least(self, {"cycles": 1, "cycle_growth": 1, "drops": 1, "patience": 0})
        for name in ("factor", "start_share", "final_share"):
            value = getattr(self, name)
            if not 0.0 < value < 1.0:
                raise ValueError(f"{name} = {value!r}: must be in (0, 1)")


def scheduled_rate(
    step: int,
    total_steps: int,
    *,
    schedule: Schedule,
    lr: float,
    warmup_share: float,
    options: ScheduleOptions,
) -> float:
    """Return the rate of a step (0-based). Past the last step the course stays where it ends."""
    num_warmup = round(warmup_share * total_steps)
    if schedule == "one_cycle":
        return _one_cycle(step, total_steps, num_warmup, lr, options)
    if step < num_warmup:
        return lr * (step + 1) / num_warmup
    num_steps = max(total_steps - num_warmup, 1)
    done = min(step - num_warmup, num_steps)
    if schedule == "warmup_cosine":
        return _cosine(done / num_steps, lr, lr * options.floor)
    if schedule == "cosine_restarts":
        return _restarts(done, num_steps, lr, options)
    if schedule == "step":
        return lr * options.factor ** min(done // math.ceil(num_steps / (options.drops + 1)), options.drops)
    if schedule == "exponential":
        return lr * options.final_share ** (done / num_steps)
    return lr


def _cosine(progress: float, high: float, low: float) -> float:
    return low + (high - low) * 0.5 * (1.0 + math.cos(math.pi * progress))


def _restarts(done: int, num_steps: int, lr: float, options: ScheduleOptions) -> float:
    lengths = [options.cycle_growth**cycle for cycle in range(options.cycles)]
    unit = num_steps / sum(lengths)
    position = float(done)
    for length in lengths[:-1]:
        if position < length * unit - 1e-9:
            break
        position -= length * unit
    else:
        length = lengths[-1]
    return _cosine(min(max(position, 0.0) / (length * unit), 1.0), lr, lr * options.floor)


def _one_cycle(step: int, total_steps: int, num_warmup: int, lr: float, options: ScheduleOptions) -> float:
    start = lr * options.start_share
    peak_step = num_warmup - 1
    if step <= peak_step:
        return _cosine(step / peak_step, start, lr) if peak_step > 0 else lr
    num_falling = max(total_steps - 1 - max(peak_step, 0), 1)
    return _cosine(min((step - max(peak_step, 0)) / num_falling, 1.0), lr, start * options.final_share)


@dataclass(kw_only=True)
class Plateau:
    """Lowers the rate when the score stops rising; its two numbers are all there is to save."""

    best: float = -math.inf
    num_bad: int = 0

    def update(self, score: float, options: ScheduleOptions) -> float:
        """Return what to multiply the rate with after an epoch of this score: 1 or `factor`. NaN is not better."""
        if score > self.best:
            self.best, self.num_bad = score, 0
            return 1.0
        self.num_bad += 1
        if self.num_bad <= options.patience:
            return 1.0
        self.num_bad = 0
        return options.factor
