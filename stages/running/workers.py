"""Where the stages that read bars work on parts of them: on threads of this process, or on a Dask cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from factor_data import DaskExecutor, Workers
from stages.running.environment import cluster, memory_budget
from stages.running.stage import StageError

RETRIES = 3
"""Times that a part is begun anew after the worker that had it died."""
SECONDS_TO_ANSWER = 20


@contextmanager
def part_workers(shared: Path) -> Iterator[Workers]:
    """What parts run on; no number depends on it.

    A thread per core of this process; with FACTORCAST_CLUSTER the workers of that Dask cluster. The parts in work share
    the bytes that FACTORCAST_MEMORY_MB allows. Workers of a cluster must see the folder `shared`, where the stage
    writes, by the same relative path: they are started in this folder, on a file system that all hosts share.
    """
    address = cluster()
    if address is None:
        count = len(os.sched_getaffinity(0))
        with ThreadPoolExecutor(count) as executor:
            yield Workers(max_bytes=memory_budget(), count=count, executor=executor)
        return
    with dask_client(address) as client:
        count = sum(client.nthreads().values())
        check_shared(client, shared)
        print(f"FACTORCAST_CLUSTER: {count} threads of {len(client.nthreads())} workers")
        try:
            yield Workers(max_bytes=memory_budget(), count=count, executor=DaskExecutor(client, RETRIES))
        except Exception as error:
            reason = why_lost(error)
            if reason is None:
                raise
            raise StageError(f"FACTORCAST_CLUSTER is {address}: {reason}; nothing was written, run it again") from None


@contextmanager
def dask_client(address: str) -> Iterator[Any]:
    """A client of a running scheduler, whose workers begin anew and so have today's code; or of local processes."""
    try:
        import distributed
    except ModuleNotFoundError:
        raise StageError("FACTORCAST_CLUSTER needs Dask: pip install distributed") from None
    kind, _, number = address.partition(":")
    if kind == "local":
        options = {"n_workers": int(number), "threads_per_worker": 1, "dashboard_address": None}
        try:
            local = distributed.LocalCluster(**options)
        except RuntimeError as error:
            raise StageError(f"FACTORCAST_CLUSTER is {address}: a worker did not start; run it again") from error
        with local, distributed.Client(local) as client:
            yield client
        return
    try:
        client = distributed.Client(address, timeout=SECONDS_TO_ANSWER)
    except OSError as error:
        raise StageError(f"FACTORCAST_CLUSTER is {address}: no scheduler answers there: {error}") from None
    except TypeError as error:  # how it says that a key of its configuration is missing
        if not address.startswith("tls:"):
            raise
        raise StageError(
            f"FACTORCAST_CLUSTER is {address}: Dask has no certificates for TLS: set distributed.comm.tls in its "
            "configuration"
        ) from error
    with client:
        if not client.nthreads():
            raise StageError(f"FACTORCAST_CLUSTER is {address}: the scheduler has no workers: dask worker {address}")
        client.restart(timeout=3 * SECONDS_TO_ANSWER)
        yield client


def check_shared(client: Any, shared: Path) -> None:
    """Refuse workers that do not see what this process writes."""
    with NamedTemporaryFile(dir=shared, prefix=".seen-") as probe:
        path = os.path.relpath(probe.name)
        blind = sorted(worker for worker, sees in client.run(os.path.exists, path).items() if not sees)
    if blind:
        raise StageError(
            f"FACTORCAST_CLUSTER: {blind[0]} does not see {path} ({len(blind)} workers in all): start workers in this "
            f"folder, on a file system that all hosts share"
        )


def why_lost(error: Exception) -> str | None:
    """What happened to the cluster, where the error is one of the cluster and not of the work."""
    from distributed import KilledWorker
    from distributed.comm.core import CommClosedError

    if isinstance(error, KilledWorker):
        return f"a part lost its worker {RETRIES + 1} times, of too little memory most likely (FACTORCAST_MEMORY_MB)"
    if isinstance(error, CommClosedError | CancelledError):
        return "the scheduler is gone"
    return None
