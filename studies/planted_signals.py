"""Which model finds what: simulated markets with one planted signal each, and how much of it each model attains.

    python -m studies.planted_signals [--models lstm,linear]

Every market has the same innovations; one of reversal, momentum, volume and news is planted, or none. A model is
trained once per market (one fold, one seed) and scored on later dates it has not seen. Attained / attainable is its
mean rank IC over that of the true expectation on the same dates. Writes docs/results/planted_signals.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from factor_data import read_parquet
from factor_models import MODELS, input_kind
from stages import ROOT
from stages.json_files import read_json
from studies.workspace import Workspace, base_params, changed

PAGE = ROOT / "docs" / "results" / "planted_signals.md"
STRENGTHS = {"reversal": 0.08, "momentum": 0.03, "volume": 0.08, "news": 0.08}
MARKETS = (*STRENGTHS, "none")
HORIZONS = [1, 5]
CHANGES: dict[str, Any] = {
    "sample.symbols": 150,
    "sample.bars": 900,
    "split.folds": {"scheme": "rolling", "train": 500, "valid": 100, "test": 250, "step": 250, "purge": 6},
    "tokenize.labels": {f"h{horizon}": {"horizon": horizon} for horizon in HORIZONS},
    "train.epochs": 5,
    "train.patience": 3,
    "train.threads": 1,
    "train.live_ic": {"every_steps": None, "every_minutes": None},
}

HEAD = f"""# Which model finds what

Simulated markets of 150 symbols and 900 days that differ in the one signal that is planted
(docs/simulated_market.md): {", ".join(f"{kind} {strength}" for kind, strength in STRENGTHS.items())}, in units of a
symbol's own volatility per day. One fold: 500 training days, 100 that choose the epoch, 250 test days. One seed per
model, the sizes of `params.yaml`, at most 5 epochs: a look at what a model can see, not a contest. Made by
`make study-planted`.

A number is the model's mean rank IC over that of the true expectation on the same days; **bold** where its 95 %
interval lies above zero, ↓ where the best floor, a formula on closes that is not trained, does as well or better. In
the market without a signal it is the rank IC itself, which should not differ from zero."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(study_models()), help="default: every model of the zoo")
    names = parser.parse_args().models.split(",")
    frames = [run_market(market, names) for market in MARKETS]
    PAGE.write_text(page(pd.concat(frames)), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def study_models() -> list[str]:
    """The zoo, but for the K-line model, which has a study of its own."""
    return [name for name in MODELS if name in base_params()["zoo"] and input_kind(name) != "bars"]


def run_market(market: str, names: list[str]) -> pd.DataFrame:
    """One row per model and horizon."""
    params = changed(base_params(), CHANGES)
    params["sample"]["signals"] = {market: STRENGTHS[market]} if market in STRENGTHS else {}
    workspace = Workspace("planted_signals", market, params)
    workspace.use_sample()
    workspace.run("sample")
    workspace.run("split")
    workspace.run("tokenize_features")
    rows = []
    for name in names:
        workspace.run("train", name)
        workspace.run("evaluate", name)
        metrics = read_json(workspace.results(f"evaluate/{name}/metrics.json"))
        for horizon in HORIZONS:
            judged = metrics[f"h{horizon}"]
            rows.append(
                {
                    "market": market,
                    "model": name,
                    "horizon": horizon,
                    "attainable": attainable(workspace, name, horizon),
                    **{key: judged[key] for key in ("rank_ic", "ci_low", "ci_high", "best_floor_rank_ic")},
                }
            )
    return pd.DataFrame(rows)


def attainable(workspace: Workspace, name: str, horizon: int) -> float:
    """Mean rank IC of the true expectation on the model's test dates; NaN without a signal."""
    truth = read_parquet(workspace.results("split/truth.parquet"))
    scored = read_parquet(workspace.results(f"evaluate/{name}/ic.parquet"))
    dates = scored.loc[(scored["label"] == f"h{horizon}") & scored["rank_ic"].notna(), "timestamp"]
    known = truth[(truth["horizon"] == horizon) & truth["timestamp"].isin(dates)]
    return float(known["attainable_rank_ic"].mean())


def page(frame: pd.DataFrame) -> str:
    """The study as a page of Markdown."""
    lines = [HEAD]
    for horizon in HORIZONS:
        table = frame[frame["horizon"] == horizon].set_index(["model", "market"], drop=False)
        models = table.index.unique("model")
        first = table.loc[models[0]]
        lines += [
            "",
            f"## Horizon {horizon}",
            "",
            markdown_row("", MARKETS),
            "|---" * (len(MARKETS) + 1) + "|",
        ]
        lines.append(markdown_row("attainable rank IC", [number(first.loc[m, "attainable"]) for m in MARKETS]))
        lines += [markdown_row(model, [cell(table.loc[(model, m)]) for m in MARKETS]) for model in models]
        floors = [share(first.loc[m, "best_floor_rank_ic"], first.loc[m, "attainable"]) for m in MARKETS]
        lines.append(markdown_row("best floor, without a model", floors))
    return "\n".join(lines) + "\n"


def markdown_row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def cell(row: pd.Series) -> str:
    text = share(row["rank_ic"], row["attainable"])
    below = " ↓" if row["market"] != "none" and row["rank_ic"] <= row["best_floor_rank_ic"] else ""
    return (f"**{text}**" if row["ci_low"] > 0 else text) + below


def share(value: float, attainable: float) -> str:
    return f"{value:+.3f}" if np.isnan(attainable) else f"{value / attainable:.2f}"


def number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


if __name__ == "__main__":
    main()
