"""Limits on requests: how many a second, how large, how many at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect

from factor_serve.http.board import Board
from factor_serve.http.problems import Problem

T = TypeVar("T")


class Rate:
    """A bucket that fills at `rate` a second and holds two seconds' worth."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.clock = rate, clock
        self.most = max(2.0 * rate, 1.0)
        self.left, self.at = self.most, clock()

    def take(self) -> None:
        """Take one; Problem 429 where none is left."""
        now = self.clock()
        self.left = min(self.most, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < 1.0:
            seconds = max(1, round((1.0 - self.left) / self.rate))
            raise Problem(429, None, f"more than {self.rate:g} requests a second", retry_after=seconds)
        self.left -= 1.0


class SharedRate(Rate):
    """A bucket of all workers of a server."""

    def __init__(self, rate: float, name: str, board: Board, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(rate, clock)
        self.name, self.board = name, board

    def take(self) -> None:
        """Take one, as `Rate.take`."""
        with self.board.locked():
            left, at = self.board.bucket(self.name)
            if at > 0.0:  # else nobody has taken one yet
                self.left, self.at = left, at
            try:
                super().take()
            finally:
                self.board.set_bucket(self.name, self.left, self.at)


def rate_of(rate: float, name: str, board: Board | None) -> Rate:
    """Return a bucket, that of all workers where there is a board."""
    return Rate(rate) if board is None else SharedRate(rate, name, board)


class Turn:
    """One request is worked on at a time; so many may wait, and the others are sent away."""

    def __init__(self, waiting: int) -> None:
        self.most, self.waiting = waiting, 0
        self.free = asyncio.Lock()

    async def run(self, work: Callable[[], T], timeout: float) -> T:
        """Return what `work` gives in a thread of its own.

        Problem 503 where too many wait already, 504 after `timeout` seconds, the wait included; a thread cannot be
        ended, so the turn is over when it has come to its end.
        """
        start = time.monotonic()
        if self.free.locked() and self.waiting >= self.most:
            raise Problem(503, None, f"busy: {self.waiting} requests wait already", retry_after=1)
        self.waiting += 1
        try:
            async with asyncio.timeout(timeout):
                await self.free.acquire()
        except TimeoutError:
            raise Problem(504, None, f"waited more than {timeout:g} seconds for its turn", retry_after=1) from None
        finally:
            self.waiting -= 1
        task = asyncio.ensure_future(asyncio.to_thread(work))
        task.add_done_callback(self._over)
        done, _ = await asyncio.wait({task}, timeout=max(0.0, timeout - (time.monotonic() - start)))
        if not done:
            raise Problem(504, None, f"took more than {timeout:g} seconds")
        return task.result()

    def _over(self, task: asyncio.Future[Any]) -> None:
        self.free.release()
        if not task.cancelled():
            task.exception()  # looked at, or asyncio warns of it where nobody waits any more


async def read_body(chunks: AsyncIterator[bytes], said: str | None, max_bytes: int, timeout: float) -> bytes:
    """Return a body of at most `max_bytes`.

    Problem 413 for a larger one, as soon as that is known, 408 for one that is not whole after `timeout` seconds, 400
    for one that breaks off.
    """
    if said is not None and said.isdecimal() and int(said) > max_bytes:
        raise Problem(413, None, f"the body has {int(said):,} bytes, at most {max_bytes:,} are taken")
    body = bytearray()
    try:
        async with asyncio.timeout(timeout):
            async for chunk in chunks:
                body += chunk
                if len(body) > max_bytes:
                    raise Problem(413, None, f"the body has more than {max_bytes:,} bytes")
    except TimeoutError:
        raise Problem(408, None, f"the body was not whole after {timeout:g} seconds") from None
    except ClientDisconnect:
        raise Problem(400, None, "the body broke off") from None
    return bytes(body)
