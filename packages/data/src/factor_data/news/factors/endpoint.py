"""A chat endpoint over HTTP: one request, tried again where trying again can help."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from factor_data.news.factors.exchange import exchange

LONGEST_MESSAGE = 200
TRUST = "where an authority of your own has signed it, SSL_CERT_FILE names the file of that one's certificate"
RETRIED_STATUS = frozenset({408, 409, 425, 429})  # and all from 500 on


class EndpointError(OSError):
    """The endpoint gave no answer; `is_final` if asking again, or for another document, cannot help."""

    def __init__(self, message: str, *, is_final: bool) -> None:
        super().__init__(message)
        self.is_final = is_final


@dataclass(frozen=True, kw_only=True)
class ChatEndpoint:
    """Address of a chat API with its timeout and retries.

    The key, if there is one, is read from the environment variable `key_variable` at each request; it is not kept
    here, nor written anywhere.
    """

    url: str
    """URL of the API's root (as http://127.0.0.1:8000/v1) or of its chat/completions; no user, no query in it."""
    key_variable: str = "LLM_API_KEY"
    timeout_seconds: float = 60.0
    """Seconds that a reply may take in all, from the connection to its last byte."""
    max_bytes: int = 2**22
    """Bytes that a reply may have; one of 1,000 tokens has some thousands."""
    retries: int = 3
    backoff_seconds: float = 1.0
    """Seconds to wait before the first retry; doubled before each further one."""
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url must start with http:// or https://, got {self.url.split('://')[0][:8]!r} ...")
        if not _is_plain(self.url):
            raise ValueError(
                "url must be a host and a path alone: a user, a password or a query would be printed in messages; a "
                f"key goes into the environment variable {self.key_variable}"
            )
        if not 0 < self.timeout_seconds <= 86_400 or self.retries < 0 or not 0 <= self.backoff_seconds <= 86_400:
            raise ValueError(
                f"timeout_seconds ({self.timeout_seconds}) must be positive, retries ({self.retries}) and "
                f"backoff_seconds ({self.backoff_seconds}) not negative, no wait longer than a day"
            )
        if self.max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, got {self.max_bytes}")

    def ask(self, body: Mapping[str, Any]) -> tuple[str, bool]:
        """Return the reply's text, and whether it is whole (False: cut off at max_tokens).

        Time-outs, broken connections, answers that are too long, nested too deep or no JSON, 408, 429 and 5xx are
        tried again. No message repeats the key or what could steer a terminal.

        Raises
        ------
        EndpointError after the last try, or at once for any other status: key, model or address are wrong; at once too
        for a certificate that is not trusted, expired or of another host
        """
        for attempt in range(self.retries + 1):
            if attempt:
                self.sleep(self.backoff_seconds * 2 ** (attempt - 1))
            try:
                return self._ask_once(body)
            except EndpointError as error:
                if error.is_final or attempt == self.retries:
                    raise
        raise AssertionError("the last try returns or raises")

    def _ask_once(self, body: Mapping[str, Any]) -> tuple[str, bool]:
        reply = self._reply(self._request(body))
        try:
            content = json.loads(reply)
            choice = content["choices"][0]
            text, is_whole = choice["message"]["content"], choice.get("finish_reason") != "length"
        except RecursionError:
            raise EndpointError(f"{self.url}: the answer is nested too deep", is_final=False) from None
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise self._no_completion(error) from None
        if not isinstance(text, str):
            raise EndpointError(f"{self.url}: the answer has no text", is_final=False)
        return text, is_whole

    def _reply(self, request: urllib.request.Request) -> bytes:
        try:
            return exchange(request, self.timeout_seconds, self.max_bytes)
        except urllib.error.HTTPError as error:
            is_final = error.code < 500 and error.code not in RETRIED_STATUS
            raise EndpointError(f"{self.url}: status {error.code}{_phrase(error.code)}", is_final=is_final) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                said = f"its certificate is not trusted ({reason.verify_message}); {TRUST}"
                raise EndpointError(f"{self.url}: {said}", is_final=True) from None
            raise EndpointError(f"{self.url}: {self._told(error)}", is_final=False) from None
        except ValueError as error:  # too long, or a header that is none
            raise self._no_completion(error) from None

    def _no_completion(self, error: Exception) -> EndpointError:
        return EndpointError(f"{self.url}: the answer is no chat completion ({self._told(error)})", is_final=False)

    def _told(self, error: Exception) -> str:
        """The message of an error, which may repeat what the other side sent: without the key, on one plain line."""
        text = str(error) or type(error).__name__
        if key := os.environ.get(self.key_variable, "").strip():
            text = text.replace(key, "***")
        return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text[:LONGEST_MESSAGE])

    def _request(self, body: Mapping[str, Any]) -> urllib.request.Request:
        url = self.url.rstrip("/")
        url = url if url.endswith("/chat/completions") else f"{url}/chat/completions"
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.key_variable, "").strip():
            if not (key.isascii() and key.isprintable()):  # else the error of a later layer would show it
                raise EndpointError(f"{self.key_variable} holds no key: it has odd characters", is_final=True)
            headers["Authorization"] = f"Bearer {key}"
        return urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers, method="POST")


def _is_plain(url: str) -> bool:
    """Whether a URL is a host, perhaps a port, and a path: nothing that is secret, nothing that steers a terminal."""
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    return has_host and url.isprintable() and "@" not in parts.netloc and not parts.query and not parts.fragment


def _phrase(status: int) -> str:
    """The standard words for a status; those of the server may hold anything."""
    known = {one.value: f" {one.phrase}" for one in HTTPStatus}
    return known.get(status, "")
