"""Counters of the server, as Prometheus reads them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from threading import Lock

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(eq=False)
class Metrics:
    """Requests by path and status, how long they took, forecasts and reloads."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    buckets: Counter[float] = field(default_factory=Counter)
    seconds: float = 0.0
    count: int = 0
    forecasts: int = 0
    reloads: Counter[str] = field(default_factory=Counter)
    lock: Lock = field(default_factory=Lock, repr=False)

    def observe(self, path: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        with self.lock:
            self.requests[path, status] += 1
            self.seconds += seconds
            self.count += 1
            for bound in BUCKETS:
                if seconds <= bound:
                    self.buckets[bound] += 1

    def text(self, bundle: str | None, promoted: bool, loaded: float) -> str:
        """Return the page; `loaded` is when the bundle was, in seconds since 1970."""
        with self.lock:
            lines = [
                *_family("requests_total", "counter", "Requests answered."),
                *(
                    f'factor_serve_requests_total{{path="{path}",status="{status}"}} {count}'
                    for (path, status), count in sorted(self.requests.items())
                ),
                *_family("request_seconds", "histogram", "Time to answer."),
                *(f'factor_serve_request_seconds_bucket{{le="{le:g}"}} {self.buckets[le]}' for le in BUCKETS),
                f'factor_serve_request_seconds_bucket{{le="+Inf"}} {self.count}',
                f"factor_serve_request_seconds_sum {self.seconds:.6f}",
                f"factor_serve_request_seconds_count {self.count}",
                *_family("forecasts_total", "counter", "Forecasts given."),
                f"factor_serve_forecasts_total {self.forecasts}",
                *_family("reloads_total", "counter", "Reloads of the bundle by outcome."),
                *(f'factor_serve_reloads_total{{outcome="{name}"}} {self.reloads[name]}' for name in ("ok", "refused")),
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
