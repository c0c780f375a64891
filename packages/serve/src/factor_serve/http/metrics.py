"""Counters of the server, as Prometheus reads them; of several workers, their sum."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from factor_serve.http.board import Board

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(eq=False)
class Counts:
    """Requests by "status path", seconds within each of `BUCKETS`, their sum, forecasts, reloads by outcome."""

    requests: Counter[str] = field(default_factory=Counter)
    buckets: Counter[str] = field(default_factory=Counter)
    reloads: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    forecasts: int = 0

    @property
    def count(self) -> int:
        """Return the number of requests answered."""
        return self.requests.total()

    @property
    def by_path(self) -> list[tuple[str, str, int]]:
        """Return (path, status, count), sorted."""
        return sorted((path, status, n) for key, n in self.requests.items() for status, _, path in [key.partition(" ")])

    def add(self, other: Counts) -> None:
        """Count what another worker has counted."""
        for name in ("requests", "buckets", "reloads"):
            getattr(self, name).update(getattr(other, name))
        self.seconds += other.seconds
        self.forecasts += other.forecasts

    @classmethod
    def read(cls, content: bytes) -> Counts:
        """Return what was written as JSON; nothing of nothing."""
        said: dict[str, Any] = json.loads(content or b"{}")
        said |= {name: Counter(said.get(name, {})) for name in ("requests", "buckets", "reloads")}
        return cls(**said)


class Metrics:
    """Counters of this process and, where it is one of several workers, of the others.

    Parameters
    ----------
    board, number : where workers share their counters, and which of them this one is; one that takes the place of
        another goes on with its counters
    """

    def __init__(self, board: Board | None = None, number: int = 0) -> None:
        self.board, self.number = board, number
        self.lock = Lock()
        self._own = Counts() if board is None else Counts.read(board.slot(number))

    def observe(self, path: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        within = {f"{bound:g}": 1 for bound in BUCKETS if seconds <= bound}
        self._count(Counts(requests=Counter({f"{status} {path}": 1}), buckets=Counter(within), seconds=seconds))

    def forecast(self, count: int) -> None:
        """Count forecasts that were given."""
        self._count(Counts(forecasts=count))

    def reload(self, outcome: str) -> None:
        """Count a reload that ended as "ok" or "refused"."""
        self._count(Counts(reloads=Counter({outcome: 1})))

    def totals(self) -> Counts:
        """Return the counters of all workers."""
        total = Counts()
        with self.lock:
            total.add(self._own)
        if self.board is not None:
            with self.board.locked():
                slots = [self.board.slot(one) for one in range(self.board.num_workers) if one != self.number]
            for slot in slots:
                total.add(Counts.read(slot))
        return total

    def _count(self, more: Counts) -> None:
        with self.lock:
            self._own.add(more)
            if self.board is not None:
                with self.board.locked():
                    self.board.set_slot(self.number, json.dumps(vars(self._own)).encode())

    def text(self, bundle: str | None, promoted: bool, loaded: float) -> str:
        """Return the page; `loaded` is when the bundle was, in seconds since 1970."""
        counts = self.totals()
        lines = [
            *_family("requests_total", "counter", "Requests answered."),
            *(
                f'factor_serve_requests_total{{path="{path}",status="{status}"}} {count}'
                for path, status, count in counts.by_path
            ),
            *_family("request_seconds", "histogram", "Time to answer."),
            *(f'factor_serve_request_seconds_bucket{{le="{le:g}"}} {counts.buckets[f"{le:g}"]}' for le in BUCKETS),
            f'factor_serve_request_seconds_bucket{{le="+Inf"}} {counts.count}',
            f"factor_serve_request_seconds_sum {counts.seconds:.6f}",
            f"factor_serve_request_seconds_count {counts.count}",
            *_family("forecasts_total", "counter", "Forecasts given."),
            f"factor_serve_forecasts_total {counts.forecasts}",
            *_family("reloads_total", "counter", "Reloads of the bundle by outcome."),
            *(f'factor_serve_reloads_total{{outcome="{name}"}} {counts.reloads[name]}' for name in ("ok", "refused")),
            *_family("ready", "gauge", "Whether a bundle is loaded."),
            f"factor_serve_ready {int(bundle is not None)}",
        ]
        if bundle is not None:
            said = f'sha256="{bundle}",promoted="{str(promoted).lower()}"'
            lines += [
                *_family("bundle_info", "gauge", "The bundle that is served."),
                f"factor_serve_bundle_info{{{said}}} 1",
                *_family("loaded_seconds", "gauge", "When it was loaded."),
                f"factor_serve_loaded_seconds {loaded:.3f}",
            ]
        return "\n".join(lines) + "\n"


def _family(name: str, kind: str, what: str) -> tuple[str, str]:
    return f"# HELP factor_serve_{name} {what}", f"# TYPE factor_serve_{name} {kind}"
