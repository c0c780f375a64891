"""Several workers of one server: one bundle for all at every moment, one copy of its weights, one limit, one count."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest

from factor_data import Panel
from factor_serve import Bundle, forecast
from factor_serve.http.board import Board
from factor_serve.http.limits import SharedRate
from factor_serve.http.metrics import Metrics
from factor_serve.http.problems import Problem
from factor_serve.http.settings import HttpSettings
from factor_serve.http.workers import Supervisor, Worker
from serve.bundle_samples import change_manifest, columns

pytestmark = [pytest.mark.end_to_end]
WORKERS = 2


class Server:
    """The command, and requests to it, each on a connection of its own so that any worker may answer."""

    def __init__(self, folder: Path, temporary: Path, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "factor_serve", "http", str(folder), "--port", str(self.port), "--unpromoted"]
        command += ["--ensemble", "all"]
        self.process = subprocess.Popen(
            [*command, "--workers", str(WORKERS), *options],
            env=os.environ | {"TMPDIR": str(temporary)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        kind = response.headers["content-type"]
        return response.status, json.loads(content) if kind == "application/json" else content.decode()

    @property
    def workers(self) -> list[psutil.Process]:
        return [one for one in psutil.Process(self.process.pid).children() if one.status() != psutil.STATUS_ZOMBIE]

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 240
        while time.monotonic() < end:
            assert self.process.poll() is None
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise AssertionError("it did not come to pass")

    def served(self, times: int = 20) -> set[str]:
        """The bundles that so many requests in a row were told of."""
        return {str(self.ask("GET", "/info")[1]["bundle"]) for _ in range(times)}


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    return shutil.copytree(bundle.folder, tmp_path / "bundle")


@pytest.fixture
def server(folder: Path, tmp_path: Path) -> Iterator[Server]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    one = Server(folder, temporary, "--rate", "1000")
    try:
        one.until(lambda: one.ask("GET", "/ready")[0] == 200)
        yield one
    finally:
        one.process.kill() if one.process.poll() is None else None
        one.process.wait()


def mapped_weights(process: psutil.Process) -> tuple[str, int, int]:
    """Permissions, resident and proportional KiB of the file of weights in a process."""
    text = Path(f"/proc/{process.pid}/smaps").read_text()
    found = re.search(r"^\S+ (\S+) .*weights\.bin.*\n(?:.*\n)*?Rss:\s+(\d+) kB\nPss:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return found[1], int(found[2]), int(found[3])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_all_workers_serve_one_bundle_from_one_copy_of_its_weights_and_are_swapped_at_once(
    server: Server, folder: Path, bundle: Bundle, panel: Panel, news: Any, tmp_path: Path
) -> None:
    assert len(server.workers) == WORKERS
    assert server.served() == {bundle.identity}
    for one in server.workers:
        permissions, resident, proportional = mapped_weights(one)
        assert permissions.startswith("r--")
        assert proportional <= resident / WORKERS + 4
    body = {"bars": columns(panel.to_pandas()), "news": columns(news), "model": "all"}
    content = json.dumps(body).encode()
    expected = forecast(bundle, panel, news, None, "all")["prediction"].tolist()
    for _ in range(2 * WORKERS):  # weights that are mapped give the bits of those that are read
        status, answer = server.ask("POST", "/predict", content)
        assert status == 200
        assert answer["forecasts"]["prediction"] == expected

    kept = shutil.copytree(folder, tmp_path / "kept")
    (folder / "inputs" / "normaliser.json").write_text("{}")
    status, answer = server.ask("POST", "/reload")
    assert status == 409
    assert "inputs/normaliser.json has other bytes" in answer["error"]["rule"]
    assert str(tmp_path) not in answer["error"]["rule"]
    assert server.served() == {bundle.identity}

    victim = server.workers[0]
    victim.send_signal(signal.SIGKILL)  # its successor serves what the others do, though the folder is damaged
    server.until(lambda: len(server.workers) == WORKERS and victim.pid not in [one.pid for one in server.workers])
    server.until(lambda: all("weights.bin" in Path(f"/proc/{one.pid}/smaps").read_text() for one in server.workers))
    server.until(lambda: {server.ask("GET", "/ready")[0] for _ in range(20)} == {200})
    assert server.served() == {bundle.identity}

    shutil.rmtree(folder)
    shutil.copytree(kept, folder)
    change_manifest(folder, lambda manifest: manifest.update(why="another"))
    status, answer = server.ask("POST", "/reload")
    assert status == 200
    assert answer["bundle"] != bundle.identity
    assert server.served() == {answer["bundle"]}
    page = server.ask("GET", "/metrics")[1]
    assert 'factor_serve_requests_total{path="/info",status="200"} 80' in page
    assert 'factor_serve_requests_total{path="/predict",status="200"} 4' in page
    assert 'factor_serve_reloads_total{outcome="ok"} 1' in page
    assert 'factor_serve_reloads_total{outcome="refused"} 1' in page

    workers = server.workers
    server.process.terminate()
    assert server.process.wait(60) == 128 + signal.SIGTERM
    assert not [one for one in workers if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert not list((tmp_path / "temporary").iterdir())


def test_a_reload_that_is_asked_for_while_the_first_bundle_is_loaded_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        supervisor = Supervisor(tmp_path, HttpSettings(workers=WORKERS), listener, tmp_path)
        monkeypatch.setattr(supervisor, "_switch", lambda: "no bundle")
        ours, theirs = multiprocessing.Pipe()
        supervisor.workers[0] = worker = Worker(0, multiprocessing.current_process(), ours)
        supervisor._heard(worker, ("reload",))  # read beside what the loading of the first one said
        listening = Thread(target=supervisor._listen, daemon=True)
        listening.start()
        assert theirs.poll(30), "nothing is said until somebody else asks for something"
        assert theirs.recv() == ("answer", "no bundle")
        theirs.send(("prepared", 1, None))
        listening.join(30)
        assert not listening.is_alive()


def test_counters_and_limits_of_workers_are_those_of_the_server() -> None:
    board, now = Board(2), 1.0
    one, two = (Metrics(board, number) for number in range(2))
    one.observe("/predict", 200, 0.02)
    two.observe("/predict", 200, 0.2)
    two.observe("/info", 404, 0.001)
    two.forecast(7)
    one.reload("refused")
    for metrics in (one, two, Metrics(board, 1)):  # the last one takes the place of a worker that has ended
        page = metrics.text(None, promoted=False, loaded=0.0)
        assert 'factor_serve_requests_total{path="/predict",status="200"} 2' in page
        assert 'factor_serve_requests_total{path="/info",status="404"} 1' in page
        assert 'factor_serve_request_seconds_bucket{le="0.025"} 2' in page
        assert 'factor_serve_request_seconds_bucket{le="+Inf"} 3' in page
        assert "factor_serve_request_seconds_sum 0.221" in page
        assert "factor_serve_forecasts_total 7" in page
        assert 'factor_serve_reloads_total{outcome="refused"} 1' in page

    rates = [SharedRate(1.0, "clients", board, lambda: now) for _ in range(2)]
    rates[0].take()
    rates[1].take()  # two seconds' worth, whoever takes it
    for rate in rates:
        with pytest.raises(Problem, match="1 requests a second"):
            rate.take()
    SharedRate(1.0, "strangers", board, lambda: now).take()
    now = 2.0
    rates[0].take()
    with pytest.raises(Problem):
        rates[1].take()


def test_a_slot_that_was_not_written_whole_is_read_as_empty() -> None:
    board = Board(1)
    board.set_slot(0, b'{"forecasts": 3}')
    assert board.slot(0) == b'{"forecasts": 3}'
    board._memory[board._slots + 9] ^= 1
    assert board.slot(0) == b""
