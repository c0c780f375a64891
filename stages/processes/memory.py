"""Memory while a model trains: at two thresholds it is said and something is done, once, not at every step.

At the first threshold (95% in use) what is free already is given back: Python's garbage, the caches of GPUs. At the
second (98%) the same is done thoroughly, and a checkpoint is asked for, so that nothing is lost if the system ends the
process. Both are armed again when use has fallen `REARM` below the first. FACTORCAST_MEMORY_ALARMS sets others.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import torch

from stages.running.environment import memory_alarms

SECONDS = 2.0
"""Least time between two looks."""
REARM = 0.05
GROUP = Path("/sys/fs/cgroup")


class MemoryWatch:
    """Looks at the memory from time to time.

    Parameters
    ----------
    say : takes a sentence for the log and the display
    shares : share in use of each memory, by its name
    """

    def __init__(
        self,
        say: Callable[[str], None],
        shares: Callable[[], Mapping[str, float]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.say, self.shares, self.clock = say, shares or shares_in_use, clock
        self.thresholds = memory_alarms()
        self.level, self.looked_at = 0, float("-inf")
        self._is_urgent = False

    def look(self) -> None:
        """Act where use has risen past a threshold since it was last below; nothing within `SECONDS` of a look."""
        now = self.clock()
        if now - self.looked_at < SECONDS:
            return
        self.looked_at = now
        name, share = max(self.shares().items(), key=lambda one: one[1])
        level = sum(share >= threshold for threshold in self.thresholds)
        if level > self.level:
            self.level = level
            self._act(name, share, is_critical=level == len(self.thresholds))
        elif share < self.thresholds[0] - REARM:
            self.level = 0

    def _act(self, name: str, share: float, is_critical: bool) -> None:
        give_back(thoroughly=is_critical)
        left = self.shares().get(name, share)
        done = "garbage and caches were given back" + (", a checkpoint is written" if is_critical else "")
        self._is_urgent = self._is_urgent or is_critical
        self.say(f"{share:.0%} of the {name} are in use: {done}, now {left:.0%}. Fewer dates in a batch take less")

    def urgent(self) -> bool:
        """Return whether a checkpoint is due now; True once per alarm."""
        due, self._is_urgent = self._is_urgent, False
        return due


def shares_in_use() -> dict[str, float]:
    """Return the share in use of this machine's memory, of the control group's where it has a limit, of each GPU."""
    memory = psutil.virtual_memory()
    shares = {"memory": 1.0 - memory.available / memory.total}
    limited = share_of_group()
    if limited is not None:
        shares["memory of the control group"] = limited
    for device in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(device)
        shares[f"memory of GPU {device}"] = 1.0 - free / total
    return shares


def share_of_group(folder: Path = GROUP) -> float | None:
    """Return the share in use of a control group's memory, without files that can be dropped; None without a limit."""
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None  # another system, or another version of control groups
    if not limit.isdecimal():
        return None
    return (used - int(statistics.get("inactive_file", 0))) / int(limit)


def give_back(thoroughly: bool) -> None:
    """Collect garbage and empty the caches of GPUs; `thoroughly`: three times, and the allocator's free pages too."""
    for _ in range(3 if thoroughly else 1):
        gc.collect()
    for device in range(torch.cuda.device_count()):
        with torch.cuda.device(device):
            torch.cuda.empty_cache()
    if thoroughly and sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # glibc's
            trim(0)
