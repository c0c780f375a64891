"""Frames and stamps of pandas, polars and pyarrow: read by what they share, given back as the kind that came in.

None of the last two is imported but by who passed its objects: they are no dependency of this package.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def library(value: Any) -> str:
    """Return the name of the library that a value comes from, such as "polars"."""
    return type(value).__module__.partition(".")[0]


def column_names(frame: Any) -> list[Hashable]:
    """Return the names of the columns of a frame of any of the three libraries; TypeError for what is no frame."""
    is_lazy, is_arrow = hasattr(frame, "collect"), library(frame) == "pyarrow"
    names = None if is_lazy else getattr(frame, "column_names" if is_arrow else "columns", None)
    if names is None:
        lazy = "; collect() it first" if is_lazy else ""
        kind = f"{type(frame).__module__}.{type(frame).__name__}"
        raise TypeError(f"bars must be a frame of pandas, polars or pyarrow, got {kind}{lazy}")
    return list(names)


def numbers(frame: Any, name: str) -> NDArray[np.float64]:
    """Return a column as float64, what is missing as NaN."""
    values = frame[name]
    if library(frame) == "pandas":
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(values, dtype=np.float64)


def stamp_index(stamps: Any) -> pd.Index:
    """Return stamps as an index of pandas, their zone kept."""
    if library(stamps) == "pyarrow":
        return pd.Index(stamps.to_pandas())
    if library(stamps) == "polars" and (zone := getattr(stamps.dtype, "time_zone", None)):
        return pd.DatetimeIndex(stamps.to_numpy()).tz_localize("UTC").tz_convert(zone)  # numpy has no zones: it is UTC
    return pd.Index(stamps.to_numpy() if library(stamps) == "polars" else stamps)


def like(given: Any, frame: pd.DataFrame) -> Any:
    """Return a frame as one of the library of `given`; where that has no index, the stamps are the first column."""
    if library(given) == "pandas":
        return frame
    stamps = pd.DatetimeIndex(frame.index)
    columns = {str(name): frame[name].to_numpy() for name in frame.columns}
    if library(given) == "pyarrow":
        import pyarrow as pa

        return pa.table({"timestamp": pa.Array.from_pandas(stamps), **columns})
    import polars

    clock = polars.Series("timestamp", stamps.tz_localize(None).to_numpy())
    zoned = clock if stamps.tz is None else clock.dt.replace_time_zone(str(stamps.tz))
    return polars.DataFrame([zoned, *(polars.Series(name, values) for name, values in columns.items())])
