"""Augmentation of training windows: noise, masked features, warped time. The label stays as it is.

Every random number is a function of (seed, epoch, step, symbol and date of the sample) alone, by the counter-based
generator of Steele, Lea & Flood (2014), "Fast Splittable Pseudorandom Number Generators": the same sample gets the same
noise whatever process or worker makes it, and after a resume.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Changes made to a training window, in this order: warp, noise, mask. All 0: none."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    noise_std: float = 0.0
    """Standard deviation of the normal noise added to every value, in units of the (normalised) features."""
    mask_share: float = 0.0
    """Chance of a feature to be missing (NaN, token 0) in the whole window."""
    time_warp: float = 0.0
    """Largest relative change of the local speed of time, in [0, 1)."""

    def __post_init__(self) -> None:
        if not (self.noise_std >= 0 and math.isfinite(self.noise_std)):
            raise ValueError(f"noise_std must be finite and not negative, got {self.noise_std}")
        for name in ("mask_share", "time_warp"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")

    def apply(self, windows: NDArray, samples: NDArray[np.int64], *, seed: int, epoch: int, step: int) -> NDArray:
        """Return changed copies of `windows` (batch, lookback, num_features); `samples` (batch,) names them.

        Warped time keeps the first and the last bar in place and runs `time_warp` faster or slower between, along
        one half wave; values are interpolated between the two bars beside. NaN stays NaN, and makes what is
        interpolated from it NaN. Integer tokens can be masked only.
        """
        # Here, so that whoever only checks settings loads no compiler.
        from factor_data.windows.augment_kernels import draw_masks, sample_keys, warp_and_add_noise

        is_float = np.issubdtype(windows.dtype, np.floating)
        if not is_float and (self.noise_std > 0 or self.time_warp > 0):
            raise ValueError(f"noise_std and time_warp need floating-point windows, got {windows.dtype} tokens")
        keys = sample_keys(np.asarray(samples, dtype=np.int64), seed % 2**63, epoch, step)
        if is_float:
            result = np.empty(windows.shape, dtype=windows.dtype)
            warp_and_add_noise(windows, keys, self.time_warp, self.noise_std, result)
        else:
            result = windows.copy()
        if self.mask_share > 0:
            masked = draw_masks(keys, windows.shape[2], self.mask_share)
            np.copyto(result, np.nan if is_float else 0, where=masked[:, None, :], casting="unsafe")
        return result
