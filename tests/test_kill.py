"""Kill anything, lose nothing: SIGKILL of a rank, the launcher, DVC at random moments; signals, ports, orphans."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from checkout import Checkout
from kill_runs import kill_runs, log_of, prepare, results_of, start, trainers, uninterrupted

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return prepare(tmp_path_factory.mktemp("kill") / "factorcast")


def test_runs_killed_at_random_moments_end_with_the_same_bytes(prepared: Checkout) -> None:
    tally = kill_runs(prepared, num_kills=4, seed=1)
    assert (tally.different, tally.orphans) == (0, 0)
    assert len(tally.kills) == 4
    assert tally.finished >= 1


def wait_for_checkpoint(checkout: Checkout, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not list((checkout.path / ".checkpoints").glob("*/step_*")):
        assert process.poll() is None, log_of(checkout)
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_that_is_asked_to_stop_leaves_a_checkpoint_and_says_so(
    prepared: Checkout, number: signal.Signals, status: int, processes: int
) -> None:
    """To the first process only, as `kill` does, and to the whole group, as Ctrl-C does."""
    before = results_of(prepared)
    (prepared.path / "attempt.log").unlink(missing_ok=True)
    run = start(prepared, "launcher", processes)
    wait_for_checkpoint(prepared, run)
    (os.killpg if number is signal.SIGINT else os.kill)(run.pid, number)
    assert run.wait(60) == status, log_of(prepared)
    assert "a checkpoint was written. The same command again goes on from there" in log_of(prepared)
    assert "Traceback" not in log_of(prepared)
    assert not trainers(prepared), "an orphan is left"
    assert results_of(prepared) == before, "a run that was stopped leaves the last results alone"
    after, _ = uninterrupted(prepared, processes)
    assert not list((prepared.path / ".checkpoints").glob("*"))
    assert after.keys() >= before.keys()


def test_two_runs_at_once_on_a_taken_port_take_ports_of_their_own(prepared: Checkout, tmp_path: Path) -> None:
    """Even with MASTER_PORT in the environment naming a port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = prepared.stage(
            "train", "lstm", FACTORCAST_PROCESSES="2", MASTER_PORT=str(taken.getsockname()[1])
        )
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_failing_rank_is_named_and_ends_the_others(prepared: Checkout) -> None:
    run = start(prepared, "launcher", 2)
    wait_for_checkpoint(prepared, run)
    ranks = sorted(process.pid for process in trainers(prepared) if process.pid != run.pid)
    os.kill(ranks[-1], signal.SIGKILL)
    assert run.wait(60) == 2
    assert "of 2 was ended by signal 9; the same command again goes on" in log_of(prepared)
    assert not trainers(prepared)


def test_a_hung_rank_ends_with_the_place_where_every_thread_stands(prepared: Checkout) -> None:
    run = prepared.run
    assert run
    os.environ["FACTORCAST_TIMEOUT_MINUTES"] = "0.3"
    try:
        process = start(prepared, "launcher", 2)
    finally:
        del os.environ["FACTORCAST_TIMEOUT_MINUTES"]
    wait_for_checkpoint(prepared, process)
    ranks = sorted(found.pid for found in trainers(prepared) if found.pid != process.pid)
    os.kill(ranks[-1], signal.SIGSTOP)
    try:
        assert process.wait(90) == 2
    finally:
        if ranks[-1] in [found.pid for found in trainers(prepared)]:
            os.kill(ranks[-1], signal.SIGKILL)
    assert "every thread stands here" in log_of(prepared)
    assert "Thread 0x" in log_of(prepared)
