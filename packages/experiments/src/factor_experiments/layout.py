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
TRAIN = "train"
SPLIT = "split"
FOLDS = "folds.json"
"""Dates of every fold, in the folder of `split`: in DVC's cache."""


def forecast_of(path: str) -> str | None:
    """Return the name of the forecast whose table an output is or holds; None for any other output.

    The output is the folder of a stage; in commits of before it was every file in it.
    """
    parts = path.removesuffix(f"/{SERIES}").split("/")
    if parts == [RESULTS, STACK]:
        return STACK
    return parts[2] if len(parts) == 3 and parts[:2] == [RESULTS, EVALUATE] else None


REPORT = "report.html"
"""Page of a forecast, in the folder of its report stage: in DVC's cache."""
REPORT_STAGES = ("report@", "report_stack")


def report_of(path: str) -> str | None:
    """Return the name of the forecast whose report lies in the folder `path`, or is it; None for any other path."""
    parts = path.removesuffix(f"/{REPORT}").split("/")
    return parts[2] if len(parts) == 3 and parts[:2] == [RESULTS, "report"] else None


def stage_of(name: str) -> str:
    """Return the stage of DVC that writes a forecast's table."""
    return STACK if name == STACK else f"{EVALUATE}@{name}"


def plan_path(name: str) -> str:
    """Return the path of the plan by which a forecast is judged: there is none of a model that is not listed."""
    return f"{PLANS}/{stage_of(name).replace('@', '_')}.json"


def training_stage(model: str) -> str:
    """Return the stage of DVC that trains a model."""
    return f"{TRAIN}@{model}"


def training_path(model: str) -> str:
    """Return the folder that the training of a model has written when it has ended."""
    return f"{RESULTS}/{TRAIN}/{model}"


def training_pattern(model: str) -> str:
    """Return the folder that a training writes while it runs; the number is that of its process."""
    return f"{RESULTS}/{TRAIN}/.{model}.*.partial"


def fold_metadata(fold: str) -> str:
    """Return the file of a fold, two digits, in a training's folder that has its rank ICs on valid dates by label."""
    return f"folds/fold_{fold}/metadata.json"


def judged_path(model: str) -> str:
    """Return the path of the numbers that a model's page is drawn from, its rank ICs by valid date among them."""
    return f"{RESULTS}/{EVALUATE}/{model}/page.json"


def metrics_path(model: str) -> str:
    """Return the path of a model's scores, those on valid dates among them."""
    return f"{RESULTS}/{EVALUATE}/{model}/metrics.json"
