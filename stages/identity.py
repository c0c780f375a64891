"""What a run is known by: hashes of data and code, and the folder where a killed run goes on."""

import hashlib
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages import ROOT

CHECKPOINTS = Path(".checkpoints")


# What changes a training step by rounding at most, or not at all: a run may go on with another value.
DECIDES_NOTHING = ("live_ic", "checkpoint", "zero", "accumulation", "recompute", "compile", "adam")


def decisive(settings: Any) -> dict[str, Any]:
    """The settings of a training that decide its weights."""
    return {name: value for name, value in asdict(settings).items() if name not in DECIDES_NOTHING}


def digest(values: NDArray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


@cache
def code_digest() -> str:
    """One hash of the code that training runs."""
    files = [*ROOT.glob("packages/*/src/**/*.py"), *ROOT.glob("stages/*.py")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()
