"""What the workers of one server share in memory: which bundle counts, what is left of the limits, their counters.

The memory is anonymous and every worker inherits it. A lock of the system guards it that a process cannot take with it
when it is killed.
"""

from __future__ import annotations

import fcntl
import mmap
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

GENERATION = struct.Struct("<Q")
BUCKETS = ("clients", "strangers")
BUCKET = struct.Struct("<dd")
SLOT_HEAD = struct.Struct("<II")
SLOT = 2**16
"""Bytes that a worker's counters may take, with length and checksum before them."""


class Board:
    """Memory that is made before the workers are forked.

    Attributes
    ----------
    num_workers : each has a slot for its counters
    """

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self._slots = GENERATION.size + len(BUCKETS) * BUCKET.size
        self._memory = mmap.mmap(-1, self._slots + num_workers * SLOT)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 -- open as long as the board: it is what is locked
        self._threads = Lock()

    @property
    def generation(self) -> int:
        """Number of the bundle that counts, 0 for none: eight bytes at once, so it changes for all workers at once."""
        return int(GENERATION.unpack_from(self._memory)[0])

    @generation.setter
    def generation(self, number: int) -> None:
        GENERATION.pack_into(self._memory, 0, number)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within, no other thread of any worker is."""
        with self._threads:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)

    def bucket(self, name: str) -> tuple[float, float]:
        """What is left in a bucket, and when that was; (0, 0) where nobody has written yet."""
        left, at = BUCKET.unpack_from(self._memory, self._bucket(name))
        return left, at

    def set_bucket(self, name: str, left: float, at: float) -> None:
        """Write what `bucket` reads."""
        BUCKET.pack_into(self._memory, self._bucket(name), left, at)

    def slot(self, number: int) -> bytes:
        """What a worker wrote last; nothing where it wrote nothing, or was killed while it did."""
        start = self._slots + number * SLOT
        length, checksum = SLOT_HEAD.unpack_from(self._memory, start)
        content = self._memory[start + SLOT_HEAD.size : start + SLOT_HEAD.size + length]
        return content if zlib.crc32(content) == checksum else b""

    def set_slot(self, number: int, content: bytes) -> None:
        """Write what `slot` reads."""
        assert len(content) <= SLOT - SLOT_HEAD.size
        start = self._slots + number * SLOT
        self._memory[start + SLOT_HEAD.size : start + SLOT_HEAD.size + len(content)] = content
        SLOT_HEAD.pack_into(self._memory, start, len(content), zlib.crc32(content))

    def _bucket(self, name: str) -> int:
        return GENERATION.size + BUCKETS.index(name) * BUCKET.size
