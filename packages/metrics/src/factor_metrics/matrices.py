"""Frames of other libraries and long tables as matrices of dates by symbols, where an argument is a matrix.

A matrix may be given as a pandas frame of dates by symbols; as a wide or long frame of polars, pyarrow or what else
speaks Arrow's C stream interface; or long, as a pandas series or frame. Wide is a column of stamps and one of numbers
per symbol; long is a column of stamps, one of names and one of numbers, or a series with these two in its index. A cell
without a row is NaN. pandas, and pyarrow for the others, are imported where such a frame is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def is_foreign(value: object) -> bool:
    """Whether a value is a frame of another library than pandas, read through Arrow."""
    return _library(value) not in ("numpy", "pandas", "builtins") and hasattr(value, "__arrow_c_stream__") and (
        len(getattr(value, "shape", (0, 0))) == 2
    )  # fmt: skip


def is_long(value: object) -> bool:
    """Whether a value is a pandas series or frame with two levels in its index, or a frame with keys as columns."""
    index = getattr(value, "index", None) if _library(value) == "pandas" else None
    return getattr(index, "nlevels", 1) == 2 or is_keyed(value)


def is_keyed(value: object) -> bool:
    """Whether a value is a pandas frame with a column of stamps, so that its rows are not told apart by its index."""
    table: Any = value
    is_frame = _library(value) == "pandas" and getattr(table, "ndim", 1) == 2 and hasattr(table, "dtypes")
    return is_frame and any(kind.kind == "M" for kind in table.dtypes)


def _library(value: object) -> str:
    return type(value).__module__.partition(".")[0]


def as_wide(name: str, value: Any) -> Any:
    """Return a frame of dates by symbols for a foreign or long one, sorted by both; any other value as it is.

    Raises
    ------
    ValueError
        Keys are missing or come twice, there are several columns of stamps, or not one of numbers: named, with what is
        there.
    ModuleNotFoundError
        The frame needs pandas (and pyarrow), which are not installed.
    """
    if is_foreign(value):
        value = _from_arrow(name, value)
    elif not is_long(value):
        return value
    if getattr(value.index, "nlevels", 1) == 2:
        return _from_index(name, value)
    stamps = [column for column in value.columns if value.dtypes[column].kind == "M"]
    if not stamps:
        return value  # numbers alone: columns are named, dates are not
    if len(stamps) > 1:
        raise ValueError(f"{name} has {len(stamps)} columns of stamps, {stamps}: keep the one that dates its rows")
    table = value.set_index(stamps[0])
    texts = [column for column in table.columns if table.dtypes[column].kind not in "fiub"]
    if not texts:
        return _checked(name, table.sort_index())
    numbers = [column for column in table.columns if column not in texts]
    if len(texts) > 1 or len(numbers) != 1:
        raise ValueError(
            f"{name} has columns {list(value.columns)}: a long table has one of stamps, one of symbols and one of "
            f"numbers; select those, as frame[[{stamps[0]!r}, {texts[0]!r}, ...]]"
        )
    return _from_index(name, table.set_index(texts[0], append=True)[numbers[0]])


def _from_arrow(name: str, value: Any) -> pd.DataFrame:
    try:
        import pyarrow as pa
    except ModuleNotFoundError as error:
        kind = f"{type(value).__module__}.{type(value).__name__}"
        said = "which needs pandas and pyarrow: pip install 'factor-metrics[frames]'"
        raise ModuleNotFoundError(f"{name} is a {kind}, {said}") from error
    table = pa.table(value)
    plain = [pa.string() if kind.type == pa.string_view() else kind.type for kind in table.schema]
    plain = [pa.dictionary(pa.int32(), pa.string()) if pa.types.is_dictionary(kind) else kind for kind in plain]
    table = table.cast(pa.schema(list(zip(table.column_names, plain, strict=True))))
    return table.to_pandas(date_as_object=False)


def _from_index(name: str, value: Any) -> pd.DataFrame:
    """Return a series, or the one column of a frame, spread over dates and symbols."""
    if value.ndim == 2:
        if value.shape[1] != 1:
            raise ValueError(f"{name} has {value.shape[1]} columns, {list(value.columns)[:5]}: a long table has one")
        value = value.iloc[:, 0]
    kinds = [value.index.get_level_values(level).dtype.kind for level in (0, 1)]
    if kinds[0] != "M" and kinds[1] == "M":
        value = value.swaplevel()
    if any(bool((codes < 0).any()) for codes in value.index.codes):
        raise ValueError(f"{name} has rows whose date or symbol is missing")
    if (twice := value.index.duplicated()).any():
        raise ValueError(f"{name} has {int(twice.sum())} rows that come twice, first {value.index[twice][0]}")
    return value.sort_index().unstack()


def _checked(name: str, table: pd.DataFrame) -> pd.DataFrame:
    if (twice := table.index.duplicated()).any():
        raise ValueError(f"{name} has the date {table.index[twice][0]} twice")
    if table.index.hasnans:
        raise ValueError(f"{name} has rows without a date")
    return table.set_axis([str(column) for column in table.columns], axis=1).astype(np.float64)
