"""New bars and documents, held against what is known already: what would change the past is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import Panel, as_pandas
from factor_models.kline import future_stamps
from factor_serve.stamps import wall_clock


@dataclass(frozen=True, kw_only=True)
class ArrivalRules:
    """How far what arrives may differ from what is expected."""

    max_gap: int = 5
    """Most expected dates that may be missing before a new one; expected are the times of day, on the days of the week,
    that the training dates show, so holidays count as missing."""
    least_share: float = 0.5
    """Smallest number of symbols on a new date, as a share of those of the date before."""

    def __post_init__(self) -> None:
        if self.max_gap < 0:
            raise ValueError(f"max_gap = {self.max_gap}: must be >= 0")
        if not 0 <= self.least_share <= 1:
            raise ValueError(f"least_share = {self.least_share}: must be in [0, 1]")


def panel_of(bars: Any) -> Panel:
    """Return bars as a panel, their stamps by the wall clock of the one zone that they are in, or of none.

    They are a panel, or a frame of pandas, polars, pyarrow or another library that speaks Arrow. ValueError naming a
    pair that comes twice, a missing symbol, an infinite number, or stamps of two zones.
    """
    if isinstance(bars, Panel):
        panel = bars
    else:
        bars = as_pandas(bars, "bars")
        if missing := [name for name in ("timestamp", "symbol") if name not in bars.columns]:
            raise ValueError(f"bars: column {missing[0]!r} is missing; they have {list(bars.columns)}")
        if bars["symbol"].isna().any():
            raise ValueError(f"bars: symbol is missing in row {int(np.flatnonzero(bars['symbol'].isna())[0])}")
        bars = bars.assign(timestamp=wall_clock(bars["timestamp"], "bars")[0])
        twice = bars.duplicated(["timestamp", "symbol"])
        if twice.any():
            first = bars[twice].iloc[0]
            raise ValueError(f"bars: {first['symbol']} at {first['timestamp']} comes twice ({int(twice.sum())} such)")
        panel = Panel.from_frame(bars)
        if len(again := np.flatnonzero(panel.symbols[1:] == panel.symbols[:-1])):  # 7 and "7", or "A" and "A\0"
            raise ValueError(f"bars: two symbols are {str(panel.symbols[again[0]])!r} when they are written as text")
    for name, values in panel.columns.items():
        if len(wrong := np.flatnonzero(np.isinf(values))):
            row = int(wrong[0])
            raise ValueError(
                f"bars: {name} of {panel.symbol[row]} at {panel.timestamp[row]!s:.19} is infinite: a number or missing "
                f"is needed ({len(wrong)} such values)"
            )
    if not panel.num_rows:
        raise ValueError("bars: there is no row")
    return panel


def check_dates(
    new: NDArray[np.datetime64], last: np.datetime64, known: NDArray[np.datetime64], rules: ArrivalRules
) -> None:
    """Refuse dates that are not after the last one, and a gap before the first of them or between them.

    `known` are the training dates, whose times of day and days of the week say what is expected.
    """
    if len(old := new[new <= last]):
        raise ValueError(
            f"bars of {old[0]!s:.19} are not after the last date, {last!s:.19}: it is forecast already, and bars that "
            "correct or complete it would change what was said; make a new Forecaster from all bars"
        )
    before = last
    for date in new:
        expected = future_stamps(np.array([before]), known, rules.max_gap + 1)[0]
        if (missing := int((expected < date).sum())) > rules.max_gap:
            raise ValueError(
                f"gap: more than {rules.max_gap} expected dates are missing between {before!s:.19} and {date!s:.19}, "
                f"the first is {expected[0]!s:.19} (max_gap allows more than {missing - 1})"
            )
        before = date


def check_share(dates: NDArray[np.datetime64], counts: Sequence[int], before: int, rules: ArrivalRules) -> None:
    """Refuse a date with far fewer symbols than the one before: it may not have been delivered whole."""
    for date, count in zip(dates, counts, strict=True):
        if count < rules.least_share * before:
            raise ValueError(
                f"bars of {date!s:.19} have {count} symbols, the date before had {before}: not delivered whole? "
                f"least_share = {rules.least_share:g} refuses it"
            )
        before = count


def check_news(news: pd.DataFrame) -> pd.DataFrame:
    """Return documents with their columns in order; ValueError naming one that is missing, or a row without text."""
    if missing := [name for name in ("timestamp", "symbol", "text") if name not in news.columns]:
        raise ValueError(f"news: column {missing[0]!r} is missing; they have {list(news.columns)}")
    for name, wrong in (
        ("symbol", news["symbol"].isna().to_numpy(dtype=bool)),
        ("text", np.array([not isinstance(text, str) for text in news["text"]], dtype=bool)),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(f"news: {name} must be text, row {row} has {news[name].iloc[row]!r}")
    return news[["timestamp", "symbol", "text"]]
