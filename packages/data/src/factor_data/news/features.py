"""News vectors: the mean vector of a bar's documents as features, or the documents each bar knows one by one."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.atomic import write_json
from factor_data.features.matrix import FeatureMatrix
from factor_data.json_document import as_written, read_document
from factor_data.kernel_cache import kernel
from factor_data.news.config import HANDED_IN, NewsVectorConfig
from factor_data.news.join import document_rows
from factor_data.news.vectors import HashingEncoder, TextEncoder, TfidfEncoder
from factor_data.panel.panel import Panel
from factor_data.whole_file import write_atomically
from factor_data.windows.texts import DocumentVectors

HEADER, ARRAYS, FORMAT = "news_vectors.json", "news_vectors.npz", 1
DEFAULT_CONFIG = NewsVectorConfig()


@dataclass(frozen=True, kw_only=True, eq=False)
class NewsVectoriser:
    """Makes news features; made by `fit_news_vectors`."""

    config: NewsVectorConfig
    encoder: TextEncoder

    @property
    def names(self) -> tuple[str, ...]:
        """`news_vector_000` ... and `news_documents`."""
        return (*(f"news_vector_{i:03d}" for i in range(self.encoder.dimensions)), "news_documents")

    def transform(self, news: pd.DataFrame, panel: Panel) -> FeatureMatrix:
        """Return the features of every row of the panel.

        `news_vector_*` is the mean vector of the symbol's documents that were first known on the row's date or the
        `memory` - 1 calendar dates before; NaN where there is none. A date without a bar of the symbol counts as a
        date: its documents reach the next bar if their memory does. `news_documents` is their number: 0, not
        missing, where there is none, for that is known. `news_coverage` counts the documents that no row knows.
        """
        vectors, number, bounds = self._encoded(news, panel)
        return FeatureMatrix(values=_means(vectors, number, bounds), names=self.names, panel=panel)

    def documents(self, news: pd.DataFrame, panel: Panel) -> DocumentVectors:
        """Return the documents of every row of the panel one by one, at most `documents_per_bar`, the latest ones.

        Which documents a row knows is as for `transform`; of those stamped alike, later ones of the news are later.
        """
        vectors, number, bounds = self._encoded(news, panel)
        bounds[:, 0] = np.maximum(bounds[:, 0], bounds[:, 1] - self.config.documents_per_bar)
        return DocumentVectors(vectors=vectors[number], bounds=bounds, per_bar=self.config.documents_per_bar)

    def _encoded(
        self, news: pd.DataFrame, panel: Panel
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
        """Vectors of the texts; of each document, in order of (bar, stamp), the number of its text; bounds of rows."""
        row, waited, kept = document_rows(news, panel, self.config)
        key = panel.row_key
        known_from = key[row] - waited
        order = np.lexsort((news["timestamp"].to_numpy()[kept], known_from))
        texts = news["text"].to_numpy(dtype=object)[kept[order]]
        number, unique = pd.factorize(texts)  # a text that came twice is encoded once
        vectors = self.encoder.encode(list(unique))
        if vectors.shape != (len(unique), self.encoder.dimensions):
            raise ValueError(
                f"encoder {self.encoder.identity} must give {(len(unique), self.encoder.dimensions)} numbers, "
                f"gave {vectors.shape}"
            )
        return vectors, number, _document_bounds(known_from[order], key, panel, self.config.memory)

    def save(self, directory: str | Path) -> None:
        """Write the settings as JSON and what was fitted as `.npz`, header last."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        if isinstance(self.encoder, TfidfEncoder):
            write_atomically(directory / ARRAYS, self.encoder.write)
        header = {"format": FORMAT, "encoder": self.encoder.identity, "config": asdict(self.config)}
        write_json(directory / HEADER, header)

    @classmethod
    def load(cls, directory: str | Path, encoder: TextEncoder | None = None) -> NewsVectoriser:
        """Read what `save` wrote; `encoder` where one was handed in.

        ValueError if the encoder is not the one that was saved.
        """
        directory = Path(directory)
        header = _read_header(directory / HEADER)
        with as_written(directory / HEADER):
            config = NewsVectorConfig(**header["config"])
        _check_encoder(config, encoder)
        chosen = encoder or (
            _read_tfidf(directory / ARRAYS)
            if config.kind == "tfidf_svd"
            else HashingEncoder(dimensions=config.dimensions)
        )
        if chosen.identity != header["encoder"]:
            raise ValueError(
                f"{directory}: the encoder is {chosen.identity}, saved was {header['encoder']}: not the same vectors"
            )
        return cls(config=config, encoder=chosen)


def fit_news_vectors(
    news: pd.DataFrame,
    panel: Panel,
    train_rows: NDArray[np.bool_],
    config: NewsVectorConfig = DEFAULT_CONFIG,
    encoder: TextEncoder | None = None,
) -> NewsVectoriser:
    """Fit on the documents that belong to training rows; no other document is looked at.

    Parameters
    ----------
    news : DataFrame(timestamp, symbol, text), as from `read_news`
    panel : bars
    train_rows : (num_rows,) mask
    config : NewsVectorConfig
    encoder : for the kinds transformer and encoder: e.g. a `FolderEncoder`, best behind a `CachedEncoder`
    """
    if train_rows.shape != (panel.num_rows,):
        raise ValueError(f"train_rows must have shape ({panel.num_rows},), got {train_rows.shape}")
    row, _, kept = document_rows(news, panel, config)
    return fit_vectoriser(news["text"].to_numpy(dtype=object)[np.sort(kept[train_rows[row]])], config, encoder)


def fit_vectoriser(
    texts: NDArray[np.object_], config: NewsVectorConfig, encoder: TextEncoder | None = None
) -> NewsVectoriser:
    """Fit on the texts of training documents, in the order of the news; only `kind="tfidf_svd"` looks at them."""
    _check_encoder(config, encoder)
    if config.kind == "tfidf_svd":
        encoder = TfidfEncoder.fit(
            list(texts), config.dimensions, min_count=config.min_count, max_words=config.max_words
        )
    return NewsVectoriser(config=config, encoder=encoder or HashingEncoder(dimensions=config.dimensions))


def _check_encoder(config: NewsVectorConfig, encoder: TextEncoder | None) -> None:
    if config.kind in HANDED_IN and encoder is None:
        raise ValueError(f"kind {config.kind} needs an encoder: hand one in")
    if config.kind not in HANDED_IN and encoder is not None:
        raise ValueError(f"kind {config.kind} makes its own encoder: hand none in")


def _read_tfidf(path: Path) -> TfidfEncoder:
    try:
        with path.open("rb") as file:
            return TfidfEncoder.read(file)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error


def _read_header(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; the folder holds no saved news vectors")
    header: Mapping[str, Any] = read_document(path)
    found = header.get("format") if isinstance(header, dict) else None
    if found != FORMAT:
        raise ValueError(f"{path}: format {found!r}, this version reads {FORMAT}")
    return header


def _document_bounds(
    known_from: NDArray[np.int64], key: NDArray[np.int64], panel: Panel, memory: int
) -> NDArray[np.int64]:
    """(num_rows, 2): the documents known from the row's date or the `memory` - 1 dates before are `first:last`."""
    oldest = key - np.minimum(panel.date_code, memory - 1)  # not into the symbol before
    return np.column_stack([np.searchsorted(known_from, oldest), np.searchsorted(known_from, key, side="right")])


@kernel(nogil=True)
def _means(vectors: NDArray[np.float32], number: NDArray[np.int64], bounds: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean vector and count of the documents `bounds[row]`, summed in float64; `number` is a text's vector."""
    dimensions = vectors.shape[1]
    result = np.full((len(bounds), dimensions + 1), np.nan, dtype=np.float32)
    total = np.empty(dimensions)
    for row in range(len(bounds)):
        first, last = bounds[row]
        result[row, dimensions] = last - first
        if last == first:
            continue
        total[:] = 0.0
        for document in range(first, last):
            for i in range(dimensions):
                total[i] += vectors[number[document], i]
        for i in range(dimensions):
            result[row, i] = total[i] / (last - first)
    return result
