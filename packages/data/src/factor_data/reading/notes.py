"""What reading took upon itself: entries left out, each with its reason, and guesses, each with an example."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

NUM_NAMED = 3


@dataclass(frozen=True)
class LeftOut:
    """An entry of a folder, or a column, that is not read."""

    path: str
    reason: str


@dataclass
class Notes:
    """Collected while sources are looked for; `import` prints them, `read_bars` warns of what is left out."""

    left_out: list[LeftOut] = field(default_factory=list)
    columns: dict[str, list[LeftOut]] = field(default_factory=dict)
    """Column -> the files in which it is not read."""
    guesses: dict[str, list[str]] = field(default_factory=dict)
    """What was guessed -> where, the first one with its outcome."""
    names: dict[str, None] = field(default_factory=dict)
    """Columns of the tables of bars besides stamp and symbol, as they are written."""
    lacking: set[str] = field(default_factory=set)
    """Columns of bars that a table lacks."""

    def leave_out(self, path: str, reason: str) -> None:
        """Name an entry that is not read."""
        self.left_out.append(LeftOut(path, reason))

    def leave_out_column(self, name: str, file: str, reason: str) -> None:
        """Name a column that is not read."""
        self.columns.setdefault(name, []).append(LeftOut(file, reason))

    def all_left_out(self) -> tuple[LeftOut, ...]:
        """Entries one by one, then each column once with the first of its files."""
        columns = [
            LeftOut(
                f"column {name!r}",
                f"{found[0].reason}, in {found[0].path}" + (f" and {len(found) - 1:,} more" if len(found) > 1 else ""),
            )
            for name, found in self.columns.items()
        ]
        return (*self.left_out, *columns)

    def guess(self, what: str, example: str) -> None:
        """Name a guess and what it gave in one place."""
        self.guesses.setdefault(what, []).append(example)

    def guesses_said(self) -> tuple[str, ...]:
        """One line per guess: what, one example, in how many places more."""
        return tuple(
            f"{what}: {examples[0]}" + (f" (and {len(examples) - 1:,} more)" if len(examples) > 1 else "")
            for what, examples in self.guesses.items()
        )

    def warn(self) -> None:
        """Warn of what is left out, for readers that return data and no summary."""
        left_out = self.all_left_out()
        if left_out:
            named = "; ".join(f"{one.path} ({one.reason})" for one in left_out[:NUM_NAMED])
            more = f"; and {len(left_out) - NUM_NAMED:,} more" if len(left_out) > NUM_NAMED else ""
            warnings.warn(f"not read: {named}{more}", stacklevel=4)
