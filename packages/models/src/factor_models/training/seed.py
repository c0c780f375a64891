"""One seed for every generator that training uses, and their states as tensors."""

from __future__ import annotations

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
    """State of the generators of python, numpy and torch, to continue a run where it stopped."""
    _, words, python_gauss = random.getstate()
    _, numpy_words, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    state = {
        "python": torch.tensor(words, dtype=torch.int64),
        "python_gauss": torch.tensor([] if python_gauss is None else [python_gauss], dtype=torch.float64),
        "numpy": torch.from_numpy(np.append(np.asarray(numpy_words, dtype=np.int64), [position, has_gauss])),
        "numpy_gauss": torch.tensor([gauss], dtype=torch.float64),
        "cpu": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, torch.Tensor]) -> None:
    """Inverse of `random_state`."""
    gauss = state["python_gauss"].tolist()
    random.setstate((3, tuple(state["python"].tolist()), gauss[0] if gauss else None))
    *words, position, has_gauss = state["numpy"].tolist()
    key = np.array(words, dtype=np.uint32)
    np.random.set_state(("MT19937", key, position, has_gauss, float(state["numpy_gauss"])))  # noqa: NPY002
    torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
