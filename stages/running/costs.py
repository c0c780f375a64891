"""CPU seconds of a training, kept beside the results: they differ from run to run, so no result may have them."""

from __future__ import annotations

import hashlib
import os
import resource
from pathlib import Path

from factor_data.atomic import write_json
from factor_data.json_document import as_written, read_document
from stages.running.files import RESULTS
from stages.running.starter import LAUNCHER

COSTS = Path(".live") / "costs"


def note_cost(model: str) -> None:
    """Write down what the training that this process has just ended took, with its children; tied to its result.

    A process that a launcher has started writes nothing: its parent counts it.
    """
    made = _made(model)
    if made is None or LAUNCHER in os.environ or "RANK" in os.environ:
        return
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    COSTS.mkdir(parents=True, exist_ok=True)
    write_json(COSTS / f"{model}.json", {"made": made, "cpu_seconds": round(seconds, 1)})


def cost_of(model: str) -> float | None:
    """Return the CPU seconds of the training whose result is there; None where it was not run here, but restored."""
    file = COSTS / f"{model}.json"
    if not file.is_file():
        return None
    with as_written(file):
        found = read_document(file)
        return float(found["cpu_seconds"]) if found["made"] == _made(model) else None


def _made(model: str) -> str | None:
    """Return a digest of what a training has written; None where there is nothing."""
    sums = RESULTS / "train" / model / "sums.json"
    return hashlib.sha256(sums.read_bytes()).hexdigest() if sums.is_file() else None
