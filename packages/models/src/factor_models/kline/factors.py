"""From generated paths to factors: returns between entry and exit, their distribution, and how well it fits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

QUANTILES = (0.05, 0.25, 0.75, 0.95)
MIN_SAMPLES = 20  # for quantiles of the samples themselves
MIN_PRICE_SHARE = 0.01  # of the last close: below, a path has left what prices can do


@dataclass(frozen=True, kw_only=True)
class PathFactors:
    """Statistics of the paths of W windows at one horizon; returns are simple, from entry to exit."""

    mean: NDArray[np.float64]
    """(W,): the prediction that is ranked."""
    median: NDArray[np.float64]
    quantiles: NDArray[np.float64]
    """(W, 4) at 0.05, 0.25, 0.75 and 0.95: of the samples if there are 20, else of a Gaussian with the paths' mean and
    volatility times the root of the horizon (a few samples show their mean, not their tails)."""
    up_probability: NDArray[np.float64]
    """Share of the samples with a return above 0."""
    volatility: NDArray[np.float64]
    """Standard deviation of the one-bar returns up to the exit, over bars and samples; NaN with only one bar."""


def path_returns(
    prices_WSP: NDArray[np.floating],
    last_close_W: NDArray[np.floating],
    delay: int,
    horizon: int,
) -> NDArray[np.float64]:
    """Returns (W, S) from entry at t + delay to exit at t + delay + horizon; path bar 0 is t + 1.

    With delay 0 entry is at the last close. A price below a hundredth of the last close counts as that.
    """
    if delay + horizon > prices_WSP.shape[2]:
        raise ValueError(f"paths of {prices_WSP.shape[2]} bars do not reach delay {delay} + horizon {horizon}")
    floor = (MIN_PRICE_SHARE * last_close_W)[:, None]
    leave = np.maximum(prices_WSP[:, :, delay + horizon - 1].astype(np.float64), floor)
    enter = np.maximum(prices_WSP[:, :, delay - 1], floor) if delay else last_close_W[:, None]
    return leave / enter.astype(np.float64) - 1.0


def path_factors(
    prices_WSP: NDArray[np.floating], last_close_W: NDArray[np.floating], delay: int, horizon: int
) -> PathFactors:
    """Statistics over the samples of each window; see `path_returns`."""
    returns = path_returns(prices_WSP, last_close_W, delay, horizon)
    floor = (MIN_PRICE_SHARE * last_close_W)[:, None, None]
    upto = np.log(np.maximum(prices_WSP[:, :, : delay + horizon], floor))
    steps = np.diff(upto, axis=2).reshape(len(upto), -1)
    mean, volatility = (
        returns.mean(axis=1),
        steps.std(axis=1) if steps.shape[1] else np.full(len(upto), np.nan),
    )
    if returns.shape[1] >= MIN_SAMPLES:
        quantiles = np.quantile(returns, QUANTILES, axis=1).T
    else:
        quantiles = mean[:, None] + (volatility * np.sqrt(horizon))[:, None] * ndtri(np.array(QUANTILES))
    return PathFactors(
        mean=mean,
        median=np.median(returns, axis=1),
        quantiles=quantiles,
        up_probability=(returns > 0).mean(axis=1),
        volatility=volatility,
    )


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Return the share of outcomes below each predicted quantile."""

    levels: tuple[float, ...]
    below: tuple[float, ...]
    """Share of known returns below each level's quantile; equal to the level where the paths are calibrated."""
    num_returns: int


def calibration(
    quantiles_WQ: NDArray[np.floating],
    realised_W: NDArray[np.floating],
    levels: tuple[float, ...] = QUANTILES,
) -> Calibration:
    """Coverage of predicted quantiles; windows whose return is not known are left out."""
    known = np.isfinite(realised_W)
    below = (realised_W[known, None] < quantiles_WQ[known]).mean(axis=0) if known.any() else [np.nan] * len(levels)
    return Calibration(levels=levels, below=tuple(map(float, below)), num_returns=int(known.sum()))
