"""Weights of networks in one file that every worker maps: one copy in memory, however many workers there are.

What is not there are trees, which their library keeps as it likes, and arrays of a few numbers.
"""

from __future__ import annotations

import fcntl
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from factor_serve.bundle import Bundle, BundleError
from factor_serve.members import Member

ALIGNED = 64
"""Bytes at a multiple of which a tensor begins, as where torch allots it: its kernels round alike at both."""


def share_weights(bundle: Bundle, path: Path) -> int:
    """Let all weights of a bundle's networks lie in a file that is mapped for reading; return its bytes.

    The first process of several writes it, from the bundle that it has loaded and verified; each holds every byte
    against the bundle that it has loaded itself. BundleError where one differs.
    """
    tensors = list(_tensors(bundle))
    if not tensors:
        return 0
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _write(tensors, path)
    mapped = np.memmap(path, dtype=np.uint8, mode="r")
    end = 0
    for tensor in tensors:
        own = _bytes_of(tensor)
        begin = end + -end % ALIGNED
        end = begin + len(own)
        part = mapped[begin:end]
        if not np.array_equal(part, own):
            raise BundleError(f"{bundle.folder}: another worker has loaded other weights")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            tensor.data = torch.from_numpy(part).view(tensor.dtype).view(tensor.shape)
    return end


def _tensors(bundle: Bundle) -> Iterator[Tensor]:
    """Parameters and buffers of all networks, in an order that depends on the bundle alone."""
    for member in bundle.members.values():
        assert isinstance(member, Member)
        model = member.model
        networks = [model] if isinstance(model, nn.Module) else list(vars(model).values())
        for network in networks:
            if isinstance(network, nn.Module):
                yield from (one for one in (*network.parameters(), *network.buffers()) if one.numel())


def _write(tensors: list[Tensor], path: Path) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        for tensor in tensors:
            file.write(b"\0" * (-file.tell() % ALIGNED))
            file.write(_bytes_of(tensor).tobytes())
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _bytes_of(tensor: Tensor) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
    return found
