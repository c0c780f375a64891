"""Prefetch and block cache: what is read ahead is used, once, within the limit, and errors reach the consumer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from factor_data import Panel, WindowDataset, prefetch


def names_of_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "prefetch"]


def test_items_come_in_order_and_the_thread_ends_with_them() -> None:
    assert list(prefetch(range(100), max_bytes=3, num_bytes=lambda item: 1)) == list(range(100))
    assert names_of_threads() == []


def test_never_more_than_the_limit_is_made_ahead() -> None:
    """35 bytes hold three items of 10 bytes; the fourth is in the making."""
    made, asked = [], threading.Event()

    def items() -> Iterator[int]:
        for item in range(20):
            made.append(item)
            if len(made) == 5:
                asked.set()  # one taken, three waiting, one in the making
            yield item

    stream = prefetch(items(), max_bytes=35, num_bytes=lambda item: 10)
    taken = [next(stream)]
    assert asked.wait(5)
    time.sleep(0.1)  # a thread that made more than it may would have done so by now
    assert len(made) == 5
    for item in stream:
        assert len(made) <= len(taken) + 1 + 3 + 1
        taken.append(item)
    assert taken == list(range(20))


def test_an_error_in_the_thread_surfaces_in_the_consumer_in_its_turn() -> None:
    """The defect 1i.14: failed files were logged and skipped."""

    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("block 3 is gone")

    stream = prefetch(items(), max_bytes=100, num_bytes=lambda item: 1)
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(OSError, match="block 3 is gone"):
        next(stream)
    assert names_of_threads() == []


def test_closing_the_iterator_ends_the_thread_and_the_items() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.set()

    source = items()
    stream = prefetch(source, max_bytes=2, num_bytes=lambda item: 1)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert names_of_threads() == []
    source.close()  # type: ignore[attr-defined]
    assert closed.is_set()


def test_an_item_larger_than_the_limit_is_an_error() -> None:
    with pytest.raises(ValueError, match="an item of 11 bytes does not fit into max_bytes = 10"):
        list(prefetch([11], max_bytes=10, num_bytes=lambda item: item))
    with pytest.raises(ValueError, match="max_bytes must be at least 1"):
        next(prefetch([1], max_bytes=0, num_bytes=lambda item: 1))


def test_prefetched_batches_are_the_batches(panel: Panel) -> None:
    features = np.random.default_rng(0).standard_normal((panel.num_rows, 2)).astype(np.float32)
    data = WindowDataset(features, None, 6, symbol_code=panel.symbol_code, date_code=panel.date_code)
    for read in (data.batches, data.sample_batches):
        ahead = list(read(16, seed=1, prefetch_bytes=50_000))
        for batch, expected in zip(ahead, read(16, seed=1), strict=True):
            np.testing.assert_array_equal(batch.windows, expected.windows)
            np.testing.assert_array_equal(batch.rows, expected.rows)
