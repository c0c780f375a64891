"""News on a panel that is read in parts: the documents are in memory, the bars are not."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.chunks.saved_panel import SavedPanel
from factor_data.chunks.workers import Workers
from factor_data.news.config import NewsConfig, NewsVectorConfig
from factor_data.news.features import NewsVectoriser, fit_vectoriser
from factor_data.news.join import document_rows
from factor_data.news.tone import NewsScorer, label_outcomes, learn_tones
from factor_data.news.vectors import TextEncoder
from factor_data.panel.array_file import ArrayFile, Spans

DOCUMENTS, DOCUMENT_ROWS = "news_documents.npy", "news_document_rows.npy"


def fit_scorer(
    news: pd.DataFrame,
    panel: SavedPanel,
    labels: ArrayFile,
    head: int,
    train_dates: NDArray[np.datetime64],
    config: NewsConfig,
    workers: Workers,
    scratch: Path,
) -> NewsScorer:
    """Fit as `fit_news_scorer` does on column `head` of the labels and the universe's rows of the training dates.

    `scratch` is a folder for one file of a number a row, which is deleted again.
    """
    outcomes = ArrayFile.create(scratch / "outcomes.npy", (panel.num_rows,), np.float64)
    chosen = np.isin(panel.dates, train_dates)
    try:
        rows = workers.rows(8 * (labels.shape[1] + 3))
        workers.run(partial(_write_outcomes, panel, labels, head, chosen, outcomes), panel.date_parts(rows))
        parts = panel.symbol_parts(workers.rows(panel.row_bytes))
        found = list(workers.map(partial(_outcomes_of_documents, news, panel, outcomes, config), parts))
    finally:
        outcomes.path.unlink()
    kept, outcome = (np.concatenate(values) for values in zip(*found, strict=True))
    order = np.argsort(kept)
    texts = news["text"].to_numpy(dtype=object)[kept[order]]
    return learn_tones(texts, outcome[order], config)


def fit_vectors(
    news: pd.DataFrame,
    panel: SavedPanel,
    train_dates: NDArray[np.datetime64],
    config: NewsVectorConfig,
    workers: Workers,
    encoder: TextEncoder | None = None,
) -> NewsVectoriser:
    """Fit as `fit_news_vectors` does on the universe's rows of the training dates."""
    if encoder is not None:  # it looks at no document
        return fit_vectoriser(np.empty(0, dtype=object), config, encoder)
    chosen = np.isin(panel.dates, train_dates)
    parts = panel.symbol_parts(workers.rows(panel.row_bytes))
    found = workers.map(partial(_training_documents, news, panel, chosen, config), parts)
    kept = np.sort(np.concatenate(list(found)))
    return fit_vectoriser(news["text"].to_numpy(dtype=object)[kept], config)


def write_news_features(
    fitted: NewsScorer | NewsVectoriser, news: pd.DataFrame, panel: SavedPanel, path: Path, workers: Workers
) -> ArrayFile:
    """Write (num_rows, num_features) float32: the news features of every row."""
    target = ArrayFile.create(path, (panel.num_rows, len(fitted.names)), np.float32)
    parts = panel.symbol_parts(workers.rows(panel.row_bytes))
    workers.run(partial(_write_news_features, fitted, news, panel, target), parts)
    return target


def write_documents(
    fitted: NewsVectoriser, news: pd.DataFrame, panel: SavedPanel, folder: Path, workers: Workers
) -> None:
    """Write the documents every row knows, as `NewsVectoriser.documents` gives them.

    news_documents.npy : (num_documents, dimensions) float32
    news_document_rows.npy : (num_rows, 2) int64, first and last document of each row
    """
    parts = panel.symbol_parts(workers.rows(panel.row_bytes))
    counts = list(workers.map(partial(_count_documents, fitted, news, panel), parts))
    firsts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    shape = (int(firsts[-1]), fitted.encoder.dimensions)
    vectors = ArrayFile.create(folder / DOCUMENTS, shape, np.float32)
    bounds = ArrayFile.create(folder / DOCUMENT_ROWS, (panel.num_rows, 2), np.int64)
    task = partial(_write_documents, fitted, news, panel, vectors, bounds)
    workers.run(task, list(zip(parts, firsts[:-1].tolist(), strict=True)))


def _write_outcomes(
    panel: SavedPanel,
    labels: ArrayFile,
    head: int,
    chosen: NDArray[np.bool_],
    target: ArrayFile,
    spans: Spans,
) -> None:
    date_code = panel.date_code.gather(spans)
    train = chosen[date_code] & panel.in_universe(spans)
    target.scatter(spans, label_outcomes(labels.gather(spans)[:, head], date_code, train))


def _outcomes_of_documents(
    news: pd.DataFrame, panel: SavedPanel, outcomes: ArrayFile, config: NewsConfig, spans: Spans
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Positions of the documents that belong to training rows of the part, and the outcomes of these rows."""
    row, _, kept = document_rows(news, panel.read(*spans[0].tolist()), config)
    outcome = outcomes.gather(spans)[row]
    learn = ~np.isnan(outcome)
    return kept[learn], outcome[learn]


def _training_documents(
    news: pd.DataFrame, panel: SavedPanel, chosen: NDArray[np.bool_], config: NewsVectorConfig, spans: Spans
) -> NDArray[np.int64]:
    """Positions of the documents that belong to training rows of the part."""
    part = panel.read(*spans[0].tolist())
    row, _, kept = document_rows(news, part, config)
    return kept[(chosen[part.date_code] & part.in_universe)[row]]


def _write_news_features(
    fitted: NewsScorer | NewsVectoriser,
    news: pd.DataFrame,
    panel: SavedPanel,
    target: ArrayFile,
    spans: Spans,
) -> None:
    target.scatter(spans, fitted.transform(news, panel.read(*spans[0].tolist())).values)


def _count_documents(fitted: NewsVectoriser, news: pd.DataFrame, panel: SavedPanel, spans: Spans) -> int:
    return len(document_rows(news, panel.read(*spans[0].tolist()), fitted.config).kept)


def _write_documents(
    fitted: NewsVectoriser,
    news: pd.DataFrame,
    panel: SavedPanel,
    vectors: ArrayFile,
    bounds: ArrayFile,
    part: tuple[Spans, int],
) -> None:
    spans, first = part
    documents = fitted.documents(news, panel.read(*spans[0].tolist()))
    vectors.write(first, documents.vectors)
    bounds.scatter(spans, documents.bounds + first)
