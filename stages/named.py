"""What params.yaml names among inputs and values of columns, held against what there is before any model learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from factor_data import ColumnFeatures, SavedPanel
from factor_data.features.columns import matching_columns
from factor_data.news.tone import NEWS_FEATURES
from factor_models.checks import nearest
from stages.params.tokenize import TokenizeParams
from stages.running.planned import untracked
from stages.running.stage import StageError


def check_named(panel: SavedPanel, features: Sequence[str], config: TokenizeParams, has_news: bool) -> None:
    """Refuse groups of evaluate.importance that hold no input, and values that a column has on no bar."""
    check_values(panel, config)
    check_groups(untracked()["evaluate"], (*features, *(news_inputs(config) if has_news else ())))


def check_groups(evaluate: Mapping[str, Any], inputs: Sequence[str]) -> None:
    """Refuse a pattern of evaluate.importance.groups that fits no input: its group would have no importance."""
    groups: Mapping[str, Sequence[str]] = (evaluate.get("importance") or {}).get("groups") or {}
    for group, patterns in groups.items():
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in inputs):
                raise StageError(
                    f"params.yaml: evaluate.importance.groups.{group}: {pattern!r} fits no input; "
                    f"{nearest(pattern.strip('*?'), inputs)}"
                )


def check_values(panel: SavedPanel, config: TokenizeParams) -> None:
    """Refuse a value of a category that no bar has: its feature would be 0 on every bar."""
    for number, one in enumerate(config.own.columns):
        if not isinstance(one, ColumnFeatures) or not one.values:
            continue
        for column in dict.fromkeys(found for name in one.names for found in matching_columns(name, panel.columns)):
            known = values_of(panel, column)
            if missing := [value for value in one.values if value not in known]:
                raise StageError(
                    f"params.yaml: tokenize.columns.{number}.values: {missing[0]:g}: no bar has it in column "
                    f"{column!r}, which has {', '.join(f'{value:g}' for value in sorted(known)[:10])}"
                )


def values_of(panel: SavedPanel, column: str) -> set[float]:
    """The known values of a column, read some rows at a time."""
    parts: Iterator[Any] = (panel.columns[column].gather(spans) for spans in panel.symbol_parts())
    return {value for part in parts for value in np.unique(part[np.isfinite(part)]).tolist()}


def news_inputs(config: TokenizeParams) -> tuple[str, ...]:
    """The inputs that news become, besides features."""
    if config.news_vectors is None:
        return NEWS_FEATURES
    vectors = (f"news_vector_{number:03d}" for number in range(config.news_vectors.dimensions))
    return (*NEWS_FEATURES, *vectors, "news_documents")
