"""ACL18, the published next-day movement protocol: price models, and models of prices and tweets, through the engine.

    python -m studies.acl18 [--data ../shared/data/acl18] [--models lstm,han_tweets] [--seeds 5] [--finished]

Every choice (epoch, hyper-parameters) is made on valid by the MCC; test is only read for the table. A run that is done
is kept under .studies/acl18, so a study that was stopped goes on. Writes docs/results/acl18.md and acl18.csv.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stages import ROOT
from studies.acl18_data import OWN_MOVE, TweetClock, Tweets, read_protocol, read_tweets
from studies.acl18_report import Row, scores_of, write_page
from studies.acl18_runs import Runner, Setting

DATA = ROOT.parent / "shared" / "data" / "acl18"
CACHE = ROOT / ".studies" / "acl18"
DIMENSIONS, TWEETS_PER_DAY = 32, 6
GRID: tuple[dict[str, Any], ...] = (
    {"lr": 3e-3, "config": {"hidden": 16}},
    {"lr": 1e-3, "config": {"hidden": 32, "dropout": 0.3}},
    {"lr": 1e-2, "config": {"hidden": 8}},
    {"lr": 1e-2, "config": {"hidden": 16}, "epochs": 150, "patience": 150},
)
"""Where the choice is made; the last point trains as long as Feng et al. (2019) do."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A line of the table: a model and what it reads."""

    name: str
    model: str
    clock: TweetClock | None = None
    """Which tweets; None: prices alone."""
    config: tuple[tuple[str, Any], ...] = ()
    """Settings of the model that are not searched."""
    settings_of: str = ""
    """The variant whose hyper-parameters it takes; "": its own."""

    def grid(self) -> list[Setting]:
        fixed = dict(self.config)
        settings = []
        for point in GRID:
            config = fixed | point["config"]
            if self.clock is not None:
                config["text_width"] = config["hidden"]
            settings.append(Setting(model=self.model, **point | {"config": config}))
        return settings


STOCKNET = (("latent", 8), ("movement_feature", OWN_MOVE))
VARIANTS = (
    Variant(name="lstm", model="lstm"),
    Variant(name="alstm", model="alstm"),
    Variant(name="adv_alstm", model="adv_alstm"),
    Variant(name="dtml", model="dtml"),
    Variant(name="stocknet_prices", model="stocknet", config=STOCKNET),
    Variant(name="stocknet_tweets", model="stocknet", clock="midnight", config=STOCKNET),
    Variant(name="han_tweets", model="han", clock="midnight"),
    Variant(name="pen_tweets", model="pen", clock="midnight", config=(("latent", 8),)),
    Variant(name="stocknet_close", model="stocknet", clock="close", settings_of="stocknet_tweets"),
    Variant(name="han_close", model="han", clock="close", settings_of="han_tweets"),
    Variant(name="pen_close", model="pen", clock="close", settings_of="pen_tweets"),
)
"""The lines of the table; `_close` are models that know tweets to the close alone."""


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(1)
    chosen = chosen_variants(arguments.models.split(",") if arguments.models else [])
    searched = [v for v in VARIANTS if v.name in {variant.settings_of or variant.name for variant in chosen}]
    protocol = read_protocol(arguments.data)
    clocks: list[TweetClock] = sorted({variant.clock for variant in [*chosen, *searched] if variant.clock})
    tweets: dict[str, Tweets] = {
        clock: read_tweets(arguments.data, protocol, clock, DIMENSIONS, TWEETS_PER_DAY) for clock in clocks
    }
    runner = Runner(protocol=protocol, tweets=tweets, cache=CACHE)
    if arguments.finished:
        searched = [v for v in searched if all(runner.has(setting, 0, v.clock) for setting in v.grid())]
    best = {variant.name: search(runner, variant) for variant in searched}
    rows = []
    for variant in chosen:
        setting = best.get(variant.settings_of or variant.name)
        if setting is not None:
            rows += seeds(runner, variant, setting, arguments.seeds, arguments.finished)
    missing = [variant.name for variant in VARIANTS if variant.name not in {row.variant for row in rows}]
    write_page(ROOT / "docs" / "results", runner, rows, VARIANTS[0].grid(), missing)


def chosen_variants(names: list[str]) -> list[Variant]:
    """The lines of these names, all without a name; ValueError names those that are not known."""
    known = [variant.name for variant in VARIANTS]
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"--models: {', '.join(unknown)} is unknown; known are {', '.join(known)}")
    return [variant for variant in VARIANTS if not names or variant.name in names]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with bars.parquet and news.parquet")
    parser.add_argument("--models", default="", help="lines of the table, separated by commas; all by default")
    parser.add_argument("--seeds", type=int, default=5, help="runs of the chosen hyper-parameters")
    parser.add_argument("--finished", action="store_true", help="train nothing: the table of the runs that are done")
    return parser.parse_args()


def search(runner: Runner, variant: Variant) -> Setting:
    """The point of the grid with the highest MCC on valid, with seed 0."""
    label = runner.outcome_of("valid")
    found = []
    for setting in variant.grid():
        score = scores_of(runner.run(setting, 0, variant.clock).valid, label)
        print(f"{variant.name}: {setting.describe()}: valid MCC {score.mcc:.4f}", flush=True)
        found.append((score.mcc, setting))
    return max(found, key=lambda pair: pair[0])[1]


def seeds(runner: Runner, variant: Variant, setting: Setting, count: int, finished: bool) -> list[Row]:
    """The runs of seeds 0, 1, ...; of those only the finished ones if asked for."""
    rows = []
    for seed in range(count):
        if finished and not runner.has(setting, seed, variant.clock):
            continue
        outcome = runner.run(setting, seed, variant.clock)
        rows.append(Row(variant=variant.name, setting=setting, seed=seed, outcome=outcome))
        print(f"{variant.name}, seed {seed}: best epoch {outcome.facts['best_epoch']:.0f}", flush=True)
    return rows


if __name__ == "__main__":
    main()
