"""What every network of the zoo can do besides forecasting: be saved into a folder, and be read from one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from torch import nn


class ZooNetwork(nn.Module):
    """Base of the networks: `save_pretrained` and `from_pretrained`, as in the libraries of Hugging Face."""

    build_config: dict[str, Any] | None = None
    """The name and arguments of `build_model`, which notes them; None: it was made otherwise."""

    def save_pretrained(self, directory: str | Path, metadata: dict[str, Any] | None = None) -> None:
        """Write config.json, model.safetensors, metadata.json and a card into a folder, made if needed.

        ValueError where the network was not made by `build_model`.
        """
        from factor_models.hub import save_pretrained

        save_pretrained(self, directory, metadata=metadata)

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, revision: str | None = None) -> Self:
        """Return the network of a folder or of a hub repository, in eval mode; ValueError if it is of another class."""
        from factor_models.hub import from_pretrained

        model = from_pretrained(name_or_path, revision)
        if not isinstance(model, cls):
            raise ValueError(f"{name_or_path}: holds a {type(model).__name__}, not a {cls.__name__}")
        return model
