"""Lengths that the dates of the data cannot meet, found before any work: folds, look-backs, histories, windows.

The dates are those of the simulated market, or of the files in data/; more bars than `MOST_BARS` are not read for it,
and data that are not there yet cannot be. Cleaning takes dates away and adds none, so what is refused here could not
run; split holds folds and look-backs against the dates that are left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from factor_data import Expression, Fold, make_folds
from factor_data.parquet import VERIFIED
from factor_data.simulate.bars import calendar
from stages.history import check_history
from stages.params.reading import Params
from stages.running.stage import StageError

BARS, MARKET = Path("data") / "bars", Path("simulated")
MOST_BARS = 5_000_000
Dates = NDArray[np.datetime64]


def check_lengths(params: Params) -> None:
    """StageError naming the key of the first length that the dates of the data cannot meet."""
    dates = dates_of(params)
    if dates is None:
        return
    try:
        folds = make_folds(dates, params.split.folds, reach=params.tokenize.reach)
    except ValueError as error:
        raise StageError(f"params.yaml: split.folds: {error}, and the data have {len(dates):,} dates") from None
    check_expressions(params.tokenize.expressions, len(dates))
    check_history(folds, dates, list(needed(params)))
    check_kline_windows(params, folds)


def dates_of(params: Params) -> Dates | None:
    """(num_dates,) of the data, sorted; None where they are not there, or too many to look at."""
    if MARKET.is_dir():
        return calendar(params.sample)
    files = sorted(BARS.glob("*.parquet"))
    try:
        if not files or sum(pq.read_metadata(file).num_rows for file in files) > MOST_BARS:
            return None
        stamps = [pq.read_table(file, columns=["timestamp"], **VERIFIED)["timestamp"] for file in files]
    except (pa.ArrowInvalid, OSError, KeyError):  # split says what is wrong with them
        return None
    return np.unique(np.concatenate([one.to_numpy().astype("datetime64[ns]") for one in stamps]))


def check_expressions(expressions: Mapping[str, str], num_dates: int) -> None:
    """Refuse an expression that looks at more bars than any symbol can have: it would be known nowhere."""
    for name, text in expressions.items():
        if (bars := Expression(text).bars) > num_dates:
            raise StageError(
                f"params.yaml: tokenize.expressions.{name}: looks at {bars:,} bars, and the data have "
                f"{num_dates:,} dates"
            )


def needed(params: Params) -> Iterator[tuple[str, int]]:
    """(key, bars of its symbol that a training sample needs up to its date) of all settings that ask for some."""
    if params.split.clean.action("short_history") == "mask":
        yield "split.clean.min_history", params.split.clean.min_history
    for name in params.models:
        lookback = getattr(params.zoo[name].settings, "lookback", None)
        if isinstance(lookback, int):
            yield f"zoo.{name}.lookback", lookback


def check_kline_windows(params: Params, folds: Sequence[Fold]) -> None:
    """Refuse windows, which lie wholly on training dates of their fold, that are longer than these."""
    lookback, reach = params.tokenize_kline.lookback, params.tokenize.reach
    for fold in folds:
        if params.kline_models and lookback + reach > len(fold.train):
            raise StageError(
                f"params.yaml: tokenize_kline.lookback: {lookback:,} bars and the {reach} up to the exit of the "
                f"farthest label must be at most {len(fold.train):,}, the training dates of fold {fold.index}"
            )
