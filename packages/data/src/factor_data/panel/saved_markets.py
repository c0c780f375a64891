"""The markets of a saved panel: two arrays beside its columns, their names in the header."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from factor_data.atomic import write_json
from factor_data.json_document import as_written
from factor_data.panel.header import HEADER, read_header
from factor_data.panel.markets import Markets
from factor_data.sums import write_sums
from factor_data.whole_file import write_atomically

CODE, OPEN = "market_code.npy", "market_open.npy"


def write_markets(directory: str | Path, markets: Markets) -> None:
    """Add markets to a saved panel, in the place of those it has."""
    directory = Path(directory)
    header = read_header(directory)
    for name, array in {CODE: markets.code, OPEN: markets.open}.items():
        write_atomically(directory / name, partial(np.save, arr=array, allow_pickle=False), array.nbytes)
    write_json(directory / HEADER, {**header, "markets": list(markets.names)})
    write_sums(directory, changed=(CODE, OPEN, HEADER))


def read_markets(directory: Path, header: dict[str, Any]) -> Markets | None:
    """Return the markets of a saved panel; None where none were written."""
    if "markets" not in header:
        return None
    arrays = {name: np.load(directory / f"{name}.npy", allow_pickle=False) for name in ("symbols", "dates")}
    code, is_open = (np.load(directory / name, allow_pickle=False) for name in (CODE, OPEN))
    with as_written(directory / HEADER):
        return Markets(names=tuple(header["markets"]), code=code, open=is_open, **arrays)
