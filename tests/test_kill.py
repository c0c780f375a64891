"""Kill anything, lose nothing: SIGKILL of a rank, the launcher, DVC at random moments; SIGTERM and Ctrl-C."""

import os
import signal
import subprocess
import time

import pytest

from checkout import Checkout
from kill_runs import kill_runs, log_of, prepare, results_of, start, trainers, uninterrupted

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return prepare(tmp_path_factory.mktemp("kill") / "factorcast")


def test_runs_killed_at_random_moments_end_with_the_same_bytes(prepared: Checkout) -> None:
    tally = kill_runs(prepared, num_kills=3, seed=1)
    assert (tally.different, tally.orphans) == (0, 0)
    assert len(tally.kills) == 3
    assert tally.finished >= 1


def wait_for_checkpoint(checkout: Checkout, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not list((checkout.path / ".checkpoints").glob("*/step_*")):
        assert process.poll() is None, log_of(checkout)
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "status", "processes"), [(signal.SIGTERM, 143, 2), (signal.SIGINT, 130, 1)]
)
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
