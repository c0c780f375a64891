"""What is the same for every model of a run, judged once: kept beside the run under a digest of all that decides it.

The floors of a label, and the book of the truth on a simulated market, are judged on the symbols that a model
forecasts. Where all models forecast the same ones, each of them, and their stack, would judge the same again; and what
they are calibrated against, and which labels a delisting decides, is the same for all. What one stage has made lies in
.live/kept, in a file whose name is the sha256 of what it is a function of: the code and the libraries (`Plan.shared`),
the settings, the data, the dates, symbols and labels. It is no output of a stage, and nothing depends on its being
there: without it the same bytes are computed again. A file begins with the sha256 of the rest; one that is damaged is
reported, and computed again.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from factor_data.sums import SUMS, file_sha256
from factor_data.whole_file import write_bytes
from stages.running.files import RESULTS
from stages.running.planned import Plan

FOLDER = Path(".live") / "kept"
MOST_FILES = 48
"""Files that stay, the latest ones: a label has four, and two more for every other set of symbols forecast."""

Arrays = dict[str, NDArray]


class Kept:
    """Arrays by a digest of what decides them; `decided_by` is what all of them have in common."""

    def __init__(self, *decided_by: bytes, folder: Path = FOLDER) -> None:
        self.folder, self.common = folder, decided_by

    @classmethod
    def by(cls, plan: Plan, module: str) -> Kept:
        """Return where numbers of a module are kept, by its code and all that `split` and `tokenize` have written."""
        sums = (file_sha256(RESULTS / name / SUMS) for name in ("split/panel", "split", "tokenize"))
        return cls(plan.shared[module].encode(), *(one.encode() for one in sums))

    def arrays(self, decided_by: Iterable[bytes], compute: Callable[[], Arrays], needed: Iterable[str] = ()) -> Arrays:
        """Return what `compute` returns, read where it is kept and has all arrays that are `needed`."""
        path = self.folder / f"{digest([*self.common, *decided_by])}.npz"
        found = read_arrays(path)
        if found is not None and (lacks := [name for name in needed if name not in found]):
            print(f"{path} lacks {lacks[0]!r}: what it holds is computed again", file=sys.stderr)
            found = None
        if found is None:
            found = compute()
            self._write(path, found)
        return found

    def _write(self, path: Path, arrays: Arrays) -> None:
        room = io.BytesIO()
        np.savez(room, allow_pickle=False, **arrays)
        content = room.getvalue()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_bytes(path, hashlib.sha256(content).digest() + content)
        known = sorted(self.folder.glob("*.npz"), key=written)
        for old in known[:-MOST_FILES]:
            old.unlink(missing_ok=True)


def written(path: Path) -> int:
    """Return when a file was written; 0 where another process has just deleted it."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def digest(parts: Iterable[bytes]) -> str:
    """Return the sha256 of parts, each with its length before it, so that none runs into the next."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big"))
        total.update(part)
    return total.hexdigest()


def read_arrays(path: Path) -> Arrays | None:
    """Return the arrays of a file; None where there is none, or it is damaged."""
    if not path.is_file():  # a pipe would be waited on
        return None
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # another process has just made room
        return None
    own, content = content[:32], content[32:]
    if hashlib.sha256(content).digest() != own:
        print(f"{path} is damaged: what it holds is computed again", file=sys.stderr)
        return None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        print(f"{path} holds no arrays ({error}): they are computed again", file=sys.stderr)
        return None
