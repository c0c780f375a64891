"""DeepSpeed engine: the same training on any number of processes, at any ZeRO stage, and after a kill."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from factor_models.training.optimizers import emulates_bf16
from warm import path_of_programs

pytestmark = [pytest.mark.numeric, pytest.mark.slow]

HERE = Path(__file__).parent
SOURCES = Path(__file__).parents[2] / "packages" / "models" / "src"
# Weights are of order 0.1 to 1 and take 9 steps of size 1e-2: what differs is the order of float32 sums.
TOLERANCE = 2e-5


def launch_worker(module: str, *arguments: str, processes: int) -> subprocess.CompletedProcess:
    """Run a module that lies beside this one in so many processes, by torchrun if there are several."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "--no-python"]
    launcher = ["python", *torchrun] if processes > 1 else []
    environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    environment |= {"PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "1", "PATH": path_of_programs()}
    return subprocess.run(
        [*launcher, "python", "-m", module, *arguments],
        cwd=HERE, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def launch(out: Path, mode: str, processes: int = 1) -> subprocess.CompletedProcess:
    return launch_worker("engine_worker", str(out), mode, processes=processes)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], Path]:
    """Files of final weights by (number of processes, way of training)."""
    files = {}
    for processes, mode in ((1, "all"), (2, "all"), (4, "few")):
        out = tmp_path_factory.mktemp(f"processes{processes}")
        done = launch(out, mode, processes)
        assert done.returncode == 0, done.stderr[-3000:]
        (out / "stdout.txt").write_text(done.stdout)
        (out / "stderr.txt").write_text(done.stderr)
        files |= {(processes, path.stem): path for path in out.glob("*.safetensors")}
    return files


def largest_difference(first: Path, second: Path) -> float:
    a, b = load_file(first), load_file(second)
    assert a.keys() == b.keys()
    assert {value.dtype for value in a.values()} == {torch.float32}
    return max(float((a[name] - b[name]).abs().max()) for name in a)


# Largest absolute difference of a weight from the plain loop in torch alone, after 9 steps.
TABLE = {
    (1, "stage0"): 1e-7,
    **{(1, f"stage{stage}"): 1e-6 for stage in (1, 2, 3)},
    (1, "accumulated"): TOLERANCE,
    (1, "offloaded"): 1e-6,
    **{(processes, f"stage{stage}"): TOLERANCE for processes in (2, 4) for stage in (0, 1, 2, 3)},
    **{(processes, "accumulated"): TOLERANCE for processes in (2, 4)},
    (2, "offloaded"): TOLERANCE,
    **{(processes, f"moved{way}"): TOLERANCE for processes in (1, 2) for way in ("3to1", "0to3", "2to0")},
}


@pytest.mark.parametrize(("processes", "way"), TABLE)
def test_every_way_ends_with_the_weights_of_a_plain_loop(
    weights: dict[tuple[int, str], Path], processes: int, way: Any
) -> None:
    assert largest_difference(weights[1, "plain"], weights[processes, way]) <= TABLE[processes, way]


@pytest.mark.parametrize("name", ["gru", "adv_alstm", "gan_lstm", "tcn_attention", "token_transformer"])
@pytest.mark.parametrize("processes", [1, 2])
def test_the_other_networks_give_the_same_weights_at_stage_3(
    weights: dict[tuple[int, str], Path], processes: int, name: str
) -> None:
    assert largest_difference(weights[1, f"{name}0"], weights[processes, f"{name}3"]) < TOLERANCE


@pytest.mark.parametrize("processes", [1, 2])
def test_an_offloaded_optimizer_gives_identical_bytes(weights: dict[tuple[int, str], Path], processes: int) -> None:
    assert weights[processes, "offloaded"].read_bytes() == weights[processes, "stage2"].read_bytes()


@pytest.mark.parametrize("processes", [1, 2])
def test_the_same_configuration_twice_gives_identical_bytes(
    weights: dict[tuple[int, str], Path], processes: int
) -> None:
    assert weights[processes, "stage2"].read_bytes() == weights[processes, "again"].read_bytes()


@pytest.mark.parametrize("processes", [1, 2])
def test_accumulation_does_not_change_the_steps(weights: dict[tuple[int, str], Path], processes: int) -> None:
    """3 micro batches of 4 or 2 dates: pieces of unequal size, some empty."""
    assert largest_difference(weights[1, "stage2"], weights[processes, "accumulated"]) < TOLERANCE


def test_unequal_shares_weigh_every_date_the_same(weights: dict[tuple[int, str], Path]) -> None:
    """Batches of 5, 5 and 2 dates: two processes take 3 + 2, 3 + 2 and 1 + 1."""
    assert largest_difference(weights[1, "uneven"], weights[2, "uneven"]) < TOLERANCE
    assert largest_difference(weights[1, "uneven"], weights[2, "uneven_stage3"]) < TOLERANCE
    assert largest_difference(weights[1, "uneven"], weights[1, "stage2"]) > 100 * TOLERANCE


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("stage", [0, 2, 3])
def test_a_resumed_run_ends_with_the_bytes_of_an_uninterrupted_one(
    weights: dict[tuple[int, str], Path], processes: int, stage: int
) -> None:
    resumed, whole = weights[processes, f"resumed{stage}"], weights[processes, f"stage{stage}"]
    assert resumed.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_moving_average_is_resumed_as_well(weights: dict[tuple[int, str], Path], processes: int) -> None:
    averaged = weights[processes, "averaged"]
    assert weights[processes, "resumed_averaged"].read_bytes() == averaged.read_bytes()
    assert largest_difference(averaged, weights[processes, "stage2"]) > 2 * TOLERANCE


def test_bf16_trains_near_fp32_and_keeps_fp32_weights(weights: dict[tuple[int, str], Path]) -> None:
    difference = largest_difference(weights[1, "bf16"], weights[1, "stage2"])
    assert TOLERANCE < difference < 0.05
    tokens = largest_difference(weights[1, "token_transformer_bf16"], weights[1, "token_transformer0"])
    assert TOLERANCE < tokens < 0.1


def test_a_killed_process_is_continued_by_running_it_again(
    tmp_path: Path, weights: dict[tuple[int, str], Path]
) -> None:
    killed = launch(tmp_path, "killed")
    assert killed.returncode == 9
    assert not (tmp_path / "run.safetensors").exists()
    again = launch(tmp_path, "run")
    assert again.returncode == 0, again.stderr[-3000:]
    assert (tmp_path / "run.safetensors").read_bytes() == weights[1, "stage2"].read_bytes()


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_run_goes_on_with_another_number_of_processes(
    tmp_path: Path, weights: dict[tuple[int, str], Path], before: int, after: int
) -> None:
    assert launch(tmp_path, "killed", before).returncode != 0
    again = launch(tmp_path, "run", after)
    assert again.returncode == 0, again.stderr[-3000:]
    assert largest_difference(tmp_path / "run.safetensors", weights[1, "stage2"]) < TOLERANCE


def test_the_engine_is_quiet(weights: dict[tuple[int, str], Path]) -> None:
    folder = weights[1, "stage0"].parent
    assert (folder / "stdout.txt").read_text() == ""
    told = (folder / "stderr.txt").read_text().splitlines()
    if emulates_bf16():  # what every user of such a CPU is told once, and nothing else
        assert [line for line in told if "no instruction of this CPU multiplies bf16" not in line] == []
        assert len(told) <= 1
    else:
        assert told == []
