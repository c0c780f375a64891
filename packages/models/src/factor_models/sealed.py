"""Tensors in a safetensors file that knows what was written into it: a sha256 over names, types, shapes and bytes.

Any reader of safetensors takes the file. `unseal` refuses one whose tensors or texts are others than those written,
also where the file as such is in order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

SEAL = "sha256"


class DamagedError(ValueError):
    """A file is not what was written."""


def seal(tensors: Mapping[str, Tensor], texts: Mapping[str, str] | None = None) -> bytes:
    """Return the content of the file: CPU tensors, and texts beside them."""
    texts = dict(texts or {})
    return save(dict(tensors), {**texts, SEAL: _digest(tensors, texts)})


def unseal(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and texts of a file that `seal` made; DamagedError naming any other file, pipes among them."""
    if not path.is_file():
        raise DamagedError(f"{path} cannot be read (it is no file)")
    try:
        with safe_open(path, framework="pt") as file:
            texts = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedError(f"{path} cannot be read ({error})") from error
    if texts.pop(SEAL, None) != _digest(tensors, texts):
        raise DamagedError(f"{path} cannot be read (its tensors are not those that were written)")
    return tensors, texts


def _digest(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> str:
    digest = hashlib.sha256(repr(sorted(texts.items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
