"""Until when weights that a K-line model begins with have learned: a fold that tests such a date may not have them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from factor_data import Fold
from stages.json_files import read_json
from stages.running.stage import StageError

log = logging.getLogger("factorcast.train")

METADATA = "metadata.json"
TRAINED_UNTIL = "trained_until"
"""Key of a folder's metadata.json: the last date that its weights, or those they came from, were fitted or chosen on;
null where that is not known. For weights from elsewhere, write the file yourself."""


def trained_until(fold: Fold, pretrained: str | None, key: str) -> str | None:
    """Return the date for the weights of a fold that begins with `pretrained`, a folder@hash under `key`.

    StageError where what it begins with has learned from a test date of the fold; where that is not known, it is said.
    """
    own = max(dates[-1] for dates in (fold.train, fold.valid) if len(dates))
    if pretrained is None:
        return iso(own)
    folder = Path(pretrained.rpartition("@")[0])
    metadata = folder / METADATA
    known = read_json(metadata).get(TRAINED_UNTIL) if metadata.is_file() else None
    first = iso(fold.test[0])
    if known is None:
        log.warning(
            "%s: %s does not say until when it was trained: unless that is before %s, the scores of fold %d are of "
            "dates that it has learned. Write {%r: date} to %s if you know it",
            key, folder, first, fold.index, TRAINED_UNTIL, metadata,
        )  # fmt: skip
        return None
    try:
        until = np.datetime64(known, "ns")
    except ValueError:
        raise StageError(f"{metadata}: {TRAINED_UNTIL}: {known!r} must be an ISO date") from None
    if until >= fold.test[0]:
        raise StageError(
            f"{key}: {folder} was trained until {known} ({METADATA}), and fold {fold.index} tests from {first} on: its "
            "forecasts would be of dates that it has learned. Use weights that were trained before, or later folds"
        )
    return iso(max(own, until))


def iso(date: np.datetime64) -> str:
    """Return the date as text."""
    return str(np.datetime_as_string(date, unit="auto"))
