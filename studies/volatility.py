"""Is a volatility forecast better by a model than by past moves? Floors, ridge, trees and a network, side by side.

    python -m studies.volatility [--data ../shared/data/us_eod] [--markets 106,107]

Labels are the volatility of the next 5 and 20 bars (delay 1). Two simulated markets, whose volatility clusters as a
real one's does, and NASDAQ stocks, of which every fifth is taken. Writes docs/results/volatility.md with the markets
that are there. What is in .studies/volatility is not run again.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from factor_data import import_data, read_parquet, write_parquet
from stages import ROOT
from stages.json_files import read_json, write_json
from studies.attained import QUIETLY, market_workspace, scored_models, table
from studies.forked import Forked
from studies.workspace import STUDIES

PAGE = ROOT / "docs" / "results" / "volatility.md"
LABELS = {f"risk{bars}": {"horizon": bars, "measure": "volatility", "delisting": "last"} for bars in (5, 20)}
FLOORS = ("past_volatility_5", "past_volatility_20", "ewma_volatility", "har_volatility")
MODELS = ("linear", "lightgbm", "lru")
SEEDS = (106, 107)
SYMBOLS, BARS = 150, 760
EVERY = 5
FIRST_BAR = "2012-06-01"
COMMON: dict[str, Any] = {
    "tokenize.features": ["bars"],
    "tokenize.labels": LABELS,
    "tokenize.use_news": False,
    **QUIETLY,
}
SIMULATED: dict[str, Any] = {
    "sample.symbols": SYMBOLS,
    "sample.bars": BARS,
    "split.folds": {"scheme": "rolling", "train": 400, "valid": 80, "test": 180, "step": 180, "purge": 21},
}
NASDAQ: dict[str, Any] = {
    "split.folds": {"scheme": "rolling", "train": 756, "valid": 252, "test": 237, "step": 237, "purge": 21},
}

HEAD = """# Volatility: models against past moves

The label is the root of the mean squared log return of the bars between entry, one bar after t, and exit, 5 or 20 bars
later ([labels.md](../labels.md)); the score is the mean rank IC over the test days of one fold, so the question is
which symbols will move more than others, not how much the market will. Floors need closes alone: past volatility over
5 and 20 bars, RiskMetrics' exponentially weighted one, and HAR, a line in that of a day, a week and a month, refitted
at every date. Models read the 25 features of the set `bars` and have the settings of `params.yaml`, one seed. Made by
`make study-volatility`.

Behind a model's rank IC stands its difference to the best floor on the same days with the 95 % interval of that
difference (block bootstrap); **bold** where the interval lies above 0, ↓ where it lies below."""

OF_MARKET = {
    "simulated": f"{SYMBOLS} symbols, {BARS} days, seed {{seed}} ([simulated_market.md](../simulated_market.md)):\n400 "
    "training, 80 valid and 180 test days.",
    "nasdaq": f"Every {'fifth' if EVERY == 5 else f'{EVERY}th'} of 1,026 stocks, 756 training, 252 valid and 237 test\n"
    "days up to 2017-12-11. The symbols were picked by their publisher for trading through 2013-2017 (survivorship).",
}


def main() -> None:
    """Run what is not there and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "us_eod")
    parser.add_argument("--markets", default=",".join(map(str, SEEDS)), help="seeds of simulated markets")
    options = parser.parse_args()
    for seed in filter(None, options.markets.split(",")):
        kept(f"simulated_{seed}", {**SIMULATED, "sample.seed": int(seed)}, None)
    if options.data.is_dir():
        kept("nasdaq", NASDAQ, options.data)
    else:
        print(f"{options.data} is not there: without NASDAQ")
    PAGE.write_text(page(known_markets()), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def kept(name: str, changes: dict[str, Any], data: Path | None) -> None:
    """See to it that the rows of a market are there; `data`: the folder of the real one."""
    file = STUDIES / "volatility" / f"{name}.json"
    if not file.is_file():
        write_json(file, run_market(name, changes, data))
        print(f"volatility: {name} is done", flush=True)


def run_market(name: str, changes: dict[str, Any], data: Path | None) -> list[dict[str, Any]]:
    """A row per label and floor or model."""
    workspace = market_workspace("volatility", name, {**COMMON, **changes}, {model: {} for model in MODELS})
    if data is None:
        workspace.use_sample()
        workspace.run("sample")
    elif not (workspace.folder / "data").exists():
        write_data(data, workspace.folder / "data")
    scored = scored_models(workspace, MODELS)
    rows = [beside_floors(workspace, row) for row in scored]
    judged = read_json(workspace.results(f"evaluate/{MODELS[0]}/floors.json"))
    floors = [
        {"label": label, "forecast": floor, "rank_ic": judged[label][floor]["rank_ic"]}
        for label in LABELS
        for floor in FLOORS
    ]
    shutil.rmtree(workspace.folder)
    return [*floors, *rows]


def beside_floors(workspace: Forked, row: dict[str, Any]) -> dict[str, Any]:
    """A scored model with its difference to the best floor of its label."""
    floors = read_json(workspace.results(f"evaluate/{row['model']}/floors.json"))[row["label"]]
    best = max(FLOORS, key=lambda name: floors[name]["rank_ic"])
    difference = {key: floors[best][key] for key in ("difference", "difference_low", "difference_high")}
    kept_keys = {key: row[key] for key in ("label", "rank_ic", "cpu_seconds")}
    return {"forecast": row["model"], "best_floor": best, **kept_keys, **difference}


def write_data(data: Path, target: Path) -> None:
    """Every fifth of the stocks in the project's own layout."""
    symbols = pd.read_csv(data / "rsr_nasdaq_symbols.csv")["symbol"].sort_values().iloc[::EVERY]
    bars = read_parquet(data / "nasdaq.parquet")
    source = STUDIES / "volatility" / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    write_parquet(source / "bars.parquet", bars[bars["symbol"].isin(symbols) & (bars["timestamp"] >= FIRST_BAR)])
    import_data(source, target)


def known_markets() -> dict[str, pd.DataFrame]:
    """The rows of each market that has been run, real ones last."""
    files = sorted((STUDIES / "volatility").glob("*.json"), key=lambda file: (file.stem == "nasdaq", file.stem))
    return {file.stem: pd.DataFrame(read_json(file)) for file in files}


def page(markets: dict[str, pd.DataFrame]) -> str:
    """The study as a page of Markdown."""
    lines = [HEAD, "", verdict(markets)]
    for name, frame in markets.items():
        kind, _, seed = name.partition("_")
        rows = []
        for forecast in (*FLOORS, *MODELS):
            own = {row["label"]: row for row in frame[frame["forecast"] == forecast].to_dict("records")}
            cost = next(iter(own.values()))["cpu_seconds"]
            rows.append([forecast, *(cell(own[label]) for label in LABELS), "" if pd.isna(cost) else f"{cost:.0f}"])
        title = f"Simulated, seed {seed}" if kind == "simulated" else "NASDAQ"
        lines += ["", f"## {title}", "", OF_MARKET[kind].format(seed=seed), ""]
        lines += table(["", *LABELS, "CPU s"], rows)
    return "\n".join(lines) + "\n"


def verdict(markets: Mapping[str, pd.DataFrame]) -> str:
    """How often a model is above the best floor beyond noise, and which floor that is."""
    told = []
    for model in MODELS:
        rows = [frame[frame["forecast"] == model] for frame in markets.values()]
        all_rows = pd.concat(rows)
        told.append(f"{model} in {int((all_rows['difference_low'] > 0).sum())} of {len(all_rows)}")
    models = pd.concat([frame[frame["forecast"].isin(MODELS)] for frame in markets.values()])
    best = models.drop_duplicates(["label", "best_floor"])["best_floor"].unique()
    return (
        f"Above the best floor beyond noise, of markets times labels: {', '.join(told)}.\nThe best floor was "
        f"{' or '.join(f'`{one}`' for one in best)}."
    )


def cell(row: Mapping[Hashable, Any]) -> str:
    """A rank IC and, of a model, its distance from the best floor."""
    if pd.isna(row["difference"]):
        return f"{row['rank_ic']:.3f}"
    low, high = row["difference_low"], row["difference_high"]
    told = f"{row['rank_ic']:.3f} ({row['difference']:+.3f} [{low:+.3f}, {high:+.3f}])"
    return f"**{told}**" if low > 0 else told + (" ↓" if high < 0 else "")


if __name__ == "__main__":
    main()
