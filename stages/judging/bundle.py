"""Bundle that new forecasts need: all that lies between raw bars and the forecast of the stack.

It travels alone. manifest.json says what it is and has the sha256 of every other file and of itself; sums.json is what
`make verify` reads. The members are those of the latest fold, the ones that know most. No date or revision of git is in
it: the same plan and data give the same bytes, whatever commit they are run at.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from factor_data import FeatureStore, Fold, Panel, read_folds, write_sums
from factor_data.atomic import canonical_json
from factor_data.bar_columns import UNIVERSE
from factor_data.store import fold_name
from factor_data.sums import file_sha256, files_to_sum
from factor_metrics import Gate, promoted, to_json_safe
from factor_models import KLINE_MODELS, StackConfig, input_kind
from stages.json_files import write_json
from stages.judging.canary import write_canary
from stages.judging.ensemble import LabelResult
from stages.judging.floor_members import is_floor, save_floor
from stages.judging.origin import origin
from stages.judging.reference import out_of_fold, reference
from stages.params.stack import StackParams
from stages.params.tokenize import TokenizeParams
from stages.predictions import OutOfFold
from stages.running.files import stored
from stages.running.planned import Plan

FORMAT = 1
MANIFEST = "manifest.json"
HASH = "manifest_sha256"
LIBRARIES = (
    "numpy", "pandas", "pyarrow", "numba", "scipy", "scikit-learn", "torch", "safetensors", "lightgbm", "xgboost-cpu",
)  # fmt: skip
"""Distributions whose version may decide the last bit of a forecast."""


def write_bundle(
    results: Sequence[LabelResult],
    weights: Mapping[str, Mapping[str, Mapping[str, float]]],
    store: FeatureStore,
    panel: Panel,
    models: Mapping[str, OutOfFold],
    left_out: Mapping[str, str],
    gates: tuple[Gate, ...],
    plan: Plan,
    folder: Path,
) -> None:
    """Copy the last fold of every model and of the inputs, and say in manifest.json how they go together.

    What was left out of the ensemble is named there, and not copied.
    """
    number = int(results[0].weights.folds[-1])
    last = fold_name(number)
    fold = next(one for one in read_folds(stored("split", "folds.json")) if one.index == number)
    trained = [name for name in models if not is_floor(name)]
    for name in models:
        if is_floor(name):
            save_floor(name, store, fold, folder / "models" / name)
            continue
        source = stored(f"train/{name}", f"folds/{last}")
        # what the members said of past dates stays behind
        shutil.copytree(source, folder / "models" / name, ignore=shutil.ignore_patterns("*.parquet"))
    copy_inputs(stored("tokenize", last), fold, folder / "inputs")
    tokenize = plan.section("tokenize", TokenizeParams)
    for path in tokenize.functions:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    kinds = {name: kind_of(name) for name in models}
    forecasts = {result.label: result for result in results}
    write_canary(store, panel, models, kinds, forecasts, fold, folder / "models", folder / "canary")
    known = reference(store, models, fold) | {"rank_ic": out_of_fold(results)}
    write_json(folder / "reference.json", to_json_safe(known))
    of_fold = {label: by_fold[f"fold {number}"] for label, by_fold in weights.items()}
    document = {
        "format": FORMAT,
        "promoted": promoted(gates),
        "gates": [asdict(gate) for gate in gates],
        "labels": {result.label: asdict(store.heads[result.label]) for result in results},
        "heads": list(store.heads),
        "weights": of_fold,
        "recipe": recipe(results, plan.section("stack", StackParams)),
        "left_out": dict(left_out),
        "members": kinds,
        "fold": fold.describe(),
        **from_bars(plan, tokenize, store, panel, number),
        "made_of": origin(plan, ("split/panel", "tokenize", *(f"train/{name}" for name in trained))),
        "versions": versions(),
    }
    write_manifest(folder, to_json_safe(document))
    write_sums(folder)


def kind_of(member: str) -> str:
    """Return what a member reads: K-lines, or the kind of its inputs; a floor is saved as a linear model."""
    return "kline" if member in KLINE_MODELS else input_kind("linear" if is_floor(member) else member)


def recipe(results: Sequence[LabelResult], params: StackParams) -> dict[str, Any]:
    """How members become the stack: ranks per date, weighted, on the scale of the label (`factor_models.Members`).

    Where forecasts are compared over time, their levels, weighted (`factor_models.combine_levels`).
    """
    levels = {result.label: {name: list(level) for name, level in result.levels.items()} for result in results}
    return {
        "kind": "weighted_levels" if results[0].levels else "weighted_ranks",
        **({"levels": levels} if results[0].levels else {}),
        "settings": {one.name: getattr(params, one.name) for one in fields(StackConfig)},
        "learners": {result.label: result.weights.learners[-1] for result in results},
        "scales": {result.label: float(result.weights.scales[-1]) for result in results},
    }


def copy_inputs(source: Path, fold: Fold, folder: Path) -> None:
    """What was fitted for the inputs of a fold, and its training dates, which tell K-line models what comes next."""
    folder.mkdir(parents=True)
    for path in sorted([*source.glob("*.json"), *source.glob("*.npz")]):
        shutil.copyfile(path, folder / path.name)
    np.save(folder / "train_dates.npy", fold.train.astype("datetime64[ns]").astype(np.int64))


def from_bars(plan: Plan, tokenize: TokenizeParams, store: FeatureStore, panel: Panel, number: int) -> dict[str, Any]:
    """The way from raw bars to inputs: columns, cleaning, calendars, features, and what is left out of this fold."""
    ahead = tokenize.ahead_columns
    columns = [name for name in panel.columns if name not in (UNIVERSE, *ahead)]
    return {
        "columns": columns,
        "clean": plan.value("split.clean"),
        "calendars": plan.value("split.calendars"),
        "calendar": {
            "first": str(np.datetime_as_string(store.dates[0], unit="auto")),
            "last": str(np.datetime_as_string(store.dates[-1], unit="auto")),
            "num_dates": len(store.dates),
        },
        "features": {
            "names": list(tokenize.features),
            "columns": plan.value("tokenize.columns"),
            "expressions": dict(tokenize.expressions),
            "functions": {path: list(names) for path, names in tokenize.functions.items()},
            "computed": list(store.feature_names),
        },
        "inputs": list(store.normaliser(number).names),
        "unknown_inputs": list(store.left_out(number)),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that forecasts are computed with, without local parts such as +cpu."""
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name).partition("+")[0] for name in LIBRARIES},
    }


def write_manifest(folder: Path, document: dict[str, Any]) -> None:
    """Write manifest.json with the sha256 of every file that lies in the folder, and of its own content."""
    document = document | {"files": {name: file_sha256(folder / name) for name in files_to_sum(folder)}}
    own = file_digest(document)
    write_json(folder / MANIFEST, document | {HASH: own})


def file_digest(document: Mapping[str, Any]) -> str:
    """sha256 of a manifest without the hash that stands in it."""
    content = {key: value for key, value in document.items() if key != HASH}
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()
