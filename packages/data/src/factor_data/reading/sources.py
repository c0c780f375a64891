"""Files to read, local or behind any fsspec URL (`memory://`, `s3://`, `file://`), without changing them."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

PathLike = str | Path
Paths = PathLike | Sequence[PathLike]
# ending, in any case -> what the file is and how it is compressed
ENDINGS: dict[str, tuple[Literal["parquet", "csv"], str | None]] = {
    ".parquet": ("parquet", None),
    ".pq": ("parquet", None),
    ".csv": ("csv", None),
    ".csv.gz": ("csv", "gzip"),
    ".csv.zst": ("csv", "zstd"),
}
TEXT_ENDINGS = (".txt", ".tsv")  # CSV where a vendor is known to write so
SUFFIXES = tuple(ENDINGS)


@dataclass(frozen=True)
class File:
    """A file or folder; `path` is how the user wrote it, for messages."""

    path: str
    filesystem: Any  # fsspec.AbstractFileSystem
    location: str  # the same place in the words of the file system

    def __str__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        """Return the last part of the path."""
        return PurePosixPath(self.location).name

    @property
    def stem(self) -> str:
        """Return the name without its ending, the whole of `.csv.gz`."""
        return self.name[: len(self.name) - len(self.suffix)]

    @property
    def suffix(self) -> str:
        """Return the ending with its dot and in lower case, of a table all of it: `.csv.gz`."""
        name = self.name.lower()
        known = [ending for ending in ENDINGS if name.endswith(ending) and name != ending]
        return max(known, key=len) if known else PurePosixPath(name).suffix

    @property
    def is_parquet(self) -> bool:
        """Return whether the ending is one of Parquet; every other table is CSV."""
        return ENDINGS.get(self.suffix, ("csv", None))[0] == "parquet"

    @property
    def is_local(self) -> bool:
        """Return whether the file lies in the local file system."""
        return isinstance(self.filesystem, LocalFileSystem)

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Open for reading bytes, unpacked. What the storage says when it fails becomes a ValueError with the path."""
        self.check_readable()
        with storage_errors(self.path):
            opened = pa.OSFile(self.location) if self.is_local else self.filesystem.open(self.location, "rb")
        compression = ENDINGS.get(self.suffix, ("csv", None))[1]
        with opened:
            yield pa.CompressedInputStream(opened, compression) if compression else opened

    def size(self) -> int:
        """Return the size in bytes; 0 where the storage does not say."""
        with storage_errors(self.path):
            return int(self.filesystem.size(self.location) or 0)

    def is_folder(self) -> bool:
        """Return whether there is a folder of this path."""
        with storage_errors(self.path):
            return bool(self.filesystem.isdir(self.location))

    def is_file(self) -> bool:
        """Return whether there is a file of this path."""
        with storage_errors(self.path):
            return bool(self.filesystem.isfile(self.location))

    def trouble(self) -> str | None:
        """What keeps this from being a file or folder, None where nothing does: a pipe would be waited on for ever."""
        if not self.is_local:
            return None if self.is_file() or self.is_folder() else "is neither a file nor a folder"
        if not self.location.isascii() and self.location.encode(errors="ignore").decode() != self.location:
            return "has a name that is no UTF-8, which libraries cannot open"
        try:
            mode = Path(self.location).stat().st_mode
        except FileNotFoundError:
            return "is a link to nothing" if Path(self.location).is_symlink() else "does not exist"
        except OSError as error:
            return f"cannot be looked at ({error.strerror or error})"
        return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "is no regular file (a pipe, socket or device)"

    def check_readable(self) -> None:
        """Refuse what is no regular file before it is opened."""
        trouble = self.trouble()
        if trouble is not None or self.is_folder():
            raise ValueError(f"{self.path}: cannot be read ({trouble or 'is a folder'})")

    def child(self, name: str) -> File:
        """Return a file of this folder."""
        return File(f"{self.path.rstrip('/')}/{name}", self.filesystem, f"{self.location.rstrip('/')}/{name}")

    def children(self) -> list[File]:
        """Return the entries of a folder, hidden names left out, sorted by name."""
        with storage_errors(self.path):
            # not the file system's own listing: some leave out what they cannot describe, as links that lead in circles
            listed = Path(self.location).iterdir() if self.is_local else self.filesystem.ls(self.location, detail=False)
        names = sorted(PurePosixPath(str(entry)).name for entry in listed)
        return [self.child(name) for name in names if name and not name.startswith(".")]

    def files(self, suffixes: Sequence[str] = SUFFIXES) -> list[File]:
        """The files of a folder that end in one of `suffixes`; sub-folders are not looked into.

        ValueError for an entry that ends so and is no file: a link to nothing, a pipe, a folder.
        """
        found = [entry for entry in self.children() if entry.suffix in suffixes]
        for entry in found:
            entry.check_readable()
        return found


@contextmanager
def storage_errors(path: str) -> Iterator[None]:
    """Turn what a storage raises into a ValueError that names the path."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from error


def locate(path: PathLike) -> File:
    """Return the file or folder of a path or URL. Nothing is opened, it need not exist."""
    text = str(path)
    if "\0" in text:
        raise ValueError(f"{text!r}: a path has no NUL characters")
    try:
        filesystem, location = fsspec.core.url_to_fs(text)
    except ImportError as error:
        raise ValueError(f"{text}: its protocol needs a package that is not installed ({error})") from error
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from error
    return File(text, filesystem, location)
