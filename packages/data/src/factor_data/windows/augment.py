"""Augmentation of training windows: noise, masked features, warped time. The label stays as it is.

Every random number is a function of (seed, epoch, step, row of the sample) alone, by the counter-based generator of
Steele, Lea & Flood (2014), "Fast Splittable Pseudorandom Number Generators": the same sample gets the same noise
whatever process or worker makes it, and after a resume.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is done to a training window, in this order: warp, noise, mask. All 0: nothing."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    noise_std: float = 0.0
    # standard deviation of the normal noise added to every value, in units of the (normalised) features
    mask_share: float = 0.0
    # chance of a feature to be missing (NaN, token 0) in the whole window
    time_warp: float = 0.0
    # largest relative change of the local speed of time, in [0, 1)

    def __post_init__(self) -> None:
        if not (self.noise_std >= 0 and math.isfinite(self.noise_std)):
            raise ValueError(f"noise_std must be finite and not negative, got {self.noise_std}")
        for name in ("mask_share", "time_warp"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")

    def apply(
        self, windows: NDArray, rows: NDArray[np.int64], *, seed: int, epoch: int, step: int
    ) -> NDArray:
        """Return changed copies of ``windows`` (batch, lookback, num_features); ``rows`` (batch,) names the samples.

        Warped time keeps the first and the last bar in place and runs ``time_warp`` faster or slower between, along
        one half wave; values are interpolated between the two bars beside. NaN stays NaN, and makes what is
        interpolated from it NaN. Integer tokens can be masked only.
        """
        is_float = np.issubdtype(windows.dtype, np.floating)
        if not is_float and (self.noise_std > 0 or self.time_warp > 0):
            raise ValueError(
                f"noise_std and time_warp need floating-point windows, got {windows.dtype} tokens"
            )
        keys = _sample_keys(np.asarray(rows, dtype=np.int64), seed % 2**63, epoch, step)
        if is_float:
            result = np.empty(windows.shape, dtype=windows.dtype)
            _warp_and_add_noise(windows, keys, self.time_warp, self.noise_std, result)
        else:
            result = windows.copy()
        if self.mask_share > 0:
            masked = _draw_masks(keys, windows.shape[2], self.mask_share)
            np.copyto(result, np.nan if is_float else 0, where=masked[:, None, :], casting="unsafe")
        return result


@njit(cache=True, nogil=True, inline="always")
def _mix(state: np.uint64) -> np.uint64:
    """Spread a counter over 64 bits."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@njit(cache=True, nogil=True, inline="always")
def _uniform(key: np.uint64, counter: int) -> float:
    """Number ``counter`` of the stream ``key``, in (0, 1)."""
    bits = _mix(key + np.uint64(counter + 1) * np.uint64(0x9E3779B97F4A7C15))
    return (float(bits >> np.uint64(11)) + 0.5) * 2.0**-53


@njit(cache=True, nogil=True)
def _sample_keys(rows: NDArray[np.int64], seed: int, epoch: int, step: int) -> NDArray[np.uint64]:
    key = np.uint64(0)
    for part in (seed, epoch, step):
        key = _mix(key + np.uint64(part) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15))
    keys = np.empty(len(rows), dtype=np.uint64)
    for sample in range(len(rows)):
        keys[sample] = _mix(key + np.uint64(rows[sample]) * np.uint64(0xD1B54A32D192ED03))
    return keys


@njit(cache=True, nogil=True)
def _draw_masks(keys: NDArray[np.uint64], num_features: int, share: float) -> NDArray[np.bool_]:
    masked = np.empty((len(keys), num_features), dtype=np.bool_)
    for sample in range(len(keys)):
        key = _mix(keys[sample] ^ np.uint64(0x6D61736B))  # a stream of its own: noise does not move the masks
        for feature in range(num_features):
            masked[sample, feature] = _uniform(key, feature) < share
    return masked


@njit(cache=True, nogil=True)
def _warp_and_add_noise(
    windows: NDArray, keys: NDArray[np.uint64], warp: float, noise: float, out: NDArray
) -> None:
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


@njit(cache=True, nogil=True)
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
