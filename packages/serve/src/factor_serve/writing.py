"""Forecasts in a file, whole or not at all."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import IO

import pandas as pd

from factor_data.atomic import write_atomically
from factor_serve.forecasts import COLUMNS

ENDINGS = (".parquet", ".csv")


def check_ending(path: Path) -> None:
    """Refuse a file that is neither Parquet nor CSV by its ending, or whose folder does not exist."""
    if path.suffix not in ENDINGS:
        raise ValueError(f"--out {path}: must end in {' or '.join(ENDINGS)}")
    if not path.parent.is_dir():
        raise ValueError(f"--out {path}: the folder {path.parent} does not exist")


def write_forecasts(frame: pd.DataFrame, path: Path) -> None:
    """Replace a file by these forecasts in one step."""
    write_atomically(path, partial(_write, frame=frame, suffix=path.suffix))


def read_forecasts(path: Path) -> pd.DataFrame:
    """Return the forecasts of a file that `write_forecasts` wrote; ValueError for any other."""
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error
    if tuple(frame.columns) != COLUMNS:
        raise ValueError(f"{path}: has the columns {list(frame.columns)}, forecasts have {list(COLUMNS)}")
    return frame.astype({"timestamp": "datetime64[ns]", "prediction": "float32"})


def _read_csv(path: Path) -> pd.DataFrame:
    """Names as they stand there: 000001 is no number, and NA is not missing."""
    names = dict.fromkeys(("symbol", "label", "model"), str)
    return pd.read_csv(path, parse_dates=["timestamp"], dtype=names, keep_default_na=False)


def _write(file: IO[bytes], frame: pd.DataFrame, suffix: str) -> None:
    if suffix == ".parquet":
        frame.to_parquet(file, index=False)
    else:
        file.write(frame.to_csv(index=False).encode())
