"""Checks of a finished run of the default parameters: python tests/check_default_run.py FOLDER (called by .ci/run).

With a signal the stack attains at least 0.6 of what is attainable for h1, out of sample, and is promoted. Without
one, the stack's intervals cover 0 and promotion is refused. A second repro runs nothing.

Numbers are compared with the committed ones within what CPUs may differ in (`stages.rounding`), where code, data and
parameters are those of the commit.

Intervals are those of the stack, models and floors for every label, each of 95 %. Those of the stack have to cover 0.
Of the models' and of the floors' as many may miss 0 as chance allows (97.5 %): five models and three labels are fifteen
looks, one of which misses in half of all markets.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from scipy.stats import binom

from stages.commands.rounding import compare_with_commit


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def check_with_signal(results: Path) -> None:
    attained = read(results / "stack" / "metrics.json")["h1"]["attained"]
    print(f"attained / attainable rank IC of h1: {attained:.3f}")
    assert attained >= 0.6
    failed = [gate["rule"] for gate in read(results / "stack" / "gates.json")["gates"] if not gate["passed"]]
    assert not failed, failed


def check_without_signal(results: Path) -> None:
    intervals = {f"{row['name']} {row['label']}": row for row in read(results / "stack" / "comparison.json")}
    # On all test dates, not only on those of the stack.
    for path in sorted(results.glob("evaluate/*/metrics.json")):
        intervals |= {f"{path.parent.name} {key}, all folds": row for key, row in read(path).items()}
    looks: dict[str, list[str]] = {"stack": [], "model": [], "floor": []}
    misses: dict[str, list[str]] = {kind: [] for kind in looks}
    for name, row in intervals.items():
        covered = row["ci_low"] <= 0 <= row["ci_high"]
        print(f"{name}: [{row['ci_low']:+.4f}, {row['ci_high']:+.4f}]{'' if covered else ' MISSES 0'}")
        kind = "stack" if name.startswith("stack ") else row.get("kind", "model")
        if "all folds" not in name:
            looks[kind].append(name)
        if not covered:
            misses[kind].append(name.removesuffix(", all folds"))
    assert not misses["stack"]
    for kind in ("model", "floor"):
        allowed = binom.ppf(0.975, len(looks[kind]), 0.05)
        assert len(set(misses[kind])) <= allowed, f"{kind}: more than {allowed:.0f} miss 0: {misses[kind]}"
    assert read(results / "stack" / "gates.json")["promoted"] is False


def check_committed_numbers(folder: Path) -> None:
    """On another CPU than the one that wrote the committed metrics correlations may differ, but not by much."""
    compared = compare_with_commit(folder)
    if compared is None:
        print("not compared with the committed numbers: these are of other parameters")
        return
    print(compared.sentence() or f"all {len(compared.committed)} committed metrics to the bit")
    assert not compared.beyond_rounding, compared.beyond_rounding


def check_nothing_runs_again(folder: Path) -> None:
    started = time.monotonic()
    again = subprocess.run(["dvc", "repro"], cwd=folder, capture_output=True, text=True, check=True)
    seconds = time.monotonic() - started
    print(f"second dvc repro: {seconds:.1f} s")
    assert "Running stage" not in again.stdout


def main() -> None:
    folder = Path(sys.argv[1])
    signal = yaml.safe_load((folder / "data" / "dataset.yaml").read_text())["simulation"]["signal"]
    (check_with_signal if signal else check_without_signal)(folder / "results")
    check_committed_numbers(folder)
    check_nothing_runs_again(folder)


if __name__ == "__main__":
    main()
