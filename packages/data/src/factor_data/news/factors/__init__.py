"""Factors that a language model reads out of news, over an OpenAI-compatible endpoint given by its address."""

from factor_data.news.factors.command import (
    NEWS_FACTORS_HELP,
    add_news_factors_arguments,
    run_news_factors,
)
from factor_data.news.factors.endpoint import ChatEndpoint, EndpointError
from factor_data.news.factors.extract import ExtractionReport, extract_factors, factor_table
from factor_data.news.factors.prompt import FactorConfig, parse_factors

__all__ = [
    "NEWS_FACTORS_HELP",
    "ChatEndpoint",
    "EndpointError",
    "ExtractionReport",
    "FactorConfig",
    "add_news_factors_arguments",
    "extract_factors",
    "factor_table",
    "parse_factors",
    "run_news_factors",
]
