"""What the header of a file of weights bears out of the sizes that a configuration tells, before anything is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from factor_models.zoo import build_model

SMALL = 128
"""A network of such sizes is built at once: the meta device can take seconds to load."""
MOST_LAYERS = 1024
"""Sizes up to this are drawn up to be compared with the weights, whatever these are."""
MOST_UNSEEN = 16384
"""So are those of the zoo, whose look-back not every network has in its weights."""
MOST_COLUMNS = 2**20
"""Features or horizons of a model without a file of tensors."""


def read_shapes(path: Path) -> dict[str, list[int]]:
    """Return shapes by name from the header of a safetensors file; ValueError where it is none."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: does not hold weights, or not all: {error}") from error


def largest(shapes: Mapping[str, list[int]], least: int = MOST_LAYERS) -> int:
    """Return the largest size that weights bear out; a shape with a 0 in it is of no bytes, so it says nothing."""
    return max([least, len(shapes), *(size for shape in shapes.values() if all(shape) for size in shape)])


def check_network_sizes(config: dict[str, Any], config_file: Path, weights: Path) -> None:
    """ValueError unless a configuration of the zoo makes a network of the shapes in the header of its weights."""
    shapes = read_shapes(weights)
    most, found = largest(shapes, MOST_UNSEEN), list(_whole_numbers("", config))
    for key, number in found:
        if abs(number) > most:
            raise ValueError(f"{config_file}: {key} = {number}: must be at most {most}, by the weights beside it")
    if all(number <= SMALL for _, number in found):
        return
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            drawn = build_model(**config)
    except (TypeError, ArithmeticError, RuntimeError, ValueError) as error:
        raise ValueError(f"{config_file}: makes no network: {error}") from error
    assert isinstance(drawn, nn.Module)
    check_shapes(drawn, shapes, f"{weights}: does not hold the network of {config_file.name}")


def check_shapes(drawn: nn.Module, shapes: Mapping[str, list[int]], said: str) -> None:
    """ValueError that begins with `said` unless a network, drawn up by its configuration, has these shapes by name."""
    wanted = {key: list(value.shape) for key, value in drawn.state_dict().items()}
    for key in sorted({*wanted, *shapes}):
        if wanted.get(key) != shapes.get(key):
            raise ValueError(f"{said}: {key} has shape {shapes.get(key)}, the configuration makes {wanted.get(key)}")


def check_columns(config: Mapping[str, Any], config_file: Path) -> None:
    """ValueError where a model of the last bar is told to have more columns than any has, or no number of them."""
    for key in ("num_features", "num_horizons"):
        value = config.get(key, 1)
        if type(value) is not int or not 1 <= value <= MOST_COLUMNS:
            raise ValueError(f"{config_file}: {key} = {value!r}: must be a whole number from 1 to {MOST_COLUMNS}")


def _whole_numbers(key: str, value: Any) -> Iterator[tuple[str, int]]:
    """Yield the whole numbers of an entry by its key, those in lists and mappings too."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _whole_numbers(f"{key}.{name}" if key else name, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _whole_numbers(key, inner)
    elif isinstance(value, int):
        yield key, value
