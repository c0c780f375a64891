"""The OpenAPI document: what each path takes, and all that it may answer, refusals among it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from factor_serve.http import bodies

Document = dict[str, Any]

TEXTS: Document = {"type": "array", "items": {"type": "string"}}
NUMBERS: Document = {"type": "array", "items": {"type": ["number", "null"]}}
REFUSAL: Document = {"$ref": "#/components/schemas/Refusal"}
SCHEMAS: Document = {
    "Refusal": {
        "type": "object",
        "required": ["error"],
        "additionalProperties": False,
        "properties": {
            "error": {
                "type": "object",
                "required": ["field", "rule"],
                "additionalProperties": False,
                "properties": {
                    "field": {"type": ["string", "null"], "description": "what is refused; null: the whole request"},
                    "rule": {"type": "string", "description": "the rule that it breaks"},
                },
            }
        },
    }
}
KEYS: Document = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "password": {"type": "http", "scheme": "basic", "description": "a browser's: any name, the key as password"},
}
WHY = {
    400: "the body cannot be read",
    401: "a key is needed, where the server has one",
    403: "sent by a browser for a page of another site",
    408: "the body was not whole in time",
    409: "the folder holds no bundle that may be served; the old one goes on",
    413: "too many bytes or rows",
    415: "of a kind, or compressed in a way, that is not taken",
    422: "a field breaks a rule",
    429: "more requests a second than are taken",
    500: "an error of the program, by the number that the server's log has",
    503: "no bundle is served, or too many requests wait",
    504: "took too long, the wait for others included",
}
LATER: Document = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
HEADERS: dict[int, Document] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: LATER,
    503: LATER,
}
OPEN = (500,)
"""Statuses of a path that asks for no key and has no limit."""
GUARDED = (401, 429, 500)
"""Those of every other one."""
CHANGING = (*GUARDED, 403)
"""Those of one that a browser does not ask for by itself."""


class Documented(FastAPI):
    """An application whose OpenAPI document has refusals, and the ways to show a key where one is asked for."""

    def __init__(self, with_key: bool, **settings: Any) -> None:
        self.with_key = with_key
        super().__init__(**settings)

    def openapi(self) -> Document:
        """Return the document."""
        if self.openapi_schema is None:
            document = super().openapi()
            components = document.setdefault("components", {})
            components.setdefault("schemas", {}).update(SCHEMAS)
            if self.with_key:
                components["securitySchemes"] = KEYS
                for path in document["paths"].values():
                    for operation in path.values():
                        if "401" in operation["responses"]:
                            operation["security"] = [{name: []} for name in KEYS]
        assert self.openapi_schema is not None
        return self.openapi_schema


def answers(
    statuses: tuple[int, ...], schema: Document | None = None, others: Document | None = None
) -> dict[int | str, Document]:
    """Return the answers of a path for its route.

    Parameters
    ----------
    statuses : of refusals
    schema : of the answer as JSON; None: it is of the one kind of the route's response
    others : kinds that it may be of besides
    """
    found: dict[int | str, Document] = {}
    if schema is not None:
        found[200] = {"content": {bodies.JSON: {"schema": schema}, **(others or {})}}
    for status in sorted(statuses):
        found[status] = {"description": WHY[status], "content": {bodies.JSON: {"schema": REFUSAL}}}
        if status in HEADERS:
            found[status]["headers"] = HEADERS[status]
    return found


def an_object(**properties: Document) -> Document:
    """Return the schema of an object that has these keys."""
    return {"type": "object", "required": list(properties), "properties": properties}


TEXT: Document = {"type": "string"}
HEALTH = answers(OPEN, an_object(status={"const": "alive"}))
READY = answers((*OPEN, 503), an_object(status={"const": "ready"}, bundle=TEXT))
PAGE = answers(GUARDED)
INFO = answers(
    (*GUARDED, 503),
    an_object(
        bundle=TEXT,
        loaded={"type": "number"},
        reads_news={"type": "boolean"},
        promoted={"type": "boolean"},
        gates={"type": "array", "items": an_object(name=TEXT, passed={"type": "boolean"})},
        columns=TEXTS,
    ),
)
RELOAD = answers((*CHANGING, 409), an_object(bundle=TEXT))
STREAM: Document = {bodies.ARROW: {"schema": {"type": "string", "format": "binary"}}}
PREDICT = answers(
    (*CHANGING, 400, 408, 413, 415, 422, 503, 504),
    {
        "type": "object",
        "required": ["bundle", "forecasts"],
        "additionalProperties": False,
        "properties": {
            "bundle": TEXT,
            "not_trained_on": an_object(symbols=TEXTS, members=TEXTS),
            "forecasts": an_object(
                timestamp=TEXTS,
                symbol=TEXTS,
                label=TEXTS,
                model=TEXTS,
                prediction={"type": "array", "items": {"type": "number"}},
            ),
        },
    },
    STREAM,
)


def _table(*texts: str, null: bool = False) -> Document:
    return {
        "type": ["object", "null"] if null else "object",
        "required": list(texts),
        "properties": dict.fromkeys(texts, TEXTS),
        "additionalProperties": NUMBERS,
    }


AT, MODEL = "the date; default: the last one", "stack, all, or a member; default: see /info"
ASKED: Document = {
    "parameters": [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": TEXT,
            "description": f"of a stream of Arrow alone: {what}",
        }
        for name, what in (("at", AT), ("model", MODEL))
    ],
    "requestBody": {
        "required": True,
        "content": {
            bodies.JSON: {
                "schema": {
                    "type": "object",
                    "required": ["bars"],
                    "additionalProperties": False,
                    "properties": {
                        "bars": {**_table("timestamp", "symbol"), "description": "a list per column: open, close, ..."},
                        "news": _table("timestamp", "symbol", "text", null=True),
                        "at": {"type": ["string", "null"], "description": AT},
                        "model": {"type": ["string", "null"], "description": MODEL},
                    },
                }
            },
            **STREAM,
        },
    },
}
"""What `/predict` takes."""
