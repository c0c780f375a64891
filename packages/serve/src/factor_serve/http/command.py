"""`factor-serve http`: the server as a command."""

from __future__ import annotations

import argparse
from pathlib import Path

from factor_serve.http.settings import HttpSettings, check_host, read_key

MISSING = "needs FastAPI and uvicorn: pip install 'factor-serve[http]'"


def add_http_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `http`."""
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of the bundle")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--key-file", metavar="FILE", help="file with the key that clients must show")
    for name, what in (
        ("max-bytes", "largest body of a request"),
        ("max-rows", "most bars of a request"),
        ("waiting", "requests that may wait, of each process"),
        ("workers", "processes that answer"),
    ):
        default = getattr(HttpSettings, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{what} (default: {default:,})")
    parser.add_argument("--rate", type=float, default=HttpSettings.rate, help="requests a second (default: 50)")
    parser.add_argument("--timeout", type=float, default=HttpSettings.timeout, help="seconds a forecast may take")
    parser.add_argument("--unpromoted", action="store_true", help="also if the stack has not passed its gates")


def run_http(options: argparse.Namespace, ensemble: str) -> int:
    """Serve until the process is told to end; `ensemble` as for `switched`."""
    key = read_key(options.key_file)
    check_host(options.host, key)
    settings = HttpSettings(
        key=key,
        max_bytes=options.max_bytes,
        max_rows=options.max_rows,
        rate=options.rate,
        timeout=options.timeout,
        waiting=options.waiting,
        workers=options.workers,
        unpromoted=options.unpromoted,
        ensemble=ensemble,
    )
    try:
        import uvicorn

        from factor_serve.http.app import make_app
    except ImportError as error:
        raise ValueError(f"{MISSING} ({error})") from None
    if settings.workers > 1:
        from factor_serve.http.workers import run_workers

        return run_workers(Path(options.bundle), settings, options.host, options.port)
    from factor_serve.http.service import Service

    app = make_app(Service(options.bundle, options.unpromoted, ensemble), settings)
    uvicorn.run(app, host=options.host, port=options.port, log_level="info", server_header=False)
    return 0
