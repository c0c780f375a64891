"""refit: the members of the promoted stack trained once more, up to the last date, for forecasts of tomorrow.

What was judged are members whose training ended before the last test. The refit is the same recipe on later dates, so
what evaluation said stays that of its out-of-fold twin; where both do not agree on dates that neither was trained on,
nothing is written. `make refit` runs it; `dvc repro` alone does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data import FeatureStore, Fold, Panel, open_panel, read_folds, write_parquet
from factor_data.store import fold_folder
from factor_metrics import to_json_safe
from stages.json_files import read_json, write_json
from stages.judging.floor_members import floor_forecasts, is_floor, save_floor
from stages.judging.stack_over_time import level_on_valid
from stages.params.refit import RefitParams
from stages.predictions import OutOfFold
from stages.refitting.again import forecasts_again
from stages.refitting.agreement import STACK, Forecasts, agreements, disagreements
from stages.refitting.bundle import refitted_manifest, write_refit_bundle
from stages.refitting.fold import refit_fold
from stages.refitting.workplace import train_in
from stages.running.files import RESULTS, stage_output, stored
from stages.running.planned import Plan, check_loaded, read_plan
from stages.running.stage import UNTOUCHED, StageError, run
from stages.scoring import Scoring

BUNDLE = RESULTS / "stack" / "bundle"


def main() -> None:
    """Run the stage `refit`: train, compare, write a bundle."""
    plan = read_plan("refit")
    params = plan.section("refit", RefitParams)
    manifest = read_json(stored("stack/bundle", "manifest.json"))
    check_promoted(manifest, params)
    *earlier, judged, fold = folds_of(plan, params, manifest)
    names = list(manifest["members"])
    with stage_output("refit") as folder, TemporaryDirectory(prefix=".work-", dir=folder) as aside:
        twins = {name: BUNDLE / "models" / name for name in names}
        trained = {name: twin for name, twin in twins.items() if not is_floor(name)}
        work = train_in(Path(aside) / "factorcast", fold, trained, [*earlier, judged])
        panel = RESULTS / "split" / "panel"
        new, old = FeatureStore(work / "tokenize"), FeatureStore(RESULTS / "tokenize")
        add_floors([name for name in names if is_floor(name)], work, new, fold)
        members = {name: fold_folder(work / "train" / name / "folds", fold.index) for name in names}
        refitted = said_on(fold.valid, plan, members, new, panel, fold)
        before = said_on(fold.valid, plan, twins, old, panel, judged)
        document = refitted_manifest(manifest, new, fold, recipe_of(manifest, work, new))
        found = agreements((document, refitted), (manifest, before), Scoring.of(plan.value("evaluate")))
        if short := disagreements(found, params.min_agreement):
            raise StageError(
                "the refitted stack does not say what the judged one says (rank correlation on the valid dates, "
                f"refit.min_agreement): {'; '.join(short)}"
            )
        bundle = folder / "bundle"
        told = {
            "evaluation": read_json(stored("stack", "metrics.json")),
            "agreement": [asdict(one) for one in found],
            "min_agreement": params.min_agreement,
        }
        write_refit_bundle(bundle, BUNDLE, document, work, Panel.load(panel), fold, told, plan)
        write_json(folder / "agreement.json", to_json_safe([asdict(one) for one in found]))
        check_loaded(plan)
    for one in found:
        if one.model == STACK:
            print(f"{one.label}: agrees by {one.correlation:+.3f} with the judged stack, over {one.num_dates} dates")
    print(f"trained on {len(fold.train)} dates up to {fold.train[-1]!s:.10}, {gained(judged, fold)} later than judged")


def check_promoted(manifest: Mapping[str, Any], params: RefitParams) -> None:
    """Refuse a stack that has not passed its gates, unless that is asked for."""
    if not manifest["promoted"] and not params.unpromoted:
        failed = [gate["rule"] for gate in manifest["gates"] if not gate["passed"]]
        raise StageError(
            f"{BUNDLE} is not promoted ({'; '.join(failed)}): refit.unpromoted: true trains it all the same"
        )


def folds_of(plan: Plan, params: RefitParams, manifest: Mapping[str, Any]) -> list[Fold]:
    """The folds of the run up to the one whose members were judged and, as the last one, that of the refit."""
    scheme = plan.value("split.folds.scheme")
    if scheme == "cpcv":
        raise StageError("split.folds.scheme: cpcv: its last fold is not the latest; refit needs folds that go forward")
    panel = open_panel(RESULTS / "split" / "panel")
    number = manifest["fold"]["fold"]
    folds = [one for one in read_folds(stored("split", "folds.json")) if one.index <= number]
    purge = max(plan.value("split.folds.purge") or 0, panel.markets.reach(plan.value("tokenize.reach")))
    growing = scheme in ("expanding", "ratio", "fixed")
    return [*folds, refit_fold(panel.dates, folds[-1], params, purge, growing=growing)]


def said_on(
    dates: NDArray[np.datetime64], plan: Plan, members: Mapping[str, Path], store: FeatureStore, panel: Path, fold: Fold
) -> Forecasts:
    """Forecasts of members for some dates, by member and label."""
    said = {}
    for name, folder in members.items():
        if is_floor(name):
            floor = floor_forecasts(name, store, [replace(fold, test=dates)])
            said[name] = {label: floor.matrix(label, "test", dates=dates) for label in store.heads}
        else:
            said[name] = forecasts_again(name, read_plan("train", name), folder, store, panel, fold, dates)
    return said


def add_floors(names: Sequence[str], work: Path, store: FeatureStore, fold: Fold) -> None:
    """Write the floors among the members beside the models that were trained, in the same form."""
    for name in names:
        folder = work / "train" / name
        save_floor(name, store, fold, fold_folder(folder / "folds", fold.index))
        write_parquet(folder / "predictions.parquet", floor_forecasts(name, store, [fold]).frame)


def recipe_of(manifest: Mapping[str, Any], work: Path, store: FeatureStore) -> dict[str, Any]:
    """The judged recipe; where levels are compared over time, with those of the refitted members."""
    recipe = dict(manifest["recipe"])
    if "levels" in recipe:
        models = {name: OutOfFold(work / "train" / name / "predictions.parquet", store) for name in manifest["members"]}
        recipe["levels"] = {
            label: {name: list(level_on_valid(one, label, 0)) for name, one in models.items()}
            for label in recipe["levels"]
        }
    return recipe


def gained(judged: Fold, fold: Fold) -> str:
    """How many days later training ends."""
    return f"{(fold.train[-1] - judged.train[-1]) // np.timedelta64(1, 'D')} days"


if __name__ == "__main__":
    run("refit", main, hint=UNTOUCHED)
