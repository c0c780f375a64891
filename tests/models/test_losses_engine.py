"""Losses with a state or parameters through the engine: the same on any number of processes, and after a resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from models.test_engine import launch_worker

pytestmark = pytest.mark.slow

# As in test_engine.py: weights take 6 steps of size 1e-2, what differs is the order of float32 sums.
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Results by number of processes."""
    folders = {}
    for processes in (1, 2):
        out = folders[processes] = tmp_path_factory.mktemp(f"losses{processes}")
        done = launch_worker("losses_worker", str(out), processes=processes)
        assert done.returncode == 0, done.stderr[-3000:]
    return folders


def largest_difference(first: Path, second: Path) -> float:
    a, b = load_file(first), load_file(second)
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.parametrize("name", ["quantitative", "quantile", "distilled"])
def test_two_processes_give_the_weights_of_one(folders: dict[int, Path], name: str) -> None:
    assert largest_difference(*(folders[n] / f"{name}.safetensors" for n in (1, 2))) < TOLERANCE


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("way", ["accumulated", "stage3"])
def test_neither_micro_batches_nor_partitioned_weights_change_the_steps(
    folders: dict[int, Path], processes: int, way: str
) -> None:
    other = folders[processes] / f"quantitative_{way}.safetensors"
    assert largest_difference(folders[1] / "quantitative.safetensors", other) < TOLERANCE


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(("resumed", "whole"), [("resumed", ""), ("resumed3", "_stage3")])
def test_a_resumed_run_knows_the_regime_and_the_learnt_weights(
    folders: dict[int, Path], processes: int, resumed: str, whole: str
) -> None:
    first = folders[processes] / f"quantitative_{resumed}.safetensors"
    assert first.read_bytes() == (folders[processes] / f"quantitative{whole}.safetensors").read_bytes()


def test_every_process_sees_the_same_regimes_and_they_change(folders: dict[int, Path]) -> None:
    states = [json.loads((folders[n] / "states.json").read_text()) for n in (1, 2)]
    assert states[0] == states[1]
    assert set(states[0]["quantitative"]) == {-1, 0, 1}
    assert states[0]["quantitative_resumed"] == states[0]["quantitative"][-len(states[0]["quantitative_resumed"]) :]
    assert states[0]["distilled"] == states[0]["quantitative"]
