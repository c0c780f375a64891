"""Stamps that arrive as arrays or columns of a frame: the rule of the readers for whoever has read elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def as_stamps(values: Any, name: str) -> NDArray[np.datetime64]:
    """Return stamps as datetime64[ns]: the wall clock of the one zone that all are in, or of none.

    Raises
    ------
    ValueError for numbers (20240102 and 1704153600 would be moments of 1970), for a missing stamp, for stamps with and
    without a zone or of two zones side by side, for text that is not ISO 8601, and for years that nanoseconds do not
    reach
    """
    given = np.asarray(values) if isinstance(values, list | tuple) else values
    if isinstance(given, np.ndarray) and given.dtype.kind == "M":
        index = pd.DatetimeIndex(given)
    else:
        index = _parsed(pd.Index(given), name)
    if index.hasnans:
        raise ValueError(f"{name} is missing in row {int(np.flatnonzero(index.isna())[0]) + 1}")
    try:
        return index.tz_localize(None).as_unit("ns").to_numpy()
    except (OverflowError, pd.errors.OutOfBoundsDatetime) as error:
        raise ValueError(f"{name} must lie in the years 1678 to 2261 ({error})") from None


def _parsed(index: pd.Index, name: str) -> pd.DatetimeIndex:
    kind = pd.api.types.infer_dtype(index)
    if len(index) and ("integer" in kind or kind in ("floating", "boolean", "decimal", "complex")):
        raise ValueError(
            f"{name} are numbers, as {index[0]!r}: numbers are no dates until it is said what they count, as "
            "pd.to_datetime(values, unit='ms', utc=True) or pd.to_datetime(values, format='%Y%m%d')"
        )
    try:
        return pd.DatetimeIndex(pd.to_datetime(index, format="ISO8601"))
    except (ValueError, TypeError, pd.errors.OutOfBoundsDatetime) as error:
        raise ValueError(f"{name} must be ISO 8601 or stamps of one zone, or of none ({error})") from None
