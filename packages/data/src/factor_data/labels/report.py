"""Counts of the rows that a label uses and leaves out, by reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data.labels.config import Label
from factor_data.labels.returns import decided_by_delisting
from factor_data.panel.panel import Panel


@dataclass(frozen=True, kw_only=True)
class LabelReport:
    """Rows of one label: `rows = used + unknown + dropped`, counted over the rows in the universe.

    `unknown`: no price at entry or at exit, such as on the last dates, or no group to be neutral to. `dropped`: known,
    and left out by `rule`: a score on the rows that are used is conditional on it. `outside` counts the rows out of
    the universe, which are in none of the others. `delisted` counts those of `rows` whose symbol stops between entry
    and exit: they are used where the label has a rule for that, else unknown.
    """

    name: str
    rule: str
    rows: int
    used: int
    unknown: int
    dropped: int
    outside: int
    delisted: int = 0

    @classmethod
    def sum(cls, parts: Sequence[LabelReport]) -> LabelReport:
        """Put together the reports of one label on parts of a panel."""
        counts = ("rows", "used", "unknown", "dropped", "outside", "delisted")
        return replace(parts[0], **{name: sum(getattr(part, name) for part in parts) for name in counts})

    def without(self, num_rows: int) -> LabelReport:
        """Return the report with so many rows less that are used: their label turned out to be unknown."""
        return replace(self, used=self.used - num_rows, unknown=self.unknown + num_rows)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        known = self.used + self.dropped
        share = f" ({self.dropped / known:.1%} of those known: {self.rule})" if self.dropped else ""
        return (
            f"{self.name}: {self.used:,} of {self.rows:,} rows are used, {self.unknown:,} unknown, "
            f"{self.dropped:,} dropped{share}, {self.delisted:,} decided by a delisting"
        )


def count_labels(name: str, label: Label, values: NDArray[np.float64], panel: Panel) -> LabelReport:
    """Count the rows of a label (num_rows,) on a clean panel."""
    delisted = decided_by_delisting(panel, label) & panel.in_universe
    report = label_report(name, values, in_universe=panel.in_universe, rule=label.describe())
    return replace(report, delisted=int(delisted.sum()))


def label_report(
    name: str,
    label: NDArray,
    *,
    in_universe: NDArray[np.bool_],
    source: NDArray | None = None,
    rule: str = "",
) -> LabelReport:
    """Count the rows of a label.

    Parameters
    ----------
    name : of the label
    label : (num_rows,) or (num_rows, num_columns) float; a row counts as used if all its columns are known
    in_universe : (num_rows,) bool
    source : what the label was made of by a rule that drops rows, such as the forward return of a direction; by default
        the label itself, and nothing is dropped
    rule : which rows are dropped, in words, such as "moves between -0.5 % and 0.55 %"
    """
    known = _known(label)
    source_known = known if source is None else _known(source)
    if (known & ~source_known).any():
        raise ValueError(f"{name}: the label is known on rows whose source is not")
    return LabelReport(
        name=name,
        rule=rule,
        rows=int(in_universe.sum()),
        used=int((known & in_universe).sum()),
        unknown=int((~source_known & in_universe).sum()),
        dropped=int((source_known & ~known & in_universe).sum()),
        outside=int((~in_universe).sum()),
    )


def _known(values: NDArray) -> NDArray[np.bool_]:
    return ~np.isnan(values.reshape(len(values), -1)).any(axis=1)
