"""ACL18, the published next-day movement protocol: price models, and models of prices and tweets, through the engine.

    python -m studies.acl18 [--data ../shared/data/acl18] [--models lstm,han] [--seeds 5]

Every choice (epoch, hyper-parameters) is made on valid by the MCC; test is only read for the table. A run that is done
is kept under .studies/acl18, so a study that was stopped goes on. Writes docs/results/acl18.md and acl18.csv.
"""

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
)


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
            settings.append(Setting(model=self.model, config=config, lr=point["lr"]))
        return settings


STOCKNET = (("latent", 8), ("movement_feature", OWN_MOVE))
VARIANTS = (
    Variant(name="lstm", model="lstm"),
    Variant(name="alstm", model="alstm"),
    Variant(name="adv_alstm", model="adv_alstm"),
    Variant(name="dtml", model="dtml"),
    Variant(name="stocknet, prices only", model="stocknet", config=STOCKNET),
    Variant(name="stocknet", model="stocknet", clock="midnight", config=STOCKNET),
    Variant(name="han", model="han", clock="midnight"),
    Variant(name="pen", model="pen", clock="midnight", config=(("latent", 8),)),
    Variant(name="stocknet, tweets to the close", model="stocknet", clock="close", settings_of="stocknet"),
    Variant(name="han, tweets to the close", model="han", clock="close", settings_of="han"),
    Variant(name="pen, tweets to the close", model="pen", clock="close", settings_of="pen"),
)


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(1)
    chosen = [v for v in VARIANTS if not arguments.models or v.model in arguments.models.split(",")]
    protocol = read_protocol(arguments.data)
    clocks: list[TweetClock] = sorted({variant.clock for variant in chosen if variant.clock})
    tweets: dict[str, Tweets] = {
        clock: read_tweets(arguments.data, protocol, clock, DIMENSIONS, TWEETS_PER_DAY) for clock in clocks
    }
    runner = Runner(protocol=protocol, tweets=tweets, cache=CACHE)
    best = {variant.name: search(runner, variant) for variant in chosen if not variant.settings_of}
    rows = [row for variant in chosen for row in seeds(runner, variant, best, arguments.seeds)]
    write_page(ROOT / "docs" / "results", runner, rows, {variant.name: variant.grid() for variant in chosen})


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with bars.parquet and news.parquet")
    parser.add_argument("--models", default="", help="models of the zoo, separated by commas; all by default")
    parser.add_argument("--seeds", type=int, default=5, help="runs of the chosen hyper-parameters")
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


def seeds(runner: Runner, variant: Variant, best: dict[str, Setting], count: int) -> list[Row]:
    setting = best[variant.settings_of or variant.name]
    rows = []
    for seed in range(count):
        outcome = runner.run(setting, seed, variant.clock)
        row = Row(
            variant=variant.name,
            model=variant.model,
            clock=variant.clock,
            setting=setting,
            seed=seed,
            outcome=outcome,
        )
        rows.append(row)
        print(f"{variant.name}, seed {seed}: best epoch {outcome.facts['best_epoch']:.0f}", flush=True)
    return rows


if __name__ == "__main__":
    main()
