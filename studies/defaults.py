"""How the defaults are chosen: variants of params.yaml against it, paired on simulated markets of other seeds.

    python -m studies.defaults [--markets 106,107,108,109] [--variants bars,seeds] [--models lru]

Never the market of the default run (seed 7), so nothing is chosen on its test folds. A variant changes some keys and
trains the models that it concerns; each is compared with itself under the unchanged params, market by market. Writes
docs/results/defaults.md with the markets that are there, and docs/results/defaults.csv, the log of every trial. What
is in .studies/defaults is not run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from stages import ROOT
from studies.attained import QUIETLY, kept_rows, mean_and_error, table
from studies.workspace import base_params

PAGE = ROOT / "docs" / "results" / "defaults.md"
LOG = PAGE.with_suffix(".csv")
SEEDS = (106, 107, 108, 109)
SYMBOLS, BARS = 150, 760
FOLD: dict[str, Any] = {"scheme": "rolling", "train": 400, "valid": 80, "test": 180, "step": 180, "purge": 21}
CHANGES: dict[str, Any] = {
    "sample.symbols": SYMBOLS,
    "sample.bars": BARS,
    "split.folds": FOLD,
    **QUIETLY,
    "evaluate.bootstrap": 200,
}
MODELS = ("linear", "lightgbm", "lru")
BASE = "default"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A choice that could be the default."""

    words: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    zoo: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the sections of the models that it concerns have besides."""
    models: tuple[str, ...] = MODELS


def lru(**own: Any) -> dict[str, Any]:
    """The section of lru with keys of its training changed."""
    return {"train": {**base_params()["zoo"]["lru"]["train"], **own}}


VARIANTS: dict[str, Variant] = {
    BASE: Variant(words="params.yaml as it is"),
    "bars": Variant(words="features [bars]", changes={"tokenize.features": ["bars"]}),
    "seeds": Variant(words="train.seeds: 3", zoo={"lru": lru(seeds=3)}, models=("lru",)),
    "rank_gauss": Variant(words="train.target: rank_gauss", changes={"train.target": "rank_gauss"}),
    "lookback_60": Variant(words="zoo.lru.lookback: 60", zoo={"lru": {"lookback": 60}}, models=("lru",)),
    "lookback_120": Variant(words="zoo.lru.lookback: 120", zoo={"lru": {"lookback": 120}}, models=("lru",)),
    "slow_trees": Variant(
        words="zoo.lightgbm: rounds 400, patience 40, learning_rate .03",
        zoo={"lightgbm": {"rounds": 400, "patience": 40, "learning_rate": 0.03}},
        models=("lightgbm",),
    ),
}

HEAD = f"""# Variants of the defaults

Variants of `params.yaml`, each against it as it is, on simulated markets (`sample.signals: mix`) of other seeds than
that of the default run: nothing was chosen on its test folds. {SYMBOLS} symbols, {BARS} days, one fold of
{FOLD["train"]} training, {FOLD["valid"]} valid and {FOLD["test"]} test days, settings of `params.yaml` but for what a
line says. Made by `make study-defaults`; `defaults.csv` beside this page has every trial.

A number is the mean over the markets of rank IC over attainable rank IC, in percent; behind it, for a variant, the mean
of its difference to the default on the same market with the standard error of that mean, where there are several.
**Bold**: above 0 by more than two errors and on three markets or more, which is what a default has to show before it
changes. CPU seconds are those of one training. Seeds of the markets: {{seeds}}."""


def main() -> None:
    """Run what is not there and write page and log."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markets", default=",".join(map(str, SEEDS)), help="seeds; 7 is refused")
    parser.add_argument("--variants", default=",".join(VARIANTS), help=f"of {', '.join(VARIANTS)}")
    parser.add_argument("--models", default=",".join(MODELS), help=f"of {', '.join(MODELS)}")
    options = parser.parse_args()
    models = options.models.split(",")
    seeds, names = [int(one) for one in options.markets.split(",")], options.variants.split(",")
    if base_params()["sample"]["seed"] in seeds:
        parser.error(f"--markets: {options.markets} has the seed of the default run, whose test folds choose nothing")
    if unknown := sorted(set(names) - set(VARIANTS)):
        parser.error(f"--variants: {unknown[0]} is unknown; known are {', '.join(VARIANTS)}")
    if unknown := sorted(set(models) - set(MODELS)):
        parser.error(f"--models: {unknown[0]} is unknown; known are {', '.join(MODELS)}")
    frame = pd.concat([trial(seed, name, models) for seed in seeds for name in dict.fromkeys([BASE, *names])])
    frame.to_csv(LOG, index=False, float_format="%.5f", lineterminator="\n")
    PAGE.write_text(page(frame), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)} and {LOG.relative_to(ROOT)}")


def trial(seed: int, name: str, models: Sequence[str]) -> pd.DataFrame:
    """The rows of a variant on a market, of those models that it concerns."""
    variant = VARIANTS[name]
    changes = {**CHANGES, "sample.seed": seed, **variant.changes}
    concerned = [model for model in variant.models if model in models]
    rows = []
    for model in concerned:
        zoo, last = {model: variant.zoo.get(model, {})}, model == concerned[-1]
        rows += kept_rows("defaults", f"{name}_{seed}_{model}", changes, zoo, keep_market=not last)
    return pd.DataFrame([{"market": seed, "variant": name, **row} for row in rows])


def page(frame: pd.DataFrame) -> str:
    """The study as a page of Markdown."""
    frame = frame.assign(attained=100 * frame["rank_ic"] / frame["attainable"])
    labels = list(frame["label"].unique())
    lines = [HEAD.format(seeds=", ".join(map(str, frame["market"].unique())))]
    for model in frame["model"].unique():
        mine = frame[frame["model"] == model]
        usual = mine[mine["variant"] == BASE].set_index(["market", "label"])["attained"]
        rows = []
        for name in mine["variant"].unique():
            own = mine[mine["variant"] == name]
            cells = [cell(own[own["label"] == label], usual, name != BASE) for label in labels]
            markets, cost = own["market"].nunique(), own.drop_duplicates("market")["cpu_seconds"].mean()
            rows.append([VARIANTS[name].words, *cells, str(markets), f"{cost:.0f}"])
        lines += ["", f"## {model}", "", *table(["", *labels, "markets", "CPU s"], rows)]
    return "\n".join(lines) + "\n" + seeds_told(frame)


def cell(own: pd.DataFrame, usual: pd.Series, compared: bool) -> str:
    """The mean of a label over the markets and, of a variant, its difference to the default on the same ones."""
    attained = own.set_index(["market", "label"])["attained"]
    if not compared:
        return f"{attained.mean():.0f}"
    difference = attained - usual.reindex(attained.index)
    mean, error = mean_and_error(difference.to_numpy())
    told = f"{attained.mean():.0f} ({mean:+.1f}" + (")" if pd.isna(error) else f" +- {error:.1f})")
    return f"**{told}**" if mean > 2 * error and (difference > 0).sum() >= 3 else told


def seeds_told(frame: pd.DataFrame) -> str:
    """What single seeds were worth in the trials with several; nothing without any."""
    if "seed_rank_ic" not in frame or not frame["seed_rank_ic"].notna().any():
        return ""
    several = frame[frame["seed_rank_ic"].notna()]
    rows = [
        [
            model,
            label,
            f"{100 * (own['seed_rank_ic'] / own['attainable']).mean():.0f}",
            f"{100 * (own['seed_rank_ic_std'] / own['attainable']).mean():.1f}",
            f"{own['seed_correlation'].mean():.2f}",
            f"{own['attained'].mean():.0f}",
        ]
        for (model, label), own in several.groupby(["model", "label"], sort=False)
    ]
    head = ["model", "label", "a seed alone", "spread of seeds", "correlation of forecasts", "their mean"]
    return "\n".join(["", "## Seeds alone and averaged", "", *table(head, rows)]) + "\n"


if __name__ == "__main__":
    main()
