"""Fitted estimators as plain data beside their model's folder: parameters, and what was learnt besides weights."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

ARRAYS = ("symbols_", "edges_", "center_", "scale_", "classes_", "feature_names_in_", "target_names_")
PLAIN = ("lookback_", "n_features_in_", "best_epoch_", "_is_column")


def state_of(estimator: Any) -> dict[str, Any]:
    """Return class, parameters and fitted attributes as JSON has them; ValueError names what is no plain data."""
    parameters = estimator.get_params(deep=False)
    for name, value in parameters.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            told = "cannot be written as plain data, so the estimator is not saved"
            raise ValueError(f"{name} = {value!r}: {told}") from None
    found = vars(estimator)
    arrays = {name: _plain(name, found[name]) for name in ARRAYS if found.get(name) is not None}
    plain = {name: found[name] for name in PLAIN if name in found}
    return {"class": type(estimator).__name__, "parameters": parameters, **plain, **arrays}


def set_state(estimator: Any, state: dict[str, Any]) -> None:
    """Set the fitted attributes that `state_of` wrote."""
    for name in PLAIN:
        if name in state:
            setattr(estimator, name, state[name])
    for name in ARRAYS:
        if name in state:
            setattr(estimator, name, _array(name, state[name]))
    for name in ("symbols_", "edges_"):  # what was not given stays None
        if name not in state:
            setattr(estimator, name, None)


def _array(name: str, kept: dict[str, Any]) -> np.ndarray:
    """Return an array as it was written; text is as wide as its longest, whatever width the file tells."""
    try:
        dtype = np.dtype(kept["dtype"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from None
    if dtype.kind not in "OUfiub":
        raise ValueError(f"{name} are {dtype}: only text and numbers are read from plain data")
    return np.array(kept["values"], dtype=np.str_ if dtype.kind == "U" else dtype).reshape(kept["shape"])


def _plain(name: str, values: np.ndarray) -> dict[str, Any]:
    values = np.asarray(values)
    if values.dtype.kind == "O" and not all(isinstance(value, str) for value in values.ravel()):
        raise ValueError(f"{name} holds other objects than text: cannot be written as plain data")
    if values.dtype.kind not in "OUfiub":
        raise ValueError(f"{name} are {values.dtype}: only text and numbers are written as plain data")
    return {"dtype": str(values.dtype), "shape": list(values.shape), "values": values.tolist()}
