"""Whether the gates tell luck from skill: markets without a signal, with a weak one and with the default one.

    python -m studies.gates [--markets 100] [--only default]

Each market is another seed. A ridge and a small LightGBM are trained fold by fold, stacked and held against the default
gates, at horizons 1 and 20, each by itself, by the functions that the stages call, in one process: no stage is started,
and what a stage writes for its page is left out. Writes docs/results/gates.md with the markets that are there. What is
in .studies/gates is not run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import chdir
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from factor_data import (
    FeatureStore,
    Fold,
    Panel,
    Workers,
    clean_bars,
    make_folds,
    open_panel,
    simulate_market,
    training_targets,
    write_market,
    write_parquet,
)
from factor_metrics import promoted, to_json_safe
from stages import ROOT
from stages.fitting.contract import Conditions
from stages.fitting.inputs import FoldInputs
from stages.fitting.tabular import TabularFold
from stages.json_files import read_json, write_json
from stages.judging.books import judge_books
from stages.judging.ensemble import combine, stack_metrics
from stages.judging.verdict import hold_against_gates
from stages.params.reading import Params, parse_params, plain
from stages.params.tabular import TABULAR_KEYS, TabularParams
from stages.predictions import OutOfFold
from stages.processes.progress import TrainingProgress
from stages.running.files import RESULTS, stored
from stages.scoring import Scoring
from stages.stack import with_signal
from stages.tokenize_features import fill_store
from studies.workspace import STUDIES, base_params, changed

PAGE = ROOT / "docs" / "results" / "gates.md"
SIGNALS = {"none": 0.0, "weak": 0.5, "default": 1.0}
SAID = {"none": "no signal", "weak": "a weak signal", "default": "the default signal"}
LABELS = ("h1", "h20")
MODELS = ("linear", "lightgbm")
SYMBOLS, BARS = 80, 900
CHANGES: dict[str, Any] = {
    "sample.symbols": SYMBOLS,
    "sample.bars": BARS,
    "split.folds": {
        "scheme": "rolling",
        "train": 300,
        "valid": 60,
        "test": 150,
        "step": 150,
        "purge": 21,
        "embargo": 0,
    },
    "tokenize.features": ["bars"],
    "tokenize.labels": {"h1": {"horizon": 1}, "h20": {"horizon": 20}},
    "tokenize.use_news": False,
    "zoo": {
        "linear": {"alpha": 10.0},
        "lightgbm": {"rounds": 30, "patience": 10, "leaves": 7, "num_threads": 1},
    },
    "evaluate.bootstrap": 200,
    "stack.gate_labels": {label: {} for label in LABELS},
}
LEVEL = 0.95
PART_BYTES = 1 << 28  # of a market in memory at a time: all of it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markets", type=int, default=100, help="of each kind; those that are there are not run again")
    parser.add_argument("--only", choices=SIGNALS, help="run this kind alone, which `default` always is")
    options = parser.parse_args()
    for seed in range(options.markets):
        for kind in [options.only] if options.only else ("none", "weak"):
            kept_market(kind, seed)
    PAGE.write_text(page(pd.concat([known_markets(kind) for kind in SIGNALS])), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def kept_market(kind: str, seed: int) -> list[dict[str, Any]]:
    """The gates of a market, from the last time where they are known: a study that was interrupted goes on."""
    file = STUDIES / "gates" / f"{kind}_{seed}.json"
    if not file.is_file():
        rows = run_market(kind, seed)
        write_json(file, rows)
        print(f"{kind}, seed {seed}: {', '.join(verdict(row) for row in rows)}", flush=True)
    known: list[dict[str, Any]] = read_json(file)
    return known


def verdict(row: dict[str, Any]) -> str:
    return f"{row['label']} {'promoted' if row['promoted'] else 'not promoted'}"


def known_markets(kind: str) -> pd.DataFrame:
    """A row per market and label of those that have been run."""
    files = sorted((STUDIES / "gates").glob(f"{kind}_*.json"))
    return pd.DataFrame([row for file in files for row in read_json(file)])


def run_market(kind: str, seed: int) -> list[dict[str, Any]]:
    """A row per label: whether it was promoted, and which gates were not passed."""
    document = changed(base_params(), {**CHANGES, "sample.signal": SIGNALS[kind], "sample.seed": seed})
    params = parse_params({**document, "models": list(MODELS)}, "params.yaml")
    with TemporaryDirectory() as folder, chdir(folder):  # what is `stored` lies below results/ of this folder
        panel, store, folds = prepare(params)
        models = {name: out_of_fold(name, params, store, folds) for name in params.models}
        return judge(kind, seed, params, panel, store, models)


def prepare(params: Params) -> tuple[Panel, FeatureStore, list[Fold]]:
    """The cleaned market, its features and labels, ranked per fold, and its folds, as split and tokenize make them."""
    market = simulate_market(params.sample)
    write_market(market, RESULTS / "split")
    panel, _ = clean_bars(Panel.from_frame(market.bars), params.split.clean)
    panel.save(RESULTS / "split" / "panel")
    saved = open_panel(RESULTS / "split" / "panel")
    folds = make_folds(panel.dates, params.split.folds, reach=params.tokenize.reach)
    fill_store(RESULTS / "tokenize", saved, folds, None, params.tokenize, Workers(max_bytes=PART_BYTES), None)
    return panel, FeatureStore(RESULTS / "tokenize"), folds


def out_of_fold(name: str, params: Params, store: FeatureStore, folds: Sequence[Fold]) -> OutOfFold:
    """A model fitted fold by fold as the stage train does, its forecasts of valid and test dates."""
    train, targets = params.train_of(name), training_targets(store, params.train_of(name).target)
    tabular = TabularParams(**{key: getattr(train, key) for key in TABULAR_KEYS})
    progress = TrainingProgress(name, len(folds), 1, shown=False)
    frames = []
    for fold in folds:
        inputs = FoldInputs(
            name,
            params.zoo[name].settings,
            store,
            targets,
            fold,
            train.weights,
            RESULTS / "split" / "panel",
            Scoring.of(plain(params.evaluate)),
        )
        fitted = TabularFold(inputs, tabular).fit(Conditions(progress=progress, live=None, watch=None, earlier=()))
        frames += [fitted.predict(segment).frame for segment in ("valid", "test")]
    path = RESULTS / f"{name}.parquet"
    write_parquet(path, pd.concat(frames))
    return OutOfFold(path, store)


def judge(
    kind: str, seed: int, params: Params, panel: Panel, store: FeatureStore, models: dict[str, OutOfFold]
) -> list[dict[str, Any]]:
    """The stack of each label and its gates, as the stage stack has them."""
    models, _ = with_signal(models, Scoring.of(plain(params.evaluate)))
    results = [combine(label, store, panel, models, params.stack, params.evaluate) for label in LABELS]
    stacked = {one.label: (one.dates, one.prediction) for one in results}
    books = judge_books(stacked, store, panel, params.evaluate, stored("split", "expected.parquet"))
    net = {label: books.scores(label) for label in LABELS}
    gates = hold_against_gates(results, models, store, params.stack, params.evaluate, measured=net)
    rows = []
    for one in results:
        mine, metrics = [gate for gate in gates if gate.label == one.label], stack_metrics(one) | net[one.label]
        rows.append(
            {
                "kind": kind,
                "seed": seed,
                "label": one.label,
                "promoted": promoted(mine),
                "failed": [gate.name for gate in mine if not gate.passed],
                **{name: metrics.get(name) for name in ("rank_ic", "t_stat", "net_sharpe", "attained")},
            }
        )
    safe: list[dict[str, Any]] = to_json_safe(rows)
    return safe


def page(frame: pd.DataFrame) -> str:
    """The study as a page of Markdown."""
    num_folds = (BARS - 60 - 300 - 60 - 21) // 150
    lines = [
        HEAD.format(num_folds=num_folds),
        "| label | markets | promoted | 95 % interval | mean rank IC | t above 3 |",
    ]
    lines += ["|---|---|---|---|---|---|"]
    groups = [(kind, label, mine) for (kind, label), mine in frame.groupby(["kind", "label"], sort=False)]
    for kind, label, mine in groups:
        count, num = int(mine["promoted"].sum()), len(mine)
        low, high = scipy.stats.binomtest(count, num).proportion_ci(LEVEL)
        known = mine["rank_ic"].astype(float)
        lines.append(
            f"| {label} | {num} with {SAID[str(kind)]} | {count} | "
            f"[{low:.1%}, {high:.1%}] | {known.mean():+.4f}, from {known.min():+.4f} to {known.max():+.4f} | "
            f"{int((mine['t_stat'].astype(float) > 3.0).sum())} |"
        )
    names = list(dict.fromkeys(name for failed in frame["failed"] for name in failed))
    heads = [f"{label}, {SAID[str(kind)]}" for kind, label, _ in groups]
    lines += ["", "## Which gates were not passed", "", NOTE, "", f"| gate | {' | '.join(heads)} |"]
    lines.append("|---" * (len(heads) + 1) + "|")
    for name in names:
        cells = [f"{np.mean([name in one for one in mine['failed']]):.0%}" for _, _, mine in groups]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


HEAD = f"""# Do the gates tell luck from skill?

Simulated markets of {SYMBOLS} symbols and {BARS} days without news, {{num_folds}} folds of 150 test days, each market
with a seed of its own: without any signal, with half of the default one (`sample.signal: {SIGNALS["weak"]:g}`) and,
where the table has it, with the default one. A ridge and a small LightGBM are fitted, stacked and held against the
default gates at horizons 1 and 20, each label by itself, the level of the interval corrected for the looks of the run,
by the functions that the stages call. Made by `make study-gates`; `--markets` says how many, and those that were run
are kept.

A market without a signal that is promoted is a false promotion; one with a signal that is not is a missed one. The
interval of the share is Clopper and Pearson's.
"""
NOTE = """Share of markets in which a gate was not passed; several may be at once. The best floor is the one that turned
out best, and of a market whose signals are reversal and momentum a floor is nearly the signal."""


if __name__ == "__main__":
    main()
