"""Where the optimizer's state lies changes no bit of a weight, on any CPU: one way to sum the norm that clips.

`test_engine` goes through every way of training; this is the part that other instruction sets round otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from factor_models.training.gradient_norm import global_norm, norm_as_without_offload
from models.test_engine import launch

pytestmark = pytest.mark.numeric


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_an_offloaded_optimizer_gives_identical_bytes_where_gradients_are_clipped(
    processes: int, tmp_path: Path
) -> None:
    done = launch(tmp_path, "bytes", processes)
    assert done.returncode == 0, done.stderr[-3000:]
    kept, offloaded, unclipped = (tmp_path / f"{way}.safetensors" for way in ("stage2", "offloaded", "unclipped"))
    assert kept.read_bytes() == offloaded.read_bytes()
    weights, others = load_file(kept), load_file(unclipped)
    assert any(not torch.equal(value, others[name]) for name, value in weights.items()), (
        "no gradient was clipped: the norm was not looked at"
    )


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Any]:
    started = not dist.is_initialized()
    if started:
        dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield dist.group.WORLD
    if started:
        dist.destroy_process_group()


def test_the_norm_is_the_root_of_the_sum_of_squares_and_minus_1_where_it_is_not_finite(group: Any) -> None:
    norms = [torch.tensor(value, dtype=torch.float64) for value in (3.0, 4.0, 12.0)]
    assert global_norm(norms, torch.device("cpu"), group).item() == 13.0
    norms.append(torch.tensor(float("nan"), dtype=torch.float64))
    assert global_norm(norms, torch.device("cpu"), group).item() == -1.0


def test_a_parameter_without_a_gradient_is_left_to_deepspeed() -> None:
    class Wrapper:
        norm_for_param_grads: dict[int, torch.Tensor] = {}  # noqa: RUF012

        def get_param_id(self, parameter: object) -> int:
            return id(parameter)

        def complete_grad_norm_calculation_for_cpu_offload(self, parameters: list[object]) -> str:
            return f"asked for {len(parameters)}"

    wrapper = Wrapper()
    norm_as_without_offload(wrapper)
    assert wrapper.complete_grad_norm_calculation_for_cpu_offload([torch.zeros(2)]) == "asked for 1"
