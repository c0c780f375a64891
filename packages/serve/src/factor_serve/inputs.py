"""From raw bars and news to what members read: the same functions, in the same order, as the DAG runs them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import UNIVERSE, FeaturePlan, Panel, clean_bars, plan_features
from factor_models.kline import COLUMNS
from factor_serve.averages import averages_of
from factor_serve.bundle import Bundle
from factor_serve.rows import Rows
from factor_serve.sorted_rows import from_end

ADJUSTED = COLUMNS[:-1]


def with_columns(bundle: Bundle, panel: Panel) -> Panel:
    """Return raw bars with the columns that the bundle was made from, in its order; others are left out.

    ValueError naming a column that the bars lack.
    """
    wanted: list[str] = bundle.manifest["columns"]
    if missing := [name for name in wanted if name not in panel.columns]:
        raise ValueError(
            f"the bars have no column {missing[0]!r}, which the bundle was made from; they have {list(panel.columns)}"
        )
    kept = [*wanted, *([UNIVERSE] if UNIVERSE in panel.columns else [])]
    return replace(panel, columns={name: panel.columns[name] for name in kept})


def clean(bundle: Bundle, panel: Panel) -> Panel:
    """Return raw bars cleaned by the bundle's rules, with the column `in_universe`."""
    return clean_bars(with_columns(bundle, panel), bundle.clean_rules)[0]


def feature_plan(bundle: Bundle, panel: Panel) -> FeaturePlan:
    """Return the features that the members read; ValueError where these bars give others."""
    features = bundle.manifest["features"]
    plan = plan_features(tuple(features["names"]) or None, panel.symbols, bundle.own, tuple(bundle.manifest["columns"]))
    if list(plan.names) != features["computed"]:
        differing = sorted(set(plan.names) ^ set(features["computed"]))
        said = f"first {differing[0]}" if differing else "in another order"
        raise ValueError(f"the bars give other features than the bundle was made with, {said}")
    return plan


def rows_of(
    bundle: Bundle,
    panel: Panel,
    news: pd.DataFrame | None = None,
    threads: int | None = None,
    read: NDArray[np.bool_] | None = None,
) -> Rows:
    """Return what members read of every bar of a cleaned panel.

    Parameters
    ----------
    panel : cleaned bars, the whole history that features and windows look back on
    news : documents (timestamp, symbol, text), as from `read_news`; needed where the bundle reads news, else not looked
        at
    threads : symbols that are computed at a time; None: one per CPU
    read : (num_rows,) rows that members will read: averages over a long memory are missing at the others; None: all

    Raises
    ------
    ValueError : features that the bundle does not have, or no news where it reads some
    """
    plan = feature_plan(bundle, panel)
    matrices = [plan.values(panel, threads) if read is None else _values_at(plan, panel, read, threads)]
    documents = None
    if bundle.scorer is not None:
        if news is None:
            raise ValueError("the bundle reads news: give them, or an empty frame where there were none")
        matrices.append(bundle.scorer.transform(news, panel).values)
        if bundle.vectoriser is not None:
            matrices.append(bundle.vectoriser.transform(news, panel).values)
            if bundle.vectoriser.config.documents_per_bar:
                documents = bundle.vectoriser.documents(news, panel)
    inputs = normalised(bundle, np.hstack(matrices) if len(matrices) > 1 else matrices[0], panel.date_code)
    return Rows(
        symbols=panel.symbols,
        dates=panel.dates,
        symbol_code=panel.symbol_code,
        date_code=panel.date_code,
        in_universe=panel.in_universe,
        inputs=inputs,
        tokens=bundle.tokenizer.transform(inputs),
        kline=kline_columns(panel) if any(member.kind == "kline" for member in bundle.members.values()) else {},
        documents=documents,
    )


def read_for(bundle: Bundle, panel: Panel, code: int) -> NDArray[np.bool_]:
    """(num_rows,) the rows of dates that lie in a window which ends on one date: inputs are ranks of whole dates."""
    known = panel.date_code <= code
    length = max((one.lookback for one in bundle.members.values() if one.kind != "kline"), default=1)
    forecast = np.isin(panel.symbol_code, panel.symbol_code[panel.date_code == code])
    in_window = known & forecast & (from_end(panel.symbol_code, known) <= length)
    return known & np.isin(panel.date_code, panel.date_code[in_window])


def _values_at(plan: FeaturePlan, panel: Panel, read: NDArray[np.bool_], threads: int | None) -> NDArray[np.float32]:
    """The features of a panel; averages over a long memory, which take most of the time, only where they are read."""
    if (averages := averages_of(plan)) is None:
        return plan.values(panel, threads)
    others = [place for place in range(len(plan.symbol_names)) if place not in averages.places]
    names = tuple(plan.symbol_names[place] for place in others)
    values = np.full((panel.num_rows, len(plan.symbol_names)), np.nan, dtype=np.float32)
    part = replace(plan, names=names, symbol_names=names, date_features={})
    values[:, others] = part.symbol_values(panel, threads)
    values[np.ix_(np.flatnonzero(read), np.array(averages.places))] = averages.at(plan, panel, read)
    in_universe = panel.in_universe if plan.date_features else None
    return plan.all_values(values, panel.date_code, panel.symbol_code, in_universe)


def normalised(bundle: Bundle, values: NDArray[np.float32], date_code: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return inputs on the scale of the members, (num_rows, num_inputs); unknown on training rows: missing."""
    inputs = bundle.normaliser.transform(values, date_code)
    unknown = np.isin(bundle.normaliser.names, bundle.manifest["unknown_inputs"])
    inputs[:, unknown] = np.nan
    return inputs


def kline_columns(panel: Panel) -> dict[str, NDArray[np.float64]]:
    """The columns that K-line models read, in adjusted units; the amount where it is known."""
    columns = {name: panel.adjusted(name) for name in ADJUSTED}
    return columns | ({"amount": panel.columns["amount"]} if "amount" in panel.columns else {})
