"""Forecasts of a bundle as a long frame: of the stack, of its members, or of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import Panel
from factor_serve.arrivals import panel_of
from factor_serve.bundle import Bundle
from factor_serve.ensemble import stack_of_date, stack_of_levels
from factor_serve.inputs import clean, rows_of, with_columns
from factor_serve.rows import Rows

STACK, ALL = "stack", "all"
COLUMNS = ("timestamp", "symbol", "label", "model", "prediction")


def forecast(
    bundle: Bundle,
    panel: Panel,
    news: pd.DataFrame | None = None,
    dates: NDArray[np.datetime64] | None = None,
    model: str = STACK,
) -> pd.DataFrame:
    """Return forecasts from raw bars.

    Parameters
    ----------
    panel : raw bars with all the history that features and windows look back on, as from `read_bars`
    news : documents, where the bundle reads news
    dates : dates of the bars, in any order; one that comes twice is forecast once; None: the last one
    model : "stack", a member's name, or "all"

    Returns
    -------
    DataFrame(timestamp, symbol, label, model, prediction float32), sorted by model, label, timestamp and symbol. A
    symbol has a row only where there is a forecast: in the universe on the date, with the history that the model needs

    Raises
    ------
    ValueError : an infinite number in a column that is read; dates that are not in the bars, or that cleaning has left
        without a bar; whatever `rows_of` refuses
    """
    return forecast_with_rows(bundle, panel, news, dates, model)[0]


def forecast_with_rows(
    bundle: Bundle,
    panel: Panel,
    news: pd.DataFrame | None,
    dates: NDArray[np.datetime64] | None,
    model: str,
) -> tuple[pd.DataFrame, Rows, NDArray[np.integer]]:
    """Return forecasts as `forecast` does, what members read, and the codes of the dates among its dates."""
    cleaned = clean(bundle, panel_of(with_columns(bundle, panel)))
    wanted = panel.dates[-1:] if dates is None else np.unique(np.asarray(dates, "datetime64[ns]"))
    if absent := [date for date in wanted if date not in panel.dates]:
        raise ValueError(f"the bars have no date {absent[0]!s:.19}; they go from {panel.dates[0]} to {panel.dates[-1]}")
    if absent := [date for date in wanted if date not in cleaned.dates]:
        raise ValueError(f"cleaning has left no bar of {absent[0]!s:.19}")
    codes = np.searchsorted(cleaned.dates, wanted)
    rows = rows_of(bundle, cleaned, news)
    return forecast_rows(bundle, rows, codes, model), rows, codes


def forecast_rows(bundle: Bundle, rows: Rows, codes: NDArray[np.integer], model: str = STACK) -> pd.DataFrame:
    """Return forecasts of the dates of `codes`; see `forecast`."""
    names = members_for(bundle, model)
    shape = (len(codes), len(rows.symbols), len(bundle.labels))
    said: dict[str, NDArray[np.float32]] = {}
    place = np.full(int(rows.date_code.max(initial=0)) + 1, -1)
    place[codes] = np.arange(len(codes))
    for name in names:
        found, values = bundle.members[name].forecast(rows, codes, bundle)
        said[name] = np.full(shape, np.nan, dtype=np.float32)
        said[name][place[rows.date_code[found]], rows.symbol_code[found]] = values
    shown = dict(said) if model != STACK else {}
    if model in (STACK, ALL):
        shown[STACK] = _stacked(bundle, said, shape)
    return _frame(shown, list(bundle.labels), rows.dates[codes], rows.symbols)


def members_for(bundle: Bundle, model: str) -> Sequence[str]:
    """Members that have to forecast; ValueError for an unknown model."""
    if model in (STACK, ALL):
        return list(bundle.members)
    if model not in bundle.members:
        raise ValueError(f"model {model!r} must be stack, all or one of {', '.join(bundle.members)}")
    return [model]


def _stacked(bundle: Bundle, said: dict[str, NDArray[np.float32]], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    result = np.full(shape, np.nan, dtype=np.float32)
    for head, label in enumerate(bundle.labels):
        weights, levels = bundle.weights(label), bundle.levels(label)
        for date in range(shape[0]):
            of_date = {name: said[name][date, :, head] for name in weights}
            if levels is None:
                result[date, :, head] = stack_of_date(of_date, weights, bundle.scale(label))
            else:
                result[date, :, head] = stack_of_levels(of_date, weights, levels)
    return result


def _frame(
    forecasts: dict[str, NDArray[np.float32]],
    labels: list[str],
    dates: NDArray[np.datetime64],
    symbols: NDArray[np.str_],
) -> pd.DataFrame:
    """The forecasts (num_dates, num_symbols, num_labels) of each model that are finite, as the long frame."""
    every = np.stack([np.moveaxis(values, 2, 0) for values in forecasts.values()])
    model, label, date, symbol = np.nonzero(np.isfinite(every))

    def named(names: Any, code: NDArray[np.integer]) -> Any:
        """Names taken from a column of all of them: a column made of each name anew would be most of the work."""
        return pd.Series(np.asarray(names, dtype=object)).array.take(code)

    return pd.DataFrame(
        {
            "timestamp": dates[date],
            "symbol": named(symbols, symbol),
            "label": named(labels, label),
            "model": named(list(forecasts), model),
            "prediction": every[model, label, date, symbol],
        }
    )
