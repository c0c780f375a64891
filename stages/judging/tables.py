"""Tables of a judged model: series per date, means per fold and quantile, floors with their distance."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import write_parquet
from factor_metrics import evaluation_by_date, evaluation_by_fold, to_json_safe
from factor_metrics.report import FloorRow, Subject
from stages.json_files import write_json
from stages.judging.pages import Books, StackedLabel, forecasts


def per_fold(subjects: Sequence[Subject], fold_of_date: NDArray[np.integer]) -> pd.DataFrame:
    """One row per label and fold; `name` tells them apart in a plot."""
    tables = [evaluation_by_fold(one.judged, one.dates, fold_of_date, label=one.label) for one in subjects]
    table = pd.concat(tables)
    names = [f"{label} fold {fold}" for label, fold in zip(table["label"], table["fold"], strict=True)]
    return table.assign(name=names)


def scored_symbols(prediction: NDArray, outcome: NDArray, symbols: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return a digest of the symbols that each date scores, by which two runs know whether they scored the same.

    `prediction` and `outcome` are (num_dates, num_symbols), NaN = missing. It is the sum of the symbols' own digests
    (the first eight bytes of sha256, wrapping around), so their order and those that are not scored play no part.
    """
    scored = np.isfinite(prediction) & np.isfinite(outcome)
    digests = [hashlib.sha256(symbol.encode()).digest()[:8] for symbol in symbols.tolist()]
    words = np.array([int.from_bytes(digest, "big", signed=True) for digest in digests], dtype=np.int64)
    return np.where(scored, words, 0).sum(axis=1, dtype=np.int64)


def write_series(
    subjects: Sequence[Subject],
    scored: Mapping[str, NDArray[np.int64]],
    books: Books,
    folder: Path,
    equal: Mapping[str, NDArray[np.float64]] | None = None,
) -> None:
    """ic.parquet: a row per date and label; beside the evaluation what two runs are compared by.

    The rank IC of the best floor, what `scored_symbols` says, the book's return of the date after costs (NaN before its
    first trade, and without a book), and of a stack `equal`, the rank IC of its models with equal weights.
    """
    frames = []
    for one in subjects:
        frame = evaluation_by_date(one.judged, one.dates, label=one.label, overlap=one.overlap)
        floor = one.floors[one.best_floor].rank_ic
        frame = frame.assign(floor=one.best_floor, floor_rank_ic=floor, symbols=scored[one.label])
        frame["net_return"] = net_returns(books, one.label, one.dates)
        if equal is not None:
            frame["equal_rank_ic"] = equal[one.label]
        frames.append(frame)
    write_parquet(folder / "ic.parquet", pd.concat(frames))


def net_returns(books: Books, label: str, dates: NDArray[np.datetime64]) -> NDArray[np.float64]:
    """Return the book's return after costs of each date (num_dates,); NaN where it has none."""
    book = books.found.get(label)
    if book is None:
        return np.full(len(dates), np.nan)
    equity = np.concatenate([[1.0], book.net])
    earned = pd.Series(equity[1:] / equity[:-1] - 1.0, index=book.dates)
    return np.asarray(earned.reindex(dates), dtype=np.float64)


def write_tables(subjects: Sequence[Subject], rows: Sequence[FloorRow], folder: Path) -> None:
    """rank_ic.csv, quantiles.csv and floors.json."""
    write_curve(subjects[0], folder / "rank_ic.csv")
    means = [
        (one.label, f"{one.label} q{quantile + 1}", value)
        for one in subjects
        for quantile, value in enumerate(mean_of_columns(one.judged.quantile_returns))
    ]
    table = pd.DataFrame(means, columns=["label", "quantile", "mean_return"])
    table.to_csv(folder / "quantiles.csv", index=False)
    beside = {(row.label, row.floor): row for row in rows}
    floors = {
        one.label: {
            floor: {**judged.scores().to_dict(), **beside[one.label, floor].to_difference()}
            for floor, judged in one.floors.items()
        }
        for one in subjects
    }
    write_json(folder / "floors.json", to_json_safe(floors))


def mean_of_columns(values: NDArray) -> NDArray:
    """Return the mean of each column over what is defined; NaN where nothing is."""
    means = np.full(values.shape[1], np.nan)
    some = np.isfinite(values).any(axis=0)
    means[some] = np.nanmean(values[:, some], axis=0)
    return means


def write_curve(subject: Subject, path: Path) -> None:
    """Rank IC per date of a subject, and its running sum."""
    frame = evaluation_by_date(subject.judged, subject.dates, label=subject.label, overlap=subject.overlap)
    frame[["timestamp", "rank_ic", "cumulative_rank_ic"]].to_csv(path, index=False)


def write_stack_bars(labels: Sequence[StackedLabel], path: Path) -> None:
    """Mean rank IC of the stack and of each model, a row per label and forecast."""
    rows = [
        (f"{one.subject.label} {name}", judged.scores().rank_ic)
        for one in labels
        for name, judged in forecasts(one).items()
    ]
    pd.DataFrame(rows, columns=["model", "rank_ic"]).to_csv(path, index=False)
