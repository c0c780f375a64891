"""What watches a training step: losses and gradients that are not finite, and memory that runs out.

Nothing is changed by a step that is refused: both are known before the optimizer moves a weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from factor_models.training.engine_config import EngineConfig


@dataclass(frozen=True, kw_only=True)
class GuardConfig:
    """Reaction to a loss or gradient that is not finite: how often a run may return to the start of its epoch."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    rollbacks: int = 2
    """Times before training stops with an error; 0: at the first one."""
    lr_factor: float = 0.5
    """Factor of each rollback on the learning rate, for the rest of the run."""

    def __post_init__(self) -> None:
        if self.rollbacks < 0:
            raise ValueError(f"rollbacks = {self.rollbacks}: must be >= 0")
        if not 0.0 < self.lr_factor <= 1.0:
            raise ValueError(f"lr_factor = {self.lr_factor}: must be in (0, 1]")


class NonFiniteError(ArithmeticError):
    """A loss or a gradient is NaN or infinite; the message says where. No weight was changed."""


class MemoryExhaustedError(RuntimeError):
    """The device has no memory for a step; no weight was changed."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an error is about memory: of a GPU, of the host's allocator, of Python."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


class GradientWatch:
    """Sums of every gradient as it is made, before the processes exchange it; NaN and infinity survive a sum."""

    def __init__(self, module: nn.Module) -> None:
        self._sums: list[tuple[str, Tensor]] = []
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                parameter.register_hook(lambda gradient, name=name: self._note(name, gradient))

    def _note(self, name: str, gradient: Tensor) -> None:
        self._sums.append((name, gradient.detach().sum(dtype=torch.float32)))

    def clear(self) -> None:
        """Forget the sums of the step before."""
        self._sums.clear()

    def all_finite(self) -> Tensor:
        """A scalar bool; nothing is waited for."""
        if not self._sums:
            return torch.tensor(True)
        return torch.stack([total for _, total in self._sums]).isfinite().all()

    def first_offender(self) -> str | None:
        """The parameter whose gradient was the first that is not finite, on the way back from the loss."""
        return next((name for name, total in self._sums if not total.isfinite()), None)


@contextmanager
def watch_outputs(module: nn.Module) -> Iterator[list[str]]:
    """While it is open, the list collects the innermost modules whose output is not finite, first one first."""
    offenders: list[str] = []

    def check(name: str, output: object) -> None:
        tensors = output if isinstance(output, tuple | list) else (output,)
        if any(isinstance(value, Tensor) and not value.isfinite().all() for value in tensors):
            offenders.append(name)

    handles = [
        child.register_forward_hook(lambda _module, _inputs, output, name=name: check(name, output))
        for name, child in module.named_modules()
        if not any(True for _ in child.children())
    ]
    try:
        yield offenders
    finally:
        for handle in handles:
            handle.remove()


def less_memory(config: EngineConfig, most_pieces: int, on_gpu: bool) -> tuple[EngineConfig, str] | None:
    """The next configuration that takes less memory and gives the same step, and what it does; None: there is none.

    First smaller micro batches, down to one date (`most_pieces` of them), then recomputation, then the optimizer state
    in host memory, which helps on a GPU only.
    """
    if config.accumulation < most_pieces:
        pieces = min(2 * config.accumulation, most_pieces)
        return replace(config, accumulation=pieces), f"micro batches halved: accumulation {pieces}"
    if not config.recompute:
        return replace(config, recompute=True), "recompute: activations are forgotten and made again"
    if on_gpu and not config.zero.offload_optimizer and config.zero.stage > 0:
        zero = replace(config.zero, offload_optimizer=True)
        return replace(config, zero=zero), "zero.offload_optimizer: Adam's state goes to host memory"
    return None
