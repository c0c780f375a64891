"""How much a window counts within its date, and how much a date counts: by money traded, by age.

Weights enter every loss and every tabular fit. Both are known at the date itself: money traded up to its close, and how
far back it lies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from factor_data.kernel_cache import kernel
from factor_data.panel.panel import Panel
from factor_data.windows.weight_config import WeightParams

if TYPE_CHECKING:
    from factor_data.folds.fold import Fold
    from factor_data.store import FeatureStore


@dataclass(frozen=True, kw_only=True, eq=False)
class SampleWeights:
    """Weights of panel rows: within a date, and of its date in the mean over dates; None: all 1."""

    within_date: NDArray[np.float32] | None = None
    of_date: NDArray[np.float32] | None = None

    @property
    def product(self) -> NDArray[np.float32] | None:
        """One weight a row, for models without a mean over dates."""
        if self.within_date is None or self.of_date is None:
            return self.within_date if self.of_date is None else self.of_date
        return self.within_date * self.of_date

    @classmethod
    def of_fold(cls, config: WeightParams | None, store: FeatureStore, fold: Fold, panel: Path) -> Self:
        """The weights of a fold's training rows; `panel` is the folder of the cleaned bars."""
        if config is None:
            return cls()
        within = of_date = None
        if config.dollar_volume_bars is not None or config.column is not None:
            money = _money(Panel.load(panel), config)
            within = relative_weights(money, store.date_code, store.in_universe, config.power)
        if config.half_life is not None:
            of_date = recency_weights(store.dates, fold.train, config.half_life)[store.date_code]
        return cls(within_date=within, of_date=of_date)


def _money(panel: Panel, config: WeightParams) -> NDArray[np.float64]:
    if config.dollar_volume_bars is not None:
        return mean_money_traded(panel, config.dollar_volume_bars)
    assert config.column is not None
    if config.column not in panel.columns:
        raise ValueError(f"weights.column: the bars have no column {config.column!r}; they have {list(panel.columns)}")
    return np.asarray(panel.columns[config.column])


def mean_money_traded(panel: Panel, bars: int) -> NDArray[np.float64]:
    """Mean over the symbol's last `bars` bars up to this one (num_rows,), fewer at its start; NaN: none known.

    Each window is summed by itself: no bar of another symbol, nor one that has left the window, decides a bit of it.
    """
    columns = panel.columns
    money = columns["amount"] if "amount" in columns else columns["close"] * columns["volume"]
    return _trailing_mean(money, panel.age, bars)


@kernel(nogil=True)
def _trailing_mean(values: NDArray[np.float64], age: NDArray[np.int64], window: int) -> NDArray[np.float64]:
    """Mean of what is known of the last `window` bars, fewer at the symbol's start; NaN where nothing is."""
    result = np.full(len(values), np.nan)
    for row in range(len(values)):
        total = 0.0
        count = 0
        for i in range(row - min(window - 1, age[row]), row + 1):
            if math.isfinite(values[i]):
                total += values[i]
                count += 1
        if count > 0:
            result[row] = total / count
    return result


def relative_weights(
    money: NDArray[np.float64], date_code: NDArray[np.integer], in_universe: NDArray[np.bool_], power: float
) -> NDArray[np.float32]:
    """(money / its median over the universe of the date) ** power; 1 where money is unknown or not positive."""
    usable = np.isfinite(money) & (money > 0) & in_universe
    weight = np.ones(len(money))
    order = np.lexsort((money, date_code))
    order = order[usable[order]]
    dates, first, count = np.unique(date_code[order], return_index=True, return_counts=True)
    low, high = money[order[first + (count - 1) // 2]], money[order[first + count // 2]]
    median = np.full(int(date_code.max(initial=-1)) + 1, np.nan)
    median[dates] = (low + high) / 2
    weight[usable] = (money[usable] / median[date_code[usable]]) ** power
    return weight.astype(np.float32)


def recency_weights(
    dates: NDArray[np.datetime64], train: NDArray[np.datetime64], half_life: float
) -> NDArray[np.float32]:
    """Weights of the calendar's dates: halved every `half_life` training dates back, their mean 1; other dates 1."""
    weights = np.ones(len(dates))
    age = np.arange(len(train))[::-1]
    decayed = 0.5 ** (age / half_life)
    weights[np.searchsorted(dates, train)] = decayed / decayed.mean()
    return weights.astype(np.float32)
