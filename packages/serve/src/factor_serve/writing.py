"""Forecasts in a file, whole or not at all."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd

from factor_data import read_parquet, write_parquet
from factor_data.whole_file import write_atomically
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
    if path.suffix == ".parquet":
        write_parquet(path, frame)
    else:
        write_atomically(path, partial(frame.to_csv, index=False, mode="wb"))


def read_forecasts(path: Path) -> pd.DataFrame:
    """Return the forecasts of a file that `write_forecasts` wrote; ValueError for any other."""
    try:
        frame = read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error
    if tuple(frame.columns) != COLUMNS:
        raise ValueError(f"{path}: has the columns {list(frame.columns)}, forecasts have {list(COLUMNS)}")
    return frame.astype({"timestamp": "datetime64[ns]", "prediction": "float32"})


def _read_csv(path: Path) -> pd.DataFrame:
    """Names as they stand there: 000001 is no number, and NA is not missing."""
    names = dict.fromkeys(("symbol", "label", "model"), str)
    return pd.read_csv(path, parse_dates=["timestamp"], dtype=names, keep_default_na=False)
