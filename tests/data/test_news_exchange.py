"""A chat endpoint that drips, floods, nests, lies and curses: every exchange ends, and no message repeats a secret."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from factor_data import read_parquet
from factor_data.cli import main
from factor_data.news.factors import ChatEndpoint, EndpointError, FactorConfig, extract_factors, parse_factors

CONFIG = FactorConfig(model="stub")
KEY = "sk-not-a-real-key"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GOOD = json.dumps({"choices": [{"message": {"content": '{"factors": ["a"]}'}}]}).encode()


@contextmanager
def answering(reply: bytes, drip: bytes = b"", times: int = 1) -> Iterator[str]:
    """Address of a server that sends `reply` to each request, then `drip` every 50 ms for as long as it can."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(times):
            connection, _ = listener.accept()
            with connection:
                request = b""
                while not request.endswith(b"}"):
                    request += connection.recv(65536)
                try:
                    connection.sendall(reply)
                    while drip:
                        time.sleep(0.05)
                        connection.sendall(drip)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        listener.close()
        thread.join(5)


def ask(reply: bytes, drip: bytes = b"", **settings: Any) -> tuple[str, bool]:
    with answering(reply, drip) as url:
        return ChatEndpoint(url=url, retries=0, **{"timeout_seconds": 5.0, **settings}).ask(CONFIG.request("A", "text"))


@pytest.mark.parametrize(
    ("reply", "drip"),
    [
        (b"", b"H"),
        (HEAD, b"X-Padding: 1\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (HEAD + b"\r\n", b" "),
        (HEAD + b"Content-Length: 99\r\n\r\n", b" "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
    ids=["status", "headers", "continue", "body", "promised body", "chunks"],
)
def test_a_reply_that_drips_ends_when_its_time_is_over(reply: bytes, drip: bytes) -> None:
    started = time.monotonic()
    with pytest.raises(EndpointError, match=r"no whole reply within 0\.3 s"):
        ask(reply, drip, timeout_seconds=0.3)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"\r\n",
        HEAD + b"Content-Length: 99999999999\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n",
    ],
    ids=["endless", "promised", "chunk"],
)
def test_a_reply_without_end_is_refused_at_the_limit(head: bytes) -> None:
    with pytest.raises(EndpointError, match="longer than 10,000 bytes"):
        ask(head + b" " * 100_000, max_bytes=10_000)
    assert ask(HEAD + b"\r\n" + GOOD, max_bytes=len(GOOD))[0] == '{"factors": ["a"]}'


def test_a_reply_that_is_cut_off_is_no_reply() -> None:
    with pytest.raises(EndpointError, match="IncompleteRead"):
        ask(HEAD + b"Content-Length: 999\r\n\r\n" + GOOD)


@pytest.mark.parametrize("nested", ["[" * 50_000, '{"a":' * 50_000])
def test_brackets_within_brackets_are_an_error_in_the_answer_and_malformed_in_its_text(
    nested: str, tmp_path: Path
) -> None:
    with pytest.raises(EndpointError, match="nested too deep"):
        ask(HEAD + b"\r\n" + nested.encode())
    assert parse_factors(nested, 3) is None
    news = pd.DataFrame({"timestamp": pd.to_datetime(["2024-01-02"]), "symbol": "A", "text": "news"})
    text = json.dumps({"choices": [{"message": {"content": nested + "}"}}]}).encode()
    with answering(HEAD + b"\r\n" + text) as url:
        endpoint = ChatEndpoint(url=url, retries=0)
        assert extract_factors(news, tmp_path / "out.jsonl", CONFIG, endpoint).malformed == 1
        assert extract_factors(news, tmp_path / "out.jsonl", CONFIG, endpoint).known == 1, "it is not asked again"


@pytest.mark.parametrize(
    "text",
    ["{" * 100_000, '{"a":' * 100_000, "\n" * 100_000, "1" * 100_000, "1. a" + " " * 100_000 + "b", "1.\n" * 50_000,
     "1 " * 50_000, "{}" * 50_000, '"\\' * 50_000, "9" * 5_000 + ". a"],
    ids=["braces", "objects", "lines", "digits", "blanks", "numbers", "pairs", "empty", "quotes", "large"],
)  # fmt: skip
def test_a_reply_is_read_in_time_proportional_to_its_length(text: str) -> None:
    started = time.process_time()
    parse_factors(text, 3)
    assert time.process_time() - started < 1


def test_no_message_repeats_the_key_or_what_steers_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_API_KEY", KEY)
    curse = f"\x1b[31m Bearer {KEY} \x1b]0;pwn\x07".encode()
    for reply in (
        b"HTTP/1.1 401 bad key " + curse + b"\r\n\r\n",
        b"HTTP/1.1 999" + curse + b"\r\n\r\n",
        curse + b"\r\n",
    ):
        with pytest.raises(EndpointError) as error:
            ask(reply)
        assert KEY not in str(error.value)
        assert str(error.value).isprintable()
    with pytest.raises(EndpointError, match="status 404 Not Found"):
        ask(b"HTTP/1.1 404 bad key\r\n\r\n")


@pytest.mark.parametrize(
    "url", [f"http://user:{KEY}@host/v1", f"https://host/v1?key={KEY}", f"https://host/v1#{KEY}", f"{KEY}",
            f"ftp://{KEY}", f"http://{KEY}\x1b[31m/v1", "http:///v1"],
)  # fmt: skip
def test_an_address_that_holds_a_secret_or_no_host_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError, match="url must") as error:
        ChatEndpoint(url=url)
    assert KEY not in str(error.value)


@pytest.mark.parametrize("settings", [{"timeout_seconds": float("nan")}, {"timeout_seconds": float("inf")},
                                      {"backoff_seconds": float("nan")}, {"max_bytes": 0}])  # fmt: skip
def test_limits_that_are_none_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        ChatEndpoint(url="http://host/v1", **settings)


def test_replies_of_random_bytes_end_in_an_answer_or_one_error() -> None:
    draw = random.Random(20)
    whole = HEAD + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD
    answers, errors = 0, []
    for number in range(60):
        reply = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(reply))
            if number % 3:
                reply[at] = draw.randrange(256)
            else:
                reply[at : at + draw.randint(0, 9)] = draw.randbytes(draw.randint(0, 9))
        try:
            ask(bytes(reply), timeout_seconds=0.5)
            answers += 1
        except EndpointError as error:
            errors.append(str(error))
    assert all(error.isprintable() for error in errors)
    assert min(answers, len(errors)) > 5


def test_half_of_a_character_in_a_reply_does_not_keep_the_table_from_being_written(tmp_path: Path) -> None:
    news = pd.DataFrame({"timestamp": pd.to_datetime(["2024-01-02"]), "symbol": "A", "text": "news"})
    news.to_csv(tmp_path / "news.csv", index=False)
    text = json.dumps({"choices": [{"message": {"content": '{"factors": ["up \\ud800"]}'}}]}).encode()
    with answering(HEAD + b"\r\n" + text) as url:
        table = tmp_path / "table.parquet"
        arguments = [str(tmp_path / "news.csv"), str(tmp_path / "out.jsonl"), "--url", url, "--model", "stub"]
        assert main(["news-factors", *arguments, "--table", str(table)]) in (0, None)
    assert read_parquet(table)["factor_1"].tolist() == ["up \ufffd"]
