"""What a forecast came to as a book after costs: numbers and series, which load nothing else."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from factor_metrics.checks import Series


@dataclass(frozen=True, kw_only=True)
class BookScores:
    """One book in numbers; NaN = undefined or not measured. No name is one of `Scores`: both stand in one file."""

    gross_return: float = math.nan
    """Compounded growth a year before costs and fees."""
    net_return: float = math.nan
    """The same after them."""
    net_volatility: float = math.nan
    """Standard deviation a year."""
    gross_sharpe: float = math.nan
    """Sharpe ratio a year before costs and fees."""
    net_sharpe: float = math.nan
    """Sharpe ratio a year after them, risk free 0."""
    net_sharpe_low: float = math.nan
    """Lower end of its interval (`sharpe_interval`)."""
    net_sharpe_high: float = math.nan
    """Upper end."""
    net_sharpe_probability: float = math.nan
    """Probability that the true net Sharpe ratio is above 0 (`probabilistic_sharpe_ratio`); of this look alone."""
    net_sortino: float = math.nan
    """Sortino ratio a year."""
    net_calmar: float = math.nan
    """Return a year / deepest drawdown."""
    net_drawdown: float = math.nan
    """Deepest drawdown, 0 or negative."""
    net_value_at_risk: float = math.nan
    """Loss of a date that 5 % of dates exceed; positive = loss."""
    net_expected_shortfall: float = math.nan
    """Mean loss of the worst 5 % of dates (conditional value at risk)."""
    net_hit_rate: float = math.nan
    """Share of dates with a net return above 0."""
    traded: float = math.nan
    """Mean over dates of buys plus sells, as a share of equity."""
    holding_dates: float = math.nan
    """Dates that a position is held (`holding_time`)."""
    costs: float = math.nan
    """Commission, half spread and impact a year, as a share of equity."""
    impact_costs: float = math.nan
    """The impact in them."""
    borrow_costs: float = math.nan
    """Fee a year for what is short, as a share of equity."""
    break_even: float = math.nan
    """Basis points a side at which the mean return is 0 (`break_even_cost`)."""
    capacity: float = math.nan
    """Money at which the impact halves the net Sharpe ratio (`capacity`)."""
    benchmark_return: float = math.nan
    """Compounded growth a year of the benchmark on the same dates."""
    beta: float = math.nan
    """Beta of the net return to the benchmark."""
    alpha: float = math.nan
    """Mean net return a year less beta times the benchmark's."""
    information_ratio: float = math.nan
    """Mean over standard deviation of the net return less the benchmark's, a year."""
    attainable_sharpe: float = math.nan
    """Net Sharpe ratio of the same book fed with the true expectation, where it is known (a simulated market)."""
    book_dates: int = 0
    """Dates with a return."""

    @property
    def attained(self) -> float:
        """Return the net Sharpe ratio over the attainable one; NaN where that is unknown or not above 0."""
        return self.net_sharpe / self.attainable_sharpe if self.attainable_sharpe > 0.0 else math.nan

    def to_dict(self) -> dict[str, float]:
        """Return the numbers by name in the order of the fields (NaN kept; see `to_json_safe`)."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class DrawdownRow:
    """One drawdown of the net equity with its dates as ISO text."""

    peak: str
    """Date of the peak; empty: before the first date."""
    trough: str
    recovered: str
    """Empty: not by the last date."""
    depth: float
    num_dates: int


@dataclass(frozen=True, kw_only=True)
class YearRow:
    """One calendar year of a book; returns compounded over its dates."""

    year: int
    num_dates: int
    gross_return: float
    net_return: float
    benchmark_return: float
    net_sharpe: float
    net_drawdown: float
    traded: float


@dataclass(frozen=True, kw_only=True, eq=False)
class BookResult:
    """The book of one forecast, from its first trade on."""

    scores: BookScores
    delay: int
    """Dates from forecast to trade."""
    num_books: int
    """Overlapping books, each held for so many dates."""
    periods_per_year: float
    """Dates a year."""
    year_rule: str
    """How they were found, in words."""
    impact_priced: bool
    """Whether the data say what was traded, so that the impact has a price."""
    dates: NDArray[np.datetime64]
    """(num_dates,)."""
    net: Series
    """(num_dates,) equity after costs, 1 before the first date."""
    gross: Series
    """(num_dates,) equity before costs and fees."""
    benchmark: Series
    """(num_dates,) equity of the benchmark."""
    drawdowns: tuple[DrawdownRow, ...]
    """The deepest of the net equity, deepest first."""
    years: tuple[YearRow, ...]


def date_texts(dates: NDArray[np.datetime64]) -> list[str]:
    """Return dates as ISO text; where every bar is a whole day the time is left out."""
    texts = [str(date)[:19] for date in dates]
    whole_days = all(text.endswith("T00:00:00") for text in texts)
    return [text[:10] for text in texts] if whole_days else texts
