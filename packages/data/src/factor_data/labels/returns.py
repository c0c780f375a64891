"""Labels made of prices: what a prediction made at the close of t is scored against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from factor_data.labels.config import Label
from factor_data.labels.kinds import Price
from factor_data.panel.panel import Panel


def label_values(panel: Panel, label: Label) -> NDArray[np.float64]:
    """Return the label of every row of a clean panel, (num_rows,) float64; NaN where it is unknown.

    A label that is neutral to a group is unknown outside the universe.

    Raises
    ------
    ValueError naming the column of a ready-made label, of a delisting return or of groups, that the panel has not
    """
    own = symbol_values(panel, label)
    if label.neutral is None:
        return own
    if label.neutral not in panel.columns:
        raise ValueError(f"neutral: {label.neutral!r} is no column of the bars; they have {list(panel.columns)}")
    return neutral_values(own, panel.columns[label.neutral], panel.date_code, panel.in_universe)


def neutral_values(
    values: NDArray[np.float64], group: NDArray, date_code: NDArray[np.integer], in_universe: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return labels (num_rows,) of whole dates less the mean of their group; an infinite group is none."""
    from factor_data.fit.cross_section import less_group_mean  # compiled kernels, which few labels need

    groups = np.where(np.isfinite(group), group, np.nan)
    return less_group_mean(np.where(in_universe, values, np.nan), date_code, groups)


def symbol_values(panel: Panel, label: Label) -> NDArray[np.float64]:
    """Return what a label is by the bars of each symbol alone, (num_rows,): all of it but `neutral`."""
    if label.column is not None:
        return ready_made_targets(panel, [label.column])[:, 0]
    assert label.horizon is not None
    make = forward_volatility if label.measure == "volatility" else forward_return
    return make(panel, label.horizon, label.delay, label.price, label.delisting)


def forward_return(
    panel: Panel, horizon: int, delay: int = 1, price: Price = "close", delisting: str | float = "drop"
) -> NDArray[np.float64]:
    """Return the simple return from entry at `t + delay` to exit at `t + delay + horizon`.

    `price[t + delay + horizon] / price[t + delay] - 1` on the adjusted close or open, where t + k means k positions
    later on the calendar of the symbol's market (`Panel.markets`; not k bars of the symbol later). The open of t comes
    before the close of t: with `price="open"` a prediction made at the close of t cannot be entered at delay 0.

    Parameters
    ----------
    panel : Panel
    horizon : int >= 1, bars from entry to exit
    delay : int >= 0, bars from t to entry; >= 1 for the open
    price : "close" or "open", at entry and at exit alike
    delisting : what a symbol is worth that stops between entry and exit, see `Label.delisting`

    Returns
    -------
    (num_rows,) float64, NaN where the symbol has no such price at entry or at exit
    """
    _check(horizon, delay, price)
    entry = price_ahead(panel, delay, price)
    return price_ahead(panel, delay + horizon, price, delisting) / entry - 1.0


def forward_volatility(
    panel: Panel, horizon: int, delay: int = 1, price: Price = "close", delisting: str | float = "drop"
) -> NDArray[np.float64]:
    """Return the realised volatility of the `horizon` bars after entry: the root of their mean squared log return.

    It is per bar, so that labels of several horizons have one unit. Arguments as for `forward_return`; a price that is
    missing on the way makes it unknown.
    """
    _check(horizon, delay, price)
    before = price_ahead(panel, delay, price)
    squares = np.zeros(panel.num_rows)
    for step in range(delay + 1, delay + horizon + 1):
        after = price_ahead(panel, step, price, delisting)
        with np.errstate(divide="ignore"):  # a total loss
            squares += np.log(after / before) ** 2
        before = after
    return np.where(np.isfinite(squares), np.sqrt(squares / horizon), np.nan)


def price_ahead(
    panel: Panel, steps: int, price: Price = "close", delisting: str | float = "drop"
) -> NDArray[np.float64]:
    """Return the adjusted price of each row's symbol `steps` dates of its market later, (num_rows,).

    NaN where there is none. After the last bar of a symbol that stops before the calendar does, it is what
    `delisting` makes of its last close (see `Label.delisting`); after the last date of the calendar it is unknown.
    """
    values = _positive(panel.adjusted(price))
    row = panel.rows_at(steps)
    known = row >= 0
    result = np.full(panel.num_rows, np.nan)
    result[known] = values[row[known]]
    if delisting == "drop":
        return result
    gone = has_stopped(panel, steps)
    result[gone] = _worth_at_the_end(panel, delisting)[panel.symbol_code[gone]]
    return result


def has_stopped(panel: Panel, steps: int) -> NDArray[np.bool_]:
    """(num_rows,) True where the symbol's last bar lies less than `steps` positions later, and the calendar goes on.

    A symbol whose last bar is on the last date of the calendar has not stopped: what comes then is not known.
    """
    last = np.full(panel.num_symbols, panel.num_dates, dtype=np.int64)
    last[panel.symbol_code] = panel.date_code  # rows are sorted by date within a symbol: the last one stays
    then = panel.markets.ahead(steps)[panel.markets.code[panel.symbol_code], panel.date_code]
    return (last[panel.symbol_code] < then) & (then >= 0)


def decided_by_delisting(panel: Panel, label: Label) -> NDArray[np.bool_]:
    """(num_rows,) True where the symbol stops after entry and before exit, so that `Label.delisting` decides.

    What cannot be entered, since the symbol stops before, has no label under any rule.
    """
    if label.horizon is None:
        return np.zeros(panel.num_rows, dtype=bool)
    return has_stopped(panel, label.ahead) & np.isfinite(price_ahead(panel, label.delay, label.price))


def _worth_at_the_end(panel: Panel, delisting: str | float) -> NDArray[np.float64]:
    """(num_symbols,) the last known close, less what the rule takes off it."""
    close = _positive(panel.adjusted("close"))
    worth, paid = np.full((2, panel.num_symbols), np.nan)
    known = ~np.isnan(close)
    worth[panel.symbol_code[known]] = close[known]
    if not isinstance(delisting, str):
        return worth * (1.0 + delisting)
    if delisting == "last":
        return worth
    if delisting not in panel.columns:
        raise ValueError(f"delisting: {delisting!r} is no column of the bars; drop, last or a number need none")
    paid[panel.symbol_code] = panel.columns[delisting]
    return worth * (1.0 + paid)


def _positive(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Prices; a zero that a rule only flagged is none."""
    return np.where(values > 0.0, values, np.nan)


def _check(horizon: int, delay: int, price: Price) -> None:
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1 bar, got {horizon}")
    if delay < 0:
        raise ValueError(f"delay must not be negative, got {delay}")
    if price not in get_args(Price):
        raise ValueError(f"price must be one of {get_args(Price)}, got {price!r}")
    if price == "open" and delay == 0:
        raise ValueError("delay must be at least 1 for price 'open': the open of t is over when t closes")


def multi_step_direction(panel: Panel, steps: int, delay: int = 0) -> NDArray[np.float64]:
    """Return for each of the next bars whether it closes above the one before it.

    Column i of the result says whether `close[t + delay + i + 1] > close[t + delay + i]`, on adjusted closes and
    positions of the calendar: with delay 0, the first column compares t + 1 with t. These are the targets of SCINet
    (Liu et al., 2022) as a classifier.

    Returns
    -------
    (num_rows, steps) float64: 1.0 above, 0.0 equal or below, NaN where either close is unknown
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    returns = [forward_return(panel, 1, delay + step) for step in range(steps)]
    return np.column_stack([direction(values, up=0.0, down=0.0) for values in returns])


def direction(values: NDArray, up: float, down: float) -> NDArray[np.float64]:
    """Turn returns into a direction, with a dead zone in between.

    Parameters
    ----------
    values : float array, such as forward returns; NaN = unknown
    up, down : thresholds, down <= up. Where they are equal there is no dead zone: above is up, the rest is down

    Returns
    -------
    float64 of the same shape: 1.0 where the value is at least `up`, 0.0 where it is at most `down`, NaN between
    them and where the value is unknown. So the last dates, whose return is not known yet, have no label (and not a 0).
    """
    if not down <= up:
        raise ValueError(f"down must not lie above up, got down {down} and up {up}")
    rises = values > up if down == up else values >= up
    return np.where(rises, 1.0, np.where(values <= down, 0.0, np.nan))


def ready_made_targets(panel: Panel, names: Sequence[str]) -> NDArray[np.float64]:
    """Return targets that the data bring, in the order of the request.

    Such columns (`intra30m`, `nextT1d`, `ema1d`) look ahead already: the value beside the bar of t is what a
    prediction made at t is scored against. They are passed through as they are, and not shifted a second time.

    Returns
    -------
    (num_rows, num_names) float64, NaN = unknown (an infinite value is unknown too)

    Raises
    ------
    ValueError naming the columns that are not there
    """
    if missing := [name for name in names if name not in panel.columns]:
        raise ValueError(f"no target column {missing}; the panel has {list(panel.columns)}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"names must be one or more target columns, each once, got {list(names)}")
    values = np.column_stack([panel.columns[name] for name in names])
    return np.where(np.isfinite(values), values, np.nan)
