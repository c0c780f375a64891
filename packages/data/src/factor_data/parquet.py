"""Parquet with page checksums: written with them, and held against them when it is read.

A page of data that changed on disk is an error then, not another price. Files of other programs may have none: of
those Arrow checks the pages that do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from factor_data.whole_file import write_atomically

CHECKSUMS: dict[str, Any] = {"write_page_checksum": True}
"""Arguments of pyarrow's writers."""
VERIFIED: dict[str, Any] = {"page_checksum_verification": True}
"""Arguments of pyarrow's readers."""


def write_parquet(path: str | Path, table: pd.DataFrame | pa.Table, **options: Any) -> None:
    """Write a frame without its index, or a table; the file is whole or not there. `options` are Arrow's."""
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)

    def write(file: IO[bytes]) -> None:
        pq.write_table(table, file, **CHECKSUMS, **options)

    write_atomically(path, write)


def read_parquet(path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return some columns of a file, by default all; ValueError naming a file that cannot be read."""
    if not Path(path).exists():
        raise FileNotFoundError(2, "no such file", str(path))
    try:
        return pd.read_parquet(path, columns=None if columns is None else list(columns), **VERIFIED)
    except MemoryError as error:  # Arrow's own is an ArrowException as well
        raise MemoryError(f"{path}: {error or 'no memory is left'}") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error
