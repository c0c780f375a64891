"""Canary of a bundle: what the members read on the last test date, and what they and the stack forecast from it.

Whoever holds the bundle can forecast that date again, without any bars, and compare. Rows are the last bars of each
symbol up to the date, as many as the longest window of a member, sorted as in a panel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import FeatureStore, Fold, Panel, write_parquet
from factor_models.kline import COLUMNS
from stages.json_files import read_json
from stages.predictions import OutOfFold

ADJUSTED = COLUMNS[:-1]


class Stacked(Protocol):
    """A stack of one label, (num_dates, num_symbols)."""

    @property
    def dates(self) -> NDArray[np.datetime64]:
        """Return the dates of the rows."""

    @property
    def prediction(self) -> NDArray[np.float64]:
        """Return the predictions, NaN where there is none."""


def write_canary(
    store: FeatureStore,
    panel: Panel,
    models: Mapping[str, OutOfFold],
    kinds: Mapping[str, str],
    stacks: Mapping[str, Stacked],
    fold: Fold,
    saved: Path,
    folder: Path,
) -> None:
    """Write the arrays that the members read, an .npy each, and forecasts.parquet with what came out.

    Parameters
    ----------
    kinds : per model "last_bar", "features", "tokens" or "kline"
    saved : folder of the bundle's models, whose configuration tells how far back each looks
    """
    folder.mkdir()
    date = min(oof.dates("test")[-1] for oof in models.values())
    lookbacks = {name: lookback_of(saved / name, kind) for name, kind in kinds.items()}
    rows = last_rows(panel, date, {name: lookbacks[name] for name in models}, kinds)
    number = fold.index
    arrays: dict[str, NDArray[Any]] = {
        "symbols": store.symbols,
        "dates": store.dates[: int(np.searchsorted(store.dates, date)) + 1].astype("datetime64[ns]").astype(np.int64),
        "symbol_code": store.symbol_code[rows],
        "date_code": store.date_code[rows],
        "in_universe": store.in_universe[rows],
    }
    if set(kinds.values()) & {"last_bar", "features"}:
        arrays["inputs"] = store.inputs(number)[rows]
    if "tokens" in kinds.values():
        arrays["tokens"] = store.tokens(number)[rows]
    if "kline" in kinds.values():
        arrays |= {f"kline_{name}": values[rows] for name, values in kline_columns(panel).items()}
    documents = store.documents(number)
    if documents is not None:
        arrays |= documents_of(np.asarray(documents.vectors), np.asarray(documents.bounds), rows)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(values), allow_pickle=False)
    write_parquet(folder / "forecasts.parquet", forecasts_on(date, models, stacks, store))


def lookback_of(folder: Path, kind: str) -> int:
    """Bars of a window of the model in a folder."""
    if kind == "kline":
        return int(read_json(folder / "metadata.json")["window"]["lookback"])
    config = read_json(folder / "config.json")
    return int(config.get("lookback", 1)) if kind != "last_bar" else 1


def last_rows(
    panel: Panel, date: np.datetime64, lookbacks: Mapping[str, int], kinds: Mapping[str, str]
) -> NDArray[np.int64]:
    """Rows of the panel up to the date from which every member forecasts it, ascending.

    A K-line model counts bars that are complete, so more rows may be needed for as many of them.
    """
    length = max(lookbacks.values())
    bars = max((lookbacks[name] for name, kind in kinds.items() if kind == "kline"), default=0)
    complete = np.ones(panel.num_rows, dtype=bool)
    for values in kline_columns(panel).values():
        complete &= np.isfinite(values)
    last = int(np.searchsorted(panel.dates, date))
    kept = []
    for first, behind in zip(panel.starts[:-1].tolist(), panel.starts[1:].tolist(), strict=True):
        end = first + int(np.searchsorted(panel.date_code[first:behind], last, side="right"))
        whole = first + np.flatnonzero(complete[first:end])
        start = min(end - length, int(whole[-bars]) if 0 < bars <= len(whole) else end)
        kept.append(np.arange(max(first, start), end))
    return np.concatenate(kept)


def kline_columns(panel: Panel) -> dict[str, NDArray[np.float64]]:
    """The columns that K-line models read, in adjusted units; the amount where it is known."""
    columns = {name: panel.adjusted(name) for name in ADJUSTED}
    return columns | ({"amount": panel.columns["amount"]} if "amount" in panel.columns else {})


def documents_of(
    vectors: NDArray[np.float32], bounds: NDArray[np.int64], rows: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """The documents that some rows know, and which of them each row knows."""
    known = np.zeros(len(vectors) + 1, dtype=np.int64)
    np.add.at(known, bounds[rows, 0], 1)
    np.add.at(known, bounds[rows, 1], -1)
    used = np.cumsum(known)[:-1] > 0
    place = np.r_[0, np.cumsum(used)]
    return {"documents": vectors[used], "document_rows": place[bounds[rows]]}


def forecasts_on(
    date: np.datetime64, models: Mapping[str, OutOfFold], stacks: Mapping[str, Stacked], store: FeatureStore
) -> pd.DataFrame:
    """Forecasts of members and stack on a date: model, symbol, label, prediction (float32), by model and label."""
    frames = [of_model(name, oof.frame, date) for name, oof in models.items()]
    for label, stack in stacks.items():
        at = np.flatnonzero(stack.dates == date)
        values = stack.prediction[at[0]] if len(at) else np.full(len(store.symbols), np.nan)
        known = np.flatnonzero(np.isfinite(values))
        frames.append(long_frame("stack", store.symbols[known], [label] * len(known), values[known]))
    return pd.concat(frames, ignore_index=True)


def of_model(name: str, frame: pd.DataFrame, date: np.datetime64) -> pd.DataFrame:
    """The test forecasts of a model on a date."""
    mine = frame[(frame["segment"] == "test") & (frame["timestamp"] == date)]
    return long_frame(name, mine["symbol"].astype(str), mine["label"].astype(str), mine["prediction"].to_numpy())


def long_frame(name: str, symbols: Any, labels: Sequence[str] | pd.Series, values: NDArray) -> pd.DataFrame:
    """One model's rows, plain text in the columns of names."""
    return pd.DataFrame(
        {
            "model": name,
            "symbol": np.asarray(symbols, dtype=object),
            "label": np.asarray(labels, dtype=object),
            "prediction": np.asarray(values, dtype=np.float32),
        }
    )
