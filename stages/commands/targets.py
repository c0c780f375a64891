"""make targets FILE=targets/direction_hourly.yaml: the numbers of the last run held against a file of thresholds.

The file has a threshold per number: `stack.h5.auc: {minimum: 0.57}`, `evaluate.lstm.h5.auc_gap: {maximum: 0.02}`.
`stack` is results/stack/metrics.json, `evaluate.<model>` that of a model, `summary` results/summary.json. A number that
is not there has failed. The exit status is 1 if any failed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from factor_metrics import Threshold, check_thresholds, exit_status, format_gates
from stages.json_files import read_json
from stages.params.checking import validate
from stages.params.plain_yaml import parse_yaml
from stages.running.files import RESULTS
from stages.running.stage import UNTOUCHED, StageError, run


def main() -> None:
    """Print a table of what passed and what failed, and end with its status."""
    if len(sys.argv) != 2 or not sys.argv[1]:
        raise StageError("say which thresholds: make targets FILE=targets/direction_hourly.yaml")
    path = Path(sys.argv[1])
    if not path.is_file():
        raise StageError(f"{path}: there is no such file of thresholds")
    thresholds = validate(dict[str, Threshold], thresholds_of(path), where=f"{path}: ")
    gates = check_thresholds(measured(), thresholds)
    print(format_gates(gates))
    sys.exit(exit_status(gates))


def thresholds_of(path: Path) -> dict[str, Any]:
    """Return the content of a file of thresholds; StageError where it is no YAML or no mapping."""
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StageError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(document, dict):
        found = "nothing" if document is None else type(document).__name__
        raise StageError(f"{path}: must have a threshold per number, as stack.h5.auc: {{minimum: 0.5}}; found {found}")
    return document


def measured() -> dict[str, Any]:
    """The numbers of the last run; StageError where there is none."""
    summary, stack = RESULTS / "summary.json", RESULTS / "stack" / "metrics.json"
    if not stack.is_file():
        raise StageError(f"{stack} does not exist: there is no finished run to hold against a threshold; make repro")
    return {
        "summary": read_json(summary),
        "stack": read_json(stack),
        "evaluate": {path.parent.name: read_json(path) for path in sorted(RESULTS.glob("evaluate/*/metrics.json"))},
    }


if __name__ == "__main__":
    run("targets", main, hint=UNTOUCHED)
