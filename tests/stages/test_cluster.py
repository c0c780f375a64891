"""Split and tokenize work on a Dask cluster as on threads: same bytes, and a death of a process is survived or told."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any, NamedTuple

import psutil
import pytest

from factor_data import MarketConfig, Panel, Workers, clean_bars, open_panel, simulate_market, walk_forward
from factor_data.chunks.write_store import FitConfig, StoreWriter
from factor_data.features.compute import plan_features
from factor_data.features.own import OwnFeatures
from factor_data.labels.config import Label
from stages.running.stage import StageError
from stages.running.workers import part_workers

dask = pytest.importorskip("dask")
pytest.importorskip("distributed")
pytestmark = pytest.mark.slow


@contextmanager
def process(*arguments: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler or worker that goes with the test, and its own processes with it."""
    command = [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]]
    options: dict[str, Any] = {"cwd": folder, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, **options) as running:
        try:
            yield running
        finally:
            os.killpg(running.pid, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def wait_for_workers(address: str, count: int) -> None:
    """They may still be starting."""
    from distributed import Client

    with Client(address, timeout=60) as client:
        client.wait_for_workers(count, timeout=60)


class Cluster(NamedTuple):
    """A scheduler with two workers."""

    address: str
    folder: Path
    """In which they were started."""
    scheduler: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("shared")
    address = f"tcp://127.0.0.1:{(port := free_port())}"
    quiet = ("--no-dashboard",)
    worker = ("worker", address, "--nthreads", "1", "--nworkers", "2", "--local-directory", str(folder), *quiet)
    scheduler = ("scheduler", "--host", "127.0.0.1", "--port", str(port), *quiet)
    with process(*scheduler, folder=folder) as running, process(*worker, folder=folder):
        yield Cluster(address, folder, running)


@pytest.fixture
def workers(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """Both workers of the cluster."""
    address, folder, _ = cluster
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FACTORCAST_CLUSTER", address)
    wait_for_workers(address, 2)
    with part_workers(folder) as found:
        yield found


def write_store(folder: Path, workers: Workers) -> dict[str, bytes]:
    """The files of a store, with a user's own function among the features."""
    market = simulate_market(MarketConfig(symbols=12, bars=200))
    clean_bars(Panel.from_frame(market.bars))[0].save(folder / "panel")
    own = folder / "own.py"
    own.write_text("def age(panel):\n    return panel.columns['close'] / panel.columns['open']\n")
    panel = open_panel(folder / "panel")
    plan = plan_features(["bars"], panel.symbols, OwnFeatures(functions={str(own): ("age",)}))
    writer = StoreWriter(
        directory=folder / "store", panel=panel, workers=workers, plan=plan, labels={"h1": Label(horizon=1)}
    )
    writer.directory.mkdir()
    writer.write_labels()
    writer.write_features()
    folds = walk_forward(panel.dates, train=70, valid=10, test=15, step=15, purge=7, embargo=3)
    writer.write_folds(folds[:1], FitConfig(normaliser="robust_zscore", clip=3.0, num_tokens=8), None)
    return {path.name: path.read_bytes() for path in (folder / "store").rglob("*") if path.is_file()}


def test_a_store_has_the_same_bytes_from_workers_of_a_cluster(workers: Workers, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    few = Workers(max_bytes=800_000, count=2, executor=workers.executor)
    assert write_store(tmp_path / "there", few) == write_store(tmp_path / "here", Workers(max_bytes=10**9))


def test_a_part_whose_worker_is_killed_is_begun_anew(workers: Workers) -> None:
    assert workers.executor is not None
    victim = workers.executor.submit(os.getpid).result()
    Timer(0.3, os.kill, (victim, signal.SIGKILL)).start()
    assert list(workers.map(time.sleep, [0.2] * 12)) == [None] * 12
    assert not Path(f"/proc/{victim}").exists()


def test_a_cluster_whose_workers_see_another_folder_is_refused(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACTORCAST_CLUSTER", cluster.address)
    with pytest.raises(StageError, match=r"does not see .seen-.*start workers in this folder"), part_workers(tmp_path):
        pass


def test_where_no_scheduler_answers_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("stages.running.workers.SECONDS_TO_ANSWER", 1)
    monkeypatch.setenv("FACTORCAST_CLUSTER", f"tcp://127.0.0.1:{free_port()}")
    with pytest.raises(StageError, match="no scheduler answers there"), part_workers(tmp_path):
        pass


@pytest.mark.parametrize(
    "text",
    ["4", "local:0", "local:x", "tcp://host", "http://host:1", "tcp://host:65536", "tcp://host:0", "tcp://\x1b[31m:1"],
)
def test_an_address_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FACTORCAST_CLUSTER", text)
    with pytest.raises(StageError, match=r"must be local: and a number of processes.*or the address") as refusal:
        part_workers(tmp_path).__enter__()
    assert str(refusal.value).isprintable()


def test_a_scheduler_over_tls_needs_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FACTORCAST_CLUSTER", "tls://127.0.0.1:1")
    with pytest.raises(StageError, match=r"tls://127.0.0.1:1: Dask has no certificates for TLS: set distributed.comm"):
        part_workers(tmp_path).__enter__()


def test_a_local_worker_that_dies_while_it_starts_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import distributed

    def killed(**_: object) -> None:
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr(distributed, "LocalCluster", killed)
    monkeypatch.setenv("FACTORCAST_CLUSTER", "local:2")
    with pytest.raises(StageError, match="FACTORCAST_CLUSTER is local:2: a worker did not start; run it again"):
        part_workers(tmp_path).__enter__()


def dies_the_second_time(folder: Path) -> None:
    if (folder / "computed").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / "computed").touch()


def test_a_result_that_is_lost_and_cannot_be_computed_again_ends_the_stage_in_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACTORCAST_CLUSTER", "local:1")

    def lose() -> None:
        with part_workers(tmp_path) as workers:
            assert workers.executor is not None
            part = workers.executor.submit(dies_the_second_time, tmp_path)
            while not part.done():
                time.sleep(0.05)
            for one in psutil.Process().children(recursive=True):
                if "spawn_main" in " ".join(one.cmdline()):
                    one.kill()
            part.result(60)

    once = dask.config.set({"distributed.scheduler.allowed-failures": 0})  # three would take half a minute
    with once, pytest.raises(StageError, match="a part lost its worker 4 times, of too little memory most likely"):
        lose()


def test_a_scheduler_that_goes_away_ends_the_stage_in_a_line(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last test, since it is the scheduler of all."""
    address, folder, scheduler = cluster
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FACTORCAST_CLUSTER", address)

    def lose() -> None:
        wait_for_workers(address, 1)
        with part_workers(folder) as workers:
            Timer(0.3, os.killpg, (scheduler.pid, signal.SIGKILL)).start()
            workers.run(time.sleep, [0.2] * 12)

    with pytest.raises(StageError, match="the scheduler is gone; nothing was written"):
        lose()
