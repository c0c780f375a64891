"""Not a stage but the end of `make repro`: a table of the results, the verdict, and where the report is.

`python -m stages.commands.show --markdown` prints the full table for a document.
"""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from factor_metrics import format_interval
from stages.commands.rounding import compare_with_commit
from stages.drawing.shared import interval_of, number
from stages.json_files import read_json
from stages.running.files import RESULTS
from stages.running.stage import UNTOUCHED, run

STACK = RESULTS / "stack"
COLUMNS = (
    "rank_ic",
    "ci_low",
    "ci_high",
    "t_stat",
    "p_value",
    "effective_dates",
    "naive_t_stat",
    "icir",
    "ic",
    "hit_rate",
    "spread",
    "turnover",
    "num_dates",
)


def main() -> None:
    """Print the comparison of all models for all labels, with the verdict of the gates."""
    rows = read_json(STACK / "comparison.json")
    if sys.argv[1:] == ["--markdown"]:
        print(markdown(rows))
        return
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(table(rows))
    if (of_auc := auc_table()) is not None:
        console.print(of_auc)
    verdict = read_json(STACK / "gates.json")
    failed = [gate["name"] for gate in verdict["gates"] if not gate["passed"]]
    if verdict["promoted"]:
        console.print(f"Promoted: all {len(verdict['gates'])} gates passed.", style="bold green")
    else:
        console.print(f"NOT promoted: {', '.join(failed)} failed; make gates says by how much.", style="bold red")
    for name, reason in verdict["left_out"].items():
        console.print(f"{name} is left out of the ensemble: {reason}")
    print(f"Report: {RESULTS / 'report' / 'stack' / 'report.html'} (opens offline)")
    compared = compare_with_commit()
    if compared is not None and (told := compared.sentence()) is not None:
        print(told)


def table(rows: list[dict[str, Any]]) -> Table:
    """Rank IC and interval: a row per model, stack and floor, a column per label, all on the same dates."""
    labels = list(dict.fromkeys(row["label"] for row in rows))
    result = Table(title="Rank IC out of fold with its interval, all on the same dates")
    result.add_column("", no_wrap=True)
    for label in labels:
        result.add_column(label, justify="right", no_wrap=True)
    for name, kind in {row["name"]: row["kind"] for row in rows}.items():
        by_label = {row["label"]: row for row in rows if row["name"] == name}
        style = {"stack": "bold", "floor": "dim"}.get(kind)
        result.add_row(f"floor: {name}" if kind == "floor" else name, *map(cell, by_label.values()), style=style)
    metrics = read_json(STACK / "metrics.json").values()
    if all("attained" in values for values in metrics):
        result.add_row("stack: attained / attainable", *[f"{values['attained']:.0%}" for values in metrics])
    return result


def auc_table() -> Table | None:
    """AUC over all cells and interval: the stack, its models, the opposite of the last move; None by cross-section."""
    stack = read_json(STACK / "metrics.json")
    if not all("auc_low" in scores for scores in stack.values()):
        return None
    models = {path.parent.name: read_json(path) for path in sorted(RESULTS.glob("evaluate/*/metrics.json"))}
    result = Table("", *stack, title="AUC over all symbols and dates out of fold with its interval")
    for name, by_label in {"stack": stack, **models}.items():
        cells = [interval_of(by_label[label], "auc") for label in stack]
        result.add_row(name, *cells, style="bold" if name == "stack" else None)
    opposite = [number(scores["opposite_auc"]) for scores in stack.values()]
    result.add_row("floor: opposite of the last move", *opposite, style="dim")
    return result


def cell(row: dict[str, Any]) -> str:
    """Return a rank IC with its interval as text; `-` for what is undefined."""
    if row["rank_ic"] is None:
        return "-"
    return f"{row['rank_ic']:+.3f} {format_interval(row['ci_low'], row['ci_high'], 3)}"


def markdown(rows: list[dict[str, Any]]) -> str:
    """The same with every column, as one Markdown table per label."""
    lines = []
    for label in dict.fromkeys(row["label"] for row in rows):
        lines += [f"### {label}", "", "| | kind | " + " | ".join(COLUMNS) + " | |"]
        lines.append("|---" * (len(COLUMNS) + 3) + "|")
        for row in (row for row in rows if row["label"] == label):
            cells = ["-" if row[name] is None else f"{row[name]:.4g}" for name in COLUMNS]
            mark = "below the best floor" if row["below_floor"] else ""
            lines.append(f"| {row['name']} | {row['kind']} | " + " | ".join(cells) + f" | {mark} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    run("show", main, hint=UNTOUCHED)
