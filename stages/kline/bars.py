"""What the K-line stages share: bars of the cleaned panel, the windows of a fold, folders to start from."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import Fold, Panel, Segment
from factor_models.kline import COLUMNS, KlineBars, kline_bars, normalise, stamp_features
from factor_models.kline.pretrained import Pretrained
from stages.running.files import RESULTS
from stages.running.stage import StageError

LEAST_DIGITS = 12
P = TypeVar("P", bound=Pretrained)


class KlineData:
    """Adjusted bars of the cleaned panel; what is missing in a bar leaves the bar out (see `KlineBars`)."""

    def __init__(self, panel: Panel) -> None:
        self.dates = panel.dates
        columns = {name: panel.adjusted(name) for name in COLUMNS[:-1]}
        if "amount" in panel.columns:
            columns["amount"] = panel.columns["amount"]
        self.bars: KlineBars = kline_bars(columns, panel.symbol_code, panel.date_code)
        self.stamps = stamp_features(pd.DatetimeIndex(panel.dates))

    def windows(self, ends: NDArray[np.int64], lookback: int, ahead: int, clip: float) -> NDArray[np.float32]:
        """Normalised bars (W, lookback + ahead, 6)."""
        return normalise(self.bars.read(ends, lookback, ahead), lookback, clip)[0]


def read_kline_data() -> KlineData:
    """Return the bars of the clean panel for K-line models."""
    return KlineData(Panel.load(RESULTS / "split" / "panel"))


def fold_ends(
    data: KlineData, fold: Fold, segment: Segment, lookback: int, ahead: int, every: int = 1
) -> NDArray[np.int64]:
    """Windows to train on (all of it on training dates) or to compare on (what is predicted on valid dates).

    Of the segment's dates every n-th is the last of a lookback. ValueError where no window is left.
    """
    dates = np.isin(data.dates, fold.dates(segment))
    ends = data.bars.ends_within(dates, lookback, ahead, lookback + ahead if segment == "train" else ahead)
    rank = np.cumsum(dates)[data.bars.date_code[ends]]
    ends = ends[rank % every == 0]
    if not len(ends):
        raise ValueError(
            f"fold {fold.index}: no window of {lookback} + {ahead} complete bars fits the {len(fold.dates(segment))} "
            f"{segment} dates"
        )
    return ends


def read_pretrained(kind: type[P], key: str, value: str) -> tuple[P, Path]:
    """The model of `folder@hash` under a key of params.yaml, and the folder.

    The hash, of its content, stands there for DVC, which looks at params.yaml and not into the folder: other weights
    are another hash, and the stage runs again. StageError with the hash to write where none or another one stands.
    """
    name, _, digits = value.rpartition("@") if "@" in value else (value, "", "")
    if not Path(name).is_dir():
        raise StageError(f"params.yaml: {key}: {name} is no folder")
    model = kind.from_pretrained(name)
    if len(digits) < LEAST_DIGITS or not model.content_hash.startswith(digits):
        said = f"holds other weights than {digits}" if digits else "needs the hash of its weights"
        raise StageError(
            f"params.yaml: {key}: {name} {said}: write {name}@{model.content_hash[:LEAST_DIGITS]}, so that what was "
            "trained from other weights is trained again"
        )
    return model, Path(name)
