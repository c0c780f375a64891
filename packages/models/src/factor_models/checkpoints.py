"""A trained model as a folder: config.json, the weights in their native format, metadata.json.

No pickle; the same model gives the same bytes.

`config.json` rebuilds the model (`{"name": "lstm", "num_features": 24, ...}`, the arguments of
`build_model`). The metadata are the caller's (features, normaliser hash, best epoch ...), plus the hash of
the weights, of the configuration and of the metadata themselves, by which a torn, mixed or damaged folder is refused
before anything is built of it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import nn

from factor_models.sizes import check_columns, check_network_sizes, check_shapes, read_shapes
from factor_models.tabular.base import TabularModel
from factor_models.whole_file import write_bytes
from factor_models.writing import read_json, write_json
from factor_models.zoo import build_model, input_kind

CONFIG_FILE = "config.json"
METADATA_FILE = "metadata.json"
HOLDS = f"; a model folder holds {CONFIG_FILE}, {METADATA_FILE} and the weights"
WEIGHTS_FILE = "model.safetensors"
WEIGHTS_HASH = "weights_sha256"
CONFIG_HASH = "config_sha256"
METADATA_HASH = "metadata_sha256"


def save_model(
    directory: Path, model: nn.Module | TabularModel, config: dict[str, Any], metadata: dict[str, Any]
) -> None:
    """Write a model folder. `config` holds "name" and the arguments `build_model` was called with."""
    for reserved in (WEIGHTS_HASH, CONFIG_HASH, METADATA_HASH):
        if reserved in metadata:
            raise ValueError(f"metadata[{reserved!r}] is written by save_model: leave it out")
    if "name" not in config:
        raise ValueError("config has no 'name': it must hold the model's name and the arguments of build_model")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    weights = directory / _weights_file(model)
    write_json(directory / CONFIG_FILE, config)
    if isinstance(model, nn.Module):
        tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
        write_bytes(weights, save(tensors))
    else:
        model.save_weights(weights)
    metadata = metadata | {WEIGHTS_HASH: _sha256(weights), CONFIG_HASH: _sha256(directory / CONFIG_FILE)}
    write_json(directory / METADATA_FILE, metadata | {METADATA_HASH: content_hash(metadata)})


def read_config(directory: Path) -> dict[str, Any]:
    """The arguments of `build_model`, with "name", of a model folder."""
    return read_json(Path(directory) / CONFIG_FILE, HOLDS)


def load_model(
    directory: Path, expected: dict[str, Any] | None = None
) -> tuple[nn.Module | TabularModel, dict[str, Any]]:
    """Model and metadata of a folder written by `save_model`.

    Parameters
    ----------
    directory : the folder
    expected : entries the metadata must hold, for example {"features": [...], "normaliser": "sha256 ..."}

    Raises
    ------
    ValueError : a file is missing, a hash does not match, the metadata differ from `expected`, or the configuration
        tells sizes that the weights do not bear out
    """
    directory = Path(directory)
    config, metadata = (read_json(directory / name, HOLDS) for name in (CONFIG_FILE, METADATA_FILE))
    own = {key: value for key, value in metadata.items() if key != METADATA_HASH}
    if metadata.get(METADATA_HASH) != content_hash(own):
        raise ValueError(f"{directory / METADATA_FILE}: was changed after it was written: it does not match its hash")
    _check_hash(directory / CONFIG_FILE, metadata.get(CONFIG_HASH))
    check_expected(directory, metadata, expected)
    try:
        kind = input_kind(str(config.get("name")))
    except ValueError as error:
        raise ValueError(f"{directory / CONFIG_FILE}: makes no model: {error}") from error
    if kind == "last_bar":
        check_columns(config, directory / CONFIG_FILE)
    else:
        _check_hash(directory / WEIGHTS_FILE, metadata.get(WEIGHTS_HASH))
        check_network_sizes(config, directory / CONFIG_FILE, directory / WEIGHTS_FILE)
    try:
        model = build_model(**config)
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise ValueError(f"{directory / CONFIG_FILE}: makes no model: {error}") from error
    weights = directory / _weights_file(model)
    if isinstance(model, nn.Module):  # its hash is checked: sizes were read from the weights before it was built
        check_shapes(model, read_shapes(weights), f"{weights}: does not hold the network of {CONFIG_FILE}")
        model.load_state_dict(load(weights.read_bytes()))
        model.eval()
    else:
        _check_hash(weights, metadata.get(WEIGHTS_HASH))
        _load_weights(model, weights)
    return model, metadata


def _load_weights(model: TabularModel, weights: Path) -> None:
    """Have a model of the last bar read its file; ValueError naming it, whatever its library says of what is none."""
    try:
        model.load_weights(weights)
    except Exception as error:  # XGBoost and LightGBM have errors of their own, which are no ValueError
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{weights}: does not hold the model of {CONFIG_FILE}: {said}") from error


def check_expected(directory: Path, metadata: dict[str, Any], expected: dict[str, Any] | None) -> None:
    """Refuse metadata that do not hold the entries of `expected`; ValueError names the first that differs."""
    for key, value in (expected or {}).items():
        if metadata.get(key) != value:
            raise ValueError(f"{directory}: metadata[{key!r}] is {metadata.get(key)!r}, expected {value!r}")


def _weights_file(model: nn.Module | TabularModel) -> str:
    return WEIGHTS_FILE if isinstance(model, nn.Module) else model.weights_file


def _check_hash(path: Path, expected: str | None) -> None:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if _sha256(path) != expected:
        raise ValueError(f"{path}: does not match the hash in {METADATA_FILE}: the folder was changed or mixed")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def content_hash(content: dict[str, Any]) -> str:
    """Return the sha256 of plain data as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()
