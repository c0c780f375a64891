"""Start a stage once per process on this machine, wait for all, and leave none behind.

The processes meet at a store on a port that the system picks, held by this launcher: no port is guessed. The first
process writes to the terminal; the others to .live/<model>/rank_1.log and so on. When one fails, the others are ended.
Several machines: torchrun, the DeepSpeed launcher or srun start the stage themselves (docs/training.md).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from torch.distributed import TCPStore

from stages.processes.watch import Watch
from stages.running.stage import LOST_PEER, StageError
from stages.running.starter import LAUNCHER

OUT_OF_MEMORY = 75
"""Exit status of a process that wants the run to start again with less memory."""
LAST_LINES = 15
GRACE_SECONDS = 8.0  # for the others to end by themselves, when one has


def launch(module: str, arguments: Sequence[str], processes: int, logs: Path) -> None:
    """Run `python -m module arguments` in `processes` processes; StageError says which one failed and why."""
    logs.mkdir(parents=True, exist_ok=True)
    while True:
        with Watch() as watch:
            statuses, failed = run_group(module, arguments, processes, logs, watch)
        if watch.stop_requested():
            sys.exit(watch.exit_status)
        if failed is None:
            return
        if OUT_OF_MEMORY not in statuses:
            raise StageError(explain(failed, statuses[failed], processes, logs))
        print(say_shortage(statuses.index(OUT_OF_MEMORY), processes, logs), file=sys.stderr, flush=True)


def launch_pool(module: str, arguments: Sequence[Sequence[str]], at_once: int, logs: Path) -> None:
    """Run `python -m module` once for each list of arguments, `at_once` at a time; StageError if one fails."""
    logs.mkdir(parents=True, exist_ok=True)
    waiting = list(range(len(arguments)))
    running: dict[int, subprocess.Popen[bytes]] = {}
    environment = {**os.environ, "FACTORCAST_PARALLEL_FOLDS": "1", LAUNCHER: str(os.getpid())}
    with Watch() as watch, ExitStack() as stack:
        stack.callback(lambda: end_all(list(running.values())))
        while waiting or running:
            watch.beat()
            while waiting and len(running) < at_once and not watch.stop_requested():
                number = waiting.pop(0)
                output = stack.enter_context(empty_log(logs / f"part_{number:02d}.log"))
                command = [sys.executable, "-m", module, *arguments[number]]
                running[number] = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
            for number in [number for number, child in running.items() if child.poll() is not None]:
                if status := running.pop(number).returncode:
                    if watch.stop_requested():
                        continue
                    lines = (logs / f"part_{number:02d}.log").read_text(errors="replace").splitlines()
                    tail = "\n".join(lines[-LAST_LINES:])
                    raise StageError(f"{' '.join(arguments[number])} ended with status {status}:\n{tail}")
            if watch.stop_requested():
                waiting.clear()
                for child in running.values():
                    child.send_signal(signal.SIGTERM)
                for child in running.values():
                    child.wait()
                sys.exit(watch.exit_status)
            time.sleep(0.1)


def run_group(
    module: str, arguments: Sequence[str], processes: int, logs: Path, watch: Watch
) -> tuple[list[int], int | None]:
    """Exit status of every process, in order of rank (negative: the signal that ended it); the first to fail."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    environment = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        LAUNCHER: str(os.getpid()),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store is here, the first process need not open one
    }
    with ExitStack() as stack:
        children: list[subprocess.Popen[bytes]] = []
        stack.callback(end_all, children)
        for rank in range(processes):
            output = None if rank == 0 else stack.enter_context(empty_log(log_of(rank, logs)))
            mine = {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            command = [sys.executable, "-m", module, *arguments]
            children.append(subprocess.Popen(command, env=mine, stdout=output, stderr=output))
        failed = wait_for(children, watch)
    return [child.returncode for child in children], failed


def empty_log(path: Path) -> IO[bytes]:
    """A new file that this and other processes append to."""
    path.write_bytes(b"")
    return path.open("ab")


def wait_for(children: Sequence[subprocess.Popen[bytes]], watch: Watch) -> int | None:
    """The first to fail, when all have ended or had time to; a request to stop is passed on."""
    passed_on, failed, failed_at = False, None, 0.0
    while any(child.poll() is None for child in children):
        watch.beat()
        if watch.stop_requested() and not passed_on:
            for child in children:
                if child.poll() is None:
                    child.send_signal(signal.SIGTERM)
            passed_on = True
        failed = first_failed(children, failed)
        if failed is not None:
            failed_at = failed_at or time.monotonic()
            if time.monotonic() - failed_at > GRACE_SECONDS:
                break
        time.sleep(0.05)
    return first_failed(children, failed)


def first_failed(children: Sequence[subprocess.Popen[bytes]], so_far: int | None = None) -> int | None:
    """The first to fail; one that ended only because it had lost another one is named if there is no other."""
    if so_far is not None and children[so_far].returncode != LOST_PEER:
        return so_far
    failed = [rank for rank, child in enumerate(children) if child.poll()]
    return min(failed, key=lambda rank: children[rank].returncode == LOST_PEER, default=None)


def end_all(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """End every process that still runs, and wait for each."""
    for child in children:
        if child.poll() is None:
            child.kill()
        child.wait()


def explain(rank: int, status: int, processes: int, logs: Path) -> str:
    """Return in words how a process ended, with the end of its log."""
    how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    message = f"process {rank} of {processes} {how}; the same command again goes on from the last checkpoint"
    if rank == 0:
        return f"{message}. Its own message is above"
    lines = last_lines(rank, logs)
    tagged = "\n".join(f"[rank {rank}] {line}" for line in lines)
    return f"{message}. The end of {log_of(rank, logs)}:\n{tagged}" if lines else message


def say_shortage(rank: int, processes: int, logs: Path) -> str:
    """Return in words that memory was short and that all processes start again."""
    said = [] if rank == 0 else last_lines(rank, logs)[-1:]  # that of the first is above
    return "\n".join([f"process {rank} of {processes} is out of memory: all start again", *said])


def log_of(rank: int, logs: Path) -> Path:
    """Return the file that a process writes its messages to."""
    return logs / f"rank_{rank}.log"


def last_lines(rank: int, logs: Path) -> list[str]:
    """Return the last lines of a process's log."""
    return log_of(rank, logs).read_text(errors="replace").splitlines()[-LAST_LINES:]
