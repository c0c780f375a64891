"""Sources of bars of every layout, spoilt from a seed: read, or refused in a line that names the place.

No symbol is lost without a word: what is not read is named.

`make fuzz` runs the long form, tests/data/test_fuzz_readers.py a short one.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import yaml

from factor_data import Panel, import_data, read_bars
from layout_samples import WRITERS
from vendor_samples import FILES

MOST_SECONDS = 10
MOST_WAITED = 60
ROUNDS = 6_000
WORDS = (
    b"", b"abc", b"inf", b"-inf", b"1e999", b"9" * 40, b"NaN", b"NA", b"0x10", b"1_000", b" 7 ", b"2020-13-01",
    b"1500-01-01", b"2020-01-02T09:30Z", b"20240102", b"1704153600000", b"31.01.2024", b"1.234,5", b"\x00", b'"',
    b'"a,b"', b"\xff\xfe", b"\xe9", b"\r", b"\n", b",", b";", b"#", b"\t", b"True", b"-1", b"1.5.2", b"\xef\xbb\xbf",
    "１２".encode(), b"(" * 5000, b"x" * 70_000,
)  # fmt: skip
OUTCOMES = ("read", "refused", "LOST", "TRACEBACK", "HANG", "UNNAMED")
Draw = random.Random


def cut(content: bytes, draw: Draw) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def flipped(content: bytes, draw: Draw) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def word_inserted(content: bytes, draw: Draw) -> bytes:
    at = draw.randrange(len(content) + 1)
    return content[:at] + draw.choice(WORDS) + content[at:]


def field_replaced(content: bytes, draw: Draw) -> bytes:
    fields = content.split(b",")
    fields[draw.randrange(len(fields))] = draw.choice(WORDS)
    return b",".join(fields)


def lines_drawn(content: bytes, draw: Draw) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join(draw.choices(lines, k=draw.randint(0, 2 * len(lines)))) if lines else content


def columns_drawn(content: bytes, draw: Draw) -> bytes:
    rows = [line.split(b",") for line in content.splitlines()]
    width = min(len(row) for row in rows)
    picks = [draw.randrange(width) for _ in range(draw.randint(1, width + 2))]
    return b"\n".join(b",".join(row[at] for at in picks) for row in rows) + b"\n"


def header_twice(content: bytes, draw: Draw) -> bytes:
    return content.splitlines(keepends=True)[0] + content


def no_header(content: bytes, draw: Draw) -> bytes:
    return b"".join(content.splitlines(keepends=True)[1:])


def only_header(content: bytes, draw: Draw) -> bytes:
    return content.splitlines(keepends=True)[0]


def other_case(content: bytes, draw: Draw) -> bytes:
    first, *rest = content.splitlines(keepends=True)
    return b"".join([draw.choice([first.upper(), first.title(), first.swapcase()]), *rest])


def other_separator(content: bytes, draw: Draw) -> bytes:
    return content.replace(b",", draw.choice([b";", b"\t", b"|", b" ", b", "]))


def commented(content: bytes, draw: Draw) -> bytes:
    return draw.choice([b"# made by a program\n", b"\n\n", b"sep=,\n", b"#,,,\n"]) + content


def encoded(content: bytes, draw: Draw) -> bytes:
    encoding = draw.choice(["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp500", "latin-1"])
    return content.decode("utf-8", "ignore").encode(encoding, "replace")


def backwards(content: bytes, draw: Draw) -> bytes:
    first, *rest = content.splitlines(keepends=True)
    return b"".join([first, *reversed(rest)])


def wide(content: bytes, draw: Draw) -> bytes:
    """Many columns more, up to so many that looking at pairs of names would take minutes."""
    first, *rest = content.splitlines()
    more = b"".join(b",c%d" % number for number in range(draw.choice([10, 1_000, 4_900, 20_000])))
    return b"\n".join([first + more, *(line + b"," * more.count(b",") for line in rest)]) + b"\n"


TEXT = (
    cut, flipped, word_inserted, field_replaced, lines_drawn, columns_drawn, header_twice, no_header, only_header,
    other_case, other_separator, commented, encoded, backwards, wide,
)  # fmt: skip
BYTES = (cut, flipped, word_inserted)


def linked_to_nothing(path: Path, draw: Draw) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all")


def linked_to_itself(path: Path, draw: Draw) -> None:
    path.unlink()
    path.symlink_to(path.name)


def a_pipe(path: Path, draw: Draw) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path, draw: Draw) -> None:
    path.unlink()
    path.mkdir()


def other_ending(path: Path, draw: Draw) -> None:
    ending = draw.choice([path.suffix.upper(), ".txt", ".tsv", ".pq", ".bak", "", ".csv.bz2", ".parquet", ".csv"])
    path.rename(path.with_name(path.name.removesuffix(path.suffix) + ending))


def packed(path: Path, draw: Draw) -> None:
    content, draw_zst = path.read_bytes(), draw.random() < 0.5
    path.unlink()
    pack = pa.Codec("zstd").compress(content, asbytes=True) if draw_zst else gzip.compress(content)
    path.with_name(path.name + (".zst" if draw_zst else ".gz")).write_bytes(pack)


def moved_down(path: Path, draw: Draw) -> None:
    folder = path.parent / draw.choice(["more", "year=2020", "symbol=ZZ", "old.csv"])
    folder.mkdir()
    path.rename(folder / path.name)


def doubled(path: Path, draw: Draw) -> None:
    path.with_name(f"again_{path.name}").write_bytes(path.read_bytes())


def unreadable(path: Path, draw: Draw) -> None:
    path.chmod(0)


ENTRIES = (
    linked_to_nothing, linked_to_itself, a_pipe, a_folder, other_ending, packed, moved_down, doubled, unreadable,
)  # fmt: skip


def retyped(path: Path, draw: Draw) -> None:
    """A column of a Parquet file in another type, as pandas and others write it."""
    frame = pd.read_parquet(path)
    name = draw.choice(list(frame.columns))
    values = {
        "text": lambda: frame[name].astype(str),
        "category": lambda: frame[name].astype(str).astype("category"),
        "flag": lambda: [number % 2 == 0 for number in range(len(frame))],
        "none": lambda: None,
        "whole": lambda: range(draw.choice([0, 20240101, 1704153600, 1704153600000]), 10**18)[: len(frame)],
        "list": lambda: [[1, 2]] * len(frame),
        "bytes": lambda: [b"\xff\x00"] * len(frame),
        "zoned": lambda: pd.date_range("2024-11-03", periods=len(frame), freq="h", tz="UTC").tz_convert("Europe/Paris"),
        "time": lambda: [pd.Timestamp("2020-01-02 09:35").time()] * len(frame),
    }
    frame[name] = draw.choice(list(values.values()))()
    path.unlink()
    index = draw.choice([None, name])
    (frame.set_index(name) if index else frame).to_parquet(path)


KEYS = (
    "vendor", "columns", "leave_out", "absent", "time_format", "time_unit", "time_zone", "separator", "decimal",
    "thousands", "skip_lines", "names", "sort", "layout", "symbol_pattern", "factors", "targets", "frequency", "colums",
)  # fmt: skip
VALUES = (
    None, True, 0, 3, -1, 1e9, "", ",", ";", "%Y", "%d.%m.%Y", "ms", "UTC", "Mars", "tushare", "stooq", "long", "(",
    r"(?P<symbol>.+)", ["volume"], ["a", "a"], [], {}, {"timestamp": "open"}, {"open": "close", "high": "close"}, [1],
)  # fmt: skip


def told(folder: Path, draw: Draw) -> None:
    """An import.yaml of drawn keys and values."""
    said = {draw.choice(KEYS): draw.choice(VALUES) for _ in range(draw.randint(1, 3))}
    (folder / "import.yaml").write_text(yaml.safe_dump(said))


def described(folder: Path, draw: Draw) -> None:
    """A dataset.yaml, damaged."""
    text = b"name: mine\nuniverse: all\ntime_zone: UTC\nnested: {a: [1, 2, {b: c}]}\nfees: 0.1\n"
    for _ in range(draw.randint(1, 3)):
        damage = draw.choice([*BYTES, lines_drawn, lambda c, d: c + b"a: &x [" + b"[" * d.randrange(5000) + b"*x\n"])
        text = damage(text or b"x", draw)
    (folder / "dataset.yaml").write_bytes(text)


def write_vendor_files(vendor: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name, text in FILES[vendor].items():
            (folder / name).write_text(text, encoding="utf-8")

    return write


SOURCES: dict[str, Callable[[Path], None]] = {
    **{f"layout {name}": write for name, write in WRITERS.items()},
    **{f"vendor {name}": write_vendor_files(name) for name in FILES},
}
NAMED_BY_FILE = {
    "layout symbol", "layout kronos", "layout csmd", "vendor yfinance, history", "vendor stooq", "vendor kronos",
    "vendor kronos, prices alone", "vendor ccxt", "vendor alpaca, raw", "vendor semicolons and a comment",
}  # fmt: skip


class Spoilt(NamedTuple):
    """How a source was spoilt, the names of what was touched, and whether it must be imported."""

    how: str
    touched: list[str]
    by_import: bool = False


def spoil(folder: Path, draw: Draw) -> Spoilt:
    """Spoil a source in one or two ways."""
    if draw.random() < 0.08:
        way = draw.choice([told, described])
        way(folder, draw)
        return Spoilt(way.__name__, ["import.yaml", "dataset.yaml", folder.name], by_import=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    victim = draw.choice(files)
    is_text = victim.suffix in (".csv", ".txt")
    how: list[str] = []
    for _ in range(draw.choice([1, 1, 1, 2])):
        kind = draw.random()
        if not victim.is_file() or victim.is_symlink():
            break
        if kind < 0.3:
            entry = draw.choice(ENTRIES)
            entry(victim, draw)
            how.append(entry.__name__)
            break
        if kind < 0.5 and victim.suffix == ".parquet" and not how:
            retyped(victim, draw)
            how.append("retyped")
            continue
        damage = draw.choice(TEXT if is_text else BYTES)
        content = victim.read_bytes()
        if content:
            victim.write_bytes(damage(content, draw))
            how.append(damage.__name__)
    return Spoilt("+".join(how), [victim.name, victim.stem])


@contextmanager
def in_time() -> Iterator[None]:
    """Stop work after `MOST_SECONDS` of CPU time, and waiting, whatever else the machine does, after `MOST_WAITED`."""

    def stop(number: int, frame: object) -> None:
        raise TimeoutError

    before = {one: signal.signal(one, stop) for one in (signal.SIGALRM, signal.SIGPROF)}
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, MOST_WAITED)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for one, handler in before.items():
            signal.signal(one, handler)


def outcome(folder: Path, spoilt: Spoilt, symbols: set[str], is_named_by_file: bool) -> tuple[str, str]:
    """What came of a source: one of `OUTCOMES`, and what is to be said of it."""
    how, touched, by_import = spoilt
    said: list[str] = []
    try:
        with in_time(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if by_import:
                summary = import_data(folder, folder.parent / "imported")
                said += [f"{one.path} {one.reason}" for one in summary.left_out] + list(summary.empty_files)
                panel = read_bars(folder.parent / "imported")
            else:
                panel = read_bars(folder)
        said += [str(one.message) for one in caught]
    except ValueError as error:
        named = any(name in str(error) for name in (*touched, str(folder)))
        return ("refused" if named else "UNNAMED"), f"{how}: {error}"
    except TimeoutError:
        return "HANG", how
    except Exception:
        return "TRACEBACK", f"{how}: {traceback.format_exc()}"
    found = set(map(str, panel.symbols))
    if "other_case" in how:  # where the line of names holds tickers
        symbols, found = {name.lower() for name in symbols}, {name.lower() for name in found}
    lost = symbols - found
    names = [*touched, *(f"/{name.lower()} " for name in lost)]  # a folder of qlib's that is no longer listed
    is_named = any(name in text for text in said for name in names)
    if lost and not is_named and not may_lose(how, panel, is_named_by_file):
        return "LOST", f"{how}: {sorted(lost)} of {sorted(symbols)}, said {said}"
    return "read", how


ROWS_GO = ("cut", "flipped", "word_inserted", "field_replaced", "lines_drawn", "columns_drawn", "no_header", "retyped")


def may_lose(how: str, panel: Panel, is_named_by_file: bool) -> bool:
    """Rows or names of symbols that were overwritten are gone from the source, not in the reading.

    Where the name of a file is the symbol, no damage to what is in it takes the symbol away without a word.
    """
    if "ZZ" in panel.symbols or how == "told":  # the folder it was moved to, or import.yaml, names another
        return True
    return not is_named_by_file and any(way in ROWS_GO for way in how.split("+"))


def fuzz(rounds: int, seed: int, only: str = "") -> tuple[dict[str, Counter[str]], list[str], float]:
    """Spoil and read `rounds` sources; counts by source, what must not be, and the longest in seconds of CPU time."""
    draw, found, faults, longest = Draw(seed), {}, [], 0.0
    names = [name for name in SOURCES if only in name]
    expected: dict[str, set[str]] = {}
    for number in range(rounds):
        name = names[number % len(names)]
        with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
            folder = Path(scratch) / "source"
            folder.mkdir()
            SOURCES[name](folder)
            if name not in expected:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    expected[name] = set(map(str, read_bars(folder).symbols))
            spoilt = spoil(folder, draw)
            started = time.process_time()
            came, text = outcome(folder, spoilt, expected[name], name in NAMED_BY_FILE)
            longest = max(longest, time.process_time() - started)
        found.setdefault(name, Counter())[came] += 1
        if came.isupper():
            faults.append(f"round {number} of seed {seed}, {name}: {came}: {text}")
    return found, faults, longest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="", help="sources with this in their name")
    options, _ = parser.parse_known_args()
    found, faults, longest = fuzz(options.rounds, options.seed, options.only)
    total: Counter[str] = Counter()
    for name, counts in found.items():
        total += counts
        print(f"{name}: {', '.join(f'{counts[one]} {one}' for one in OUTCOMES if counts[one])}")
    print(
        f"{total.total():,} sources: {', '.join(f'{total[one]:,} {one}' for one in OUTCOMES)}; longest {longest:.1f} s"
    )
    print(*faults[:20], sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
