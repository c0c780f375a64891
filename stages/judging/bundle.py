"""Bundle that new predictions need: the last fold's models, what was fitted with them, and their weights.

It travels alone: its sums.json has the sha256 of every file, manifest.json among them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from factor_data import FeatureStore, Sums, write_sums
from factor_metrics import Gate, promoted, to_json_safe
from stages.json_files import read_json, write_json
from stages.judging.ensemble import LabelResult
from stages.running.files import stored


def write_bundle(
    results: Sequence[LabelResult],
    weights: Mapping[str, Mapping[str, Mapping[str, float]]],
    store: FeatureStore,
    left_out: Mapping[str, str],
    gates: tuple[Gate, ...],
    folder: Path,
) -> None:
    """Copy the last fold of every model and of the inputs, and say in manifest.json how they go together.

    What was left out of the ensemble is named there, and not copied.
    """
    number = int(results[0].weights.folds[-1])
    last = f"fold_{number:02d}"
    for name in results[0].models:
        shutil.copytree(stored(f"train/{name}", f"folds/{last}"), folder / "models" / name)
    (folder / "inputs").mkdir()
    for path in sorted(stored("tokenize", last).glob("*.json")):
        shutil.copyfile(path, folder / "inputs" / path.name)
    manifest = {
        "promoted": promoted(gates),
        "labels": {result.label: asdict(store.heads[result.label]) for result in results},
        "heads": list(store.heads),
        "weights": {label: by_fold[f"fold {number}"] for label, by_fold in weights.items()},
        "left_out": left_out,
    }
    write_json(folder / "manifest.json", to_json_safe(manifest))
    write_sums(folder)


def read_bundle(folder: Path) -> dict[str, Any]:
    """Return the manifest of a bundle; DamagedError naming a file that is not what was written, is missing or new."""
    Sums(folder).check_all()
    manifest: dict[str, Any] = read_json(folder / "manifest.json")
    return manifest
