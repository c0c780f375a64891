"""sums.json: the sha256 of every file of a folder, so that bits that rotted are noticed before they are believed.

Files are read once for it, by plain calls and a block at a time, when they are written and when they are opened. A
folder inside that has a sums.json of its own vouches for itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from factor_data.atomic import write_json
from factor_data.json_document import read_document

SUMS = "sums.json"


class DamagedError(ValueError):
    """A file is not what was written."""


class Sums:
    """The digests of a folder; each file is read once by an instance, however often it is asked for.

    ValueError where the folder has no sums.json, or one that cannot be read.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder, self._known = Path(folder), set[str]()
        file = self.folder / SUMS
        if not file.is_file():
            raise ValueError(f"{self.folder} has no {SUMS}: it does not exist, is not whole, or is of an older version")
        try:
            sums = read_document(file)
        except ValueError as error:
            raise DamagedError(f"{error}: {ADVICE}") from error
        if not isinstance(sums, dict):
            raise DamagedError(f"{file}: holds no digests: {ADVICE}")
        if wrong := [name for name, one in sums.items() if not _is_inside(name) or not _is_sha256(one)]:
            raise DamagedError(f"{file}: {wrong[0]!r}: must be a file of the folder with its sha256: {ADVICE}")
        self.digests: dict[str, str] = sums

    def path(self, name: str) -> Path:
        """Return the path of a file or folder inside; its bytes are those that were written.

        Raises
        ------
        DamagedError : a file has other bytes, is missing, or is in the folder without having been written there
        """
        path = self.folder / name
        below = [one for one in self.digests if one.startswith(f"{name}/")]
        if not below and name not in self.digests:
            raise DamagedError(f"{path}: {self.folder / SUMS} does not know it: {ADVICE}")
        if below:
            self._refuse_unknown(path)
        for one in below or [name]:
            self._check(one)
        return path

    def check_all(self) -> int:
        """Check every file, as `path` does one, and return their number."""
        self._refuse_unknown(self.folder)
        for name in self.digests:
            self._check(name)
        return len(self.digests)

    def damages(self) -> list[str]:
        """Return what `path` says of each file that was written and is not what it was."""
        told = []
        for name in self.digests:
            try:
                self.path(name)
            except DamagedError as error:
                told.append(str(error))
        return told

    def _check(self, name: str) -> None:
        path = self.folder / name
        if name in self._known:
            return
        if not path.is_file():
            raise DamagedError(f"{path}: no such file, though {self.folder / SUMS} knows it: {ADVICE}")
        if file_sha256(path) != self.digests[name]:
            raise DamagedError(f"{path}: its bytes are not those that {self.folder / SUMS} has: {ADVICE}")
        self._known.add(name)

    def _refuse_unknown(self, folder: Path) -> None:
        prefix = "" if folder == self.folder else f"{folder.relative_to(self.folder).as_posix()}/"
        for name in files_to_sum(folder):
            if prefix + name not in self.digests:
                raise DamagedError(f"{folder / name}: {self.folder / SUMS} does not know it: {ADVICE}")


ADVICE = "damaged, or changed after it was written; have it written again"


def write_sums(folder: str | Path, changed: Sequence[str] | None = None) -> None:
    """Write sums.json for what is in a folder now; given which files are `changed`, only they are read."""
    folder = Path(folder)
    known = {} if changed is None else Sums(folder).digests
    same = known.keys() - set(changed or ())
    names = files_to_sum(folder)
    write_json(folder / SUMS, {name: known[name] if name in same else file_sha256(folder / name) for name in names})


def files_to_sum(folder: Path) -> list[str]:
    """Return the files below a folder by path, but for those of folders that have sums of their own."""
    apart = [path.parent for path in folder.rglob(SUMS)]
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / SUMS)
    return [
        path.relative_to(folder).as_posix()
        for path in files
        if not any(path.is_relative_to(other) for other in apart if other != folder)
    ]


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _is_sha256(digest: Any) -> bool:
    return isinstance(digest, str) and len(digest) == 64


def checked(folder: str | Path, name: str) -> Path:
    """Return the path of a file or folder inside a folder with sums; DamagedError where it is not what was written."""
    return Sums(folder).path(name)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, read a block at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
