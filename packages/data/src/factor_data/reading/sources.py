"""Files to read, local or behind any fsspec URL (`memory://`, `s3://`, `file://`), without changing them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

PathLike = str | Path
Paths = PathLike | Sequence[PathLike]
SUFFIXES = (".parquet", ".csv")


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
        """Return the name without its suffix."""
        return PurePosixPath(self.location).stem

    @property
    def suffix(self) -> str:
        """Return the suffix with its dot."""
        return PurePosixPath(self.location).suffix

    @property
    def is_local(self) -> bool:
        """Return whether the file lies in the local file system."""
        return isinstance(self.filesystem, LocalFileSystem)

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Open for reading bytes. What the storage says when it fails becomes a ValueError with the path."""
        with storage_errors(self.path):
            opened = pa.OSFile(self.location) if self.is_local else self.filesystem.open(self.location, "rb")
        with opened:
            yield opened

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

    def child(self, name: str) -> File:
        """Return a file of this folder."""
        return File(f"{self.path.rstrip('/')}/{name}", self.filesystem, f"{self.location.rstrip('/')}/{name}")

    def children(self) -> list[File]:
        """Return the entries of a folder, hidden names left out, sorted by name."""
        with storage_errors(self.path):
            listed = self.filesystem.ls(self.location, detail=False)
        names = sorted(PurePosixPath(str(entry)).name for entry in listed)
        return [self.child(name) for name in names if name and not name.startswith(".")]

    def files(self, suffixes: Sequence[str] = SUFFIXES) -> list[File]:
        """The files of a folder that end in one of `suffixes`; its sub-folders are not looked into."""
        return [file for file in self.children() if file.suffix in suffixes and file.is_file()]


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
