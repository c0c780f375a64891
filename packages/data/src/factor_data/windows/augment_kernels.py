"""The compiled part of augmentation: counter-based random numbers, masks, warped time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from factor_data.kernel_cache import kernel


@kernel(nogil=True, inline="always")
def _mix(state: np.uint64) -> np.uint64:
    """Spread a counter over 64 bits."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@kernel(nogil=True, inline="always")
def _uniform(key: np.uint64, counter: int) -> float:
    """Number `counter` of the stream `key`, in (0, 1)."""
    bits = _mix(key + np.uint64(counter + 1) * np.uint64(0x9E3779B97F4A7C15))
    return (float(bits >> np.uint64(11)) + 0.5) * 2.0**-53


@kernel(nogil=True)
def sample_keys(samples: NDArray[np.int64], seed: int, epoch: int, step: int) -> NDArray[np.uint64]:
    """Return a random key per sample, by its number, the seed, the epoch and the step alone."""
    key = np.uint64(0)
    for part in (seed, epoch, step):
        key = _mix(key + np.uint64(part) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15))
    keys = np.empty(len(samples), dtype=np.uint64)
    for sample in range(len(samples)):
        keys[sample] = _mix(key + np.uint64(samples[sample]) * np.uint64(0xD1B54A32D192ED03))
    return keys


@kernel(nogil=True)
def draw_masks(keys: NDArray[np.uint64], num_features: int, share: float) -> NDArray[np.bool_]:
    """Return (num_samples, num_features) True where a feature is masked, each with probability `share`."""
    masked = np.empty((len(keys), num_features), dtype=np.bool_)
    for sample in range(len(keys)):
        key = _mix(keys[sample] ^ np.uint64(0x6D61736B))  # a stream of its own: noise does not move the masks
        for feature in range(num_features):
            masked[sample, feature] = _uniform(key, feature) < share
    return masked


@kernel(nogil=True)
def warp_and_add_noise(windows: NDArray, keys: NDArray[np.uint64], warp: float, noise: float, out: NDArray) -> None:
    """Box-Muller gives two normal numbers from two uniform ones."""
    lookback, num_features = windows.shape[1], windows.shape[2]
    for sample in range(len(windows)):
        _warp(windows[sample], (2.0 * _uniform(keys[sample], 0) - 1.0) * warp, out[sample])
        if noise > 0.0:
            values = out[sample]
            for place in range(0, lookback * num_features, 2):
                radius = noise * math.sqrt(-2.0 * math.log(_uniform(keys[sample], place + 1)))
                angle = 2.0 * math.pi * _uniform(keys[sample], place + 2)
                values[place // num_features, place % num_features] += radius * math.cos(angle)
                if place + 1 < lookback * num_features:
                    other = place + 1
                    values[other // num_features, other % num_features] += radius * math.sin(angle)


@kernel(nogil=True)
def _warp(window: NDArray, speed: float, out: NDArray) -> None:
    """Read bar j at j + speed * (L - 1) / pi * sin(pi * j / (L - 1)): monotone for abs(speed) < 1."""
    last = len(window) - 1
    for bar in range(len(window)):
        time = float(bar)
        if 0 < bar < last and speed != 0.0:
            time += speed * last / math.pi * math.sin(math.pi * bar / last)
        before = min(max(int(time), 0), last)
        share = time - before
        for feature in range(window.shape[1]):
            value = window[before, feature]
            if share > 0.0:
                value += share * (window[before + 1, feature] - value)
            out[bar, feature] = value
