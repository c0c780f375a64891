"""One seed for every generator that training uses."""

import random

import numpy as np
import torch


def set_seed(seed: int) -> None:
    """Seed python, numpy and torch (CPU and all GPUs)."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed = {seed}: must be in [0, 2**32)")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (libraries that use the global generator)
    torch.manual_seed(seed)


def random_state() -> dict[str, torch.Tensor]:
    """State of torch's generators as tensors, to continue a run where it stopped."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, torch.Tensor]) -> None:
    """Inverse of `random_state`."""
    torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
