"""Kill anything, lose nothing: SIGKILL of a rank, the launcher, DVC at random moments; SIGTERM and Ctrl-C."""

from __future__ import annotations

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
    assert [victim for victim, _ in tally.kills] == ["rank", "launcher", "dvc"]
    assert tally.finished >= 1
    assert tally.resumed >= 1, "no attempt went on from a checkpoint: the kills came too early to show anything"


def checkpoints(checkout: Checkout) -> list[str]:
    try:
        return sorted(path.name for path in (checkout.path / ".checkpoints").glob("*/step_*"))
    except FileNotFoundError:  # a fold that ends takes its folder away
        return []


def wait_for_new_checkpoint(checkout: Checkout, process: subprocess.Popen) -> None:
    before, deadline = checkpoints(checkout), time.monotonic() + 300
    while checkpoints(checkout) in (before, []):
        assert process.poll() is None, log_of(checkout)
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_run_that_is_asked_to_stop_leaves_a_checkpoint_and_says_so(prepared: Checkout) -> None:
    """SIGTERM to the first process only, as `kill` does; then SIGINT to the whole group, as Ctrl-C does."""
    before = results_of(prepared)
    assert before
    for number, status, processes in ((signal.SIGTERM, 143, 2), (signal.SIGINT, 130, 1)):
        (prepared.path / "attempt.log").unlink(missing_ok=True)
        run = start(prepared, "launcher", processes)
        wait_for_new_checkpoint(prepared, run)
        (os.killpg if number is signal.SIGINT else os.kill)(run.pid, number)
        assert run.wait(120) == status, log_of(prepared)
        said = log_of(prepared)
        assert "a checkpoint was written. The same command again goes on from there" in said
        assert "Traceback" not in said
        assert not trainers(prepared), "an orphan is left"
        assert checkpoints(prepared)
        assert results_of(prepared) == before, "a run that was stopped leaves the last results alone"
    uninterrupted(prepared, 1)
    assert not checkpoints(prepared)
    after = results_of(prepared)
    assert after.keys() == before.keys()
    assert after != before, "metadata.json notes that another number of processes went on"
