"""Bodies of requests and answers: columns as JSON, or streams of Arrow."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import Any, Never

import numpy as np
import pandas as pd
import pyarrow as pa

from factor_serve.forecasts import Strangers
from factor_serve.http.problems import Problem

ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"
KEYS = ("bars", "news", "at", "model")
ASKED = ("at", "model")
"""Keys that stand in the query beside a stream of Arrow."""
MOST_NAMED = 200


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client asks for."""

    bars: pd.DataFrame
    news: pd.DataFrame | None
    at: str | None
    model: str | None
    """None: what the server was told to forecast by."""


def read_json(body: bytes, max_rows: int) -> Request:
    """Return a request from JSON; Problem naming field and rule."""
    try:
        document = json.loads(body, parse_constant=_no_constant, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise Problem(400, None, f"the body must be JSON: {_short(error)}") from None
    if not isinstance(document, dict):
        raise Problem(422, None, f"the body must be an object with {', '.join(KEYS)}")
    if unknown := [key for key in document if key not in KEYS]:
        raise Problem(422, unknown[0][:MOST_NAMED], f"is unknown; known are {', '.join(KEYS)}")
    if "bars" not in document:
        raise Problem(422, "bars", "is missing: an object with a list per column")
    news = document.get("news")
    return Request(
        bars=_table(document["bars"], "bars", max_rows),
        news=None if news is None else _table(news, "news", max_rows),
        at=_text(document.get("at"), "at"),
        model=_text(document.get("model"), "model") or None,
    )


def read_query(pairs: list[tuple[str, str]], kind: str) -> dict[str, str]:
    """Return what the query asks for; Problem for a key that would be passed over, or that comes twice."""
    known = ASKED if kind == ARROW else ()
    for key, _ in pairs:
        if key not in known:
            rule = f"is unknown in the query; known are {', '.join(ASKED)}"
            raise Problem(422, key[:MOST_NAMED], "of JSON stands in the body" if key in ASKED else rule)
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Problem(422, "query", "a key comes twice")
    return found


def read_arrow(body: bytes, at: str | None, model: str | None, max_rows: int) -> Request:
    """Return a request from a stream of bars, and perhaps one of news behind it."""
    source = pa.BufferReader(body)
    bars = _stream(source, "bars", max_rows)
    news = _stream(source, "news", max_rows) if source.tell() < source.size() else None
    return Request(bars=bars, news=news, at=at, model=model)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a client is told."""

    frame: pd.DataFrame
    """The forecasts."""
    bundle: str
    """Identity of the bundle that made them."""
    strangers: Strangers | None = None
    """Symbols that members forecast without having been trained on them."""


def write_json(answer: Answer) -> bytes:
    """Return forecasts as JSON: a list per column. A number read as float32 has the bits of the forecast."""
    frame = answer.frame
    columns: dict[str, Any] = {name: frame[name].astype(str).tolist() for name in ("symbol", "label", "model")}
    columns["timestamp"] = [stamp.isoformat() for stamp in frame["timestamp"]]
    columns["prediction"] = frame["prediction"].astype(np.float64).tolist()
    told = {"bundle": answer.bundle, **_not_trained_on(answer.strangers), "forecasts": columns}
    return json.dumps(told, allow_nan=False).encode()


def write_arrow(answer: Answer) -> bytes:
    """Return forecasts as a stream of Arrow; the schema's metadata name the bundle, and what was not trained on."""
    said = {key: json.dumps(value) for key, value in _not_trained_on(answer.strangers).items()}
    table = pa.Table.from_pandas(answer.frame, preserve_index=False)
    table = table.replace_schema_metadata({"bundle": answer.bundle, **said})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _not_trained_on(strangers: Strangers | None) -> dict[str, Any]:
    """The key that names symbols that were not trained on, and the members that know symbols; nothing for none."""
    return {} if strangers is None else {"not_trained_on": asdict(strangers)}


def _table(document: Any, name: str, max_rows: int) -> pd.DataFrame:
    if not isinstance(document, dict) or not document:
        raise Problem(422, name, "must be an object with a list per column")
    for column, values in document.items():
        if not isinstance(values, list):
            raise Problem(422, f"{name}.{column[:MOST_NAMED]}", "must be a list")
    lengths = {len(values) for values in document.values()}
    if len(lengths) > 1:
        raise Problem(422, name, f"the columns must be of one length, have {sorted(lengths)[:3]}")
    if max(lengths) > max_rows:
        raise Problem(413, name, f"has {max(lengths):,} rows, at most {max_rows:,} are taken")
    texts = ("timestamp", "symbol", "text") if name == "news" else ("timestamp", "symbol")
    columns: dict[str, Any] = {}
    for column, values in document.items():
        where = f"{name}.{column[:MOST_NAMED]}"
        columns[column] = _texts(values, where) if column in texts else _numbers(values, where)
    return pd.DataFrame(columns)


def _texts(values: list[Any], where: str) -> list[str]:
    for row, value in enumerate(values):
        if not isinstance(value, str) or not value:
            raise Problem(422, where, f"row {row}: must be text, is {_shown(value)}")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Problem(422, where, f"row {row}: {_short(error)}") from None
    return values


def _numbers(values: list[Any], where: str) -> np.ndarray:
    for row, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise Problem(422, where, f"row {row}: must be a number or null, is {_shown(value)}")
    try:
        return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    except OverflowError:
        raise Problem(422, where, "a number is too large for a double") from None


def _stream(source: pa.BufferReader, name: str, max_rows: int) -> pd.DataFrame:
    try:
        _refuse_compressed(source, name)
        with pa.ipc.open_stream(source) as reader:
            batches, rows = [], 0
            for batch in reader:
                rows += batch.num_rows
                if rows > max_rows:
                    raise Problem(413, name, f"has more than {max_rows:,} rows")
                batch.validate(full=True)
                batches.append(batch)
            table = pa.Table.from_batches(batches, reader.schema)
            names = table.column_names
    except (pa.ArrowException, OSError, ValueError, struct.error) as error:
        raise Problem(400, name, f"must be a stream of Arrow: {_short(error)}") from None
    if len(set(names)) < len(names):
        raise Problem(422, name, "has a column twice")
    for field in table.schema:
        _check_field(table, field, f"{name}.{field.name[:MOST_NAMED]}")
    try:  # what pandas writes into a schema says of an index and of other types; only the columns count
        frame: pd.DataFrame = table.replace_schema_metadata(None).to_pandas()
    except (ValueError, KeyError, OverflowError, pa.ArrowException) as error:
        raise Problem(422, name, f"cannot be read: {_short(error)}") from None
    return frame


def _refuse_compressed(source: pa.BufferReader, name: str) -> None:
    """Look at the messages of a stream before one is read: a few compressed kilobytes may hold gigabytes."""
    start = source.tell()
    for message in pa.ipc.MessageReader.open_stream(source):
        if message.type in ("record batch", "dictionary"):
            metadata = message.metadata.to_pybytes()
            batch = _table_in(metadata, struct.unpack_from("<I", metadata, 0)[0], 2)
            if message.type == "dictionary" and batch is not None:
                batch = _table_in(metadata, batch, 1)
            if batch is not None and _place(metadata, batch, 3) is not None:
                raise Problem(415, name, "must be a stream of Arrow without compression")
    source.seek(start)


def _table_in(metadata: bytes, table: int, field: int) -> int | None:
    """Where the table lies that a field of a flatbuffer's table points to; Message.fbs of Arrow numbers the fields."""
    place = _place(metadata, table, field)
    return None if place is None else place + int(struct.unpack_from("<I", metadata, place)[0])


def _place(metadata: bytes, table: int, field: int) -> int | None:
    """Where a field of a table lies; None for one that is not there."""
    fields = table - int(struct.unpack_from("<i", metadata, table)[0])
    size = int(struct.unpack_from("<H", metadata, fields)[0])
    offset = int(struct.unpack_from("<H", metadata, fields + 4 + 2 * field)[0]) if 4 + 2 * field < size else 0
    return table + offset if offset else None


def _check_field(table: pa.Table, field: pa.Field, where: str) -> None:
    """Refuse a column of another type than its name wants."""
    kind = field.type
    if pa.types.is_null(kind) and not table.num_rows:  # what pandas makes of columns without a row
        return
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if field.name in ("symbol", "text"):
        if not is_text or table[field.name].null_count:
            raise Problem(422, where, f"must be text without nulls, is {kind}")
    elif field.name == "timestamp":
        if not (is_text or pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            raise Problem(422, where, f"must be a timestamp, a date or ISO text, is {kind}")
    elif not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise Problem(422, where, f"must be numbers, is {kind}")


def _text(value: Any, field: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise Problem(422, field, f"must be text, is {_shown(value)}")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice in an object")
    for key in found:
        key.encode()  # half a surrogate pair is no text, and no answer can name it
    return found


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is no number of JSON; null stands for a missing one")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= MOST_NAMED else f"{text[:MOST_NAMED]}..."
