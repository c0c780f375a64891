"""What `dvc plots` draws of each model: results/dvc.yaml, which DVC reads beside the map.

The folder of a model is one output, and DVC declares plots inside an output at the top of a dvc.yaml, where it repeats
nothing per model. So `plan` writes them out for the models of params.yaml, into a file that git keeps. The stack's are
in dvc.yaml itself.
"""

from __future__ import annotations

from typing import Any

import yaml

from stages.fitting.families import family_of
from stages.params.reading import Params
from stages.running.files import RESULTS

PLOTS_FILE = RESULTS / "dvc.yaml"
HEAD = (
    "# The plots of each model (dvc plots show). Written by stages/planning/plots.py for the models of params.yaml.\n"
)
JUDGED: dict[str, dict[str, str]] = {
    "rank_ic.csv": {
        "x": "timestamp",
        "y": "cumulative_rank_ic",
        "y_label": "cumulative rank IC",
        "template": "ic_over_time",
        "title": "cumulative rank IC out of fold",
    },
    "windows.csv": {
        "x": "rank_ic",
        "y": "name",
        "template": "bar_horizontal",
        "title": "mean rank IC by label and fold",
    },
    "quantiles.csv": {
        "x": "mean_return",
        "y": "quantile",
        "template": "bar_horizontal",
        "title": "mean label by quantile of prediction",
    },
}
"""Tables of evaluate and how they are drawn."""


def plots_document(params: Params) -> bytes:
    """Return results/dvc.yaml: paths are relative to it."""
    plots: list[dict[str, Any]] = [
        {f"evaluate/{model}/{table}": {**drawn, "title": f"{model}: {drawn['title']}"}}
        for table, drawn in JUDGED.items()
        for model in params.models
    ]
    plots += [
        {f"train/{model}/live/plots/metrics": {"x": "step"}} for model in params.models if has_curve(params, model)
    ]
    return (HEAD + yaml.safe_dump({"plots": plots}, sort_keys=False, width=120)).encode()


def has_curve(params: Params, model: str) -> bool:
    """Return whether a training writes curves: of more than one epoch, since one point is no curve."""
    return family_of(model) != "tabular" and params.train_of(model).epochs > 1
