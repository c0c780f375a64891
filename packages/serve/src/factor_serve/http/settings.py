"""Settings of the server: limits, and the key without which it answers on loopback alone."""

from __future__ import annotations

import hmac
import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

KEY_VARIABLE = "FACTOR_SERVE_KEY"
LEAST_KEY = 16


@dataclass(frozen=True, kw_only=True)
class HttpSettings:
    """Limits of the server."""

    key: str | None = field(default=None, repr=False)
    """Key that a client must show; None: none is asked for, which is for loopback only."""
    max_bytes: int = 64 * 2**20
    """Largest body of a request."""
    max_rows: int = 2_000_000
    """Most bars of a request, and most documents."""
    rate: float = 50.0
    """Requests a second that are worked on in the long run; twice as many may come at once."""
    timeout: float = 60.0
    """Seconds after which a forecast is given up, its wait for others included, and a body that is not whole yet."""
    waiting: int = 8
    """Requests that may wait for the one that is worked on."""
    workers: int = 1
    """Processes that answer."""
    unpromoted: bool = False
    """Serve a stack that has not passed its gates."""
    ensemble: str | None = None
    """Labels that the stack forecasts where a request names no model; None: all."""

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_rows", "rate", "timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)}: must be above 0")
        if self.workers < 1:
            raise ValueError(f"workers = {self.workers}: must be >= 1")
        if self.waiting < 0:
            raise ValueError(f"waiting = {self.waiting}: must be >= 0")
        if self.key is not None and len(self.key) < LEAST_KEY:
            raise ValueError(f"the key has {len(self.key)} characters, must have at least {LEAST_KEY}")

    def admits(self, shown: str | None) -> bool:
        """Return whether a client that shows this key may be answered; in constant time."""
        if self.key is None or shown is None:
            return self.key is None
        sent = shown.encode("latin-1", "replace")  # a header is read as Latin-1: its bytes again
        return hmac.compare_digest(sent, self.key.encode())


def read_key(path: str | None) -> str | None:
    """Return the key of a file, or of the environment; ValueError for an empty file."""
    if path is None:
        return os.environ.get(KEY_VARIABLE, "").strip() or None
    key = Path(path).read_text(encoding="utf-8").strip()
    if not key:
        raise ValueError(f"--key-file {path}: is empty")
    return key


def check_host(host: str, key: str | None) -> None:
    """Refuse to be bound where others can reach it without a key."""
    if key is None and not is_loopback(host):
        raise ValueError(
            f"--host {host}: can be reached from elsewhere, which needs a key: --key-file FILE or {KEY_VARIABLE}"
        )


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
