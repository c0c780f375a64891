"""The state of a forecaster in one file: arrays without pickle, and a header with their digest and the bundle's."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
import zlib
from functools import partial
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import DocumentVectors, Panel
from factor_data.json_document import as_written, parse_document
from factor_data.whole_file import write_atomically
from factor_serve.averages import kept_of
from factor_serve.forecaster import State
from factor_serve.rows import Rows

FORMAT = 4
HEADER = "header"
DAMAGES = (
    ValueError, OSError, KeyError, EOFError, SyntaxError, RuntimeError, MemoryError, TokenError, struct.error,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What zipfile and numpy raise on bytes that are no archive of arrays, or one that seems compressed or encrypted."""


def save_state(state: State, identity: str, path: Path) -> None:
    """Replace `path` by the state in one step."""
    arrays = _arrays(state)
    header = {
        "format": FORMAT,
        "bundle": identity,
        "sha256": _digest(arrays),
        "bars": list(state.bars.columns),
        "kline": list(state.rows.kline),
        "seen": {name: [bool(one) for one in seen] for name, seen in state.seen.items()},
        "zones": state.zones,
        "news_zones": state.news_zones,
        "averaged_window": None if state.averaged is None else state.averaged.window,
        "per_bar": None if state.rows.documents is None else state.rows.documents.per_bar,
    }
    write_atomically(path, partial(_write, arrays=arrays | {HEADER: np.array(json.dumps(header))}))


def load_state(path: Path, identity: str) -> State:
    """Return a state; ValueError for a damaged file, one of another format, or of another bundle than `identity`."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as opened:
            arrays = {name: opened[name] for name in opened.files}
        header = parse_document(str(arrays.pop(HEADER)).encode(), path)
    except DAMAGES as error:
        raise ValueError(f"{path}: holds no whole state ({error})") from error
    found = header.get("format") if isinstance(header, dict) else None
    if found != FORMAT:
        raise ValueError(f"{path}: format {found!r}, this version reads {FORMAT}")
    if header.get("sha256") != _digest(arrays):
        raise ValueError(f"{path}: its arrays are not those that were written")
    if header["bundle"] != identity:
        raise ValueError(
            f"{path}: is the state of the bundle {header['bundle'][:12]}, this one is {identity[:12]}: make a new "
            "Forecaster from all bars"
        )
    with as_written(path):
        return _state(arrays, header)


def _arrays(state: State) -> dict[str, NDArray[Any]]:
    bars, rows = state.bars, state.rows
    arrays = {
        "bars_symbols": bars.symbols,
        "bars_dates": _stamps(bars.dates),
        "bars_symbol_code": bars.symbol_code,
        "bars_date_code": bars.date_code,
        **{f"bars_column_{name}": values for name, values in bars.columns.items()},
        "rows_symbols": rows.symbols,
        "rows_dates": _stamps(rows.dates),
        "rows_symbol_code": rows.symbol_code,
        "rows_date_code": rows.date_code,
        "rows_in_universe": rows.in_universe,
        **{f"rows_kline_{name}": values for name, values in rows.kline.items()},
        "tone": state.tone,
        "news_timestamp": _stamps(state.news["timestamp"].to_numpy()),
        **_written("news_symbol", state.news["symbol"]),
        **_written("news_text", state.news["text"]),
        "counted": state.counted,
    }
    optional: dict[str, NDArray[Any] | None] = {"rows_inputs": rows.inputs, "rows_tokens": rows.tokens}
    if state.averaged is not None:
        values, counts = state.averaged.whole()
        optional |= {"averaged": values, "averaged_counts": counts}
    if rows.documents is not None:
        optional |= {"documents": rows.documents.vectors, "document_rows": rows.documents.bounds}
    return arrays | {name: values for name, values in optional.items() if values is not None}


def _state(arrays: dict[str, NDArray[Any]], header: dict[str, Any]) -> State:
    documents = None
    if header["per_bar"] is not None:
        documents = DocumentVectors(
            vectors=arrays["documents"], bounds=arrays["document_rows"], per_bar=header["per_bar"]
        )
    averaged = None
    if header["averaged_window"] is not None:
        averaged = kept_of(arrays["averaged"], arrays["averaged_counts"], header["averaged_window"])
    stamps = arrays["news_timestamp"].astype("datetime64[ns]")
    texts = {name: _read(f"news_{name}", arrays) for name in ("symbol", "text")}
    return State(
        bars=Panel(
            symbols=arrays["bars_symbols"],
            dates=arrays["bars_dates"].astype("datetime64[ns]"),
            symbol_code=arrays["bars_symbol_code"],
            date_code=arrays["bars_date_code"],
            columns={name: arrays[f"bars_column_{name}"] for name in header["bars"]},
        ),
        rows=Rows(
            symbols=arrays["rows_symbols"],
            dates=arrays["rows_dates"].astype("datetime64[ns]"),
            symbol_code=arrays["rows_symbol_code"],
            date_code=arrays["rows_date_code"],
            in_universe=arrays["rows_in_universe"],
            inputs=arrays.get("rows_inputs"),
            tokens=arrays.get("rows_tokens"),
            kline={name: arrays[f"rows_kline_{name}"] for name in header["kline"]},
            documents=documents,
        ),
        seen={name: (one[0], one[1]) for name, one in header["seen"].items()},
        tone=arrays["tone"],
        news=pd.DataFrame({"timestamp": stamps, **texts}),
        counted=arrays["counted"],
        zones=header["zones"],
        news_zones=header["news_zones"],
        averaged=averaged,
    )


def _written(name: str, texts: pd.Series) -> dict[str, NDArray[Any]]:
    """Texts as UTF-8 behind each other, and where each ends: an array of str would give each the longest one's room."""
    encoded = [str(text).encode("utf-8", "surrogatepass") for text in texts]
    ends = np.cumsum([len(one) for one in encoded], dtype=np.int64)
    return {name: np.frombuffer(b"".join(encoded), dtype=np.uint8), f"{name}_ends": ends}


def _read(name: str, arrays: dict[str, NDArray[Any]]) -> NDArray[np.object_]:
    whole, ends = arrays[name].tobytes(), arrays[f"{name}_ends"].tolist()
    texts = np.empty(len(ends), dtype=object)
    texts[:] = [whole[first:end].decode("utf-8", "surrogatepass") for first, end in zip([0, *ends], ends, strict=False)]
    return texts


def _stamps(dates: NDArray) -> NDArray[np.int64]:
    return dates.astype("datetime64[ns]").astype(np.int64)


def _digest(arrays: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        digest.update(repr((name, values.dtype.str, values.shape)).encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _write(file: IO[bytes], arrays: dict[str, NDArray[Any]]) -> None:
    np.savez(file, **arrays)  # type: ignore[arg-type]
