"""What a training process looks out for: being asked to stop, the end of whoever started it, and standing still.

SIGTERM and SIGINT become a request that is met after the step under way, with a checkpoint; a second one ends the
process at once. A process whose starter has gone (a rank without its launcher, a stage without DVC) asks itself to
stop, so that nothing is left behind. A process that makes no step for FACTORCAST_TIMEOUT_MINUTES (default 30) prints
where every thread stands and ends with status 124.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType

from stages.running.environment import timeout_minutes
from stages.running.starter import POLL_SECONDS, starter

GRACE_SECONDS = 20.0  # to finish the step under way and write a checkpoint
HUNG = 124


class Watch:
    """Context of a training process; `beat` says that it moves, `stop_requested` whether it should stop."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.timeout = timeout_minutes() * 60.0
        self._starter_lives = starter()
        self._last_beat = time.monotonic()
        self._asked_at: float | None = None
        self._ended = threading.Event()

    def __enter__(self) -> Watch:
        self._before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        self.beat()
        threading.Thread(target=self._look, daemon=True, name="watch").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def beat(self) -> None:
        """Tell that this process makes progress, so that the time limit begins anew."""
        self._last_beat = time.monotonic()

    def stop_requested(self) -> bool:
        """Return whether a signal has asked this process to end."""
        return self.signal is not None

    @property
    def exit_status(self) -> int:
        """128 + the signal, as shells have it."""
        return 128 + (self.signal or signal.SIGTERM)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and time.monotonic() - (self._asked_at or 0) > 1.0:
            os._exit(128 + number)  # asked twice
        if self.signal is None:
            self._ask(number)

    def _ask(self, number: int) -> None:
        self.signal, self._asked_at = number, time.monotonic()

    def _look(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            now = time.monotonic()
            if not self._starter_lives():
                if self.signal is None:
                    self._ask(signal.SIGTERM)
                if now - (self._asked_at or now) > GRACE_SECONDS:
                    os._exit(self.exit_status)
            if now - self._last_beat > self.timeout:
                print(f"no step for {self.timeout / 60:g} minutes: every thread stands here", file=sys.stderr)
                faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
                sys.stderr.flush()
                os._exit(HUNG)
