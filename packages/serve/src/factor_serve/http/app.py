"""The application: what is answered at which path."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from factor_serve.bundle import BundleError
from factor_serve.http import bodies, document, metrics
from factor_serve.http.board import Board
from factor_serve.http.limits import Turn, rate_of, read_body
from factor_serve.http.page import POLICY, status_page
from factor_serve.http.problems import Problem
from factor_serve.http.service import Service
from factor_serve.http.settings import HttpSettings

log = logging.getLogger("factor_serve.http")

OPEN_PATHS = ("/health", "/ready")
"""Answered without a key, for whoever watches the server."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
"""Change nothing here."""


class Application:
    """A bundle, its limits and counters behind the paths of the application."""

    def __init__(self, service: Service, settings: HttpSettings, board: Board | None = None, number: int = 0) -> None:
        self.service, self.settings = service, settings
        self.counts = metrics.Metrics(board, number)
        self.rate = rate_of(settings.rate, "clients", board)
        self.strangers = rate_of(settings.rate, "strangers", board)
        """Bucket of requests without the key, which take nothing from those with it."""
        self.turn = Turn(settings.waiting)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Load the bundle; without one the server answers 503 until it is reloaded."""
        self.turn = Turn(self.settings.waiting)
        try:
            await asyncio.to_thread(self.service.start)
        except BundleError as error:
            log.error("no bundle is served: %s", error)
        yield

    async def guard(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Hold a request to rate and key, count it, and let no traceback out."""
        start = time.perf_counter()
        try:
            if request.method not in SAFE_METHODS:
                refuse_other_pages(request)
            if request.url.path not in OPEN_PATHS:
                admitted = self.settings.admits(shown_key(request))
                (self.rate if admitted else self.strangers).take()
                if not admitted:
                    raise Problem(401, "Authorization", "a key is needed: Authorization: Bearer KEY")
            response = await call_next(request)
        except Problem as problem:
            response = answer(problem)
        except Exception:
            number = uuid.uuid4().hex[:12]
            log.exception("error %s at %s", number, request.url.path)
            response = answer(Problem(500, None, f"internal error {number}: the server's log has it"))
        path = getattr(request.scope.get("route"), "path", "other")
        self.counts.observe(path, response.status_code, time.perf_counter() - start)
        return response

    async def health(self) -> dict[str, str]:
        """The process lives."""
        return {"status": "alive"}

    async def ready(self) -> Response:
        """A bundle is loaded, whose canary forecasts what it did; 503 and the reason where none is."""
        served = self.service.served
        if served is None:
            return answer(Problem(503, "bundle", self.service.why, retry_after=10))
        return JSONResponse({"status": "ready", "bundle": served.bundle.identity})

    async def page(self) -> Response:
        """A page for people: what is served, the latest forecasts, health and drift."""
        html = await asyncio.to_thread(status_page, self.service, self.counts)
        return HTMLResponse(html, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-store"})

    async def info(self) -> Response:
        """The bundle: labels, members, columns that bars need, fold, weights, gates, versions."""
        return JSONResponse(self.service.info())

    async def prometheus(self) -> Response:
        """Counters for Prometheus."""
        served = self.service.served
        page = self.counts.text(
            None if served is None else served.bundle.identity,
            served is not None and served.bundle.promoted,
            0.0 if served is None else served.loaded,
        )
        return Response(page, media_type=metrics.CONTENT_TYPE)

    async def reload(self) -> Response:
        """Load the folder's bundle anew and swap it in; where that fails the old one goes on (409 and the reason)."""
        try:
            served = await asyncio.to_thread(self.service.load)
        except BundleError as error:
            self.counts.reload("refused")
            raise Problem(409, "bundle", self.service.shown(error)) from None
        self.counts.reload("ok")
        return JSONResponse({"bundle": served.bundle.identity})

    async def predict(self, request: Request) -> Response:
        """Forecasts of one date from raw bars with their history: the numbers of the DAG."""
        self.service.current()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (bodies.JSON, bodies.ARROW):
            raise Problem(415, "Content-Type", f"must be {bodies.JSON} or {bodies.ARROW}")
        settings, asked = self.settings, bodies.read_query(request.query_params.multi_items(), kind)
        size = request.headers.get("content-length")
        body = await read_body(request.stream(), size, settings.max_bytes, settings.timeout)
        accepted = request.headers.get("accept", "")
        media = next((one for one in (bodies.ARROW, bodies.JSON) if one in accepted), kind)

        def work() -> tuple[bytes, int]:
            if kind == bodies.JSON:
                wanted = bodies.read_json(body, settings.max_rows)
            else:
                wanted = bodies.read_arrow(body, asked.get("at"), asked.get("model"), settings.max_rows)
            told = self.service.forecast(wanted)
            write = bodies.write_arrow if media == bodies.ARROW else bodies.write_json
            return write(told), len(told.frame)

        content, count = await self.turn.run(work, settings.timeout)
        self.counts.forecast(count)
        return Response(content, media_type=media)


def make_app(service: Service, settings: HttpSettings, board: Board | None = None, number: int = 0) -> FastAPI:
    """Return the application; the bundle is loaded when it starts, and without one it answers 503.

    `board` and `number` are those of one worker of several.
    """
    own = Application(service, settings, board, number)
    app = document.Documented(
        settings.key is not None, title="factor-serve", docs_url=None, redoc_url=None, lifespan=own.lifespan
    )
    app.middleware("http")(own.guard)
    app.add_exception_handler(Problem, told)
    app.add_exception_handler(HTTPException, told)
    for path, endpoint, kind, answers in (
        ("/", own.page, HTMLResponse, document.PAGE),
        ("/health", own.health, JSONResponse, document.HEALTH),
        ("/ready", own.ready, JSONResponse, document.READY),
        ("/info", own.info, JSONResponse, document.INFO),
        ("/metrics", own.prometheus, PlainTextResponse, document.PAGE),
    ):
        app.add_api_route(path, endpoint, methods=["GET"], response_model=None, response_class=kind, responses=answers)
    app.add_api_route("/reload", own.reload, methods=["POST"], response_model=None, responses=document.RELOAD)
    app.add_api_route(
        "/predict",
        own.predict,
        methods=["POST"],
        response_model=None,
        responses=document.PREDICT,
        openapi_extra=document.ASKED,
    )
    return app


async def told(request: Request, error: Exception) -> Response:
    """Answer a refusal, the framework's own among them."""
    if isinstance(error, HTTPException):
        return answer(Problem(error.status_code, None, str(error.detail)), error.headers)
    assert isinstance(error, Problem)
    return answer(error)


def refuse_other_pages(request: Request) -> None:
    """Refuse what a page of another site has a browser send: it adds the key that it was told, or sits on loopback."""
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
        raise Problem(403, "Origin", "a page of another site may not send this")


def shown_key(request: Request) -> str | None:
    """Return the key that a client shows."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":  # a browser's: any name, the key as password
        try:
            return base64.b64decode(key.strip(), validate=True).decode("latin-1").partition(":")[2]
        except ValueError:  # no base64, or no ASCII
            return None
    return key.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key")


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return the refusal as a response, with the framework's own headers where it refused: `Allow` of a 405."""
    shown = {**(headers or {}), **problem.headers()}
    return JSONResponse(problem.document(), status_code=problem.status, headers=shown)
