"""Which model finds what, and at what cost: simulated markets with one planted signal each, several seeds of each.

    python -m studies.planted_signals [--signals xor,slow] [--seeds 201,202] [--models linear,lru]

Every model has the same budget, three settings a market; the one that is best on valid dates is scored on later dates
that it has not seen. Attained is its mean rank IC over that of the true expectation on the same dates; errors are over
market seeds. Writes docs/results/planted_signals.md with the markets that are there. What is in
.studies/planted_signals is not run again.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import pandas as pd

from stages import ROOT
from stages.json_files import read_json
from studies.attained import QUIETLY, kept_rows, mean_and_error, table
from studies.workspace import STUDIES

PAGE = ROOT / "docs" / "results" / "planted_signals.md"
STRENGTHS = {
    "reversal": 0.08,
    "momentum": 0.03,
    "volume": 0.08,
    "news": 0.08,
    "slow": 0.06,
    "seasonal": 0.08,
    "delayed": 0.08,
    "xor": 0.1,
    "timed": 0.1,
    "regime": 0.1,
    "sector": 0.08,
    "lead_lag": 0.1,
}
NONE = "none"
MARKETS = (*STRENGTHS, NONE)
OF_SECTORS = ("sector", "lead_lag")
SEEDS = (201, 202, 203, 204, 205)
HORIZONS = (1, 5)
SYMBOLS, BARS = 120, 720
FOLD: dict[str, Any] = {"scheme": "rolling", "train": 380, "valid": 80, "test": 180, "step": 180, "purge": 6}
CHANGES: dict[str, Any] = {
    "sample.symbols": SYMBOLS,
    "sample.bars": BARS,
    "split.folds": FOLD,
    "tokenize.labels": {f"h{horizon}": {"horizon": horizon} for horizon in HORIZONS},
    "train.epochs": 5,
    "train.patience": 3,
    **QUIETLY,
    "evaluate.bootstrap": 200,
}
NUM_TRIALS = 3
DECAYED = {"weight_decay": 0.5}
SLOW = {"lr": 0.001, "epochs": 8, "patience": 4}
TRIALS: dict[str, tuple[dict[str, Any], ...]] = {
    "linear": ({"alpha": 10.0}, {"alpha": 1000.0}, {"alpha": 100000.0}),
    "lightgbm": (
        {},
        {"leaves": 7, "rounds": 300, "patience": 30, "learning_rate": 0.05},
        {"leaves": 31, "rounds": 300, "patience": 30, "learning_rate": 0.03},
    ),
    "lstm": ({}, {"lookback": 30}, {"lookback": 30, "train": DECAYED}),
    "tcn_attention": ({}, {"lookback": 30}, {"lookback": 30, "train": DECAYED}),
    "transformer": ({}, {"lookback": 30}, {"lookback": 30, "train": DECAYED}),
    "master": ({}, {"lookback": 20}, {"lookback": 20, "train": DECAYED}),
    "lru": (
        {"lookback": 60},
        {"lookback": 60, "memories": 6},
        {"lookback": 60, "train": {"weight_decay": 0.5, **SLOW}},
    ),
}
"""Settings of each model besides its section in params.yaml; as many for each."""
USUAL = ("linear", "lightgbm", "lstm", "tcn_attention", "lru")

HEAD = f"""# Which model finds what

Simulated markets of {SYMBOLS} symbols and {BARS} days that differ in the one signal that is planted
([simulated_market.md](../simulated_market.md)), in units of a symbol's own volatility per day:
{", ".join(f"{kind} {strength}" for kind, strength in STRENGTHS.items())}. One fold: {FOLD["train"]} training days,
{FOLD["valid"]} valid days, {FOLD["test"]} test days. Models read the set `bars` and the tone of news, in the markets of
sectors also `return_1~sector`. Each has {NUM_TRIALS} settings a market (`TRIALS` in studies/planted_signals.py), of
which the best mean rank IC over the valid days is scored on the test days. Made by `make study-planted`.

A number is the mean over market seeds of the model's rank IC over that of the true expectation on the same days, in
percent, with the standard error of that mean; **bold** where it is above 0 by two errors, ↓ where the best floor, a
formula on closes that is not trained, is no worse in the mean. Without a signal (`{NONE}`) it is a hundred times the
rank IC itself, which should not differ from zero. CPU seconds are those of the training of the chosen setting."""


def main() -> None:
    """Run what is not there and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--signals", default=",".join(MARKETS), help=f"of {', '.join(MARKETS)}")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)), help="of the markets")
    parser.add_argument("--models", default=",".join(USUAL), help=f"of {', '.join(TRIALS)}")
    options = parser.parse_args()
    signals, models = options.signals.split(","), options.models.split(",")
    for given, known, key in ((signals, MARKETS, "signals"), (models, TRIALS, "models")):
        if unknown := [one for one in given if one not in known]:
            parser.error(f"--{key}: {unknown[0]} is unknown; known are {', '.join(known)}")
    markets = [(signal, int(seed)) for seed in options.seeds.split(",") for signal in signals]
    started = time.monotonic()
    for done, (signal, seed) in enumerate(markets):
        run_market(signal, seed, models)
        left = (time.monotonic() - started) / (done + 1) * (len(markets) - done - 1)
        print(f"{signal}, seed {seed}: {done + 1} of {len(markets)} markets, {left / 60:.0f} minutes left", flush=True)
    PAGE.write_text(page(chosen(known_trials())), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def run_market(signal: str, seed: int, models: list[str]) -> None:
    """See to it that every trial of a market is known."""
    planted = {"sample.signal": 0.0} if signal == NONE else {"sample.signals": {signal: STRENGTHS[signal]}}
    features = ["bars", "return_1~sector"] if signal in OF_SECTORS else []
    changes = {**CHANGES, **planted, "sample.seed": seed, "tokenize.features": features}
    for model in models:
        for trial in range(NUM_TRIALS):
            last = model == models[-1] and trial == NUM_TRIALS - 1
            zoo = {model: TRIALS[model][trial]}
            kept_rows(f"planted_signals/{signal}/{seed}", f"{model}_{trial}", changes, zoo, keep_market=not last)


def known_trials() -> pd.DataFrame:
    """A row per market, trial and label of all that has been run."""
    rows = []
    for file in sorted((STUDIES / "planted_signals").glob("*/*/*.json")):
        market, seed = file.parts[-3:-1]
        trial = int(file.stem.rpartition("_")[2])
        rows += [{"market": market, "seed": int(seed), "trial": trial, **row} for row in read_json(file)["rows"]]
    return pd.DataFrame(rows)


def chosen(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the trial with the best valid rank IC, the mean over the labels, of every market and model."""
    keys = ["market", "seed", "model"]
    valid = frame.groupby([*keys, "trial"])["valid_rank_ic"].mean().reset_index()
    best = valid.sort_values(["valid_rank_ic", "trial"], ascending=[False, True]).drop_duplicates(keys)
    return frame.merge(best[[*keys, "trial"]], on=[*keys, "trial"])


def page(frame: pd.DataFrame) -> str:
    """The study as a page of Markdown."""
    attainable = frame["attainable"].astype(float).where(frame["market"] != NONE, 1.0)
    frame = frame.assign(
        attained=100 * frame["rank_ic"] / attainable, floor=100 * frame["best_floor_rank_ic"] / attainable
    )
    markets = [one for one in MARKETS if one in set(frame["market"])]
    models = [one for one in TRIALS if one in set(frame["model"])]
    lines = [HEAD]
    for label in frame["label"].unique():
        mine = frame[frame["label"] == label]
        first = mine.drop_duplicates(["market", "seed"]).groupby("market")
        head = {market: own for market, own in first}  # noqa: C416 -- a mapping of the groups
        rows: list[list[str]] = [["seeds", *(str(len(head[one])) for one in markets), ""]]
        known = [f"{head[one]['attainable'].astype(float).mean():.3f}" if one != NONE else "-" for one in markets]
        rows.append(["attainable rank IC", *known, ""])
        for model in models:
            own = mine[mine["model"] == model]
            cells = [cell(own[own["market"] == one]) for one in markets]
            rows.append([model, *cells, f"{own['cpu_seconds'].mean():.1f}"])
        rows.append(["best floor", *(told(*mean_and_error(head[one]["floor"])) for one in markets), ""])
        lines += ["", f"## Horizon {label.removeprefix('h')}", "", *table(["", *markets, "CPU s"], rows)]
    return "\n".join(lines) + "\n"


def cell(own: pd.DataFrame) -> str:
    """What a model attains in the markets of a signal."""
    if own.empty:
        return "-"
    mean, error = mean_and_error(own["attained"])
    text = f"**{told(mean, error)}**" if mean > 2 * error else told(mean, error)
    return text + (" ↓" if own["market"].iloc[0] != NONE and mean <= own["floor"].mean() else "")


def told(mean: float, error: float) -> str:
    """A mean with its error, which one market alone does not have."""
    digits = 0 if abs(mean) >= 10 else 1
    return f"{mean:.{digits}f}" if pd.isna(error) else f"{mean:.{digits}f} +- {error:.{digits}f}"


if __name__ == "__main__":
    main()
