"""Factors from a chat endpoint, against a server on this machine that behaves well and badly."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from chat_server import GOOD, Server, chat
from factor_data import import_data, read_news
from factor_data.news.factors import (
    ChatEndpoint,
    EndpointError,
    ExtractionReport,
    FactorConfig,
    add_news_factors_arguments,
    extract_factors,
    factor_table,
    parse_factors,
    run_news_factors,
)

CONFIG = FactorConfig(model="stub", top_k=3)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def endpoint(server: Server, waits: list[float] | None = None, **settings: Any) -> ChatEndpoint:
    note = waits.append if waits is not None else lambda seconds: None
    return ChatEndpoint(url=server.url, sleep=note, **{"timeout_seconds": 5.0, "retries": 2, **settings})


def documents(*texts: str) -> pd.DataFrame:
    stamps = pd.date_range("2024-01-02", periods=len(texts), freq="D")
    return pd.DataFrame({"timestamp": stamps, "symbol": "AAPL", "text": texts})


@pytest.mark.parametrize(
    ("reply", "factors"),
    [
        ('{"factors": ["a", " b \\n c "]}', ("a", "b c")),
        ('{"factors": []}', ()),
        ('Sure!\n```json\n{"factors": ["a"]}\n```', ("a",)),
        ("1. rates fall\n2) new plant\n3: lawsuit", ("rates fall", "new plant", "lawsuit")),
        ("Here they are:\n 1. rates fall", ("rates fall",)),
        ('{"factors": ["a", "b", "c", "d"]}', None),
        ('{"factors": ["a", "--"]}', None),
        ('{"factors": ["a", 3]}', None),
        ('{"factors": "a"}', None),
        ('{"factors": ["a"', None),
        ('{"other": ["a"]}', None),
        ("1. a\n3. b", None),
        ("2. a\n1. b", None),
        ("1. --", None),
        ("I cannot help with that.", None),
        ("", None),
        ("[]", None),
    ],
)  # fmt: skip
def test_replies_are_read_strictly(reply: str, factors: tuple[str, ...] | None) -> None:
    assert parse_factors(reply, top_k=3) == factors


def test_the_request_is_greedy_names_the_symbol_and_cuts_the_text(server: Server) -> None:
    endpoint(server).ask(CONFIG.request("AAPL", "x" * 4_999 + "yz"))
    (body,) = server.requests
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("stub", 0, 1000)
    prompt = body["messages"][0]["content"]
    assert "AAPL" in prompt
    assert prompt.endswith("x" * 4_999 + "y")
    assert server.paths == ["/v1/chat/completions"]


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The defect 2e.10: a key was committed."""
    asked = endpoint(server, key_variable="STUB_KEY")
    asked.ask(CONFIG.request("A", "text"))
    assert "Authorization" not in server.headers[0]
    monkeypatch.setenv("STUB_KEY", "not-a-real-key")
    extract_factors(documents("news"), tmp_path / "out.jsonl", CONFIG, asked)
    assert server.headers[1]["Authorization"] == "Bearer not-a-real-key"
    assert "not-a-real-key" not in repr(asked) + (tmp_path / "out.jsonl").read_text()
    monkeypatch.setenv("STUB_KEY", "not-a\nreal-key")
    with pytest.raises(EndpointError, match="STUB_KEY holds no key") as error:
        asked.ask(CONFIG.request("A", "text"))
    assert "real" not in str(error.value)


def test_good_and_malformed_replies_are_kept_and_malformed_is_missing_not_none(server: Server, tmp_path: Path) -> None:
    replies = {
        "good": GOOD,
        "nothing": chat('{"factors": []}'),
        "chatty": chat("I would rather not."),
        "cut": chat('{"factors": ["whole"]}', finish_reason="length"),
    }
    server.answer = lambda number, body: (200, replies[body["messages"][0]["content"].split()[-1]], 0)
    news, path = documents(*replies), tmp_path / "out.jsonl"
    report = extract_factors(news, path, CONFIG, endpoint(server))
    assert report == ExtractionReport(documents=4, ok=2, malformed=2)
    table = factor_table(news, path, CONFIG)
    assert table["status"].tolist() == ["ok", "ok", "malformed", "malformed"]
    assert table.iloc[0, 3:].tolist() == ["raised guidance", "new product", None]
    assert table.iloc[1:, 3:].isna().all(axis=None)
    assert table["timestamp"].tolist() == news["timestamp"].tolist()


def test_a_killed_run_goes_on_and_nothing_is_asked_twice(server: Server, tmp_path: Path) -> None:
    news, path = documents("a", "b", "c", "a", "d"), tmp_path / "out.jsonl"

    def stop_after_two(report: ExtractionReport) -> None:
        if report.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_factors(news, path, CONFIG, endpoint(server), on_progress=stop_after_two)
    kept = path.read_bytes()
    path.write_bytes(kept + b'{"key": "cut off in the mid')
    report = extract_factors(news, path, CONFIG, endpoint(server))
    assert report == ExtractionReport(documents=4, known=2, ok=2)
    assert path.read_bytes().startswith(kept)
    texts = [body["messages"][0]["content"].split()[-1] for body in server.requests]
    assert texts == ["a", "b", "c", "d"]
    assert factor_table(news, path, CONFIG)["status"].tolist() == ["ok"] * 5


def test_another_model_or_question_is_asked_anew(server: Server, tmp_path: Path) -> None:
    news, path = documents("a"), tmp_path / "out.jsonl"
    for config in (CONFIG, FactorConfig(model="other"), FactorConfig(model="stub", top_k=5), CONFIG):
        extract_factors(news, path, config, endpoint(server))
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "bad", [(500, b"", 0), (429, b"", 0), (200, b"no json", 0), (200, b'{"choices": [<cut>', 0), (200, GOOD, 0.5),
            (200, chat(None), 0), (200, b'{"choices": []}', 0)],
    ids=["500", "429", "no JSON", "truncated", "slow", "no text", "no choice"],
)  # fmt: skip
def test_what_may_pass_is_tried_again_with_longer_and_longer_waits(
    server: Server, bad: tuple[int, bytes, float]
) -> None:
    server.answer = lambda number, body: bad if number < 3 else (200, GOOD, 0)
    waits: list[float] = []
    patient = endpoint(server, waits, timeout_seconds=0.2, backoff_seconds=1.5)
    assert patient.ask(CONFIG.request("A", "text")) == (
        '{"factors": ["raised guidance", "new product"]}',
        True,
    )
    assert waits == [1.5, 3.0]


def test_a_document_without_an_answer_is_counted_and_asked_again_by_the_next_run(
    server: Server, tmp_path: Path
) -> None:
    news, path = documents("good", "bad", "fine"), tmp_path / "out.jsonl"
    server.answer = lambda number, body: (
        500 if body["messages"][0]["content"].endswith("bad") else 200,
        GOOD,
        0,
    )
    report = extract_factors(news, path, CONFIG, endpoint(server))
    assert (report.ok, report.failed, report.done) == (2, 1, 3)
    assert "status 500" in report.last_error
    assert factor_table(news, path, CONFIG)["status"].tolist() == ["ok", "unanswered", "ok"]
    server.answer = lambda number, body: (200, GOOD, 0)
    assert extract_factors(news, path, CONFIG, endpoint(server)) == ExtractionReport(documents=3, known=2, ok=1)


def test_an_endpoint_that_is_down_or_refuses_stops_the_run(server: Server, tmp_path: Path) -> None:
    news = documents(*"abcdefgh")
    server.answer = lambda number, body: (503, b"", 0)
    with pytest.raises(EndpointError, match="status 503"):
        extract_factors(news, tmp_path / "out.jsonl", CONFIG, endpoint(server, retries=0), max_failures=3)
    assert len(server.requests) == 3
    for status in (401, 404, 302):
        server.requests.clear()
        server.answer = lambda number, body, status=status: (status, b"", 0)  # type: ignore[misc]
        with pytest.raises(EndpointError, match=f"status {status}"):
            extract_factors(news, tmp_path / "out.jsonl", CONFIG, endpoint(server))
        assert len(server.requests) == 1
    assert set(server.paths) == {"/v1/chat/completions"}


def test_a_line_that_is_no_answer_is_named(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"key": "a", "status": "ok", "factors": []}\n{"key": 1}\n')
    with pytest.raises(ValueError, match=r"out\.jsonl: line 2 is no answer: '\{\"key\": 1\}'"):
        extract_factors(documents("a"), path, CONFIG, endpoint(server))
    assert server.requests == []


def test_a_file_of_another_kind_is_left_as_it_is(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "news.parquet"
    documents("a").to_parquet(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"news\.parquet: holds no answers, it ends in"):
        extract_factors(documents("a"), path, CONFIG, endpoint(server))
    assert path.read_bytes() == before


def test_a_reply_of_any_characters_is_kept(server: Server, tmp_path: Path) -> None:
    server.answer = lambda number, body: (200, chat('{"factors": ["\\ud800 利率"]}'), 0)
    path = tmp_path / "out.jsonl"
    for _ in range(2):
        extract_factors(documents("新闻"), path, CONFIG, endpoint(server))
    assert factor_table(documents("新闻"), path, CONFIG)["factor_1"].tolist() == ["\ud800 利率"]
    assert len(server.requests) == 1


def run_command(*arguments: str) -> None:
    parser = argparse.ArgumentParser()
    add_news_factors_arguments(parser)
    run_news_factors(parser.parse_args(arguments))


def test_the_command_writes_answers_and_table_and_shows_how_far_it_is(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documents("a", "b").to_parquet(tmp_path / "news.parquet")
    arguments = [
        str(tmp_path / "news.parquet"),
        str(tmp_path / "out.jsonl"),
        "--url",
        server.url,
        "--model",
        "stub",
    ]
    run_command(*arguments, "--table", str(tmp_path / "table.parquet"))
    assert "2/2: 0 known, 2 ok, 0 malformed, 0 failed" in capsys.readouterr().err
    assert pd.read_parquet(tmp_path / "table.parquet")["factor_1"].tolist() == ["raised guidance"] * 2
    run_command(*arguments)
    assert len(server.requests) == 2


def test_factors_become_news_that_an_import_takes(server: Server, tmp_path: Path) -> None:
    """A document with two factors is two documents at its stamp; one without a whole answer is none."""
    news = documents("first", "second", "third")
    for folder in ("data/news", "data/bars"):
        (tmp_path / folder).mkdir(parents=True)
    news.to_parquet(tmp_path / "data" / "news" / "all.parquet")
    bars = dict.fromkeys(["open", "high", "low", "close", "volume"], 1.0)
    frame = news[["timestamp", "symbol"]].assign(**bars)
    frame["timestamp"] = frame["timestamp"].dt.normalize()
    frame = frame.drop_duplicates(["timestamp", "symbol"])
    frame.to_parquet(tmp_path / "data" / "bars" / "all.parquet")
    server.answer = lambda number, body: (200, chat("no JSON") if number == 2 else GOOD, 0)
    source = tmp_path / "with_factors"
    arguments = (
        str(tmp_path / "data" / "news"),
        str(tmp_path / "answers.jsonl"),
        "--url",
        server.url,
        "--model",
        "stub",
    )
    run_command(*arguments, "--as-news", str(source / "news"))
    (tmp_path / "data" / "bars").rename(source / "bars")
    summary = import_data(source, tmp_path / "imported")
    assert summary.num_documents == 4
    read = read_news(tmp_path / "imported" / "news")
    expected = news.iloc[[0, 0, 2, 2]].assign(text=["raised guidance", "new product"] * 2)
    expected = expected.sort_values(["timestamp", "symbol"], kind="stable", ignore_index=True)
    assert read["text"].tolist() == expected["text"].tolist()
    assert read["timestamp"].tolist() == expected["timestamp"].tolist()


def test_the_command_fails_loudly(server: Server, tmp_path: Path) -> None:
    documents("a").to_parquet(tmp_path / "news.parquet")
    arguments = [
        str(tmp_path / "news.parquet"),
        str(tmp_path / "out.jsonl"),
        "--url",
        server.url,
        "--model",
        "stub",
    ]
    server.answer = lambda number, body: (500, b"", 0)
    with pytest.raises(EndpointError, match="1 of 1 documents have no answer, run again"):
        run_command(*arguments, "--retries", "0")
    server.answer = lambda number, body: (401, b"", 0)
    with pytest.raises(EndpointError, match="status 401"):
        run_command(*arguments)
    with pytest.raises(ValueError, match="no such file"):
        run_command(str(tmp_path / "absent"), *arguments[1:])


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="url must start with http"):
        ChatEndpoint(url="localhost:8000")
    with pytest.raises(ValueError, match=r"timeout_seconds \(0\) must be positive"):
        ChatEndpoint(url="http://127.0.0.1", timeout_seconds=0)
    with pytest.raises(ValueError, match="top_k must be at least 1, got 0"):
        FactorConfig(model="stub", top_k=0)
