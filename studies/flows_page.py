"""What a finished flow leaves in its clone, and the page of all of them: docs/results/flows.md."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, Protocol

import yaml

from factor_data import read_parquet
from stages import ROOT
from stages.commands.show import cell
from stages.drawing.shared import interval_of, number
from stages.json_files import read_json
from stages.judging.pages import EQUAL_WEIGHT
from stages.params.reading import read_document

IMAGES = ROOT / "docs" / "images"
COMPARED = ("name", "kind", "label", "rank_ic", "ci_low", "ci_high")
AUC = ("auc", "auc_low", "auc_high", "opposite_auc")
MEAN = "mean of the models"
Costs = Mapping[str, tuple[float, float]]
"""Step -> wall and CPU seconds."""


class Size(Protocol):
    """What the page says of a flow that has not been run."""

    @property
    def symbols(self) -> int: ...
    @property
    def days(self) -> int: ...
    @property
    def cpu_minutes(self) -> float: ...


def result_of(clone: Path, flow: Mapping[str, Any], costs: Costs) -> dict[str, Any]:
    """The numbers of a run that the page has, beside the size that it had."""
    results, params = clone / "results", read_document(clone / "params.yaml")
    stack = read_json(results / "stack" / "metrics.json")
    alone = {path.parent.name: read_json(path) for path in sorted(results.glob("evaluate/*/metrics.json"))}
    gates = read_json(results / "stack" / "gates.json")
    effect = clone / ".live" / "news_effect.json"
    first = params["models"][0]
    forecasts = read_parquet(results / "train" / first / "predictions.parquet", columns=["segment", "label"])
    head = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=clone, capture_output=True, text=True, check=True
    )
    return {
        "flow": dict(flow),
        "commit": head.stdout.strip(),
        "universe": read_json(results / "split" / "dataset.json")["universe"],
        "num_folds": len(read_json(results / "split" / "folds.json")["folds"]),
        "seed": params["train"]["seed"],
        "rows": forecasts[forecasts["segment"] == "test"].groupby("label", observed=True).size().to_dict(),
        "comparison": [
            {key: row[key] for key in COMPARED} for row in read_json(results / "stack" / "comparison.json")
        ],
        "auc": of_auc({"stack": stack, **alone}) if all("auc_low" in scores for scores in stack.values()) else None,
        "promoted": bool(gates["promoted"]),
        "failed": [gate["name"] for gate in gates["gates"] if not gate["passed"]],
        "effect": read_json(effect) if effect.is_file() else None,
        "costs": dict(costs),
        "training": {
            path.stem: read_json(path)["cpu_seconds"] for path in sorted((clone / ".live" / "costs").glob("*.json"))
        },
    }  # fmt: skip


def of_auc(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Forecast -> label -> the AUC with its interval, and the floor's."""
    return {
        name: {label: {key: scores[key] for key in AUC} for label, scores in by_label.items()}
        for name, by_label in metrics.items()
    }


def page(flows: Mapping[str, Size], found: Mapping[str, Mapping[str, Any]]) -> str:
    """The study as a page of Markdown; a flow that has not come to its end says so."""
    lines = [HEAD]
    for name, flow in flows.items():
        lines += section(name, found[name]) if name in found else missing(name, flow)
    return "\n".join(line if line.startswith(("|", "!")) else wrapped(line) for line in lines) + "\n"


def wrapped(prose: str) -> str:
    """Return lines of a page; what has line breaks has been wrapped already."""
    return prose if "\n" in prose else fill(prose, 120, break_long_words=False, break_on_hyphens=False)


def missing(name: str, flow: Size) -> list[str]:
    """What a flow says that has not been run at this size."""
    return [
        *(f"## {name}", ""),
        f"{flow.symbols:,} symbols, {flow.days:,} days: not run to its end. `make study-flow NAME={name}` does it, in "
        f"{flow.cpu_minutes:.0f} minutes of CPU by an estimate that was not measured.",
        "",
    ]


def section(name: str, result: Mapping[str, Any]) -> list[str]:
    """One flow: what was run, the tables, what they say, what it took."""
    flow, labels = result["flow"], list(dict.fromkeys(row["label"] for row in result["comparison"]))
    folds = f"{result['num_folds']} fold{'s' if result['num_folds'] > 1 else ''}"
    rows = ", ".join(f"{count:,} of `{label}`" for label, count in result["rows"].items())
    lines = [
        *(f"## {name}", ""),
        f"`make study-flow NAME={name}` at commit `{result['commit']}`: {flow['symbols']:,} symbols, "
        f"{flow['days']:,} days, market of seed {flow['seed']}, training of seed {result['seed']}, {folds}. "
        f"Rows out of fold: {rows}. Universe: {result['universe']}. "
        f"Cut for two cores: {flow['cut']}.",
        "",
    ]
    if flow["settings"]:
        text = yaml.safe_dump(flow["settings"], sort_keys=False, default_flow_style=None, width=110)
        lines += ["Laid over the preset:", "", "```yaml", text.rstrip(), "```", ""]
    if result["auc"]:
        lines += ["AUC over all symbols and dates, 95 % interval by blocks of dates:", ""]
        lines += [*table(auc_rows(result["auc"], labels), labels), ""]
    lines += ["Rank IC out of fold, 95 % interval, all on the same dates:", ""]
    lines += [*table(rank_ic_rows(result["comparison"], labels), labels), "", verdict(result, labels), ""]
    if result["effect"]:
        lines += ["With news less without, date by date (`make news-effect`):", "", *effect_table(result["effect"]), ""]
    if (IMAGES / picture_of(name)).is_file():
        lines += [f"![{name}: rank IC of stack, models and floors](../images/{picture_of(name)})", ""]
    return [*lines, *cost_lines(result), ""]


def picture_of(name: str) -> str:
    return f"flow_{name}.png"


def table(rows: Mapping[str, Sequence[str]], labels: Sequence[str]) -> list[str]:
    """Markdown, a column per label."""
    lines = [f"| | {' | '.join(labels)} |", "|---" * (len(labels) + 1) + "|"]
    return lines + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]


def rank_ic_rows(comparison: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> dict[str, list[str]]:
    """Stack and models by name, and their mean; of the floors the best of each label, and which that is."""
    models = {row["name"] for row in comparison if row["kind"] == "model"}
    mean = [row for row in comparison if row["name"] == EQUAL_WEIGHT and len(models) > 1]
    known = [row for row in comparison if row["kind"] != "floor"] + mean
    shown = {row["name"]: MEAN if row["name"] == EQUAL_WEIGHT else row["name"] for row in known}
    names = dict.fromkeys(shown.values())
    cells = {(shown[row["name"]], row["label"]): cell(dict(row)) for row in known}
    rows = {name: [cells.get((name, label), "-") for label in labels] for name in names}
    best = {label: best_floor(comparison, label) for label in labels}
    rows["best floor"] = [f"{cell(dict(row))} `{row['name']}`" if row else "-" for row in best.values()]
    return rows


def best_floor(comparison: Sequence[Mapping[str, Any]], label: str) -> Mapping[str, Any] | None:
    """The floor with the highest rank IC of a label that is not made of the models; None where none has one."""
    floors = [row for row in comparison if row["kind"] == "floor" and row["name"] != EQUAL_WEIGHT]
    rows = [row for row in floors if row["label"] == label and row["rank_ic"] is not None]
    return max(rows, key=lambda row: float(row["rank_ic"]), default=None)


def auc_rows(auc: Mapping[str, Mapping[str, Any]], labels: Sequence[str]) -> dict[str, list[str]]:
    rows = {name: [interval_of(scores[label], "auc") for label in labels] for name, scores in auc.items()}
    rows["floor: opposite of the last move"] = [number(auc["stack"][label]["opposite_auc"]) for label in labels]
    return rows


def verdict(result: Mapping[str, Any], labels: Sequence[str]) -> str:
    """What the rank ICs of the stack say, and the gates."""
    stack = {row["label"]: row for row in result["comparison"] if row["name"] == "stack"}
    above = [label for label in labels if (stack[label]["ci_low"] or 0.0) > 0.0]
    floors = {label: best_floor(result["comparison"], label) for label in labels}
    below = [label for label, row in floors.items() if row and row["rank_ic"] >= (stack[label]["rank_ic"] or 0.0)]
    said = [f"The interval of the stack lies above 0 at {in_words(above)} of {in_words(labels)}."]
    said += [f"It is no better than the best floor at {in_words(below)}."] if below else []
    failed = list(dict.fromkeys(result["failed"]))
    said.append("Promoted." if result["promoted"] else f"Not promoted: {', '.join(f'`{gate}`' for gate in failed)}.")
    return " ".join(said)


def in_words(labels: Sequence[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels) or "none"


def effect_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The difference in rank IC of each model, and how many intervals lie on a side of 0."""
    lines = ["| model | with - without, 95 % interval | t | dates |", "|---" * 4 + "|"]
    for row in rows:
        interval = f"{row['mean']:+.3f} [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]"
        lines.append(f"| {row['model']} | {interval} | {row['t_stat']:+.1f} | {row['num_dates']} |")
    better, worse = sum(row["ci_low"] > 0.0 for row in rows), sum(row["ci_high"] < 0.0 for row in rows)
    return [*lines, "", f"News help in {better} and harm in {worse} of {len(rows)} by their intervals, one by one."]


def cost_lines(result: Mapping[str, Any]) -> list[str]:
    """Wall and CPU minutes of each step, and CPU minutes of each training."""
    total = [sum(cost[place] for cost in result["costs"].values()) / 60.0 for place in (0, 1)]
    steps = ", ".join(f"{step} {cpu / 60.0:.1f}" for step, (_, cpu) in result["costs"].items())
    lines = [f"Minutes of CPU: {total[1]:.1f} ({steps}); {total[0]:.0f} by the clock, on cores that others used too."]
    if result["training"]:
        trained = ", ".join(f"{name} {seconds / 60.0:.1f}" for name, seconds in result["training"].items())
        lines.append(f"Of these in trainings: {trained}.")
    if "not_counted" in result:  # written by hand, where a run was ended in a way that leaves no count
        lines.append(f"Not counted: {result['not_counted']}.")
    if "since" in result:  # written by hand, where the preset has changed after the run
        lines += ["", f"Since then: {result['since']}."]
    return lines


HEAD = """# The four flows at a real size

Each from nothing to the report, as its page in [flows](../flows/factors_daily.md) tells a user to go: a clone of the
commit, the preset, the [simulated market](../simulated_market.md) written in the layout of that flow, `make use-data`,
`dvc repro`. Made by `make study-flow NAME=...`, which says first what it will take, shows which stage of how many runs,
and goes on where it stopped. One market and one seed each: these are runs of the whole pipeline at the size it is for,
not comparisons of models. Nothing was tuned on them. What the simulated market holds is planted and says nothing of any
real one.
"""
