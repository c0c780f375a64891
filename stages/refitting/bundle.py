"""The bundle of a refit: new members and inputs, the recipe and the verdict of what was judged out of fold."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data import FeatureStore, Fold, Panel, checked, write_sums
from factor_data.store import fold_folder
from factor_metrics import to_json_safe
from stages.json_files import read_json, write_json
from stages.judging.bundle import HASH, copy_inputs, versions, write_manifest
from stages.judging.canary import write_canary
from stages.judging.origin import origin
from stages.judging.reference import reference
from stages.predictions import OutOfFold
from stages.refitting.agreement import stacked
from stages.running.planned import Plan


@dataclass(frozen=True, kw_only=True)
class StackedDate:
    """The stack of a label on the dates of a canary."""

    dates: NDArray[np.datetime64]
    prediction: NDArray[np.float64]


def refitted_manifest(
    judged: Mapping[str, Any], store: FeatureStore, fold: Fold, recipe: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the manifest of the judged bundle with the fold, inputs and recipe of the refit; no files, no hash."""
    kept = {key: value for key, value in judged.items() if key not in (HASH, "files")}
    return kept | {
        "fold": fold.describe(),
        "inputs": list(store.normaliser(fold.index).names),
        "unknown_inputs": list(store.left_out(fold.index)),
        "recipe": dict(recipe),
        "versions": versions(),
    }


def write_refit_bundle(
    folder: Path,
    judged: Path,
    manifest: Mapping[str, Any],
    work: Path,
    panel: Panel,
    fold: Fold,
    told: Mapping[str, Any],
    plan: Plan,
) -> None:
    """Write the bundle of a refit.

    Parameters
    ----------
    judged : the bundle whose recipe this is
    manifest : as from `refitted_manifest`
    work : results of the stages on the refit's fold
    told : what evaluation said of the judged stack, how far both agree and how far they had to
    """
    store, names = FeatureStore(work / "tokenize"), list(manifest["members"])
    models = {name: OutOfFold(work / "train" / name / "predictions.parquet", store) for name in names}
    for name in names:
        source = fold_folder(work / "train" / name / "folds", fold.index)
        shutil.copytree(source, folder / "models" / name, ignore=shutil.ignore_patterns("*.parquet"))
    copy_inputs(fold_folder(work / "tokenize", fold.index), fold, folder / "inputs")
    for path in manifest["features"]["functions"]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(checked(judged, path), folder / path)
    said = {
        name: {label: one.matrix(label, "test", dates=fold.test) for label in manifest["heads"]}
        for name, one in models.items()
    }
    stacks = {
        label: StackedDate(dates=fold.test, prediction=stacked(manifest, said, label)) for label in manifest["heads"]
    }
    write_canary(store, panel, models, manifest["members"], stacks, fold, folder / "models", folder / "canary")
    # how forecasts are spread and what they were worth is known of the judged members, over all their test dates
    known = read_json(checked(judged, "reference.json"))
    spread = reference(store, {}, fold) | {key: known[key] for key in ("forecasts", "rank_ic")}
    write_json(folder / "reference.json", to_json_safe(spread))
    own = read_json(checked(judged, "manifest.json"))
    document = {
        **manifest,
        "made_of": {**origin(plan, ("split/panel",)), "judged": own[HASH]},
        "refit": {"judged": own[HASH], "judged_fold": own["fold"], **told},
    }
    write_manifest(folder, to_json_safe(document))
    write_sums(folder)
