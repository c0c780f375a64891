"""Make batches in a thread while the consumer works, within a limit of bytes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


def prefetch(items: Iterable[T], max_bytes: int, num_bytes: Callable[[T], int]) -> Iterator[T]:
    """Yield `items` in their order, made ahead by one thread.

    The thread starts with the first request and ends when the items do, or when the iterator is closed
    or dropped; it waits while the items made but not taken hold `max_bytes`. The one in the making comes on top.

    Raises
    ------
    Whatever making an item raised, when its turn comes; ValueError for an item larger than `max_bytes`
    """
    if max_bytes < 1:
        raise ValueError(f"max_bytes must be at least 1, got {max_bytes}")
    queue = _BoundedQueue(max_bytes, num_bytes)
    thread = threading.Thread(target=queue.fill, args=(items,), name="prefetch", daemon=True)
    thread.start()
    try:
        yield from queue
    finally:
        queue.close()
        thread.join()


class _BoundedQueue(Generic[T]):
    """First in, first out; `bytes_held` never exceeds `max_bytes`."""

    def __init__(self, max_bytes: int, num_bytes: Callable[[T], int]) -> None:
        self.max_bytes, self.num_bytes = max_bytes, num_bytes
        self.bytes_held = 0
        self._items: deque[tuple[T, int]] = deque()
        self._error: BaseException | None = None
        self._is_closed = self._is_complete = False
        self._changed = threading.Condition()

    def fill(self, items: Iterable[T]) -> None:
        """Take items until there are none, one fails, or the queue is closed."""
        error = None
        try:
            for item in items:
                if not self._put(item):
                    break
        except BaseException as raised:  # handed to the consumer, who raises it
            error = raised
        with self._changed:
            self._error, self._is_complete = error, True
            self._changed.notify_all()

    def _put(self, item: T) -> bool:
        size = self.num_bytes(item)
        if size > self.max_bytes:
            raise ValueError(f"an item of {size} bytes does not fit into max_bytes = {self.max_bytes}")
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self.bytes_held + size <= self.max_bytes)
            if not self._is_closed:
                self._items.append((item, size))
                self.bytes_held += size
                self._changed.notify_all()
            return not self._is_closed

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._is_complete)
                if not self._items:
                    break
                item, size = self._items.popleft()
                self.bytes_held -= size
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._items.clear()
            self.bytes_held = 0
            self._changed.notify_all()
