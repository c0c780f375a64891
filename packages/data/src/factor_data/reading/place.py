"""Where in the sources a batch lies, so that what is refused is refused by file and row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Place:
    """A batch of rows of a file. Data rows are counted from 1; a CSV header and blank lines are not counted."""

    path: str
    first_row: int = 1

    def refuse(
        self,
        what: str,
        mask: NDArray[np.bool_] | None = None,
        values: Sequence | NDArray | None = None,
        rule: str = "",
    ) -> NoReturn:
        """Raise ValueError: the path, what is wrong and, with `mask`, in how many and which rows of the batch."""
        rows = "" if mask is None else f" {offenders(mask, values, self.first_row)}"
        raise ValueError(f"{self.path}: {what}{rows}{rule and '; '}{rule}")


def offenders(mask: NDArray[np.bool_], values: Sequence | NDArray | None = None, first_row: int = 1) -> str:
    """Say how many rows a mask marks and which come first: "4 rows, first 2, 7, 9"."""
    rows = np.flatnonzero(mask)
    named = [f"{row + first_row}" + ("" if values is None else f" ({values[row]!r})") for row in rows[:3]]
    return f"{len(rows)} row{'s' if len(rows) > 1 else ''}, first {', '.join(named)}"
