"""Forecasts of a bundle as a long frame: of the stack, of its members, or of both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import Panel
from factor_serve.arrivals import panel_of
from factor_serve.bundle import Bundle
from factor_serve.ensemble import stack_of_date, stack_of_levels
from factor_serve.inputs import clean, read_for, rows_of, with_columns
from factor_serve.rows import Rows

STACK, ALL = "stack", "all"
Model = str | Mapping[str, str]
"""The stack, a member's name or "all"; or for each label the one of these that forecasts it."""
SHOWN = 5
"""Symbols that are named where there may be many."""
COLUMNS = ("timestamp", "symbol", "label", "model", "prediction")


def forecast(
    bundle: Bundle,
    panel: Panel,
    news: pd.DataFrame | None = None,
    dates: NDArray[np.datetime64] | None = None,
    model: Model = STACK,
) -> pd.DataFrame:
    """Return forecasts from raw bars.

    Parameters
    ----------
    panel : raw bars with all the history that features and windows look back on, as from `read_bars`
    news : documents, where the bundle reads news
    dates : dates of the bars, in any order; one that comes twice is forecast once; None: the last one
    model : "stack", a member's name, or "all" there are; or one of them for each label, as from `switched`

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
    model: Model,
) -> tuple[pd.DataFrame, Rows, NDArray[np.integer]]:
    """Return forecasts as `forecast` does, what members read, and the codes of the dates among its dates."""
    cleaned = clean(bundle, panel_of(with_columns(bundle, panel)))
    wanted = panel.dates[-1:] if dates is None else np.unique(np.asarray(dates, "datetime64[ns]"))
    if absent := [date for date in wanted if date not in panel.dates]:
        raise ValueError(f"the bars have no date {absent[0]!s:.19}; they go from {panel.dates[0]} to {panel.dates[-1]}")
    if absent := [date for date in wanted if date not in cleaned.dates]:
        raise ValueError(f"cleaning has left no bar of {absent[0]!s:.19}")
    codes = np.searchsorted(cleaned.dates, wanted)
    read = read_for(bundle, cleaned, int(codes[0])) if len(codes) == 1 else None
    rows = rows_of(bundle, cleaned, news, read=read)
    return forecast_rows(bundle, rows, codes, model), rows, codes


@dataclass(frozen=True, kw_only=True)
class Strangers:
    """Symbols that were not trained on, of forecasts by members that have learned a vector of each symbol.

    Such a member forecasts any other by its inputs alone: its id is 0, whose vector is zero.
    """

    symbols: tuple[str, ...]
    members: tuple[str, ...]
    """The members that know symbols."""

    def __str__(self) -> str:
        first = ", ".join(self.symbols[:SHOWN]) + (" ..." if len(self.symbols) > SHOWN else "")
        return (
            f"{len(self.symbols)} of the symbols were not trained on, {first}: {', '.join(self.members)} "
            f"{'forecasts' if len(self.members) == 1 else 'forecast'} them by their inputs alone"
        )


def strangers_of(bundle: Bundle, frame: pd.DataFrame) -> Strangers | None:
    """Return which symbols of forecasts the members have no vector for; None where there are none."""
    told = tuple(name for name, one in bundle.members.items() if one.knows_symbols)
    known = set(bundle.vocabulary.symbols)
    symbols = tuple(sorted({str(symbol) for symbol in frame["symbol"].unique()} - known))
    return Strangers(symbols=symbols, members=told) if told and symbols else None


def forecast_rows(bundle: Bundle, rows: Rows, codes: NDArray[np.integer], model: Model = STACK) -> pd.DataFrame:
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
    shown = {name: values for name, values in said.items() if _asked(bundle, model, name).any()}
    if not bundle.without_graph and (heads := _asked(bundle, model, STACK)).any():
        shown[STACK] = _stacked(bundle, said, shape, heads)
    for name, values in shown.items():
        values[:, :, ~_asked(bundle, model, name)] = np.nan
    return _frame(shown, list(bundle.labels), rows.dates[codes], rows.symbols)


def known_models(bundle: Bundle) -> list[str]:
    """Return the members, and the stack where every one of it can be asked."""
    return [*bundle.members, *([] if bundle.without_graph else [STACK])]


def members_for(bundle: Bundle, model: Model) -> Sequence[str]:
    """Members that have to forecast; ValueError for an unknown model."""
    asked = {model} if isinstance(model, str) else set(model.values())
    if unknown := sorted(asked - {STACK, ALL, *bundle.members}):
        raise ValueError(f"model {unknown[0]!r} must be stack, all or one of {', '.join(bundle.members)}")
    if STACK in asked and (missing := bundle.without_graph):
        raise ValueError(
            f"the export has no graph of {', '.join(missing)}, of which the stack is made: ask for all, or for one of "
            f"{', '.join(bundle.members)}"
        )
    return [name for name in bundle.members if name in asked or {STACK, ALL} & asked]


def switched(bundle: Bundle, ensemble: str) -> dict[str, str]:
    """Return for each label whether the stack forecasts it, or its best member.

    Parameters
    ----------
    ensemble : labels whose ensemble is switched on, with commas between them; "all", or "none". A label that is not
        named is forecast by the member whose rank IC was highest out of fold

    Raises
    ------
    ValueError : a label that the bundle has not
    """
    labels = list(bundle.labels)
    on = {"all": labels, "none": []}.get(ensemble, [one.strip() for one in ensemble.split(",")])
    if unknown := [name for name in on if name not in labels]:
        raise ValueError(f"ensemble: {unknown[0]!r} must be all, none, or labels of {', '.join(labels)}")
    return {label: STACK if label in on else best_member(bundle, label) for label in labels}


def best_member(bundle: Bundle, label: str) -> str:
    """Return the member whose rank IC of a label was highest out of fold, the first of several."""
    known = bundle.reference["rank_ic"][label]
    of_members = {name: known[name]["mean"] for name in bundle.members if name in known}
    return max(of_members, key=lambda name: -math.inf if of_members[name] is None else of_members[name])


def _asked(bundle: Bundle, model: Model, name: str) -> NDArray[np.bool_]:
    """(num_labels,) which labels are to be told as a model forecasts them."""
    return np.array([(model if isinstance(model, str) else model[label]) in (name, ALL) for label in bundle.labels])


def _stacked(
    bundle: Bundle, said: dict[str, NDArray[np.float32]], shape: tuple[int, int, int], heads: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The stack of the labels that `heads` (num_labels,) says."""
    result = np.full(shape, np.nan, dtype=np.float32)
    for head, label in enumerate(bundle.labels):
        if not heads[head]:
            continue
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
