"""Checkpoints in the published form: config.json and model.safetensors, the same bytes when saved again.

Beside them goes sha256.json, by which a folder that was written here is known to be what was written. Published ones
have none.
"""

from __future__ import annotations

import inspect
import json
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from factor_models.hub import local_folder
from factor_models.sizes import SMALL, check_shapes, largest, read_shapes
from factor_models.whole_file import write_bytes
from factor_models.writing import read_json, write_json

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
HASH_FILE = "sha256.json"


class Pretrained(nn.Module):
    """A module that is rebuilt from the keyword arguments it was made with (`self.config`)."""

    config: dict[str, Any]

    @classmethod
    def stored_arguments(cls) -> list[str]:
        """Names of the arguments that config.json holds."""
        return [name for name in inspect.signature(cls).parameters if name != "official_parity"]

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, revision: str | None = None, **options: Any) -> Self:
        """The model of a local folder, or of a Hugging Face repository where there is a network; in eval mode.

        `options` are arguments that a checkpoint does not hold (`official_parity`). ValueError for a missing or
        broken file and for keys or shapes that do not fit; nothing is loaded partly.
        """
        folder = local_folder(name_or_path, revision, (CONFIG_FILE, WEIGHTS_FILE))
        _check_hashes(folder)
        config = read_json(folder / CONFIG_FILE)
        known = set(cls.stored_arguments())
        if config.keys() != known:
            raise ValueError(
                f"{folder / CONFIG_FILE}: a {cls.__name__} needs exactly the keys {sorted(known)}; "
                f"missing {sorted(known - config.keys())}, unknown {sorted(config.keys() - known)}"
            )
        path = folder / WEIGHTS_FILE
        if not path.is_file():
            raise ValueError(f"{path}: no such file")
        cls._check_sizes(config, folder)
        model = cls(**config, **options)
        try:
            tensors = load(path.read_bytes())
            model.load_state_dict(tensors)
        except (SafetensorError, RuntimeError) as error:
            raise ValueError(f"{path}: does not hold a {cls.__name__} of {CONFIG_FILE}: {error}") from error
        if wrong := [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]:
            raise ValueError(f"{path}: {wrong[0]} has numbers that are not finite: no {cls.__name__} was saved so")
        return model.eval()

    @classmethod
    def _check_sizes(cls, config: dict[str, Any], folder: Path) -> None:
        """ValueError unless the configuration makes a model of the shapes that the file's header tells, none built.

        So no size is believed that the file does not bear out: a larger network is drawn up on the meta device first.
        """
        name, shapes = folder / CONFIG_FILE, read_shapes(folder / WEIGHTS_FILE)
        most = largest(shapes)
        for key, value in config.items():
            if not isinstance(value, int | float) or not 0 <= value <= most:
                raise ValueError(
                    f"{name}: {key} = {value!r}: must be a number from 0 to {most}, by the weights beside it"
                )
        try:
            with torch.device("meta" if max(config.values(), default=0) > SMALL else "cpu"):
                drawn = cls(**config)
        except (TypeError, ArithmeticError, RuntimeError, ValueError) as error:
            raise ValueError(f"{name}: makes no {cls.__name__}: {error}") from error
        check_shapes(drawn, shapes, f"{folder / WEIGHTS_FILE}: does not hold a {cls.__name__} of {CONFIG_FILE}")

    def save_pretrained(self, directory: str | Path) -> None:
        """Write config.json, model.safetensors (float32, buffers included) and their hashes into a folder."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        config = json.dumps(self.config, indent=2, sort_keys=True, allow_nan=False).encode()
        contents = {WEIGHTS_FILE: self._weights(), CONFIG_FILE: config}
        for name, content in contents.items():
            write_bytes(directory / name, content)
        write_json(directory / HASH_FILE, {name: sha256(content).hexdigest() for name, content in contents.items()})

    @property
    def content_hash(self) -> str:
        """sha256 over configuration and weights: which model this is."""
        config = json.dumps(self.config, sort_keys=True, allow_nan=False)
        return sha256(config.encode() + self._weights()).hexdigest()

    def _weights(self) -> bytes:
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        return save({name: v.float() if v.is_floating_point() else v for name, v in tensors.items()})


def _check_hashes(folder: Path) -> None:
    """ValueError where sha256.json names other content."""
    if (folder / HASH_FILE).is_file():
        for name, expected in read_json(folder / HASH_FILE).items():
            path = folder / name
            if path.is_file() and sha256(path.read_bytes()).hexdigest() != expected:
                told = f"damaged, or changed since: delete {HASH_FILE} if that was meant"
                raise ValueError(f"{path}: does not match {HASH_FILE}: {told}")
