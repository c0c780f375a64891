"""Date features: values of a row that take the whole cross-section of its date.

A date feature names the symbol features it starts from (`bases`) and a function of rows. The rows handed to it are
all rows of some whole dates, sorted as in the panel, so a table can be computed date chunk by date chunk:

    function(values (n, num_bases) float32, date_code (n,), symbol_code (n,), in_universe (n,)) -> (n,)

Market features average over the universe of the date and are the same for all its rows, those outside the universe
included; what compares a row with the market (`relative`, `rank`, `neutral`) exists inside the universe only.
Missing base values are left out; NaN where nothing is known. Market features are constant within a date, so
the normaliser kinds `rank` and `rank_gauss` turn them into 0: use a fitted kind for them.
To add one: write the function, add its line to `DATE_FEATURES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factor_data.fit.cross_section import cross_sectional_rank, group_moments, less_group_mean, neutralise

Floats = NDArray[np.float64]
Codes = NDArray[np.integer]
Mask = NDArray[np.bool_]
GROUP = "~"
"""Mark between a feature and the column of groups that it is made neutral to: return_20~sector."""
DateFunction = Callable[[NDArray[np.float32], Codes, Codes, Mask], NDArray]


@dataclass(frozen=True, kw_only=True)
class DateFeature:
    """A feature of whole dates: the names of its base symbol features and a function of their rows."""

    bases: tuple[str, ...]
    function: DateFunction


def market_mean(values: NDArray, date_code: Codes, symbol_code: Codes, in_universe: Mask) -> Floats:
    """Mean of the base over the universe of the date."""
    return group_moments(np.where(in_universe, values[:, 0], np.nan), date_code)[0]


def market_dispersion(values: NDArray, date_code: Codes, symbol_code: Codes, in_universe: Mask) -> Floats:
    """Population standard deviation of the base over the universe of the date."""
    return group_moments(np.where(in_universe, values[:, 0], np.nan), date_code)[1]


def market_breadth(values: NDArray, date_code: Codes, symbol_code: Codes, in_universe: Mask) -> Floats:
    """Share of the universe whose base is above 0."""
    known = in_universe & ~np.isnan(values[:, 0])
    return group_moments(np.where(known, values[:, 0] > 0.0, np.nan), date_code)[0]


def relative(values: NDArray, date_code: Codes, symbol_code: Codes, in_universe: Mask) -> Floats:
    """The base minus its mean over the universe of the date: relative strength."""
    own = np.where(in_universe, values[:, 0], np.nan).astype(np.float64)
    return own - group_moments(own, date_code)[0]


def rank(values: NDArray, date_code: Codes, symbol_code: Codes, in_universe: Mask) -> Floats:
    """Rank of the base in the universe of the date, -1 (lowest) to +1, ties share the average."""
    return cross_sectional_rank(np.where(in_universe, values[:, 0], np.nan), date_code)


def neutral(values: NDArray, date_code: Codes, symbol_code: Codes, in_universe: Mask) -> Floats:
    """Residual of the first base on the other bases: least squares with intercept over the universe of the date."""
    own = np.where(in_universe, values[:, 0], np.nan)
    return neutralise(own, date_code, exposures=values[:, 1:])


def neutral_to_group(values: NDArray, date_code: Codes, symbol_code: Codes, in_universe: Mask) -> Floats:
    """The first base minus its mean over the universe of the date that shares the second base, such as a sector.

    NaN where the group is missing; 0 in a group of one symbol.
    """
    return less_group_mean(np.where(in_universe, values[:, 0], np.nan), date_code, values[:, 1])


def of_symbol(base: str, leader: int) -> DateFeature:
    """The base of one symbol, given by its code, on all rows of the date; NaN where it has no bar."""

    def broadcast(values: NDArray, date_code: Codes, symbol_code: Codes, in_universe: Mask) -> Floats:
        per_date = np.full(int(date_code.max()) + 1 if len(date_code) else 0, np.nan)
        rows = symbol_code == leader
        per_date[date_code[rows]] = values[rows, 0]
        return per_date[date_code]

    return DateFeature(bases=(base,), function=broadcast)


DATE_FEATURES: dict[str, DateFeature] = {
    "market_return_1": DateFeature(bases=("return_1",), function=market_mean),
    "market_return_5": DateFeature(bases=("return_5",), function=market_mean),
    "market_return_20": DateFeature(bases=("return_20",), function=market_mean),
    "market_volatility_20": DateFeature(bases=("volatility_20",), function=market_mean),
    "market_dispersion_1": DateFeature(bases=("return_1",), function=market_dispersion),
    "market_dispersion_20": DateFeature(bases=("return_20",), function=market_dispersion),
    "market_breadth_1": DateFeature(bases=("return_1",), function=market_breadth),
    "market_breadth_20": DateFeature(bases=("close_to_mean_20",), function=market_breadth),
    "relative_return_1": DateFeature(bases=("return_1",), function=relative),
    "relative_return_5": DateFeature(bases=("return_5",), function=relative),
    "relative_return_20": DateFeature(bases=("return_20",), function=relative),
    "relative_volatility_20": DateFeature(bases=("volatility_20",), function=relative),
    "rank_return_1": DateFeature(bases=("return_1",), function=rank),
    "rank_return_5": DateFeature(bases=("return_5",), function=rank),
    "rank_return_20": DateFeature(bases=("return_20",), function=rank),
    "rank_volatility_20": DateFeature(bases=("volatility_20",), function=rank),
    "neutral_return_5": DateFeature(bases=("return_5", "volatility_20", "amihud_20"), function=neutral),
    "neutral_return_20": DateFeature(bases=("return_20", "volatility_20", "amihud_20"), function=neutral),
}
