"""What a run is known by: hashes of data and code, and the folder where a killed run goes on."""

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages import ROOT

CHECKPOINTS = Path(".checkpoints")


def digest(values: NDArray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


@cache
def code_digest() -> str:
    """One hash of the code that training runs."""
    files = [*ROOT.glob("packages/*/src/**/*.py"), *ROOT.glob("stages/*.py")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()
