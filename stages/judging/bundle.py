"""Bundle that new predictions need: the last fold's models, what was fitted with them, and their weights."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from factor_data import FeatureStore
from factor_metrics import Gate, promoted, to_json_safe
from stages.json_files import write_json
from stages.judging.ensemble import HorizonResult
from stages.running.files import RESULTS


def write_bundle(
    results: Sequence[HorizonResult],
    weights: Mapping[str, Mapping[str, Mapping[str, float]]],
    store: FeatureStore,
    left_out: Mapping[str, str],
    gates: tuple[Gate, ...],
    folder: Path,
) -> None:
    """Copy the last fold of every model and of the inputs, and say in manifest.json how they go together.

    Without a stack there are no weights, and why. What was left out of the ensemble is named there, and not copied.
    """
    number = int(results[0].weights.folds[-1])
    last = f"fold_{number:02d}"
    for name in results[0].models:
        shutil.copytree(RESULTS / "train" / name / "folds" / last, folder / "models" / name)
    (folder / "inputs").mkdir()
    for path in sorted((RESULTS / "tokenize" / last).glob("*.json")):
        shutil.copyfile(path, folder / "inputs" / path.name)
    manifest = {
        "promoted": promoted(gates),
        "horizons": [result.horizon for result in results],
        "delay": store.delay,
        "weights": {horizon: by_fold[f"fold {number}"] for horizon, by_fold in weights.items()},
        "left_out": left_out,
    }
    if not results[0].has_stack:
        manifest |= {"weights": None, "why": gates[0].rule}
    write_json(folder / "manifest.json", to_json_safe(manifest))
