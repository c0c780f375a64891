"""What a log is told: forecasts of new dates with what they were made of, and labels of dates gone by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import Label, Panel, clean_bars, label_values
from factor_serve.bundle import Bundle
from factor_serve.forecasts import ALL, STACK, forecast_rows
from factor_serve.inputs import rows_of, with_columns
from factor_serve.rows import Rows
from factor_serve.shadow.log import FORECASTS, LABELS, Log


@dataclass(frozen=True, kw_only=True, eq=False)
class Observed:
    """Cleaned bars with what members read of them."""

    bundle: Bundle
    panel: Panel
    """Cleaned, with the columns of the bundle and those that labels are made of besides."""
    rows: Rows


def observe(bundle: Bundle, panel: Panel, news: pd.DataFrame | None) -> Observed:
    """Return raw bars cleaned and computed, as for a forecast; columns that labels need besides are kept."""
    wanted = with_columns(bundle, panel)
    besides = {name for label in bundle.labels.values() for name in label.columns}
    kept = {name: values for name, values in panel.columns.items() if name in wanted.columns or name in besides}
    cleaned = clean_bars(replace(wanted, columns={**wanted.columns, **kept}), bundle.clean_rules)[0]
    return Observed(bundle=bundle, panel=cleaned, rows=rows_of(bundle, with_columns(bundle, cleaned), news))


def deciles_of(bundle: Bundle) -> dict[str, NDArray[np.float64]]:
    """Deciles of each input on training rows, (9,); NaN of one that was never known there."""
    reference = bundle.reference["inputs"]
    return {name: np.array([np.nan if x is None else x for x in one["deciles"]]) for name, one in reference.items()}


def forecast_records(seen: Observed, dates: NDArray[np.datetime64]) -> list[dict[str, Any]]:
    """Return a record for each date: the stack by symbol, members and inputs in figures.

    Dates of which cleaning has left no bar have none.
    """
    codes = np.flatnonzero(np.isin(seen.rows.dates, dates))
    edges = deciles_of(seen.bundle)
    return [_record(seen, int(code), edges) for code in codes if seen.rows.on(np.array([code])).any()]


def _record(seen: Observed, code: int, edges: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    bundle, rows = seen.bundle, seen.rows
    frame = forecast_rows(bundle, rows, np.array([code]), ALL)
    universe = rows.on(np.array([code]))
    symbols = rows.symbols[rows.symbol_code[universe]].tolist()
    stack = frame[frame["model"] == STACK].set_index(["label", "symbol"])["prediction"]
    models: dict[str, dict[str, list[Any]]] = {}
    for (model, label), values in frame.groupby(["model", "label"])["prediction"]:
        models.setdefault(str(model), {})[str(label)] = [len(values), float(values.to_numpy(np.float64).std())]
    return {
        "kind": FORECASTS,
        "date": str(np.datetime_as_string(rows.dates[code], unit="s")),
        "bundle": bundle.identity,
        "symbols": symbols,
        "labels": [[name, label.overlap] for name, label in bundle.labels.items()],
        "forecasts": {
            label: [_short(stack.get((label, symbol), np.nan)) for symbol in symbols] for label in bundle.labels
        },
        "models": {name: models.get(name, {}) for name in (*bundle.members, STACK)},
        "inputs": input_tenths(bundle, rows, universe, edges),
    }


def input_tenths(
    bundle: Bundle, rows: Rows, chosen: NDArray[np.bool_], edges: Mapping[str, NDArray[np.float64]]
) -> dict[str, list[float]]:
    """Return per input how many values of some rows lie in each tenth of its training rows, and how many are missing.

    `chosen` is (num_rows,), `edges` come from `deciles_of`.
    """
    assert rows.inputs is not None
    values = rows.inputs[chosen]
    return {
        name: tenths(values[:, column], edges[name]).tolist() for column, name in enumerate(bundle.manifest["inputs"])
    }


def tenths(values: NDArray[np.floating], deciles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how many values lie in each tenth of the reference, and how many are missing, (11,).

    A value that is several deciles at once, as the 0 of a flag, counts in all the tenths that it fills, in equal parts.
    """
    counts = np.zeros(len(deciles) + 2)
    known = values[np.isfinite(values)].astype(np.float64)
    counts[-1] = len(values) - len(known)
    if not np.isfinite(deciles).all():
        counts[0] = len(known)
        return counts
    first, last = (np.searchsorted(deciles, known, side=side) for side in ("left", "right"))
    inside = first == last
    counts[:-1] += np.bincount(first[inside], minlength=len(counts) - 1)
    for low, high in zip(first[~inside].tolist(), last[~inside].tolist(), strict=True):
        counts[low : high + 1] += 1.0 / (high + 1 - low)
    return np.round(counts, 3)


def label_records(seen: Observed, log: Log) -> list[dict[str, Any]]:
    """Return a record for each label of a logged date that is known now and was not; what is logged stays."""
    dates = np.array(log.dates, dtype="datetime64[ns]")
    records = []
    for name, label in seen.bundle.labels.items():
        if not _can_be_known(seen.panel, label):
            continue
        values = label_values(seen.panel, label)
        for date in dates[[(name, stamp) not in log.labels for stamp in log.dates]]:
            rows = (seen.panel.timestamp == date) & seen.panel.in_universe
            if rows.any() and _is_over(seen.panel, rows, label):
                known = rows & np.isfinite(values)
                records.append(
                    {
                        "kind": LABELS,
                        "date": str(np.datetime_as_string(date, unit="s")),
                        "label": name,
                        "symbols": seen.panel.symbol[known].tolist(),
                        "values": values[known].tolist(),
                    }
                )
    return records


def unknowable(seen: Observed) -> Sequence[str]:
    """Labels made of a column that these bars have not."""
    return [name for name, label in seen.bundle.labels.items() if not _can_be_known(seen.panel, label)]


def _can_be_known(panel: Panel, label: Label) -> bool:
    return all(name in panel.columns for name in label.columns)


def _is_over(panel: Panel, rows: NDArray[np.bool_], label: Label) -> bool:
    """Return whether the calendar has come to the end of these rows' labels, each on that of its market."""
    ahead = panel.markets.ahead(label.ahead)[panel.markets.code[panel.symbol_code[rows]], panel.date_code[rows]]
    return bool((ahead >= 0).all())


def _short(value: float) -> float | None:
    """Return a float32 with the digits that give it back; None for a missing one."""
    return float(f"{value:.9g}") if np.isfinite(value) else None
