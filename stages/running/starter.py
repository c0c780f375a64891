"""When a stage ends before its time: it is asked to (SIGTERM, Ctrl-C), or whoever needs it has gone.

Both become `Stopped` in the main thread, so that what is half done is put away. Where that thread does not listen (it
waits in a library's own code, for a pipe, say), the process ends all the same after some seconds: a result is whole or
absent at any moment. Training looks out for itself (`stages.processes.watch`) and is left alone here.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

import psutil

from stages import PARENT

POLL_SECONDS = 0.5
GRACE_SECONDS = 10.0
LAUNCHER = "FACTORCAST_LAUNCHER"
"""Variable in which a launcher tells its processes who it is."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """The process was asked to end, by a signal or by the end of its starter."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_status(self) -> int:
        """128 + the signal, as shells have it."""
        return 128 + self.number


@contextmanager
def stoppable() -> Iterator[None]:
    """Within, a signal or the end of the starter raises `Stopped`; afterwards signals are as they were."""
    starter_lives = starter()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    listen, tell = os.pipe()
    os.set_blocking(tell, False)
    for number in SIGNALS:
        signal.signal(number, stop)
    woken = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    ended = threading.Event()
    watcher = threading.Thread(target=look_out, args=(listen, starter_lives, ended), daemon=True, name="starter")
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.write(tell, b"\0")  # it need not wait
        watcher.join()
        os.close(listen)
        os.close(tell)


def stop(number: int, frame: FrameType | None) -> None:
    """Handle a signal: leave what is being done."""
    raise Stopped(number)


def look_out(listen: int, starter_lives: Callable[[], bool], ended: threading.Event) -> None:
    """Ask this process to end when its starter has gone; end it where it does not heed a signal."""
    asked: tuple[float, int] | None = None
    while not ended.is_set():
        told = select.select([listen], [], [], POLL_SECONDS)[0]
        number = os.read(listen, 1)[0] if told else 0
        if signal.getsignal(signal.SIGTERM) is not stop:  # training looks out itself
            asked = None
        elif asked is not None:
            if time.monotonic() - asked[0] > GRACE_SECONDS:
                os._exit(128 + asked[1])
        elif number in SIGNALS:
            asked = time.monotonic(), number
        elif not starter_lives():
            os.kill(os.getpid(), signal.SIGTERM)


def starter() -> Callable[[], bool]:
    """Return a check that is True while the parent that needs this process is alive: its launcher, or DVC.

    Either may have ended while this one was still importing: it is then the child of another process.
    """
    me = psutil.Process()
    if LAUNCHER in os.environ:
        launcher = os.environ[LAUNCHER]
        if not launcher.isdecimal():
            raise ValueError(f"{LAUNCHER} is {launcher[:40]!r}: only a launcher sets it, to the number of its process")
        return lambda: str(os.getppid()) == launcher
    if "RANK" in os.environ:  # torchrun and the like
        return lambda: os.getppid() == PARENT
    if "DVC_STAGE" not in os.environ:
        return lambda: True
    dvc = next((process for process in me.parents() if is_dvc(process)), None)
    if dvc is not None:
        return partial(is_alive, dvc)
    gone = os.getppid() != PARENT or PARENT == 1
    return lambda: not gone


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process is there and has not ended, though nobody may have asked how."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def is_dvc(process: psutil.Process) -> bool:
    """Return whether a process is DVC itself."""
    try:
        return any(os.path.basename(part) in ("dvc", "dvc.exe") for part in process.cmdline()[:3])  # noqa: PTH119
    except psutil.Error:
        return False
