"""Files that are whole or absent: what a killed process leaves is removed by the next, a living one's is not."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from factor_data import Panel
from factor_data.atomic import new_folder, write_json
from factor_data.panel.array_file import ArrayFile
from factor_data.parquet import write_parquet
from factor_data.reading.parts import Parts
from factor_data.reading.table import Table
from factor_data.whole_file import NoRoomError, write_atomically, write_bytes

WRITER = """
import sys, time
from factor_data.whole_file import write_atomically
def write(file):
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
write_atomically(sys.argv[1], write)
"""


def halves(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_what_a_killed_process_left_goes_with_the_next_write_and_what_a_living_one_writes_stays(
    tmp_path: Path,
) -> None:
    target = tmp_path / "out[1].csv"  # a name that is a pattern, too
    write_bytes(target, b"old")
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    dead, living = writers
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "writing\n"
        dead.kill()
        dead.wait()
        os.mkfifo(tmp_path / ".out[1].csv.7.tmp")  # opening it would wait for ever
        assert len(halves(tmp_path)) == 3
        write_bytes(target, b"new")
        assert halves(tmp_path) == [f".out[1].csv.{living.pid}.tmp"]
        assert target.read_bytes() == b"new"
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    write_bytes(target, b"newer")
    assert halves(tmp_path) == []


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"old")

    def fail(file: object) -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_atomically(tmp_path / "a", fail)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert halves(tmp_path) == []


NUMBERS = np.random.default_rng(0).random(40_000)
"""320,000 bytes that do not get smaller."""
LIMIT = 200_000
DISK = 1 << 18


def write_panel(path: Path) -> None:
    count = np.arange(len(NUMBERS), dtype=np.int32)
    dates = np.datetime64("2000-01-03", "ns") + count * np.timedelta64(1, "h")
    columns = dict.fromkeys(("open", "high", "low", "close", "volume"), NUMBERS)
    code = np.zeros_like(count)
    Panel(symbols=np.array(["A"]), dates=dates, symbol_code=code, date_code=count, columns=columns).save(path)


def write_array_file(path: Path) -> None:
    made = ArrayFile.create(path, (len(NUMBERS),), np.float64)
    made.write(0, NUMBERS)


def write_parts(path: Path) -> None:
    table = pd.DataFrame({"x": NUMBERS})
    with new_folder(path, 0) as folder, Parts(folder / "bars", pa.schema([("x", pa.float64())])) as parts:
        parts.add(Table(path="A.csv", frame=table, zone=None, first_row=1, share=1.0), may_join=False)


def write_folder(path: Path) -> None:
    with new_folder(path, 0) as folder:
        (folder / "a.txt").write_bytes(NUMBERS.tobytes())


# What writes -> (the file that it names, the bytes that it wants, where it knows them)
WRITERS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "bytes": (lambda path: write_bytes(path, NUMBERS.tobytes()), "", "320,000"),
    "JSON": (lambda path: write_json(path, NUMBERS.tolist()), "", r"[\d,]+"),
    "an array": (lambda path: write_atomically(path, partial(np.save, arr=NUMBERS)), "", r"more than [\d,]+"),
    "an archive": (lambda path: write_atomically(path, partial(np.savez, x=NUMBERS)), "", r"more than [\d,]+"),
    "Parquet": (lambda path: write_parquet(path, pd.DataFrame({"x": NUMBERS})), "", r"more than [\d,]+"),
    "a panel": (write_panel, "/column_open_0.npy", "(?:320|160),000"),
    "rows of an array": (write_array_file, "", "320,(?:000|128)"),
    "parts of an import": (write_parts, "/bars/part-00000.parquet", r"more than [\d,]+"),
    "a folder": (write_folder, "", r"more than [\d,]+"),
}  # fmt: skip


@contextmanager
def no_large_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("what", WRITERS)
def test_no_room_is_one_line_with_the_file_the_bytes_wanted_and_those_free(what: str, tmp_path: Path) -> None:
    write, name, wanted = WRITERS[what]
    with no_large_files(), pytest.raises(NoRoomError) as caught:
        write(tmp_path / "made")
    place = re.escape(f"{tmp_path / 'made'}{name}")
    line = rf"{place}: no room: {wanted} bytes are wanted, [\d,]+ are free \((File too large|less was written .*)\)"
    assert re.fullmatch(line, str(caught.value)), str(caught.value)


@pytest.mark.parametrize("what", WRITERS)
def test_a_full_disk_keeps_the_file_before_and_nothing_of_the_new_one(what: str, tmp_path: Path) -> None:
    write, _, wanted = WRITERS[what]
    with small_disk(tmp_path):
        write_bytes(tmp_path / "before", b"before")
        with pytest.raises(NoRoomError) as caught:
            write(tmp_path / "made")
        found = re.search(rf"no room: {wanted} bytes are wanted, ([\d,]+) are free", str(caught.value))
        assert found is not None, str(caught.value)
        free = int(found[1].replace(",", ""))
        assert DISK // 4 < free <= DISK, "what was written of the file counts as free"
        assert (tmp_path / "before").read_bytes() == b"before"
        assert {path.name for path in tmp_path.rglob("*")} <= {"before", "made"}


def test_of_two_that_write_one_folder_at_once_the_second_is_told_who_the_first_is(tmp_path: Path) -> None:
    told, tell = os.pipe()
    ended, end = os.pipe()
    child = os.fork()
    if child == 0:
        with new_folder(tmp_path / "made", 0) as folder:
            (folder / "of").write_text("the first")
            os.write(tell, b"1")
            os.read(ended, 1)
        os._exit(0)
    os.read(told, 1)
    try:
        with (
            pytest.raises(ValueError, match=f"made: process {child} is writing it: wait until that has ended"),
            new_folder(tmp_path / "made", 0),
        ):
            pass
    finally:
        os.write(end, b"1")
        os.waitpid(child, 0)
        for pipe in (told, tell, ended, end):
            os.close(pipe)
    assert (tmp_path / "made" / "of").read_text() == "the first"
    assert halves(tmp_path) == []


def write_late(target: Path) -> None:
    with new_folder(target, 0) as folder:
        (folder / "of").write_text("the second")
        target.mkdir()
        (target / "of").write_text("the first")


def test_a_folder_that_came_meanwhile_stays_and_the_other_goes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="made: another process has written it meanwhile; that one stays"):
        write_late(tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert (tmp_path / "made" / "of").read_text() == "the first"
