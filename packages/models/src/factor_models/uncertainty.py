"""Uncertainty of a forecast: passes with dropout left on, or the spread of an ensemble's members."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from factor_models.training.inputs import Batch, tensor_batch

SUM_TOLERANCE = 1e-6
SHARES = ("p", "dropout")
"""Attributes in which a module keeps the share it drops: nn.Dropout and stochastic depth, recurrent layers."""


@torch.no_grad()
def mc_dropout(
    model: nn.Module, batches: Iterable[Batch], *, passes: int = 100, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and spread of forecasts with dropout on (Gal & Ghahramani 2016, "Dropout as a Bayesian Approximation").

    Only modules that drop something are switched on: normalisations keep their statistics, and the model is left in
    evaluation mode. Without dropout every pass is the same: the mean is the forecast and the spread exactly 0.

    Parameters
    ----------
    passes : forecasts of each window, >= 2
    seed : decides what is dropped; the caller's generator is not moved

    Returns
    -------
    rows (N,) int64, mean (N, H) and standard deviation over passes (N, H; ddof 0), float64, in the order of the batches
    """
    if passes < 2:
        raise ValueError(f"passes = {passes}: must be >= 2")
    device = next(model.parameters()).device
    rows, means, deviations = [np.empty(0, np.int64)], [], []
    model.eval()
    dropping = [module for module in model.modules() if _drops(module)]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        try:
            for module in dropping:
                module.training = True  # not train(): what is inside stays as it is
            for batch in batches:
                if len(batch.rows) == 0:
                    continue
                tensors = tensor_batch(batch, device)
                extras = tensors.extras(model)
                drawn = [model(tensors.windows, **extras).double().cpu().numpy() for _ in range(passes)]
                mean, deviation = _moments(np.stack(drawn), np.full(passes, 1.0 / passes))
                rows.append(np.asarray(batch.rows, np.int64))
                means.append(mean)
                deviations.append(deviation)
        finally:
            model.eval()
    if not means:
        raise ValueError("there is no window to predict: every batch is empty")
    return np.concatenate(rows), np.concatenate(means), np.concatenate(deviations)


def _drops(module: nn.Module) -> bool:
    return any(isinstance(getattr(module, name, None), float) and getattr(module, name) > 0 for name in SHARES)


def ensemble_forecast(
    predictions: Mapping[str, np.ndarray], weights: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean of the members and their weighted standard deviation around it, float64.

    Parameters
    ----------
    predictions : by member, arrays of one shape; where a member is NaN the result is NaN
    weights : by member, >= 0, sum 1

    Raises
    ------
    ValueError : a member has no weight or no prediction, shapes differ, a weight is negative, or they do not sum to 1
    """
    _check_members(list(predictions), weights)
    shapes = {name: np.shape(values) for name, values in predictions.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"predictions have the shapes {shapes}: must be the same")
    members = np.stack([np.asarray(values, np.float64) for values in predictions.values()])
    return _moments(members, np.array([weights[name] for name in predictions], np.float64))


def _check_members(members: Sequence[str], weights: Mapping[str, float]) -> None:
    if not members:
        raise ValueError("predictions are empty: an ensemble has at least one member")
    for name in weights:
        if name not in members:
            raise ValueError(f"member {name!r} has a weight but no prediction: members are {', '.join(members)}")
    for name in members:
        if name not in weights:
            raise ValueError(f"member {name!r} has no weight: weights are given for {', '.join(weights)}")
        if not (np.isfinite(weights[name]) and weights[name] >= 0):
            raise ValueError(f"weights[{name!r}] = {weights[name]}: must be finite and >= 0")
    total = sum(weights.values())
    if abs(total - 1.0) > SUM_TOLERANCE:
        raise ValueError(f"weights sum to {total}: must sum to 1")


def _moments(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and deviation over axis 0, around the first value: exact where all are the same."""
    from_first = values - values[0]
    shift = np.tensordot(weights, from_first, axes=1)
    variance = np.tensordot(weights, np.square(from_first - shift), axes=1)
    return values[0] + shift, np.sqrt(variance)
