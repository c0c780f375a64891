"""Have the data the dates that look-backs ask for? Asked by plan, and by split of what cleaning leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data import Fold
from stages.running.stage import StageError


def check_history(folds: Sequence[Fold], dates: NDArray[np.datetime64], wanted: Sequence[tuple[str, int]]) -> None:
    """Refuse more bars than there are dates up to the last training one of a fold: it would have no sample.

    `wanted` has (key of params.yaml, bars of its symbol that a sample needs up to its date).
    """
    for fold in folds:
        known = int(np.searchsorted(dates, fold.train[-1])) + 1
        for key, bars in wanted:
            if bars > known:
                raise StageError(
                    f"params.yaml: {key}: {bars:,} must be at most {known:,}, the dates up to the last training date "
                    f"of fold {fold.index}, {fold.train[-1]!s:.10}"
                )


def written_lookbacks(document: Mapping[str, Any]) -> list[tuple[str, int]]:
    """(key, look-back) of the models of a params.yaml, where it is written out."""
    sections = {name: document["zoo"].get(name) or {} for name in document["models"]}
    return [
        (f"zoo.{name}.lookback", section["lookback"]) for name, section in sections.items() if "lookback" in section
    ]
