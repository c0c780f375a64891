"""The command ``news-factors``: news in, the factors a language model reads out of them beside it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from factor_data.news.factors.endpoint import ChatEndpoint, EndpointError
from factor_data.news.factors.extract import ExtractionReport, extract_factors, factor_table
from factor_data.news.factors.prompt import FactorConfig
from factor_data.read import read_news


def add_news_factors_command(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``news-factors NEWS OUT`` to a command line; its arguments carry ``run(args) -> exit status``."""
    parser = subparsers.add_parser(
        "news-factors", help="ask a language model for the factors in news",
        description="Ask an OpenAI-compatible endpoint which factors in each document may move its symbol. Answers "
        "are appended to OUT, one JSON line each: run it again to go on. An API key is read from the environment.",
    )  # fmt: skip
    parser.add_argument(
        "news", type=Path, help="Parquet or CSV with timestamp, symbol, text, or a folder of them"
    )
    parser.add_argument("out", type=Path, help="JSON-lines file of answers")
    parser.add_argument("--url", required=True, help="root of the API, as http://127.0.0.1:8000/v1")
    parser.add_argument("--model", required=True, help="name of the model at the endpoint")
    parser.add_argument(
        "--table", type=Path, help="also write timestamp, symbol, status, factor_1 ... as Parquet"
    )
    parser.add_argument(
        "--top-k", type=int, default=3, help="factors a document may have (default: %(default)s)"
    )
    parser.add_argument(
        "--max-characters", type=int, default=5_000, help="of a document (default: %(default)s)"
    )
    parser.add_argument(
        "--timeout", type=float, default=60.0, help="seconds a reply may take (default: %(default)s)"
    )
    parser.add_argument("--retries", type=int, default=3, help="further tries (default: %(default)s)")
    parser.add_argument(
        "--key-variable", default="LLM_API_KEY", help="environment variable of the key (default: %(default)s)"
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Do what the command says; 0 if every document has an answer, else 1 with the reason on stderr."""
    try:
        config = FactorConfig(model=args.model, top_k=args.top_k, max_characters=args.max_characters)
        endpoint = ChatEndpoint(
            url=args.url, key_variable=args.key_variable, timeout_seconds=args.timeout, retries=args.retries
        )
        news = read_news(args.news)
        report = extract_factors(news, args.out, config, endpoint, on_progress=_show)
        if args.table:
            factor_table(news, args.out, config).to_parquet(args.table, index=False)
    except (ValueError, EndpointError) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    print(file=sys.stderr)
    if report.failed:
        print(
            f"error: {report.failed} documents have no answer, run again; {report.last_error}",
            file=sys.stderr,
        )
    return 1 if report.failed else 0


def _show(report: ExtractionReport) -> None:
    text = (
        f"\r{report.done}/{report.documents}: {report.known} known, {report.ok} ok, "
        f"{report.malformed} malformed, {report.failed} failed"
    )
    print(text, end="", file=sys.stderr, flush=True)
