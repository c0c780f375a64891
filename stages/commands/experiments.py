"""make experiments: what differs between experiments, and what came of it, in tables that fit the terminal.

Rows and columns are those of `dvc exp show`, whose own table cuts off what is wider than the terminal. Here a column is
as wide as the longest part of its name or its longest value; those that do not fit beside the others go into a further
table below, with the experiments named again. Lists, such as `models`, stand below the tables.
"""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from stages.running.stage import run

Row = Mapping[str, str]
FILES = r"(results|packages|stages|data|features)(/.*)?$|.*\.(lock|yaml)$"
"""Columns of `dvc exp show` that are digests of files."""
KNOWN = ("Experiment", "rev", "typ", "Created", "parent", "State", "Executor")
"""Its columns that are neither numbers nor settings."""
WIDEST = 24
"""A value with more characters stands below the tables."""


def main() -> None:
    """Print what `dvc exp show` has; arguments are passed on to it."""
    changed = ["--only-changed", "--csv", "--precision", "3", "--drop", FILES]
    done = subprocess.run(
        ["dvc", "exp", "show", *changed, *sys.argv[1:]], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.returncode)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    print("\n".join(lines_of(rows, shutil.get_terminal_size((120, 24)).columns)))


def lines_of(rows: Sequence[Row], width: int) -> Iterator[str]:
    """Yield the tables of these experiments and below them what is too long for one, in lines of at most `width`."""
    names = [name_of(row) for row in rows]
    columns = [name for name in rows[0] if name not in KNOWN] if rows else []
    long = [column for column in columns if max(len(row[column]) for row in rows) > WIDEST]
    first = Column(["experiment"], names)
    others = [Column(parts_of(name), [row[name] for row in rows]) for name in columns if name not in long]
    for block in blocks(first, others, width):
        yield from table(block)
        yield ""
    for column in long:
        yield column
        for name, row in zip(names, rows, strict=True):
            yield from textwrap.wrap(
                f"{name.strip()}: {row[column]}", width, initial_indent="  ", subsequent_indent="    "
            )
        yield ""


def name_of(row: Row) -> str:
    """The name of an experiment, else the revision; a state other than success behind it."""
    state = row.get("State") or "Success"
    name = row.get("Experiment") or row["rev"]
    name = f"  {name}" if row.get("typ", "").startswith("branch") else name
    return name if state == "Success" else f"{name} ({state.lower()})"


def parts_of(name: str) -> list[str]:
    """`zoo.lstm.hidden` as the lines of a header: zoo., lstm., hidden."""
    *above, last = name.split(".")
    return [*(f"{part}." for part in above), last]


class Column:
    """Lines of a header, and a value per experiment."""

    def __init__(self, header: Sequence[str], values: Sequence[str]) -> None:
        self.header, self.values = header, values
        self.width = max(map(len, [*header, *values]))

    def line(self, number: int, height: int) -> str:
        """A line of the header, which ends where the values begin."""
        return self.header[number - height] if number >= height - len(self.header) else ""


def blocks(first: Column, others: Sequence[Column], width: int) -> Iterator[list[Column]]:
    """Yield the columns of one table after another, each beginning with `first`; one column fits any table."""
    block = [first]
    for column in others:
        if len(block) > 1 and sum(one.width + 2 for one in [*block, column]) - 2 > width:
            yield block
            block = [first]
        block.append(column)
    yield block


def table(columns: Sequence[Column]) -> Iterator[str]:
    """Yield the lines of a table: names to the left, values to the right of their columns."""
    height = max(len(column.header) for column in columns)
    first, *others = columns
    for number in range(height):
        cells = [
            first.line(number, height).ljust(first.width),
            *(c.line(number, height).rjust(c.width) for c in others),
        ]
        yield "  ".join(cells).rstrip()
    yield "  ".join("-" * column.width for column in columns)
    for number, name in enumerate(first.values):
        yield "  ".join([name.ljust(first.width), *(c.values[number].rjust(c.width) for c in others)]).rstrip()


if __name__ == "__main__":
    run("experiments", main)
