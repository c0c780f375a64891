"""Which GPUs each trial of a sweep sees that runs beside others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable by which CUDA is told which GPUs there are; those that it names are devices 0, 1, ... of a process."""


def visible_devices(count: int, environment: Mapping[str, str]) -> list[str]:
    """Return the names of the `count` GPUs that this process sees, as the variable has them, else their numbers."""
    named = environment.get(VISIBLE)
    if named is None:
        return [str(device) for device in range(count)]
    return [name.strip() for name in named.split(",")][:count]


def shares(devices: Sequence[str], jobs: int) -> list[tuple[str, ...]]:
    """Return the GPUs of each of `jobs` trials that run at a time; without a GPU each has none.

    Each has as many as the others, so that all train in the same way, and none that another one has, where there are
    enough of them; what is left over is idle. With fewer GPUs than trials each has one, dealt out in turn.
    """
    if not devices:
        return [()] * jobs
    each = len(devices) // jobs
    if each == 0:
        return [(devices[job % len(devices)],) for job in range(jobs)]
    return [tuple(devices[job * each : (job + 1) * each]) for job in range(jobs)]
