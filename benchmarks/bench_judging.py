"""All evaluations, the stack and the pages of 1,000 symbols x 2,500 test dates x 3 labels x 6 models. Bar: 60 CPU s.

PYTHONPATH=. python benchmarks/bench_judging.py [--symbols 1000 --folds 4]: the stages evaluate and report of six
models, stack and report_stack, each in a process of its own as `dvc repro` starts it, with the default params on a
simulated market. Only what is judged is made up: forecasts that know a little of the label. The bar is for the
evaluations and the stack; a page may have 1.5 MB.
"""

from __future__ import annotations

import argparse
import resource
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from instruction_set import print_instruction_set

from factor_data import FeatureStore, read_folds, write_parquet, write_sums
from stages.predictions import prediction_frame
from studies.workspace import Workspace, base_params, changed

TRAINED = "linear"
MODELS = (TRAINED, "lightgbm", "xgboost", "cross_asset_lightgbm", "mlp", "lstm")
SKILLS = (0.02, 0.03, 0.025, 0.015, 0.01, 0.02)
DATES_OF_FOLD = 625


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=1000)
    parser.add_argument("--folds", type=int, default=4, help=f"of {DATES_OF_FOLD} test dates each")
    arguments = parser.parse_args()
    print_instruction_set()
    place = prepare(arguments.symbols, arguments.folds)
    shutil.rmtree(place.folder / ".live" / "kept", ignore_errors=True)  # so that the first evaluation is one
    spent: dict[str, float] = {}
    for stage, of in (("evaluate", MODELS), ("stack", (None,)), ("report", MODELS), ("report_stack", (None,))):
        for name in of:
            spent[stage] = spent.get(stage, 0.0) + measure(place, stage, name)
    pages = sorted(place.results("report").glob("*/report.html"), key=lambda path: path.stat().st_size)
    print(f"evaluate and stack: {spent['evaluate'] + spent['stack']:.1f} CPU s (bar 60)")
    print(f"pages: {spent['report'] + spent['report_stack']:.1f} CPU s")
    for page in pages:
        print(f"page {page.parent.name}: {page.stat().st_size / 1e6:.2f} MB")
    print(f"largest page: {pages[-1].parent.name}, {pages[-1].stat().st_size / 1e6:.2f} MB (bar 1.5)")


def prepare(num_symbols: int, num_folds: int) -> Workspace:
    """A market up to its feature store, one model trained in earnest, and six with forecasts that are made up."""
    folds = {"scheme": "rolling", "train": 500, "valid": 100, "test": DATES_OF_FOLD, "step": DATES_OF_FOLD}
    changes: dict[str, Any] = {
        "sample.symbols": num_symbols,
        "sample.bars": 720 + num_folds * DATES_OF_FOLD,
        "split.folds": {**folds, "purge": 21, "embargo": 5},
        "tokenize.use_news": False,
    }
    params = base_params()
    changes["zoo"] = {name: params["zoo"][name] for name in MODELS}  # a workspace has every model of its zoo
    place = Workspace("bench_judging", f"{num_symbols}x{num_folds}", changed(params, changes))
    place.use_sample()
    for stage in ("sample", "split", "tokenize_features"):
        place.run(stage)
    place.run("train", TRAINED)
    store = FeatureStore(place.results("tokenize"))
    generator = np.random.default_rng(0)
    for name, skill in zip(MODELS, SKILLS, strict=True):
        folder = place.results(f"train/{name}")
        if name != TRAINED and not folder.exists():
            shutil.copytree(place.results(f"train/{TRAINED}"), folder)
            write_parquet(folder / "predictions.parquet", made_up(store, place.results("split"), skill, generator))
            write_sums(folder)
    return place


def made_up(store: FeatureStore, split: Path, skill: float, generator: np.random.Generator) -> pd.DataFrame:
    """Forecasts of all labels on the valid and test dates of every fold: a share of the label in noise."""
    known = np.nan_to_num(store.targets("zscore"))
    frames = []
    for fold in read_folds(split / "folds.json"):
        for segment in ("valid", "test"):
            rows = np.flatnonzero(store.rows(fold, segment))
            noise = generator.standard_normal((len(rows), known.shape[1]), dtype=np.float32)
            values = skill * known[rows].astype(np.float32) + noise
            frames.append(prediction_frame(store, fold, segment, rows, values))
    return pd.concat(frames)


def measure(place: Workspace, stage: str, name: str | None) -> float:
    """CPU seconds of the process of a stage."""
    (place.folder / ".done" / f"{stage}{f'@{name}' if name else ''}.json").unlink(missing_ok=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    place.run(stage, name)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{stage} {name or ''}: {spent:.1f} CPU s", flush=True)
    return spent


if __name__ == "__main__":
    main()
