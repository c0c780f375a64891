"""Not a stage but the end of `make repro`: a table of the results, the verdict, and where the report is."""

from rich.console import Console
from rich.table import Table

from stages.params import read_params
from stages.run import RESULTS, read_json, run


def main() -> None:
    params = read_params()
    console = Console()
    results = {name: read_json(RESULTS / "evaluate" / name / "metrics.json") for name in params.models}
    results["stack"] = read_json(RESULTS / "stack" / "metrics.json")
    table = Table(title="Rank IC out of fold, with its interval")
    table.add_column("")
    for horizon in params.tokenize.horizons:
        table.add_column(f"horizon {horizon}", justify="right")
    for name, metrics in results.items():
        cells = [cell(metrics[f"h{horizon}"]) for horizon in params.tokenize.horizons]
        table.add_row(name, *cells, style="bold" if name == "stack" else None)
    floors = [
        f"{results['stack'][f'h{horizon}']['best_floor_rank_ic']:+.3f}"
        for horizon in params.tokenize.horizons
    ]
    table.add_row("best floor (no model)", *floors, style="dim")
    if "attained" in results["stack"][f"h{params.tokenize.horizons[0]}"]:
        shares = [
            f"{results['stack'][f'h{horizon}']['attained']:.0%}" for horizon in params.tokenize.horizons
        ]
        table.add_row("attained / attainable", *shares, style="dim")
    console.print(table)
    verdict = read_json(RESULTS / "stack" / "gates.json")
    failed = [gate["name"] for gate in verdict["gates"] if not gate["passed"]]
    if verdict["promoted"]:
        console.print(f"Promoted: all {len(verdict['gates'])} gates passed.", style="bold green")
    else:
        console.print(f"NOT promoted: {', '.join(failed)} failed.", style="bold red")
    print(f"Report: {RESULTS / 'stack' / 'report.html'} (opens offline)")


def cell(metrics: dict[str, float]) -> str:
    return f"{metrics['rank_ic']:+.3f} [{metrics['ci_low']:+.3f}, {metrics['ci_high']:+.3f}]"


if __name__ == "__main__":
    run("show", main)
