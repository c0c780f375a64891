"""make live-ic MODEL=lstm: have a training network report its IC in and out of sample now, and print the report.

The training makes it after the step under way, with the weights it has then; nothing of its result changes.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from stages.json_files import read_json
from stages.processes.live_ic import ASKED, DEMAND, LIVE, LOCK
from stages.running.lock import is_held
from stages.running.stage import UNTOUCHED, StageError, run

WAIT_SECONDS = 120.0
SHORT_SECONDS = 10.0
"""Where no training of all folds holds its lock: one fold alone, started by hand, holds none."""
POLL_SECONDS = 0.2


def main() -> None:
    """Ask, wait for the report, print it."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    folder = LIVE / name
    if not name or not folder.is_dir():
        known = sorted(path.name for path in LIVE.glob("*") if any(path.glob("fold_*")))
        raise StageError(f"say which network: make live-ic MODEL=<one that trains: {', '.join(known) or 'none has'}>")
    before = demanded(folder)
    (folder / ASKED).touch()
    started = time.monotonic()
    while (found := demanded(folder)) == before:
        wait = WAIT_SECONDS if (folder / LOCK).is_file() and is_held(folder / LOCK) else SHORT_SECONDS
        if time.monotonic() > started + wait:
            (folder / ASKED).unlink(missing_ok=True)
            why = "a step is long" if wait == WAIT_SECONDS else "it does not train now"
            raise StageError(f"no report of {name} within {wait:g} s: {why}")
        time.sleep(POLL_SECONDS)
    assert found is not None
    Console(width=None if sys.stdout.isatty() else 110).print(table(name, *found))


def demanded(folder: Path) -> tuple[str, dict[str, Any]] | None:
    """The fold and the newest report that was asked for; None without one."""
    reports = [
        (report["time"], path.parent.name, report)
        for path in folder.glob("fold_*/history.json")
        for report in read_json(path)
        if report["reason"] == DEMAND
    ]
    if not reports:
        return None
    _, fold, report = max(reports, key=lambda one: one[:2])
    return fold, report


def table(name: str, fold: str, report: dict[str, Any]) -> Table:
    """A row per label: rank IC in and out of sample, on how many dates, and the risk of overfitting."""
    result = Table(title=f"{name} {fold}, step {report['step']}: rank IC")
    for heading in ("", "in sample", "dates", "out of sample", "dates", "risk"):
        result.add_column(heading, justify="left" if not heading else "right")
    for label, scores in report["targets"].items():
        samples = [scores[sample] for sample in ("in_sample", "out_of_sample")]
        cells = [text for one in samples for text in (signed(one["rank_ic"]), str(one["num_dates"]))]
        result.add_row(label, *cells, str(scores["overfitting_risk"] or "-"))
    return result


def signed(value: float | None) -> str:
    """Return four decimals with a sign; - for what is undefined."""
    return "-" if value is None else f"{value:+.4f}"


if __name__ == "__main__":
    run("live-ic", main, hint=UNTOUCHED)
