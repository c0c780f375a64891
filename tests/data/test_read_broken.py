"""Broken files thrown at every reader: a ValueError that names the place, or the data that are there.

Never another exception, never silence.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factor_data import Panel, read_bars, read_news
from layout_samples import WRITERS, long_frame

WORDS = st.sampled_from(
    [b"", b"abc", b"inf", b"-inf", b"1e999", b"9" * 40, b"NaN", b"NA", b"0x10", b"1_000", b" 7 ", b"2020-13-01",
     b"1500-01-01", b"2020-01-02T09:30Z", b"\x00", b'"', b'"a,b"', b"\xff\xfe", b"\xe9", b"\r", b"\n", b",", b";",
     b"True", b"-1", b"1.5.2", "１２".encode(), b"\xef\xbb\xbf"]
)  # fmt: skip
ENCODINGS = st.sampled_from(["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp500"])


def truncated(content: bytes, draw: st.DataObject) -> bytes:
    return content[: draw.draw(st.integers(0, len(content)), "keep")]


def flipped(content: bytes, draw: st.DataObject) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.draw(st.integers(1, 4), "flips")):
        at = draw.draw(st.integers(0, len(content) - 1), "at")
        changed[at] = draw.draw(st.integers(0, 255), "byte")
    return bytes(changed)


def inserted(content: bytes, draw: st.DataObject) -> bytes:
    at = draw.draw(st.integers(0, len(content)), "at")
    return content[:at] + draw.draw(WORDS, "word") + content[at:]


def field_replaced(content: bytes, draw: st.DataObject) -> bytes:
    fields = content.split(b",")
    fields[draw.draw(st.integers(0, len(fields) - 1), "field")] = draw.draw(WORDS, "word")
    return b",".join(fields)


def lines_shuffled(content: bytes, draw: st.DataObject) -> bytes:
    lines = content.splitlines(keepends=True)
    picks = draw.draw(st.lists(st.integers(0, len(lines) - 1), max_size=2 * len(lines)), "lines")
    return b"".join(lines[at] for at in picks)


def columns_moved(content: bytes, draw: st.DataObject) -> bytes:
    """Columns swapped, repeated or dropped, header and all: what is swapped in name is swapped in value."""
    rows = [line.split(b",") for line in content.splitlines()]
    width = min(len(row) for row in rows)
    picks = draw.draw(st.lists(st.integers(0, width - 1), min_size=1, max_size=width + 2), "columns")
    return b"\n".join(b",".join(row[at] for at in picks) for row in rows) + b"\n"


def encoded_anew(content: bytes, draw: st.DataObject) -> bytes:
    return content.decode("utf-8", "ignore").encode(draw.draw(ENCODINGS, "encoding"), "replace")


TEXT_DAMAGE = [truncated, flipped, inserted, field_replaced, lines_shuffled, columns_moved, encoded_anew]
BYTE_DAMAGE = [truncated, flipped, inserted]


def attempt(path: Path, layout: str = "auto") -> Panel | str:
    """The panel, or what the refusal says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a file without rows of a symbol
        try:
            return read_bars(path, layout)
        except ValueError as error:
            return str(error)


@cache
def contents(layout: str) -> dict[Path, bytes]:
    """The files of a layout, which are written once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        WRITERS[layout](folder)
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("layout", WRITERS)
@settings(max_examples=60, deadline=None)
@given(draw=st.data())
def test_damage_to_a_file_is_a_named_error_or_sound_bars(layout: str, draw: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "source"
        for file, content in contents(layout).items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        victim = draw.draw(st.sampled_from(files), "file")
        is_text = victim.suffix in (".csv", ".txt")
        damage = draw.draw(st.sampled_from(TEXT_DAMAGE if is_text else BYTE_DAMAGE), "damage")
        victim.write_bytes(damage(victim.read_bytes(), draw))
        asked = draw.draw(st.sampled_from(["auto", layout.removesuffix(" csv")]), "layout")
        panel = attempt(folder, asked)
        if isinstance(panel, str):
            assert name in panel
            return
        assert panel.num_rows
        for values in panel.columns.values():
            assert not np.isinf(values).any()
        if layout == "long csv":
            assert_equals_text(panel, victim.read_bytes())


def assert_equals_text(panel: Panel, content: bytes) -> None:
    """The panel against the standard library's csv and float."""
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    found = {}
    time = "timestamp" if "timestamp" in (rows.fieldnames or []) else ""  # a column without a name is read as the time
    for row in rows:
        stamp = pd.Timestamp(row[time].strip()).tz_localize(None)
        found[row["symbol"], stamp] = row
    assert len(found) == panel.num_rows
    table = panel.to_pandas().set_index(["symbol", "timestamp"])
    for key, row in found.items():
        for name in panel.columns:
            text = row[name].strip()
            value = table.loc[key, name]
            assert (np.isnan(value) and text.lower() in ("", "nan", "na")) or value == float(text)


@settings(max_examples=60, deadline=None)
@given(draw=st.data())
def test_damage_to_news_is_a_named_error_or_sound_documents(draw: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "news.csv"
        text = 'timestamp,symbol,text\n2020-01-02T10:00,AA,"up, and\nup"\n2020-01-03T10:00,BB,down\n'
        path.write_bytes(draw.draw(st.sampled_from(TEXT_DAMAGE), "damage")(text.encode(), draw))
        refusal = None
        try:
            news = read_news(path)
        except ValueError as error:
            refusal = str(error)
        if refusal is not None:
            assert name in refusal
            return
        assert len(news)
        assert news["text"].str.len().min() > 0


@settings(max_examples=100, deadline=None)
@given(
    column=st.sampled_from(["timestamp", "symbol", "open", "volume"]),
    row=st.integers(0, 4),
    value=st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.dates(), st.datetimes(),
        st.binary(max_size=3), st.decimals(allow_nan=False, places=3, max_value=10**9, min_value=-(10**9)),
        st.lists(st.integers(0, 3), max_size=2),
    ),
)  # fmt: skip
def test_any_type_in_a_parquet_column_is_a_named_error_or_itself(column: str, row: int, value: object) -> None:
    frame = long_frame().astype({column: object})
    frame.at[row, column] = value
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "odd.parquet"
        for cast in (lambda f: f, lambda f: f.assign(**{column: [value] * len(f)})):
            try:
                cast(frame).to_parquet(path)
            except (ValueError, TypeError, OverflowError):
                continue  # pyarrow does not write such a column
            panel = attempt(path)
            if isinstance(panel, str):
                assert "odd.parquet" in panel
                continue
            read = panel.to_pandas()
            written = pq.read_table(path)[column].to_pylist()[row]
            if column in ("open", "volume"):
                expected = np.nan if written is None else float(written)
                assert np.array_equal(expected, read[column].iloc[row], equal_nan=True)
            elif column == "symbol":
                assert written in set(read["symbol"])
            else:
                assert pd.Timestamp(written).tz_localize(None) in set(read["timestamp"])


def loop_of_links(path: Path) -> None:
    path.symlink_to(path)


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("absent"))


def folder_in_its_place(path: Path) -> None:
    path.mkdir()


def no_permission(path: Path) -> None:
    path.write_text("timestamp\n")
    path.chmod(0)


@pytest.mark.parametrize("name", ["bars.csv", "bars.parquet"])
@pytest.mark.parametrize("put", [loop_of_links, link_to_nothing, folder_in_its_place, no_permission])
def test_what_is_no_readable_file_is_refused(put: Callable[[Path], None], name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    put(path)
    with pytest.raises(ValueError, match=name):
        read_bars(path)


def test_two_names_of_one_file_are_duplicates(tmp_path: Path) -> None:
    long_frame().to_parquet(tmp_path / "bars.parquet")
    os.link(tmp_path / "bars.parquet", tmp_path / "again.parquet")
    with pytest.raises(ValueError, match=r"5 duplicate.*again\.parquet row 1 and .*bars\.parquet row 1"):
        read_bars(tmp_path)


@pytest.mark.parametrize("layout", WRITERS)
def test_a_vanished_file_is_an_error_or_leaves_the_others_as_they_are(layout: str, tmp_path: Path) -> None:
    """Defects 1i.3, 1i.14: failed files were logged and skipped. Defect 1i.15: noise took their place."""
    (tmp_path / "whole").mkdir()
    WRITERS[layout](tmp_path / "whole")
    whole = table_of(tmp_path / "whole")
    assert isinstance(whole, pd.DataFrame)
    files = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.*"))
    for number, file in enumerate(files):
        part = tmp_path / f"part{number}"
        shutil.copytree(tmp_path / "whole", part)
        (part / file).unlink()
        rest = table_of(part)
        if isinstance(rest, str):
            assert part.name in rest
        else:
            pd.testing.assert_frame_equal(rest, whole.loc[rest.index, list(rest.columns)])


def table_of(path: Path) -> pd.DataFrame | str:
    panel = attempt(path)
    return panel if isinstance(panel, str) else panel.to_pandas().set_index(["symbol", "timestamp"])
