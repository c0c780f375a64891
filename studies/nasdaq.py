"""The zoo on the NASDAQ days of the RSR papers, with causal inputs, beside floors; and what the published scaling does.

    python -m studies.nasdaq [--data ../shared/data/us_eod] [--models lstm,linear]

1,026 stocks, 2013-01-02 to 2017-12-08: 756 training days, 252 that choose the epoch, 237 test days, lookback 16, the
next day's return from close to close. Published models divide each stock's prices by their maximum over the whole
sample, test days included. Here every input is known at the close of its day. Writes docs/results/nasdaq_rsr.md.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import Panel, assert_no_lookahead, forward_return, import_data, read_parquet, write_parquet
from factor_data.lookahead import LookAheadError
from factor_metrics import ic as pearson_ic
from factor_metrics import rank_ic, summarize
from factor_models import MODELS, model_config
from stages import ROOT
from stages.json_files import read_json
from studies.workspace import STUDIES, Workspace, base_params, changed

PAGE = ROOT / "docs" / "results" / "nasdaq_rsr.md"
FIRST_BAR = "2012-06-01"  # bars before the first training day are history for features
NUM_TRAIN, NUM_VALID = 756, 252
LOOKBACK = 16
PUBLISHED = {"lstm": 0.032, "alstm": 0.035, "stockmixer": 0.043}
CHANGES: dict[str, Any] = {
    "tokenize.features": ["bars"],
    "tokenize.labels": {"h1": {"horizon": 1, "delay": 0}},
    "tokenize.use_news": False,
    "train.loss": "ic",
    "train.lr": 0.001,
    "train.batch_dates": 4,
    "train.epochs": 3,
    "train.patience": 2,
    "train.live_ic": {"every_steps": None, "every_minutes": None},
}

HEAD = f"""# NASDAQ on the days of the RSR papers, with causal inputs

1,026 stocks, {{first}} to {{last}}: {NUM_TRAIN} training days, {NUM_VALID} that choose the epoch, {{num_test}} test
days; lookback {LOOKBACK}. The label is the next day's return from close to close, so a signal is traded at the close
it is computed from, as in the papers. This favours reversal and cannot be executed. Inputs: the 25 features
of the set `bars`, ranked within each day. One seed, the model sizes of `params.yaml`, loss `ic`, at most
{{epochs}} epochs, nothing tuned on these data. The symbols were picked by their publisher for trading through
the whole span (survivorship). Made by `make study-nasdaq`.

| | IC | ICIR | rank IC | 95 % interval | t | rank IC over {{best}} | 95 % interval | published IC, leaking inputs |
|---|---|---|---|---|---|---|---|---|"""

LEAK = """
{proven} of {num} models beat the best floor by more than chance allows: the interval of the difference on the same days
lies above zero. Intervals are of means (block bootstrap), the t goes by the effective dates; ICIR is mean over standard
deviation of the daily rank IC.

## What the published scaling does

The released inputs divide each price by the stock's maximum over the whole sample. No model is needed to earn from
that: a stock far below a maximum that lies ahead will rise. The same signal with the maximum so far:

| maximum over | look-ahead gate | IC on the test days | t | rank IC |
|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "us_eod")
    parser.add_argument("--models", default=",".join(study_models()), help="default: all that read prices alone")
    options = parser.parse_args()
    names = options.models.split(",")
    if unknown := [name for name in names if name not in study_models()]:
        parser.error(f"--models: {unknown[0]} is unknown; known are {', '.join(study_models())}")
    days = protocol_days(options.data)
    workspace = prepare(options.data, days)
    rows = [run_model(workspace, name) for name in names]
    leak = leak_table(Panel.load(workspace.results("split/panel")), days)
    PAGE.write_text(page(rows, leak, days), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def study_models() -> list[str]:
    """All that need neither news nor bars of their own."""
    zoo = base_params()["zoo"]
    return [
        name
        for name, entry in MODELS.items()
        if name in zoo and "text_dim" not in entry.sizes and entry.input_kind != "bars"
    ]


def protocol_days(data: Path) -> NDArray[np.datetime64]:
    """2013-01-02 to 2017-12-08; the last day that is listed only gives the one before its label."""
    days = pd.read_csv(data / "rsr_nasdaq_trading_dates.csv", parse_dates=["timestamp"])["timestamp"]
    return days[days >= "2013-01-02"].to_numpy()[:-1].astype("datetime64[D]")


def prepare(data: Path, days: NDArray[np.datetime64]) -> Workspace:
    """Bars of the protocol's stocks in a workspace, split and with features."""
    edges = [str(day) for day in (days[0], days[NUM_TRAIN - 1], days[NUM_TRAIN], days[NUM_TRAIN + NUM_VALID - 1],
                                  days[NUM_TRAIN + NUM_VALID], days[-1])]  # fmt: skip
    params = changed(base_params(), CHANGES)
    params["split"]["folds"] = {
        "scheme": "fixed", "purge": 1, "embargo": 0,
        "train_range": edges[0:2], "valid_range": edges[2:4], "test_range": edges[4:6],
    }  # fmt: skip
    for name, section in params["zoo"].items():
        if name in MODELS and "lookback" in {field.name for field in fields(model_config(name))}:
            section["lookback"] = LOOKBACK
    workspace = Workspace("nasdaq", "rsr", params)
    if not (workspace.folder / "data").exists():
        write_data(data, workspace.folder / "data")
    workspace.run("split")
    workspace.run("tokenize_features")
    return workspace


def write_data(data: Path, target: Path) -> None:
    symbols = pd.read_csv(data / "rsr_nasdaq_symbols.csv")["symbol"]
    bars = read_parquet(data / "nasdaq.parquet")
    source = STUDIES / "nasdaq" / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    wanted = bars["symbol"].isin(symbols) & (bars["timestamp"] >= FIRST_BAR)
    write_parquet(source / "bars.parquet", bars[wanted])
    import_data(source, target)


def run_model(workspace: Workspace, name: str) -> dict[str, Any]:
    workspace.run("train", name)
    workspace.run("evaluate", name)
    metrics = read_json(workspace.results(f"evaluate/{name}/metrics.json"))["h1"]
    floors = read_json(workspace.results(f"evaluate/{name}/floors.json"))["h1"]
    return {"model": name, "floors": floors, **metrics}


def leak_table(panel: Panel, days: NDArray[np.datetime64]) -> list[dict[str, Any]]:
    """Minus close over its maximum, of the whole sample and of the past alone: the gate's verdict and the IC."""
    test = np.isin(panel.dates, days[NUM_TRAIN + NUM_VALID :].astype(panel.dates.dtype))
    label = panel.to_matrix(forward_return(panel, horizon=1, delay=0))[test]
    few = panel.select(panel.symbol_code < 20)
    rows = []
    for name, scale in {"whole sample": whole_sample_maximum, "past alone": past_maximum}.items():
        signal = panel.to_matrix(-panel.adjusted("close") / scale(panel))[test]
        pearson = summarize(pearson_ic(signal, label), horizon=1)
        ranks = summarize(rank_ic(signal, label), horizon=1)
        rows.append(
            {
                "scaling": name,
                "gate": verdict(scale, few, panel.dates[test][0]),
                "ic": pearson.mean,
                "t": pearson.t_stat,
                "rank_ic": ranks.mean,
            }
        )
    return rows


def whole_sample_maximum(panel: Panel) -> NDArray[np.float64]:
    """The published scaling: it knows the highest price that is still to come."""
    close = pd.Series(panel.adjusted("close"))
    return np.asarray(close.groupby(panel.symbol_code).transform("max"))


def past_maximum(panel: Panel) -> NDArray[np.float64]:
    """The highest close so far."""
    close = pd.Series(panel.adjusted("close"))
    return np.asarray(close.groupby(panel.symbol_code).cummax())


def verdict(scale: Any, panel: Panel, cut: np.datetime64) -> str:
    """What the look-ahead gate says."""
    try:
        assert_no_lookahead(lambda bars: bars.adjusted("close") / scale(bars), panel, cut)
    except LookAheadError:
        return "refused"
    return "passed"


def page(rows: list[dict[str, Any]], leak: list[dict[str, Any]], days: NDArray) -> str:
    """The study as a page of Markdown."""
    num_test, floors = len(days) - NUM_TRAIN - NUM_VALID, rows[0]["floors"]
    best = max((name for name in floors if name != "random"), key=lambda name: floors[name]["rank_ic"])
    lines = [HEAD.format(first=days[0], last=days[-1], num_test=num_test, epochs=CHANGES["train.epochs"], best=best)]
    for row in sorted(rows, key=lambda row: -row["rank_ic"]):
        over = row["floors"][best]
        gain = f"{over['difference']:+.4f} | [{over['difference_low']:+.4f}, {over['difference_high']:+.4f}]"
        published = f"{PUBLISHED[row['model']]:.3f}" if row["model"] in PUBLISHED else ""
        lines.append(table_row(row["model"], row, f"{gain} | {published}"))
    lines += [table_row(f"floor: {name}", floor, " | | ") for name, floor in floors.items()]
    proven = sum(row["floors"][best]["difference_low"] > 0 for row in rows)
    lines.append(LEAK.format(proven=proven, num=len(rows)))
    lines += [
        f"| {row['scaling']} | {row['gate']} | {row['ic']:+.4f} | {row['t']:.1f} | {row['rank_ic']:+.4f} |"
        for row in leak
    ]
    return "\n".join(lines) + "\n"


def table_row(name: str, row: dict[str, Any], rest: str) -> str:
    interval = f"[{row['ci_low']:+.4f}, {row['ci_high']:+.4f}]"
    values = f"{row['ic']:+.4f} | {row['icir']:+.3f} | {row['rank_ic']:+.4f} | {interval} | {row['t_stat']:.1f}"
    return f"| {name} | {values} | {rest} |"


if __name__ == "__main__":
    main()
