"""The numbers of a forecast that a person compares between experiments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of one forecast at one horizon; NaN = undefined or not measured.

    Files and tables go through the fields in their order: a new score is a field here and a line in
    `Evaluation.scores`.
    """

    ic: float = math.nan
    """Mean over dates of the Pearson correlation."""
    rank_ic: float
    """Mean over dates of the Spearman correlation."""
    ci_low: float = math.nan
    """Lower end of the block-bootstrap interval of the mean rank IC."""
    ci_high: float = math.nan
    """Upper end."""
    icir: float = math.nan
    """Mean over standard deviation of the rank IC: per date, not annualised."""
    t_stat: float = math.nan
    """t of the mean rank IC on the normal scale, see `mean_test`; NaN where the dates are too few."""
    p_value: float = math.nan
    """Its two-sided p-value."""
    effective_dates: float = math.nan
    """Independent dates that would give the mean rank IC the same error."""
    naive_t_stat: float = math.nan
    """What t would be if dates were independent."""
    hit_rate: float = math.nan
    """Share of dates with a rank IC above 0."""
    spread: float = math.nan
    """Mean over dates of the top less the bottom quantile's mean label."""
    turnover: float = math.nan
    """Mean share of the top and bottom quantile that was not there one horizon earlier."""
    num_dates: int = 0
    """Dates with a rank IC."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Scores:
        """Return the scores under their names in `document`; null is NaN, other keys are left alone.

        Raises
        ------
        KeyError
            `document` has no rank_ic.
        """
        names = {item.name for item in fields(cls)}.intersection(document) | {"rank_ic"}
        known: dict[str, Any] = {}
        for name in names:
            known[name] = math.nan if document[name] is None else document[name]
        return cls(**known)

    def to_dict(self) -> dict[str, float]:
        """Return the scores by name in the order of the fields (NaN kept; see `to_json_safe`)."""
        return asdict(self)
