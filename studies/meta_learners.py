"""Which meta learner stacks best: simulated markets, six members of unlike skill, every learner paired with equal.

    python -m studies.meta_learners [--markets 8]

Members are fitted fold by fold on bar features alone: a ridge, LightGBM on all features and on half of them, XGBoost, a
momentum that is not fitted, and a ranking that knows nothing. The same out-of-fold forecasts go to every learner.
Writes docs/results/meta_learners.md. What is in .studies/meta_learners is not run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import NDArray

from factor_data import (
    Fold,
    MarketConfig,
    Panel,
    compute_features,
    cross_sectional_target,
    forward_return,
    simulate_market,
    walk_forward,
)
from factor_metrics import paired_difference, rank_ic
from factor_models import Members, StackConfig, Table, build_model, rank_standardise, stack_members
from factor_models.stacking.config import MetaLearner
from stages import ROOT
from stages.json_files import read_json, write_json
from studies.workspace import STUDIES

PAGE = ROOT / "docs" / "results" / "meta_learners.md"
HORIZONS = (1, 5, 20)
SYMBOLS, BARS = 100, 1300
FOLDS: dict[str, Any] = {"train": 350, "valid": 60, "test": 150, "step": 150, "purge": 21, "embargo": 0}
TREES: dict[str, Any] = {"rounds": 40, "learning_rate": 0.1, "leaves": 15}
LEARNERS: tuple[MetaLearner, ...] = ("equal", *[name for name in get_args(MetaLearner) if name != "equal"])
SIGNALS = {"six members, signal": 1.0, "six members, no signal": 0.0}
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True, eq=False)
class Forecasts:
    """Out-of-fold forecasts of one market and label."""

    predictions: NDArray[np.float64]
    """(num_members, num_rows)."""
    label: NDArray[np.float64]
    fold: NDArray[np.int64]
    panel: Panel
    horizon: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markets", type=int, default=8, help="with a signal; half as many without")
    num_markets = parser.parse_args().markets
    rows = []
    for name, signal in SIGNALS.items():
        for seed in range(num_markets if signal else max(num_markets // 2, 2)):
            rows += [{"market": name, "seed": seed, **row} for row in kept_market(seed, signal)]
            print(f"{name}: seed {seed}", flush=True)
    PAGE.write_text(page(pd.DataFrame(rows)), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def kept_market(seed: int, signal: float) -> list[dict[str, Any]]:
    """The rows of a market, from the last time where it is known: a study that was interrupted goes on."""
    file = STUDIES / "meta_learners" / f"signal_{signal:g}_seed_{seed}.json"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, run_market(seed, signal))
    rows: list[dict[str, Any]] = read_json(file)
    return rows


def run_market(seed: int, signal: float) -> list[dict[str, Any]]:
    """A row per label and meta learner: its rank IC less that of equal weights and of the best member."""
    rows = []
    for forecasts in members_of(seed, signal):
        date_code = np.asarray(forecasts.panel.date_code)
        members = Members(forecasts.predictions, forecasts.label, date_code, forecasts.fold)
        series = {
            name: ic_of(stack_members(members, StackConfig(weights=name), forecasts.horizon + 1).prediction, forecasts)
            for name in LEARNERS
        }
        alone = [ic_of(one, forecasts) for one in forecasts.predictions]
        best = max(alone, key=lambda ic: float(np.nanmean(ic)))
        for name, ic in series.items():
            to_equal = paired_difference(ic, series["equal"], forecasts.horizon)
            to_best = paired_difference(ic, best, forecasts.horizon)
            rows.append(
                {
                    "label": f"h{forecasts.horizon}",
                    "learner": name,
                    "rank_ic": float(np.nanmean(ic)),
                    "difference": to_equal.mean,
                    "below": bool(to_equal.ci_high < 0),
                    "to_best": to_best.mean,
                    "below_best": bool(to_best.ci_high < 0),
                }
            )
    return rows


def ic_of(prediction: NDArray, forecasts: Forecasts) -> NDArray[np.float64]:
    """(num_dates,) rank IC on the dates that have a forecast."""
    panel = forecasts.panel
    tested = np.where(forecasts.fold >= 0, prediction, np.nan)
    return rank_ic(panel.to_matrix(tested), panel.to_matrix(forecasts.label))


def members_of(seed: int, signal: float) -> Iterator[Forecasts]:
    """The members' forecasts of every label of one market."""
    market = simulate_market(MarketConfig(symbols=SYMBOLS, bars=BARS, seed=seed, signal=signal, signals="impulses"))
    panel = Panel.from_frame(market.bars)
    matrix = compute_features(panel)
    date_code = np.asarray(panel.date_code)
    ranks = rank_standardise(matrix.values.T.astype(np.float64), date_code).T.astype(np.float32)
    labels = np.stack([forward_return(panel, horizon, delay=1) for horizon in HORIZONS], axis=1)
    targets = np.stack([cross_sectional_target(label, date_code) for label in labels.T], axis=1)
    folds = walk_forward(panel.dates, **FOLDS)
    fold = np.full(panel.num_rows, -1)
    predictions = np.full((6, panel.num_rows, len(HORIZONS)), np.nan)
    for one in folds:
        test = one.rows(panel, "test")
        fold[test] = one.index
        for place, values in enumerate(fitted(one, panel, ranks, targets, seed)):
            predictions[place, test] = values
    momentum = matrix.names.index("momentum_60_5")
    predictions[4] = np.where((fold >= 0)[:, None], ranks[:, [momentum]], np.nan)
    predictions[5] = np.random.default_rng(seed).standard_normal((panel.num_rows, 1))
    for head, horizon in enumerate(HORIZONS):
        yield Forecasts(
            predictions=predictions[:, :, head], label=labels[:, head], fold=fold, panel=panel, horizon=horizon
        )


def fitted(
    fold: Fold, panel: Panel, ranks: NDArray[np.float32], targets: NDArray[np.float32], seed: int
) -> Iterator[NDArray[np.float64]]:
    """Test forecasts (num_rows, num_labels) of the four members that are fitted."""
    half = np.arange(ranks.shape[1]) % 2 == 0
    for name, columns, settings in (
        ("linear", slice(None), {"alpha": 10.0}),
        ("lightgbm", slice(None), TREES),
        ("lightgbm", half, TREES),
        ("xgboost", slice(None), TREES),
    ):
        x = np.ascontiguousarray(ranks[:, columns])
        train, valid, test = (
            Table(features=x[rows], targets=targets[rows], groups=np.asarray(panel.date_code)[rows])
            for rows in (fold.rows(panel, segment) for segment in ("train", "valid", "test"))
        )
        model: Any = build_model(name, num_features=x.shape[1], num_horizons=len(HORIZONS), **settings)
        model.fit(train, valid)
        yield np.asarray(model.predict(Table(features=test.features)))


def page(frame: pd.DataFrame) -> str:
    """The page: a table per kind of market, every learner against equal weights and the best member."""
    parts = [HEAD]
    for market, rows in frame.groupby("market", sort=False):
        num = rows["seed"].nunique()
        parts += [f"## {market}: {num} markets", ""]
        parts.append("| meta learner | " + " | ".join(f"h{one} less equal" for one in HORIZONS) + " | below equal |")
        parts[-1] += " above the best member | below the best member |"
        parts.append("|---" * (len(HORIZONS) + 4) + "|")
        for name in LEARNERS:
            mine = rows[rows["learner"] == name]
            cells = [difference(mine.loc[mine["label"] == f"h{one}", "difference"]) for one in HORIZONS]
            if name == "equal":
                means = [mine.loc[mine["label"] == f"h{one}", "rank_ic"].mean() for one in HORIZONS]
                cells = [f"(rank IC {mean:+.4f})" for mean in means]
            counts = [mine["below"].sum(), (mine["to_best"] > 0).sum(), mine["below_best"].sum()]
            cells += [f"{one} of {len(mine)}" for one in counts]
            parts.append(f"| {name} | {' | '.join(cells)} |")
        parts.append("")
    return "\n".join(parts)


def difference(values: pd.Series) -> str:
    """Mean over markets with Student's interval; markets are independent."""
    half = scipy.stats.t(len(values) - 1).ppf(0.5 + LEVEL / 2) * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():+.4f} [{values.mean() - half:+.4f}, {values.mean() + half:+.4f}]"


HEAD = f"""# Which meta learner

Simulated markets of {SYMBOLS} symbols and {BARS} days, five folds of 150 test days. Six members that differ in skill: a
ridge, LightGBM on all bar features and on half of them, XGBoost, a 60-day momentum that is not fitted, and a ranking
that knows nothing. All meta learners get the same out-of-fold forecasts, nested in time, the first fold with equal
weights. Made by `make study-meta`.

A number is the mean over markets of a learner's rank IC less that of equal weights in the same market, with the 95 %
interval over markets (Student's). Not corrected for the number of rows. The counts are over markets and labels: how
often the learner is below equal weights, or below the member that turned out best, by the whole paired interval of its
dates; and how often its mean is above that best member, which nobody could have known before.
"""


if __name__ == "__main__":
    main()
