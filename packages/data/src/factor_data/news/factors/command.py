"""The command `news-factors NEWS OUT`: news in, the factors a language model reads out of them beside it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from factor_data.news.factors.endpoint import ChatEndpoint, EndpointError
from factor_data.news.factors.extract import ExtractionReport, extract_factors, factor_news, factor_table
from factor_data.news.factors.prompt import FactorConfig
from factor_data.parquet import write_parquet
from factor_data.reading.news import read_news

NEWS_FACTORS_HELP = (
    "ask a language model which factors in each document may move its symbol; run it again to go on. "
    "An API key is read from the environment"
)


def add_news_factors_arguments(parser: argparse.ArgumentParser) -> None:
    """NEWS, OUT, the endpoint and what is asked."""
    parser.add_argument("news", type=Path, metavar="NEWS", help="Parquet or CSV with timestamp, symbol, text")
    parser.add_argument("out", type=Path, metavar="OUT", help="file the answers are appended to, a JSON line each")
    parser.add_argument("--url", required=True, help="root of an OpenAI-compatible API, as http://127.0.0.1:8000/v1")
    parser.add_argument("--model", required=True, help="name of the model at the endpoint")
    parser.add_argument("--table", type=Path, help="also write timestamp, symbol, status, factor_1 ... as Parquet")
    parser.add_argument(
        "--as-news",
        type=Path,
        metavar="FOLDER",
        help="also write each factor as a document, FOLDER/news.parquet",
    )
    parser.add_argument("--top-k", type=int, default=3, help="factors a document may have (default: %(default)s)")
    parser.add_argument("--max-characters", type=int, default=5_000, help="of a document (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds a reply may take (default: %(default)s)")
    parser.add_argument("--retries", type=int, default=3, help="further tries (default: %(default)s)")
    parser.add_argument(
        "--key-variable", default="LLM_API_KEY", help="environment variable of the key (default: %(default)s)"
    )


def run_news_factors(options: argparse.Namespace) -> None:
    """Ask, show how far it is on stderr, write the table and the news if asked to.

    Raises
    ------
    ValueError for bad news or settings; EndpointError if the endpoint is down or refuses, or at the end if some
    documents have no answer: what was answered is kept
    """
    config = FactorConfig(model=options.model, top_k=options.top_k, max_characters=options.max_characters)
    endpoint = ChatEndpoint(
        url=options.url,
        key_variable=options.key_variable,
        timeout_seconds=options.timeout,
        retries=options.retries,
    )
    news = read_news(options.news)
    try:
        report = extract_factors(news, options.out, config, endpoint, on_progress=_show)
    finally:
        print(file=sys.stderr)
    table = factor_table(news, options.out, config).map(_whole_characters)
    if options.table:
        write_parquet(options.table, table)
    if options.as_news:
        options.as_news.mkdir(parents=True, exist_ok=True)
        write_parquet(options.as_news / "news.parquet", factor_news(table))
    if report.failed:
        raise EndpointError(
            f"{report.failed} of {report.documents} documents have no answer, run again; {report.last_error}",
            is_final=False,
        )


def _whole_characters(value: Any) -> Any:
    """Text as Parquet can hold it: half of a character, which JSON may bring, becomes the mark of an unknown one."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else value


def _show(report: ExtractionReport) -> None:
    text = (
        f"\r{report.done}/{report.documents}: {report.known} known, {report.ok} ok, "
        f"{report.malformed} malformed, {report.failed} failed"
    )
    print(text, end="", file=sys.stderr, flush=True)
