"""Begin training from weights that are there already, of the same network on the same inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from factor_models.checkpoints import load_model, read_config
from factor_models.zoo import model_sizes


def warm_start(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a fresh network.

    Raises
    ------
    ValueError : a weight is missing, is not the network's, or has another shape; the network is then as it was
    """
    own = model.state_dict()
    for name in own:
        if name not in weights:
            raise ValueError(f"weights lack {name!r}: they are not of this network")
    for name, value in weights.items():
        if name not in own:
            raise ValueError(f"weights hold {name!r}, which this network has not")
        if value.shape != own[name].shape:
            raise ValueError(
                f"weights[{name!r}] have shape {tuple(value.shape)}, the network's are {tuple(own[name].shape)}"
            )
    model.load_state_dict(weights)


def warm_start_from_folder(
    model: nn.Module,
    config: Mapping[str, Any],
    folder: Path,
    expected: Mapping[str, Any],
    *,
    judged_from: np.datetime64 | None = None,
) -> dict[str, Any]:
    """Copy the weights of a model folder (`save_model`) into a fresh network; the folder's metadata.

    Parameters
    ----------
    model, config : the network, and the arguments of `build_model` it was built with ("name" among them)
    folder : of the model to start from
    expected : what its metadata must hold so that its inputs mean the same: features, normaliser_sha256 ...
    judged_from : first date that forecasts will be judged on. Weights that were fitted or chosen on it or later are
        refused, as are those of which it is not known; None: nothing will be judged

    Raises
    ------
    ValueError : weights that know dates they will be judged on, another model, another number of features, horizons,
        tokens or symbols, another lookback, metadata that differ from `expected`, a damaged folder, or weights of
        another shape
    """
    there = read_config(folder)
    for key in ("name", "num_features", "num_horizons", "lookback", *model_sizes(config["name"])):
        if there.get(key) != config.get(key):
            raise ValueError(f"{folder}: its model has {key} {there.get(key)!r}, this one {config.get(key)!r}")
    source, metadata = load_model(folder, dict(expected))
    if judged_from is not None:
        check_trained_before(judged_from, metadata, folder)
    if not isinstance(source, nn.Module):
        raise ValueError(
            f"{folder}: holds a {config['name']} model, which is fitted in one go and cannot be started from"
        )
    warm_start(model, source.state_dict())
    return metadata


def check_trained_before(judged_from: np.datetime64, metadata: Mapping[str, Any], folder: Path) -> None:
    """Refuse a folder whose metadata do not say that training and validation ended before `judged_from`."""
    fold = metadata.get("fold", {})
    last = [fold[f"{segment}_last"] for segment in ("train", "valid") if fold.get(f"{segment}_last")]
    if not last:
        raise ValueError(f"{folder}: its metadata name no fold, so on which dates it was trained is not known")
    if (until := max(np.datetime64(date, "ns") for date in last)) >= judged_from:
        raise ValueError(
            f"{folder}: was trained or chosen on dates until {until}, so it cannot be judged from {judged_from} on"
        )
