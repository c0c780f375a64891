"""Several processes behind one address: forked from one that has loaded the libraries, and swapped as one.

The supervisor answers nothing. It keeps a copy of the bundle that is served, so that a worker that takes the place of
one that has ended serves the same, and a folder that is replaced reaches nobody before a reload. A reload is asked of
any worker: the supervisor copies the folder, every worker loads the copy and forecasts its canary, and only where all
of them could is the number of the bundle that counts raised, in memory that they share: from one request to the next
all answer from the new one. Else all keep the old one.

Nothing is computed before the fork: threads of a library that has begun to compute do not come along.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
import warnings
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any

import uvicorn

from factor_serve.bundle import Bundle, BundleError, load_bundle, read_manifest
from factor_serve.exported import is_export, read_export
from factor_serve.http.app import make_app
from factor_serve.http.board import Board
from factor_serve.http.service import Served, Service
from factor_serve.http.settings import HttpSettings

log = logging.getLogger("factor_serve.http")

AGAIN = 1.0
"""Seconds between two starts of the same worker, at least."""
PATIENCE = 10.0
"""Seconds that workers are given to end by themselves."""


class Ended(Exception):
    """The supervisor was told to end, by this signal."""


class SharedService(Service):
    """The bundle of a worker: the one that counts on the board, among those that it has loaded."""

    def __init__(self, folder: Path, settings: HttpSettings, board: Board, line: Connection) -> None:
        super().__init__(folder, settings.unpromoted, settings.ensemble)
        self.board, self.line = board, line
        self._loaded: dict[int, Served] = {}
        self._answers: SimpleQueue[str | None] = SimpleQueue()
        self._sending = threading.Lock()
        self._has_tried = threading.Event()
        """Set once a bundle was loaded, or could not be."""

    @property
    def served(self) -> Served | None:
        """The bundle that counts; None where there is none, or this worker has not loaded it yet."""
        return self._loaded.get(self.board.generation)

    def start(self) -> None:
        """Do what the supervisor says, from now on; where others serve already, load what they do before answering."""
        threading.Thread(target=self._listen, daemon=True).start()
        if self.board.generation:
            self._has_tried.wait()

    def load(self) -> Served:
        """Let all workers load the folder anew, or none; BundleError as for `Service.load`."""
        with self._loading:
            self._send("reload")
            if (why := self._answers.get()) is not None:
                raise BundleError(why)
            return self.current()

    def opened(self, folder: Path) -> Bundle:
        """Return the bundle of a folder, its weights where all workers have theirs; graphs hold their own."""
        bundle = load_bundle(folder)
        if bundle.graphs is None:
            from factor_serve.http.shared_weights import share_weights  # which needs torch

            share_weights(bundle, folder.parent / "weights.bin")
        return bundle

    def _listen(self) -> None:
        try:
            while True:
                kind, *rest = self.line.recv()
                if kind == "prepare":
                    why = self._prepared(*rest)
                    self._has_tried.set()
                    self._send("prepared", rest[0], why)
                elif kind == "drop":
                    self._loaded.pop(rest[0], None)
                elif kind == "why":
                    self.why = self.shown(BundleError(rest[0]))
                else:
                    self._answers.put(rest[0])
        except (EOFError, OSError):  # the supervisor is gone
            pass
        finally:
            self._has_tried.set()
            os.kill(os.getpid(), signal.SIGTERM)

    def _prepared(self, generation: int, folder: str) -> str | None:
        try:
            self._loaded[generation] = self.read(Path(folder))
        except BundleError as error:
            return str(error).replace(folder, str(self.folder))
        return None

    def _send(self, *message: Any) -> None:
        with self._sending:
            self.line.send(message)


@dataclass(eq=False)
class Worker:
    """A process that answers, as the supervisor sees it."""

    number: int
    process: BaseProcess
    line: Connection
    started: float = field(default_factory=time.monotonic)


class Supervisor:
    """Starts workers, gives each that ends a successor, and swaps bundles for all of them at once.

    Parameters
    ----------
    folder : of the bundle
    listener : the socket that all workers accept from
    place : an empty folder for copies of bundles
    """

    def __init__(self, folder: Path, settings: HttpSettings, listener: socket.socket, place: Path) -> None:
        self.folder, self.settings, self.listener, self.place = folder.absolute(), settings, listener, place
        self.board = Board(settings.workers)
        self.workers: dict[int, Worker] = {}
        self.asked: deque[Worker] = deque()
        self.newest = 0

    def run(self) -> int:
        """Serve until told to end; return the exit status that a signal gives."""
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, _end)
        _load_libraries(self.folder)
        gc.collect()
        gc.freeze()  # what a collection writes to is no longer shared
        try:
            for number in range(self.settings.workers):
                self._start(number)
            if (why := self._switch()) is not None:
                log.error("no bundle is served: %s", why)
            while True:
                self._listen()
        except Ended as ended:
            return 128 + int(ended.args[0])
        finally:
            self._stop()

    def _listen(self) -> None:
        """Do what workers have asked for, while the first bundle was loaded as well, and wait for what they say."""
        while self.asked:
            asker = self.asked.popleft()
            self._send(asker, "answer", self._switch())
        for line in wait([worker.line for worker in self.workers.values()]):
            worker = next(one for one in self.workers.values() if one.line is line)
            try:
                message = worker.line.recv()
            except (EOFError, OSError):
                self._replace(worker)
                continue
            self._heard(worker, message)

    def _heard(self, worker: Worker, message: tuple[Any, ...]) -> None:
        if message[0] == "reload":
            self.asked.append(worker)
        elif message[2] is not None:  # one that has taken the place of another
            log.error("worker %d has no bundle: %s", worker.number, message[2])

    def _switch(self) -> str | None:
        """Let all workers load a copy of the folder; where all can it counts from now on, else say why it does not."""
        self.newest += 1
        generation, copy = self.newest, self.place / str(self.newest)
        why: str | None = None
        try:
            (read_export if is_export(self.folder) else read_manifest)(self.folder)
            shutil.copytree(self.folder, copy / "bundle")
        except (ValueError, OSError) as error:
            why = str(error)
        else:
            workers = list(self.workers.values())
            for worker in workers:
                self._send(worker, "prepare", generation, str(copy / "bundle"))
            said = [self._prepared(worker, generation) for worker in workers]
            why = next((one for one in said if one is not None), None)
        outdated = generation
        if why is None:
            outdated, self.board.generation = self.board.generation, generation
        for worker in self.workers.values():
            self._send(worker, "drop", outdated)
            if why is not None:
                self._send(worker, "why", why)
        shutil.rmtree(self.place / str(outdated), ignore_errors=True)  # what is mapped of it stays until it is dropped
        return why

    def _prepared(self, worker: Worker, generation: int) -> str | None:
        """Wait until a worker has loaded a bundle; return why it could not."""
        try:
            while True:
                message = worker.line.recv()
                if message[0] == "prepared" and message[1] == generation:
                    why: str | None = message[2]
                    return why
                self._heard(worker, message)
        except (EOFError, OSError):
            self._replace(worker)
            return f"{self.folder}: a worker has ended while it loaded the bundle"

    def _start(self, number: int) -> None:
        ours, theirs = multiprocessing.Pipe()
        others = [worker.line for worker in self.workers.values()]
        arguments = (self.folder, self.settings, self.listener, self.board, number, theirs, [*others, ours], self.place)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads before the fork: none of ours
            process = multiprocessing.get_context("fork").Process(target=_work, args=arguments, daemon=True)
            process.start()
        theirs.close()
        self.workers[number] = Worker(number, process, ours)

    def _replace(self, worker: Worker) -> None:
        """Start a worker in the place of one that has ended, or says nothing any more."""
        worker.line.close()
        _join([worker.process], AGAIN)
        log.error("worker %d has ended (status %s): another takes its place", worker.number, worker.process.exitcode)
        time.sleep(max(0.0, AGAIN - (time.monotonic() - worker.started)))
        del self.workers[worker.number]
        self.asked = deque(one for one in self.asked if one is not worker)
        self._start(worker.number)
        if generation := self.board.generation:
            folder = self.place / str(generation) / "bundle"
            self._send(self.workers[worker.number], "prepare", generation, str(folder))

    def _send(self, worker: Worker, *message: Any) -> None:
        with suppress(OSError):  # it has ended, which the next look at its line tells
            worker.line.send(message)

    def _stop(self) -> None:
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, signal.SIG_IGN)
        processes = [worker.process for worker in self.workers.values()]
        for process in processes:
            process.terminate()
        _join(processes, PATIENCE)


def run_workers(folder: Path, settings: HttpSettings, host: str, port: int) -> int:
    """Serve by `settings.workers` processes until told to end."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, port), family=family, backlog=2048) as listener,
        tempfile.TemporaryDirectory(prefix="factor-serve-") as place,
    ):
        return Supervisor(folder, settings, listener, Path(place)).run()


def _work(
    folder: Path,
    settings: HttpSettings,
    listener: socket.socket,
    board: Board,
    number: int,
    line: Connection,
    others: list[Connection],
    place: Path,
) -> None:
    """Be a worker."""
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, signal.SIG_DFL)
    for other in others:  # or the supervisor would not see that their worker has ended
        other.close()
    tempfile.tempdir = str(place)  # what is left there when this process is killed goes with it
    app = make_app(SharedService(folder, settings, board, line), settings, board, number)
    config = uvicorn.Config(app, log_level="info", server_header=False)
    uvicorn.Server(config).run(sockets=[listener])


def _load_libraries(folder: Path) -> None:
    """Load the libraries of trees that a bundle has, so that workers share their pages; else each loads them anew."""
    with suppress(BundleError, ImportError):  # which each worker tells again
        members = [] if is_export(folder) else read_manifest(folder)["members"]
        for library in ("lightgbm", "xgboost"):
            if any(library in name for name in members):
                import_module(library)


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended(number)


def _join(processes: list[BaseProcess], seconds: float) -> None:
    """Wait for processes to end, so many seconds in all; kill those that have not."""
    until = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
