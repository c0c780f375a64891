"""make check: what is to be looked at before, during and after a training, looked at, as a table with exit status.

Without an argument all three lists are gone through, and what has not happened yet is `not yet`. `make check
WHEN=before` (or during, after) goes through one, and what should have happened by then and has not is `FAILED`. The
exit status is 1 if anything failed. Nothing is written but a probe whether folders can be written to.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from stages.commands.checks import after, before, during
from stages.commands.checks.asked import Asked, NotYet
from stages.params.reading import read_params
from stages.running.stage import UNTOUCHED, StageError, describe, run

LISTS: dict[str, dict[str, Callable[[Asked], str]]] = {
    "before": before.CHECKS,
    "during": during.CHECKS,
    "after": after.CHECKS,
}
STYLES = {"ok": "green", "FAILED": "bold red", "not yet": "dim", "-": "dim"}
"""States: `-` is what this run does not have."""


class Row(NamedTuple):
    """What came of one check."""

    when: str
    what: str
    state: str
    said: str


def main() -> None:
    """Go through the lists, print the table, and end with status 1 if anything failed."""
    asked = sys.argv[1:]
    if len(asked) > 1 or not set(asked) <= set(LISTS):
        raise StageError(f"say when: make check WHEN=<one of {', '.join(LISTS)}>, or nothing for all")
    rows = go_through(asked[0] if asked else None)
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table(rows))
    failed = [row.what for row in rows if row.state == "FAILED"]
    console.print(f"{len(failed)} of {len(rows)} checks failed: {', '.join(failed)}" if failed else "Nothing failed.")
    sys.exit(1 if failed else 0)


def go_through(only: str | None) -> list[Row]:
    """The rows of one list, or of all; a wrong params.yaml is the one row of all checks that need it."""
    try:
        asked = Asked(read_params())
    except ValueError as error:
        return [Row("before", "settings", "FAILED", str(error))]
    rows = []
    for when, checks in LISTS.items():
        if only in (None, when):
            rows += [one_row(when, what, check, asked, required=only == when) for what, check in checks.items()]
    return rows


def one_row(when: str, what: str, check: Callable[[Asked], str], asked: Asked, required: bool) -> Row:
    """Return what a check says; what stops it is a failure, and so is what should have been there."""
    try:
        return Row(when, what, "ok", check(asked))
    except NotYet as reason:
        return Row(when, what, "-" if reason.never else "FAILED" if required else "not yet", str(reason))
    except (ValueError, OSError, ImportError) as error:
        return Row(when, what, "FAILED", describe(error) or str(error))


def table(rows: list[Row]) -> Table:
    """Return the rows for a terminal."""
    result = Table(title="Before, during and after a training")
    for name in ("when", "check", "", "what was found"):
        result.add_column(name, overflow="fold")
    for row in rows:
        result.add_row(row.when, row.what, f"[{STYLES[row.state]}]{row.state}[/]", row.said.replace("[", "\\["))
    return result


if __name__ == "__main__":
    run("check", main, hint=UNTOUCHED)
