"""Where a run keeps what: the only place of the package that names files of the pipeline."""

from __future__ import annotations

LOCK = "dvc.lock"
"""Digests of every output, in git."""
DATA = "data.dvc"
"""The digest of the data, in git."""
PARAMS = "params.yaml"
"""The settings as the user wrote them, in git."""
ENVIRONMENT = "requirements.lock"
"""The versions of all libraries, in git."""
RESULTS = "results"
PLANS = f"{RESULTS}/plan"
"""Settings and digests of code per stage and model, in git."""
SERIES = "ic.parquet"
"""Table of a forecast, a row per date and label: in DVC's cache."""
STACK = "stack"
EVALUATE = "evaluate"


def forecast_of(path: str) -> str | None:
    """Return the name of the forecast whose table lies at `path`; None for any other path."""
    parts = path.split("/")
    if parts == [RESULTS, STACK, SERIES]:
        return STACK
    if len(parts) == 4 and [parts[0], parts[1], parts[3]] == [RESULTS, EVALUATE, SERIES]:
        return parts[2]
    return None


def stage_of(name: str) -> str:
    """Return the stage of DVC that writes a forecast's table."""
    return STACK if name == STACK else f"{EVALUATE}@{name}"


def metrics_path(model: str) -> str:
    """Return the path of a model's scores, those on valid dates among them."""
    return f"{RESULTS}/{EVALUATE}/{model}/metrics.json"
