"""Times of day of a column: since midnight, each different one once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from factor_data.reading.place import Place
from factor_data.reading.stamps import is_text

CLOCK = r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?"
NANOSECONDS = (3_600_000_000_000, 60_000_000_000, 1_000_000_000)  # of hour, minute, second


def time_of_day(
    place: Place, column: pa.ChunkedArray
) -> tuple[NDArray[np.timedelta64], NDArray[np.int64], NDArray[np.object_]]:
    """Return the different times since midnight, which row has which, and how they are written."""
    if column.null_count:
        place.refuse("time is missing in", np.asarray(column.is_null()))
    kind = column.type
    if not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_time(kind)):
        place.refuse(f"time has type {kind}; give HH:MM:SS text, a time type or HHMMSS")
    encoded = column.combine_chunks().dictionary_encode()
    code = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    if pa.types.is_time(kind):
        ticks = pc.cast(encoded.dictionary, pa.time64("ns")).cast(pa.int64()).to_numpy()
        return ticks.astype("timedelta64[ns]"), code, encoded.dictionary.cast(pa.string()).to_numpy(False)
    written = np.array([str(value) for value in encoded.dictionary.to_pylist()], dtype=object)
    text = pd.Series(written)
    if pa.types.is_integer(kind) or text.str.fullmatch(r"\d{1,6}").all():
        text = text.str.zfill(6).str.replace(r"^(\d\d)(\d\d)(\d\d)$", r"\1:\2:\3", regex=True)
    parts = text.str.extract(f"^{CLOCK}$")
    clock = [pd.to_numeric(parts[i]).fillna(0).to_numpy(np.int64) for i in range(3)]
    wrong = parts[0].isna().to_numpy() | (clock[0] > 23) | (clock[1] > 59) | (clock[2] > 59)
    if wrong.any():
        place.refuse("time is not HH:MM:SS (or the whole number HHMMSS) in", wrong[code], written[code])
    fraction = parts[3].fillna("0").str.ljust(9, "0").astype(np.int64).to_numpy()
    total = sum(part * scale for part, scale in zip(clock, NANOSECONDS, strict=True)) + fraction
    return total.astype("timedelta64[ns]"), code, written
