"""What a stage knows of the process that it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stages.processes.watch import Watch
    from stages.running.planned import Plan


@dataclass(frozen=True, kw_only=True)
class Process:
    """One of the processes that train; alone and unwatched where no network is trained."""

    rank: int = 0
    world_size: int = 1
    watch: Watch | None = None


Train = Callable[[str, "Plan", Process, int | None], None]
"""(model, plan, process, the only fold or None): train in this process."""
