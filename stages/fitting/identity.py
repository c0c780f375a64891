"""Identity of a run: settings and hashes of its data, and the folder where a killed run goes on."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What changes a training step by rounding at most, or not at all: a run may go on with another value.
MAY_CHANGE_ON_RESUME = ("live_ic", "checkpoint", "zero", "accumulation", "recompute", "compile", "adam", "no_signal")


def decisive(settings: Any) -> dict[str, Any]:
    """The settings of a training that decide its weights."""
    return {name: value for name, value in asdict(settings).items() if name not in MAY_CHANGE_ON_RESUME}


def digest(values: NDArray) -> str:
    """Return the SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()
