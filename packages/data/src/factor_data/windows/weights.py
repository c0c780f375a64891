"""How much a window counts within its date, and how much a date counts: by money traded, by age.

Weights enter every loss and every tabular fit. Both are known at the date itself: money traded up to its close, and how
far back it lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from factor_data.panel.panel import Panel

if TYPE_CHECKING:
    from factor_data.folds.fold import Fold
    from factor_data.store import FeatureStore


@dataclass(frozen=True, kw_only=True)
class WeightParams:
    """How much windows and dates of training count: by one or both of these."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    dollar_volume_bars: int | None = None
    """Bars over which money traded (close * volume, or amount) is averaged; None: every window of a date counts alike.

    The weight of a window within its date is that mean over the date's median, to the power below; 1 where it is not
    known or not positive.
    """
    power: float = 1.0
    """1: in proportion to money traded; 0.5: to its root."""
    half_life: float | None = None
    """Dates after which a training date counts half; None: all alike. The weights of a fold's dates average 1."""

    def __post_init__(self) -> None:
        if self.dollar_volume_bars is None and self.half_life is None:
            raise ValueError("weights: needs dollar_volume_bars, half_life or both; without weights it is null")
        for name in ("dollar_volume_bars", "power", "half_life"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}: {value} must be > 0")


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
        if config.dollar_volume_bars is not None:
            money = mean_money_traded(Panel.load(panel), config.dollar_volume_bars)
            within = relative_weights(money, store.date_code, store.in_universe, config.power)
        if config.half_life is not None:
            of_date = recency_weights(store.dates, fold.train, config.half_life)[store.date_code]
        return cls(within_date=within, of_date=of_date)


def mean_money_traded(panel: Panel, bars: int) -> NDArray[np.float64]:
    """Mean over the symbol's last `bars` bars up to this one (num_rows,), fewer at its start; NaN: none known."""
    columns = panel.columns
    money = columns["amount"] if "amount" in columns else columns["close"] * columns["volume"]
    known = np.isfinite(money)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, money, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    end = np.arange(panel.num_rows) + 1
    first = np.maximum(panel.starts[panel.symbol_code], end - bars)
    count = counts[end] - counts[first]
    return np.where(count > 0, (sums[end] - sums[first]) / np.maximum(count, 1), np.nan)


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
