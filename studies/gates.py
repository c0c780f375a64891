"""Whether the gates tell luck from skill: the whole pipeline on markets without a signal, and with a weak one.

    python -m studies.gates [--markets 100] [--only none]

Each market is another seed. A ridge and a small LightGBM are trained fold by fold, stacked and held against the default
gates, at horizons 1 and 20, each by itself. Writes docs/results/gates.md with the markets that are there. What is in
.studies/gates is not run again.
"""

from __future__ import annotations

import argparse
import importlib
import os
import runpy
import shutil
import sys
import traceback
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from stages import ROOT
from stages.json_files import read_json, write_json
from studies.workspace import STUDIES, Workspace, base_params, changed

PAGE = ROOT / "docs" / "results" / "gates.md"
SIGNALS = {"none": 0.0, "weak": 0.5}
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
LIBRARIES = (
    "numba",
    "pyarrow.parquet",
    "scipy.optimize",
    "lightgbm",
    "torch",
    "safetensors.torch",
    "pydantic",
    "dvclive",
)
"""What every stage would load again in a process of its own, for longer than it then works."""
PROJECT = ("stages", "studies", "factor_data", "factor_metrics", "factor_models", "factor_experiments")


class Forked(Workspace):
    """A workspace whose stages are forks of this process, which has the libraries; each loads the project itself."""

    def _start(self, *command: str) -> None:
        for library in LIBRARIES:
            importlib.import_module(library)
        child = os.fork()
        if not child:
            self._become(*command)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            said = (self.folder / "stage.log").read_text(encoding="utf-8")
            raise RuntimeError(f"{' '.join(command)} failed in {self.folder} with status {status}:\n{said}")

    def _become(self, module: str, *arguments: str) -> None:
        """Run `python -m stages.<module>` and end, whatever happens."""
        status = 1
        try:
            os.chdir(self.folder)
            log = os.open("stage.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
            for name in [name for name in sys.modules if name.partition(".")[0] in PROJECT]:
                del sys.modules[name]
            sys.path.insert(0, str(ROOT))
            sys.argv = [module, *arguments]
            runpy.run_module(f"stages.{module}", run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markets", type=int, default=100, help="of each kind; those that are there are not run again")
    parser.add_argument("--only", choices=SIGNALS, help="run markets of this kind alone; the page has all")
    options = parser.parse_args()
    for seed in range(options.markets):
        for kind in [options.only] if options.only else SIGNALS:
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
    params = changed(base_params(), {**CHANGES, "sample.signal": SIGNALS[kind], "sample.seed": seed})
    params["models"] = list(MODELS)
    workspace = Forked("gates", f"{kind}_{seed}", params)
    workspace.use_sample()
    for stage in ("sample", "split", "tokenize_features"):
        workspace.run(stage)
    for model in MODELS:
        workspace.run("train", model)
        workspace.run("evaluate", model)
    workspace.run("stack")
    gates = read_json(workspace.results("stack/gates.json"))["gates"]
    metrics = read_json(workspace.results("stack/metrics.json"))
    shutil.rmtree(workspace.folder)
    return [
        {
            "kind": kind,
            "seed": seed,
            "label": label,
            "promoted": all(gate["passed"] for gate in gates if gate["label"] == label),
            "failed": [gate["name"] for gate in gates if gate["label"] == label and not gate["passed"]],
            **{name: metrics[label].get(name) for name in ("rank_ic", "t_stat", "net_sharpe", "attained")},
        }
        for label in LABELS
    ]


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
            f"| {label} | {num} with {'no' if kind == 'none' else 'a weak'} signal | {count} | "
            f"[{low:.1%}, {high:.1%}] | {known.mean():+.4f}, from {known.min():+.4f} to {known.max():+.4f} | "
            f"{int((mine['t_stat'].astype(float) > 3.0).sum())} |"
        )
    names = list(dict.fromkeys(name for failed in frame["failed"] for name in failed))
    heads = [f"{label}, {'no' if kind == 'none' else 'weak'} signal" for kind, label, _ in groups]
    lines += ["", "## Which gates were not passed", "", NOTE, "", f"| gate | {' | '.join(heads)} |"]
    lines.append("|---" * (len(heads) + 1) + "|")
    for name in names:
        cells = [f"{np.mean([name in one for one in mine['failed']]):.0%}" for _, _, mine in groups]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


HEAD = f"""# Do the gates tell luck from skill?

Simulated markets of {SYMBOLS} symbols and {BARS} days without news, {{num_folds}} folds of 150 test days, each market
with a seed of its own: without any signal, and with half of the default one (`sample.signal: {SIGNALS["weak"]:g}`). A
ridge and a small LightGBM go through every stage and are held against the default gates at horizons 1 and 20, each
label by itself, the level of the interval corrected for the looks of the run. Made by `make study-gates`; `--markets`
says how many, and those that were run are kept.

A market without a signal that is promoted is a false promotion; one with a signal that is not is a missed one. The
interval of the share is Clopper and Pearson's.
"""
NOTE = """Share of markets in which a gate was not passed; several may be at once. The best floor is the one that turned
out best, and of a market whose signals are reversal and momentum a floor is nearly the signal."""


if __name__ == "__main__":
    main()
