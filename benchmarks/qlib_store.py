"""A qlib store in a folder, so that pyqlib computes its Alpha158 from the very bars a benchmark uses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from factor_data import Panel
from factor_data.features.alpha_inputs import alpha_columns

try:
    import qlib
    from qlib.config import C
    from qlib.contrib.data.loader import Alpha158DL
    from qlib.data import D
    from qlib.data.cache import H
except ImportError as error:
    raise SystemExit(
        f"{error.name} is not installed here: pip install -r benchmarks/requirements.txt in an environment of its own"
    ) from error

FIELDS = ("open", "high", "low", "close", "volume", "vwap")


def write_qlib_store(panel: Panel, folder: Path) -> list[str]:
    """Write the six adjusted columns as float32 over the panel's calendar, and return the instruments."""
    for name in ("calendars", "instruments", "features"):
        (folder / name).mkdir(parents=True)
    days = [str(date) for date in panel.dates.astype("datetime64[D]")]
    (folder / "calendars" / "day.txt").write_text("\n".join(days) + "\n")
    columns = dict(zip(FIELDS, alpha_columns(panel), strict=True))
    names, lines = [], []
    for code, (first, last) in enumerate(zip(panel.starts[:-1], panel.starts[1:], strict=True)):
        date = panel.date_code[first:last]
        # Names of files must not be device names or carry punctuation: number the instruments.
        names.append(f"S{code:05d}")
        lines.append(f"{names[-1]}\t{days[date[0]]}\t{days[date[-1]]}\n")
        own = folder / "features" / names[-1].lower()
        own.mkdir()
        for name, values in columns.items():
            dense = np.full(date[-1] - date[0] + 2, np.nan, dtype="<f4")
            dense[0] = date[0]  # the first number says where on the calendar the file starts
            dense[1 + date - date[0]] = values[first:last]
            dense.tofile(own / f"{name}.day.bin")
    (folder / "instruments" / "all.txt").write_text("".join(lines))
    return names


class QlibAlpha158:
    """pyqlib's Alpha158 over a store, computed anew at each call."""

    def __init__(self, folder: Path) -> None:
        qlib.init(provider_uri=str(folder), region="us", expression_cache=None, dataset_cache=None, logging_level=40)
        C.joblib_backend, C.kernels = "threading", 1
        self.fields, self.names = Alpha158DL.get_feature_config()

    def compute(self, instruments: list[str]) -> pd.DataFrame:
        """Return one row per (instrument, date), one column per feature."""
        H.clear()
        frame = D.features(instruments, self.fields, freq="day")
        frame.columns = self.names
        return frame
