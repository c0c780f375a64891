"""Ask about every document, once: answers go line by line into a file that a later run goes on with.

Each line of the file is JSON: `key` (sha256 of the request), `status` (ok or malformed), `factors` (null where
malformed: missing, not none), `reply`. A document the endpoint gave no answer for has no line and is asked again by
the next run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from factor_data.news.factors.endpoint import ChatEndpoint, EndpointError
from factor_data.news.factors.prompt import FactorConfig, parse_factors
from factor_data.whole_file import room_told

LINE_START = b'{"key": "'


@dataclass(kw_only=True)
class ExtractionReport:
    """Progress of a run; documents with the same symbol and text count once."""

    documents: int
    known: int = 0
    """Answered by an earlier run."""
    ok: int = 0
    malformed: int = 0
    failed: int = 0
    """The endpoint gave no answer, all tries over."""
    last_error: str = ""

    @property
    def done(self) -> int:
        """Return the number of documents with an outcome: answered earlier, answered, malformed or failed."""
        return self.known + self.ok + self.malformed + self.failed


def extract_factors(
    news: pd.DataFrame,
    path: str | Path,
    config: FactorConfig,
    endpoint: ChatEndpoint,
    *,
    max_failures: int = 10,
    on_progress: Callable[[ExtractionReport], None] = lambda report: None,
) -> ExtractionReport:
    """Ask for the factors of each document that `path` has no answer for; append the answers.

    Parameters
    ----------
    news : DataFrame(timestamp, symbol, text), as from `read_news`
    path : JSON-lines file; made if it does not exist. A last line cut off by a kill is dropped and asked again
    config, endpoint : what is asked, where
    max_failures : failures one after the other after which the endpoint counts as down
    on_progress : called after each document

    Raises
    ------
    EndpointError if the endpoint refuses (wrong key, model or address) or is down; answers so far are kept
    ValueError if the file has a line that is no answer
    """
    path = Path(path)
    _drop_cut_line(path)
    answers = read_answers(path)
    asked = {config.key(symbol, text): (symbol, text) for symbol, text in _documents(news)}
    report = ExtractionReport(documents=len(asked))
    report.known = sum(key in answers for key in asked)
    in_a_row = 0
    with path.open("a", encoding="utf-8") as file:
        for key, (symbol, text) in asked.items():
            if key in answers:
                continue
            try:
                line = _answer(key, *endpoint.ask(config.request(symbol, text)), config.top_k)
            except EndpointError as error:
                report.failed, report.last_error, in_a_row = report.failed + 1, str(error), in_a_row + 1
                if error.is_final or in_a_row == max_failures:
                    raise
            else:
                in_a_row = 0
                _append(file, line)
                report.ok += line["status"] == "ok"
                report.malformed += line["status"] == "malformed"
            on_progress(report)
    return report


def factor_table(news: pd.DataFrame, path: str | Path, config: FactorConfig) -> pd.DataFrame:
    """Return one row per document, in the order of `news`: timestamp, symbol, status, factor_1 ... factor_k.

    `status` is ok, malformed or unanswered. A factor is missing (None) where the reply was malformed, the document
    is unanswered, or the reply names fewer factors.
    """
    answers = read_answers(path)
    rows = []
    for symbol, text in _documents(news):
        answer = answers.get(config.key(symbol, text), {"status": "unanswered", "factors": None})
        factors = list(answer["factors"] or ())
        rows.append([answer["status"], *factors, *[None] * (config.top_k - len(factors))])
    names = ["status", *(f"factor_{i + 1}" for i in range(config.top_k))]
    table = pd.DataFrame(rows, columns=names, dtype=object)
    table.insert(0, "timestamp", news["timestamp"].to_numpy())
    table.insert(1, "symbol", news["symbol"].to_numpy())
    return table


def factor_news(table: pd.DataFrame) -> pd.DataFrame:
    """Return the factors of `factor_table` as news: timestamp, symbol, text, one row per factor in its order.

    A document without a factor, or without a whole answer, has no row.
    """
    names = [name for name in table.columns if name.startswith("factor_")]
    found = [(row.timestamp, row.symbol, getattr(row, name)) for row in table.itertuples() for name in names]
    news = pd.DataFrame(found, columns=["timestamp", "symbol", "text"])
    return news[news["text"].notna()].reset_index(drop=True)


def read_answers(path: str | Path) -> Mapping[str, dict[str, Any]]:
    """Return key -> answer of a JSON-lines file, empty if there is no file; ValueError naming a wrong line."""
    path = Path(path)
    answers: dict[str, dict[str, Any]] = {}
    if not path.exists():
        return answers
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                answer = json.loads(line)
                is_right = {"key", "status", "factors"} <= answer.keys() and answer["status"] in (
                    "ok",
                    "malformed",
                )
            except (ValueError, AttributeError, RecursionError):
                is_right = False
            if not is_right:
                raise ValueError(f"{path}: line {number} is no answer: {line.strip()[:80]!r}")
            answers[answer["key"]] = answer
    return answers


def _documents(news: pd.DataFrame) -> list[tuple[str, str]]:
    return [(str(symbol), str(text)) for symbol, text in zip(news["symbol"], news["text"], strict=True)]


def _answer(key: str, reply: str, is_whole: bool, top_k: int) -> dict[str, Any]:
    """A reply cut off at max_tokens is malformed even if what is there can be read."""
    factors = parse_factors(reply, top_k) if is_whole else None
    status = "malformed" if factors is None else "ok"
    return {"key": key, "status": status, "factors": factors, "reply": reply}


def _append(file: Any, line: dict[str, Any]) -> None:
    text = json.dumps(line) + "\n"
    with room_told(Path(file.name), None, len(text)):
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _drop_cut_line(path: Path) -> None:
    """Cut off what a killed run left of a line; a file that ends in anything else is not ours to change."""
    content = path.read_bytes() if path.exists() else b""
    cut = content[content.rfind(b"\n") + 1 :]
    if not cut:
        return
    if not (cut.startswith(LINE_START) or LINE_START.startswith(cut)):
        raise ValueError(f"{path}: holds no answers, it ends in {cut[-40:]!r}")
    with path.open("r+b") as file:
        file.truncate(len(content) - len(cut))
