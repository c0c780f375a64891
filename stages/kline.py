"""What the K-line stages share: bars of the cleaned panel and the windows of a fold."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import Fold, Panel, Segment
from factor_models.kline import COLUMNS, KlineBars, kline_bars, normalise, stamp_features
from stages.run import RESULTS


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
