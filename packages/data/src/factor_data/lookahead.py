"""The look-ahead gate: a function of a panel must not change at t when bars after t change or vanish.

What is counted, compared and summed one row after another (features, labels, normalisers, tokens) must not change
by a bit. A network is held to a bound: when later bars vanish its batches have other sizes, and a CPU may then sum
a row's products in another order. Rounding stays below the bound on any CPU; what a later bar brings is far above.

Bars up to t hold one thing of the future: `adj_close / close` says how often the symbol will split and pay, until the
day the data were made. So what is a feature must not change either when a symbol's adj_close is multiplied by a
constant, which is all that a later split does to the bars before it (`assert_scale_free`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_data.bar_columns import PRICE_COLUMNS
from factor_data.panel.panel import Panel

Scale = Literal["adj_close", "price", "volume"]
# Columns that grow with each: money traded grows with both units.
SCALED: dict[Scale, tuple[str, ...]] = {
    "adj_close": ("adj_close",),
    "price": (*PRICE_COLUMNS, "adj_close", "vwap", "amount"),
    "volume": ("volume", "amount"),
}
CAUSES: dict[Scale, str] = {
    "adj_close": "adj_close was multiplied by a constant, as later splits do",
    "price": "prices were given in another unit",
    "volume": "volumes were given in another unit",
}
FACTORS = (2.0**-20, 2.0**-6, 2.0**6, 2.0**20)  # powers of two: a ratio of prices does not change by a bit
CUTS = (0.6, 0.9)  # of the calendar, where `check_features` changes what comes later
OWN_SPREAD = 1e-6  # of a feature's own standard deviation: what no leak that matters stays below, and rounding does


class LookAheadError(ValueError):
    """A value at or before the cut changed when only later bars changed."""


class ScaleError(ValueError):
    """A value changed when a symbol's adjusted close, prices or volumes were multiplied by a constant."""


def perturb_after(panel: Panel, cut: np.datetime64, seed: int = 0) -> Panel:
    """Return the panel with every column after `cut` multiplied by a random factor in [0.5, 2]."""
    later = panel.timestamp > cut
    generator = np.random.Generator(np.random.PCG64(seed))
    columns = {}
    for name, values in panel.columns.items():
        factor = np.exp2(generator.uniform(-1.0, 1.0, panel.num_rows))
        columns[name] = np.where(later, values * factor, values)
    return panel.with_columns(**columns)


def rescale(panel: Panel, scale: Scale, seed: int = 0) -> Panel:
    """Return the panel with what `scale` names multiplied by a number of each symbol's own, drawn from `FACTORS`.

    A panel without adj_close is one whose adj_close is its close.
    """
    if scale not in get_args(Scale):
        raise ValueError(f"scale must be one of {get_args(Scale)}, got {scale!r}")
    columns = panel.columns if scale != "adj_close" else {"adj_close": panel.columns["close"], **panel.columns}
    generator = np.random.Generator(np.random.PCG64(seed))
    factor = generator.choice(FACTORS, panel.num_symbols)[panel.symbol_code]
    return panel.with_columns(**{name: columns[name] * factor for name in SCALED[scale] if name in columns})


def assert_no_lookahead(
    function: Callable[[Panel], Any],
    panel: Panel,
    cut: np.datetime64,
    seed: int = 0,
    *,
    rounding: ArrayLike = 0.0,
    reach: int = 0,
    names: Sequence[str] | None = None,
) -> None:
    """Raise unless `function` gives the same values up to `cut` after the later bars are changed or dropped.

    Parameters
    ----------
    function : takes a panel, returns (num_rows, ...) values in row order, or an object with such `.values`
    panel : bars to try it on
    cut : the last timestamp whose values must stay; some bars must lie on each side
    seed : of the perturbation
    rounding : largest absolute difference that is not a leak, one for all or one per column; 0: the values must be
        identical to the bit. What is NaN or infinite must stay so whatever the bound
    reach : dates of the calendar that a value may look ahead: 0 of a feature, delay + horizon of a label, whose last
        `reach` dates up to the cut are not compared
    names : of the columns, for the message

    Raises
    ------
    LookAheadError with count, largest difference and first three offenders
    """
    bound = np.asarray(rounding, dtype=np.float64)
    if not np.all((bound >= 0.0) & (bound < np.inf)):
        raise ValueError(f"rounding = {rounding!r}: must be a finite number >= 0")
    early = panel.timestamp <= cut
    if not early.any() or early.all():
        raise ValueError(f"cut {cut} must leave bars on both sides: {panel.dates[0]} .. {panel.dates[-1]}")
    last = int(np.searchsorted(panel.dates, cut, side="right")) - 1 - reach
    held = panel.date_code <= last
    compare = _Comparison(panel.select(held), bound, names)
    expected = _values(function, panel)[held]
    for what, changed in (("changed", perturb_after(panel, cut, seed)), ("dropped", panel.select(early))):
        kept = held if what == "changed" else held[early]
        if said := compare.said(expected, _values(function, changed)[kept]):
            raise LookAheadError(f"{said[0]} when later bars were {what}{said[1]}")


def assert_scale_free(
    function: Callable[[Panel], Any],
    panel: Panel,
    scale: Scale,
    seed: int = 0,
    *,
    rounding: ArrayLike = 0.0,
    names: Sequence[str] | None = None,
) -> None:
    """Raise unless `function` gives the same values after `scale` of each symbol is multiplied by a constant.

    Parameters
    ----------
    function, panel, rounding, names : as of `assert_no_lookahead`
    scale : adj_close: as later splits and dividends do, a leak. price, volume: the unit that a vendor counts in
    seed : of the factors, one of `FACTORS` per symbol

    Raises
    ------
    ScaleError with count, largest difference and first three offenders
    """
    compare = _Comparison(panel, np.asarray(rounding, dtype=np.float64), names)
    if said := compare.said(_values(function, panel), _values(function, rescale(panel, scale, seed))):
        raise ScaleError(f"{said[0]} when {CAUSES[scale]}{said[1]}")


def check_features(
    compute: Callable[[Panel], Any],
    panel: Panel,
    names: Sequence[str],
    *,
    cuts: Sequence[float] = CUTS,
    published: Collection[str] = (),
    seed: int = 0,
) -> tuple[str, ...]:
    """Hold features to the gate on some bars: no later bar and no later split may change them.

    Parameters
    ----------
    compute : takes a panel, returns (num_rows, num_names) values in row order, or an object with such `.values`
    panel : the bars; a sample of whole symbols is enough, and bounds the time
    names : of the columns
    cuts : shares of the calendar after which bars are changed and dropped
    published : names that keep a published formula although later splits change it: they are held to the cuts alone
    seed : of what is drawn

    Returns
    -------
    names that have no value up to the last cut, so nothing is known of them

    Raises
    ------
    LookAheadError, ScaleError naming feature, symbol, date and both values
    """
    values = _values(compute, panel)
    if values.shape[1] != len(names):
        raise ValueError(f"compute gives {values.shape[1]} columns for {len(names)} names")

    def again(bars: Panel) -> NDArray:
        return values if bars is panel else _values(compute, bars)

    known = np.isfinite(values)
    spread = np.array([_spread(column[own]) for column, own in zip(values.T, known.T, strict=True)])
    dates = cut_dates(panel, cuts)
    for cut in dates:
        assert_no_lookahead(again, panel, cut, seed, rounding=OWN_SPREAD * spread, names=names)
    held = [column for column, name in enumerate(names) if name not in published]
    assert_scale_free(
        lambda bars: again(bars)[:, held],
        panel,
        "adj_close",
        seed,
        rounding=OWN_SPREAD * spread[held],
        names=[names[column] for column in held],
    )
    seen = known[panel.timestamp <= dates[-1]].any(axis=0)
    return tuple(name for name, was in zip(names, seen, strict=True) if not was)


def check_label_reach(
    label: Callable[[Panel], Any], panel: Panel, reach: int, name: str, *, cuts: Sequence[float] = CUTS, seed: int = 0
) -> None:
    """Raise LookAheadError where a label looks further ahead than `reach` dates: then no purge of folds would hold."""
    for cut in cut_dates(panel, cuts):
        assert_no_lookahead(label, panel, cut, seed, reach=reach, names=[name])


def cut_dates(panel: Panel, shares: Sequence[float]) -> NDArray[np.datetime64]:
    """Return the dates, ascending, up to which these shares of those with a bar lie; bars are on both sides of each."""
    dates = panel.dates[np.unique(panel.date_code)]
    if len(dates) < 2:
        raise ValueError(f"{len(dates)} dates have a bar: two are needed to change what comes later")
    places = [min(max(int(share * len(dates)), 1), len(dates) - 1) for share in shares]
    return dates[np.unique(places) - 1]


def _spread(values: NDArray) -> float:
    return float(np.std(values, dtype=np.float64)) if len(values) else 0.0


def _values(function: Callable[[Panel], Any], panel: Panel) -> NDArray:
    result = function(panel)
    values = np.asarray(getattr(result, "values", result))
    if len(values) != panel.num_rows:
        raise ValueError(f"function must return one row per bar ({panel.num_rows}), got {len(values)}")
    return values.reshape(panel.num_rows, -1)


class _Comparison:
    """Values of the rows of a panel, before and after; `rounding` is what they may differ by."""

    def __init__(self, panel: Panel, rounding: NDArray[np.float64], names: Sequence[str] | None) -> None:
        self.panel, self.rounding, self.names = panel, rounding, names

    def said(self, expected: NDArray, actual: NDArray) -> tuple[str, str] | None:
        """How many values changed, and by how much and where; None if none did."""
        same = (expected == actual) | ((expected != expected) & (actual != actual))
        if same.all():
            return None
        beyond = ""
        if self.rounding.any():
            with np.errstate(invalid="ignore"):  # of two infinities
                distance = np.abs(expected.astype(np.float64) - actual.astype(np.float64))
            same |= distance <= self.rounding
            if same.all():
                return None
            largest = float(np.max(distance, where=~same & np.isfinite(distance), initial=0.0))
            beyond = f" by up to {largest:.3g}, where rounding is at most {self.rounding.max():.3g}"
        offenders = [self._offender(row, column, expected, actual) for row, column in np.argwhere(~same)[:3]]
        return f"{(~same).sum()} values changed", f"{beyond}: " + "; ".join(offenders)

    def _offender(self, row: int, column: int, expected: NDArray, actual: NDArray) -> str:
        what = f"column {column}" if self.names is None else self.names[column]
        place = f"{self.panel.symbol[row]} at {self.panel.timestamp[row]}, {what}"
        return f"{place}: {expected[row, column]:.9g} became {actual[row, column]:.9g}"
