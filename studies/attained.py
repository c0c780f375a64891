"""Models on a simulated market through the stages: what each attains of the attainable rank IC, at what cost.

Shared by the studies that compare models or settings on markets of several seeds.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import read_parquet
from stages.json_files import read_json, write_json
from studies.forked import Forked
from studies.workspace import STUDIES, base_params, changed

QUIETLY: dict[str, Any] = {"train.live_ic": {"every_steps": None, "every_minutes": None}, "train.threads": 1}
"""Keys of params.yaml for many small runs side by side: nobody watches them, and each has a core."""
SCORES = (
    "rank_ic",
    "valid_rank_ic",
    "ci_low",
    "ci_high",
    "best_floor_rank_ic",
    "seed_rank_ic",
    "seed_rank_ic_std",
    "seed_correlation",
)


def kept_rows(
    study: str,
    key: str,
    changes: Mapping[str, Any],
    zoo: Mapping[str, Mapping[str, Any]],
    *,
    keep_market: bool = False,
) -> list[dict[str, Any]]:
    """A row per model and label, from the last time where they are known: a study that was interrupted goes on.

    Parameters
    ----------
    study, key : the file of the rows, .studies/<study>/<key>.json
    changes : keys of params.yaml by their names in DVC
    zoo : the models with what their sections have besides those of params.yaml
    keep_market : leave its folder, so that other settings of the zoo on the same market need not make it again
    """
    file = STUDIES / study / f"{key}.json"
    asked = {"changes": dict(changes), "zoo": {name: dict(section) for name, section in zoo.items()}}
    if file.is_file() and (known := read_json(file))["asked"] == asked:
        found: list[dict[str, Any]] = known["rows"]
        return found
    started = time.monotonic()
    rows = run_market(study, changes, zoo, keep_market)
    write_json(file, {"asked": asked, "rows": rows})
    print(f"{study}: {key}, {len(zoo)} models, {time.monotonic() - started:.0f} s", flush=True)
    return rows


def run_market(
    study: str, changes: Mapping[str, Any], zoo: Mapping[str, Mapping[str, Any]], keep_market: bool
) -> list[dict[str, Any]]:
    """A row per model and label of a market that is made, learned and scored here."""
    workspace = market_workspace(study, "market", changes, zoo)
    workspace.use_sample()
    workspace.run("sample")
    rows = scored_models(workspace, zoo)
    for row in rows:
        row["attainable"] = attainable_rank_ic(workspace, row["model"], row["label"])
    if not keep_market:
        shutil.rmtree(workspace.folder)
    return rows


def market_workspace(study: str, key: str, changes: Mapping[str, Any], zoo: Mapping[str, Mapping[str, Any]]) -> Forked:
    """The folder of a market whose zoo has these models alone."""
    base = base_params()
    sections = {name: {**base["zoo"].get(name, {}), **own} for name, own in zoo.items()}
    return Forked(study, key, changed(base, {**changes, "zoo": sections}))


def scored_models(workspace: Forked, models: Iterable[str]) -> list[dict[str, Any]]:
    """A row per model and label, from data that are there: scores, best floor and CPU seconds of the training."""
    workspace.run("split")
    workspace.run("tokenize_features")
    rows = []
    for name in models:
        workspace.run("train", name)
        workspace.run("evaluate", name)
        metrics = read_json(workspace.results(f"evaluate/{name}/metrics.json"))
        cost = read_json(workspace.folder / ".live" / "costs" / f"{name}.json")["cpu_seconds"]
        for label, judged in metrics.items():
            scores = {one: judged[one] for one in SCORES if judged.get(one) is not None}
            rows.append({"model": name, "label": label, "cpu_seconds": cost, **scores})
    return rows


def attainable_rank_ic(workspace: Forked, name: str, label: str) -> float | None:
    """Mean rank IC of the true expectation on the model's test dates; None without a signal."""
    horizon = workspace.params["tokenize"]["labels"][label]["horizon"]
    truth = read_parquet(workspace.results("split/truth.parquet"))
    scored = read_parquet(workspace.results(f"evaluate/{name}/ic.parquet"))
    dates = scored.loc[(scored["label"] == label) & scored["rank_ic"].notna(), "timestamp"]
    known = truth[(truth["horizon"] == horizon) & truth["timestamp"].isin(dates)]["attainable_rank_ic"].mean()
    return float(known) if np.isfinite(known) else None


def mean_and_error(values: Sequence[float] | NDArray | pd.Series) -> tuple[float, float]:
    """Return the mean over markets and its standard error; NaN for the error of one market."""
    found = np.asarray(values, dtype=np.float64)
    error = found.std(ddof=1) / np.sqrt(len(found)) if len(found) > 1 else np.nan
    return float(found.mean()), float(error)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """A table of Markdown, a line each."""
    return [
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
        *("| " + " | ".join(map(str, row)) + " |" for row in rows),
    ]
