"""One HTTP exchange that ends whatever the other side does: within a time in all, and within a size."""

from __future__ import annotations

import http.client
import socket
import threading
import urllib.error
import urllib.request
from functools import partial
from types import TracebackType
from typing import Any


class TooLongError(ValueError):
    """A reply is longer than allowed; the rest of it was not read."""


def exchange(request: urllib.request.Request, seconds: float, max_bytes: int) -> bytes:
    """Send a request and return the body of the reply.

    Redirects are not followed: that would send the key to another host.

    Raises
    ------
    urllib.error.HTTPError : a status that is no success
    TimeoutError : no whole reply after so many seconds, however often a byte came
    TooLongError : more than so many bytes
    OSError, http.client.HTTPException : no connection, or none that kept to the protocol
    """
    with Deadline(seconds) as deadline:
        opener = urllib.request.build_opener(_NoRedirect, _Plain(deadline), _Secure(deadline))
        try:
            with opener.open(request, timeout=seconds) as answer:
                content: bytes = answer.read(max_bytes + 1)
                missing = answer.length
        except urllib.error.HTTPError as error:
            error.close()
            raise
        except (OSError, http.client.HTTPException):
            deadline.check()
            raise
    deadline.check()
    if len(content) > max_bytes:
        raise TooLongError(f"the reply is longer than {max_bytes:,} bytes")
    if missing:
        raise http.client.IncompleteRead(content, missing)
    return content


class Deadline:
    """Shuts the connections that it is told of when the time is over: whoever waits for one goes on with an error."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.passed = seconds, False
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._lock, self._sockets = threading.Lock(), list[socket.socket]()

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for one in self._sockets:
                one.close()
            self._sockets.clear()

    def watch(self, connection: socket.socket) -> None:
        """Shut this connection in time. TLS takes the socket over, so a second handle of it is kept."""
        with self._lock:
            self._sockets.append(connection.dup())
        self.check()

    def check(self) -> None:
        """Raise TimeoutError once the time is over."""
        if self.passed:
            raise TimeoutError(f"no whole reply within {self.seconds:g} s")

    def _end(self) -> None:
        with self._lock:
            self.passed = True
            for one in self._sockets:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:  # the other side was faster
                    continue


class _Watched(http.client.HTTPConnection):
    deadline: Deadline

    def connect(self) -> None:
        super().connect()
        self.deadline.watch(self.sock)


class _WatchedSecure(http.client.HTTPSConnection, _Watched):
    """Its `connect` is that of HTTPS, which calls that of `_Watched` for the connection below TLS."""


def _connection(kind: type[_Watched], deadline: Deadline, *arguments: Any, **options: Any) -> _Watched:
    """A connection that ends with the deadline; the classes of http.client take no further argument."""
    made = kind(*arguments, **options)
    made.deadline = deadline
    return made


class _Timed:
    """A handler that hands its connections the deadline."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline


class _Plain(_Timed, urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_connection, _Watched, self._deadline), req)


class _Secure(_Timed, urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_connection, _WatchedSecure, self._deadline), req)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None
