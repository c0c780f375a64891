"""Files that are whole or absent: what a killed process leaves is removed by the next, a living one's is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from factor_data.whole_file import write_atomically, write_bytes

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
