"""A chat endpoint over HTTP: one request, tried again where trying again can help."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

RETRIED_STATUS = frozenset({408, 409, 425, 429})  # and all from 500 on


class EndpointError(OSError):
    """The endpoint gave no answer; `is_final` if asking again, or for another document, cannot help."""

    def __init__(self, message: str, *, is_final: bool) -> None:
        super().__init__(message)
        self.is_final = is_final


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: following it would send the key to another host."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


@dataclass(frozen=True, kw_only=True)
class ChatEndpoint:
    """Address of a chat API with its timeout and retries.

    The key, if there is one, is read from the environment variable `key_variable` at each request; it is not kept
    here, nor written anywhere.
    """

    url: str
    """URL of the API's root (as http://127.0.0.1:8000/v1) or of its chat/completions."""
    key_variable: str = "LLM_API_KEY"
    timeout_seconds: float = 60.0
    retries: int = 3
    backoff_seconds: float = 1.0
    """Seconds to wait before the first retry; doubled before each further one."""
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url must start with http:// or https://, got {self.url!r}")
        if self.timeout_seconds <= 0 or self.retries < 0 or self.backoff_seconds < 0:
            raise ValueError(
                f"timeout_seconds ({self.timeout_seconds}) must be positive, retries ({self.retries}) and "
                f"backoff_seconds ({self.backoff_seconds}) not negative"
            )

    def ask(self, body: Mapping[str, Any]) -> tuple[str, bool]:
        """Return the reply's text, and whether it is whole (False: cut off at max_tokens).

        Time-outs, broken connections, answers that are not JSON, 408, 429 and 5xx are tried again.

        Raises
        ------
        EndpointError after the last try, or at once for any other status: key, model or address are wrong
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
        request = self._request(body)
        try:
            with _OPENER.open(request, timeout=self.timeout_seconds) as answer:
                content = json.loads(answer.read())
            choice = content["choices"][0]
            text, is_whole = choice["message"]["content"], choice.get("finish_reason") != "length"
        except urllib.error.HTTPError as error:
            is_final = error.code < 500 and error.code not in RETRIED_STATUS
            raise EndpointError(f"{self.url}: status {error.code} {error.reason}", is_final=is_final) from None
        except (OSError, http.client.HTTPException) as error:
            raise EndpointError(f"{self.url}: {error or type(error).__name__}", is_final=False) from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise EndpointError(f"{self.url}: the answer is no chat completion ({error})", is_final=False) from error
        if not isinstance(text, str):
            raise EndpointError(f"{self.url}: the answer has no text", is_final=False)
        return text, is_whole

    def _request(self, body: Mapping[str, Any]) -> urllib.request.Request:
        url = self.url.rstrip("/")
        url = url if url.endswith("/chat/completions") else f"{url}/chat/completions"
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.key_variable, "").strip():
            if not (key.isascii() and key.isprintable()):  # else the error of a later layer would show it
                raise EndpointError(f"{self.key_variable} holds no key: it has odd characters", is_final=True)
            headers["Authorization"] = f"Bearer {key}"
        return urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers, method="POST")
