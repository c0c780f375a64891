"""Labels made of prices: what a prediction made at the close of t is scored against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from factor_data.panel.panel import Panel

Price = Literal["close", "open"]


def forward_return(panel: Panel, horizon: int, delay: int = 1, price: Price = "close") -> NDArray[np.float64]:
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

    Returns
    -------
    (num_rows,) float64, NaN where the symbol has no such price at entry or at exit
    """
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1 bar, got {horizon}")
    if delay < 0:
        raise ValueError(f"delay must not be negative, got {delay}")
    if price not in get_args(Price):
        raise ValueError(f"price must be one of {get_args(Price)}, got {price!r}")
    if price == "open" and delay == 0:
        raise ValueError("delay must be at least 1 for price 'open': the open of t is over when t closes")
    values = panel.adjusted(price)
    values = np.where(values > 0.0, values, np.nan)  # a zero that a rule only flagged is no price
    entry, exit_ = panel.rows_at(delay), panel.rows_at(delay + horizon)
    known = (entry >= 0) & (exit_ >= 0)
    label = np.full(panel.num_rows, np.nan)
    label[known] = values[exit_[known]] / values[entry[known]] - 1.0
    return label


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
