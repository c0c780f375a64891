"""Do the columns that training weights come from hold weights? Asked in split, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from factor_data import SavedPanel
from stages.running.stage import StageError


def check_weights(document: Mapping[str, Any], columns: Sequence[str]) -> None:
    """Refuse weights by a column that the bars do not have."""
    for place, column in weight_columns(document):
        if column not in columns:
            raise StageError(
                f"params.yaml: {place}.weights.column: the bars have no column {column!r}; they have "
                f"{', '.join(columns)}"
            )


def check_weight_values(document: Mapping[str, Any], panel: SavedPanel) -> None:
    """Refuse a column that is negative somewhere, or nowhere above 0: where it is unknown or 0 a row counts as 1."""
    for place, column in weight_columns(document):
        negative = positive = 0
        for spans in panel.symbol_parts():
            values = panel.columns[column].gather(spans)
            negative += int((values < 0).sum())
            positive += int((np.isfinite(values) & (values > 0)).sum())
        if negative or not positive:
            found = f"is negative on {negative:,}" if negative else "is above 0 on none"
            raise StageError(
                f"params.yaml: {place}.weights.column: {column!r} {found} of {panel.num_rows:,} bars; weights "
                "must be above 0 where they are known"
            )


def weight_columns(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Place and column of the weights of section train, and of models with weights of their own."""
    own = {f"zoo.{name}.train": one.get("train") for name, one in document["zoo"].items() if isinstance(one, Mapping)}
    for place, train in ({"train": document["train"]} | own).items():
        weights = train.get("weights") if isinstance(train, Mapping) else None
        if weights and weights.get("column") is not None:
            yield place, weights["column"]
