"""What is left of forecasts after costs of 1, 5, 10 and 20 basis points a side, on NASDAQ and the stocks of ACL18.

    python -m studies.net_books [--data ../shared/data] [--only acl18]

A ridge and LightGBM go through every stage with the default params; the out-of-fold forecasts of both and of their
stack become the default book, and pay the same for every side of every trade. Writes docs/results/net_books.md. What
is in .studies/net_books is not run again.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Hashable, Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from factor_data import FeatureStore, Panel, import_data
from factor_metrics import BookScores
from stages import ROOT
from stages.json_files import read_json, write_json
from stages.judging.books import judge_books
from stages.params.evaluate import EvaluateParams
from stages.predictions import OutOfFold
from stages.running.planned import read_plan
from studies.workspace import STUDIES, Workspace, base_params, changed

PAGE = ROOT / "docs" / "results" / "net_books.md"
COSTS = (1.0, 5.0, 10.0, 20.0)
MODELS = ("linear", "lightgbm")
CHANGES: dict[str, Any] = {"tokenize.features": ["bars"], "tokenize.use_news": False, "evaluate.bootstrap": 500}


@dataclass(frozen=True, kw_only=True)
class Market:
    """A set of bars and the folds that it is cut into."""

    title: str
    file: str
    """Below the folder of data."""
    folds: tuple[int, int, int]
    """Dates of train, valid and test; the next fold begins as many dates later as are tested."""
    said: str


MARKETS = {
    "nasdaq": Market(
        title="1,026 NASDAQ stocks, 2008 to 2017",
        file="us_eod/nasdaq.parquet",
        folds=(500, 100, 250),
        said="Their publisher picked them for trading through 2013 to 2017, so those that failed are missing.",
    ),
    "acl18": Market(
        title="87 large stocks of ACL18, 2012 to 2017",
        file="acl18/bars.parquet",
        folds=(400, 60, 150),
        said="The largest of nine industries, picked by their publisher; tweets are not read.",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--only", choices=MARKETS, help="run this market alone; the page has all that were run")
    options = parser.parse_args()
    for name in [options.only] if options.only else MARKETS:
        kept_market(name, options.data)
    known = {name: rows for name in MARKETS if (rows := known_rows(name))}
    PAGE.write_text(page({name: pd.DataFrame(rows) for name, rows in known.items()}), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def kept_market(name: str, data: Path) -> None:
    """Run a market unless its numbers are there."""
    if not known_rows(name):
        write_json(rows_file(name), list(run_market(name, data)))


def rows_file(name: str) -> Path:
    return STUDIES / "net_books" / f"{name}.json"


def known_rows(name: str) -> list[dict[str, Any]]:
    """The rows of a market; none before it was run."""
    file = rows_file(name)
    rows: list[dict[str, Any]] = read_json(file) if file.is_file() else []
    return rows


def run_market(name: str, data: Path) -> Iterator[dict[str, Any]]:
    """A row per label, forecast and cost, 0 among the costs."""
    workspace = prepare(name, data)
    for model in MODELS:
        workspace.run("train", model)
        workspace.run("evaluate", model)
    workspace.run("stack")
    with chdir(workspace.folder):
        store, panel = FeatureStore(Path("results/tokenize")), Panel.load(Path("results/split/panel"))
        config = read_plan("stack").section("evaluate", EvaluateParams)
        sources = {"stack": "stack", **{model: f"train/{model}" for model in MODELS}}
        for forecast, folder in sources.items():
            oof = OutOfFold(Path("results") / folder / "predictions.parquet", store)
            forecasts = {label: (oof.dates("test"), oof.matrix(label, "test")) for label in store.heads}
            for cost in (0.0, *COSTS):
                costs = replace(config.portfolio.costs, commission=cost, half_spread=0.0, impact=0.0, borrow=0.0)
                paid = replace(config, portfolio=replace(config.portfolio, costs=costs))
                books = judge_books(forecasts, store, panel, paid, Path("results/split/expected.parquet"))
                for label, book in books.found.items():
                    yield {"forecast": forecast, "label": label, "cost": cost, **row_of(book.scores)}


def row_of(scores: BookScores) -> dict[str, float]:
    names = (
        "net_return",
        "net_sharpe",
        "net_sharpe_low",
        "net_sharpe_high",
        "break_even",
        "holding_dates",
        "book_dates",
    )
    return {name: float(getattr(scores, name)) for name in names}


def prepare(name: str, data: Path) -> Workspace:
    """The bars of a market in a workspace, split and with features."""
    market, params = MARKETS[name], changed(base_params(), CHANGES)
    train, valid, test = market.folds
    params["split"]["folds"] |= {"train": train, "valid": valid, "test": test, "step": test}
    params["zoo"] = {model: params["zoo"][model] for model in MODELS}
    params["models"] = list(MODELS)
    workspace = Workspace("net_books", name, params)
    if not (workspace.folder / "data").exists():
        source = STUDIES / "net_books" / f"{name}_source"
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir(parents=True)
        shutil.copyfile(data / market.file, source / "bars.parquet")
        import_data(source, workspace.folder / "data")
    workspace.run("split")
    workspace.run("tokenize_features")
    return workspace


def page(markets: dict[str, pd.DataFrame]) -> str:
    """The study as a page of Markdown."""
    lines = [HEAD]
    for name, frame in markets.items():
        market = MARKETS[name]
        dates, (train, valid, test) = int(frame["book_dates"].max()), market.folds
        lines += [
            f"## {market.title}",
            "",
            f"{market.said}",
            f"Folds of {train} days to train on, {valid} that choose, {test} to test; {dates:,} days with a book.",
            "",
            "| label | forecast | before costs | " + " | ".join(f"net of {cost:g}" for cost in COSTS)
            + " | break-even | held |",
            "|---" * (len(COSTS) + 5) + "|",
        ]  # fmt: skip
        for (label, forecast), rows in frame.groupby(["label", "forecast"], sort=False):
            paid = {row["cost"]: row for row in rows.to_dict("records")}
            cells = [cell(paid[cost]) for cost in (0.0, *COSTS)]
            cells += [f"{paid[0.0]['break_even']:+.1f}", f"{paid[0.0]['holding_dates']:.1f}"]
            lines.append(f"| {label} | {forecast} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def cell(row: Mapping[Hashable, Any]) -> str:
    text = f"{row['net_sharpe']:+.2f} ({row['net_return']:+.1%})"
    return f"**{text}**" if row["net_sharpe_low"] > 0.0 else text


HEAD = f"""# What is left after costs, on real stocks

Out-of-fold forecasts of a ridge, of LightGBM and of their stack with the default params, each as the default book: the
top fifth long, the bottom fifth short, equal weights, a gross exposure of 1, traded at the close of the day after the
forecast, held for as many days as the label looks ahead in as many overlapping books. Every side of every trade pays
{", ".join(f"{cost:g}" for cost in COSTS)} basis points. Impact and borrowing, which the default costs have, are left
out: a column says what its head says. Made by `make study-books`.

Sharpe ratio a year (compounded return a year); **bold** where the 95 % interval of the Sharpe ratio lies above 0, not
corrected for the number of cells. Break-even: basis points a side at which the mean return is 0. Held: days that a
position is held on average. Nothing was tuned on these data.
"""


if __name__ == "__main__":
    main()
