"""Files of the ledger as they are read: remotes bring them, so each is held against the form in which they are written.

What has another form is a ValueError that names the rule; the ledger names the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_experiments.series import Series

UNIT = 1e-5
"""In which rank ICs are kept, as whole numbers."""
LARGEST_OVERLAP = 1_000_000


def parsed(content: bytes | None) -> Any:
    """Return the document of a file."""
    try:
        return json.loads(content or b"")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON ({type(error).__name__})") from error


def of_form(content: bytes | None, texts: tuple[str, ...], perhaps: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the mapping of a file: `texts` are printable, `perhaps` are that, null or missing."""
    document = parsed(content)
    if not isinstance(document, dict):
        raise ValueError("must be an object")
    for key in texts:
        _check(_is_text(document.get(key)), key, "text that can be printed")
    for key in perhaps:
        _check(document.get(key) is None or _is_text(document[key]), key, "text that can be printed, or null")
    return document


def trial_document(content: bytes | None) -> dict[str, Any]:
    """Return the document of a trial, without a look at its series."""
    document = of_form(content, ("name", "table", "time"), ("commit", "experiment"))
    for key in ("settings", "labels"):
        _check(isinstance(document.get(key), dict | None), key, "an object or null")
    seconds = document.get("cpu_seconds")
    _check(seconds is None or (_is_number(seconds) and np.isfinite(seconds)), "cpu_seconds", "a number or null")
    return document


def verdict_document(content: bytes | None) -> dict[str, Any]:
    """Return the document of a verdict."""
    document = of_form(content, ("time", "label"))
    dates = document.get("dates")
    _check(isinstance(dates, list) and len(dates) in (0, 2) and all(map(_is_text, dates)), "dates", "two texts or none")
    return document


def dates_of(values: Any) -> NDArray[np.datetime64]:
    """Return the dates of a list, which are in order, each once."""
    _check(isinstance(values, list) and all(isinstance(one, str) for one in values), "dates", "a list of texts")
    try:
        dates = np.array(values, dtype="datetime64[s]")  # in nanoseconds a far year would come out as another one
    except ValueError:
        raise ValueError("dates: must be ISO 8601") from None
    _check(not np.isnat(dates).any() and bool((dates[1:] > dates[:-1]).all()), "dates", "in order, each once")
    _check(bool((np.abs(dates.astype("datetime64[Y]").astype(int)) < 200).all()), "dates", "from 1770 to 2170")
    return dates.astype("datetime64[ns]")


def trial_id(name: str, table: str) -> str:
    """Return the digest by which the ledger names the trial of a forecast and the md5 of its table."""
    return hashlib.sha256(f"{name} {table}".encode()).hexdigest()[:32]


def list_id(content: bytes) -> str:
    """Return the digest by which the ledger names a list that trials share."""
    return hashlib.sha256(content).hexdigest()[:32]


def all_series(
    document: Mapping[str, Any], lists: Mapping[str, Any], dates: dict[str, NDArray[np.datetime64]]
) -> dict[str, Series] | None:
    """Return the series of a trial by label, None where it has none; what has been read of `dates` is kept there."""
    if document.get("labels") is None:
        return None
    series: dict[str, Series] = {}
    for label, one in document["labels"].items():
        listed = one.get("dates") if isinstance(one, dict) else None
        if not isinstance(listed, str) or listed not in lists or not label.isprintable():
            raise ValueError(f"labels.{label!r}: must be printable, and an object whose dates are a list of the ledger")
        if listed not in dates:
            dates[listed] = dates_of(lists[listed])
        series[label] = series_of(one, lists, dates[listed])
    return series


def series_of(one: Any, lists: Mapping[str, Any], dates: NDArray[np.datetime64]) -> Series:
    """Return the series of a label over its dates."""
    overlap, name, floor = one.get("overlap"), one.get("floor"), one.get("floor_rank_ic")
    fine = isinstance(overlap, int) and not isinstance(overlap, bool) and 1 <= overlap <= LARGEST_OVERLAP
    _check(fine, "overlap", f"a whole number in [1, {LARGEST_OVERLAP:,}]")
    _check(name is None or _is_text(name), "floor", "text that can be printed, or null")
    return Series(
        dates=dates,
        overlap=overlap,
        rank_ic=_rank_ics(one.get("rank_ic"), len(dates)),
        floor=name,
        floor_rank_ic=None if floor is None else _rank_ics(lists.get(str(floor)), len(dates)),
    )


def _rank_ics(values: Any, num_dates: int) -> NDArray[np.float64]:
    _check(isinstance(values, list) and len(values) == num_dates, "rank_ic", "a list with a number per date")
    most = round(1.0 / UNIT)
    fine = all(
        one is None or (isinstance(one, int) and not isinstance(one, bool) and abs(one) <= most) for one in values
    )
    _check(fine, "rank_ic", f"whole numbers in [-{most:,}, {most:,}], or null")
    return np.array([np.nan if one is None else one * UNIT for one in values], dtype=np.float64)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != "" and value.isprintable()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check(holds: bool, key: str, rule: str) -> None:
    if not holds:
        raise ValueError(f"{key}: must be {rule}")
