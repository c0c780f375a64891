"""Write a feature store from a saved panel, part by part; `FeatureStore` reads it.

Features and labels are maps over whole symbols, ranks over whole dates, fits are counts over the training rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from factor_data.atomic import write_json
from factor_data.chunks.news_parts import fit_scorer, fit_vectors, write_documents, write_news_features
from factor_data.chunks.saved_panel import SavedPanel
from factor_data.chunks.selection import ColumnParts
from factor_data.chunks.workers import Workers
from factor_data.features.compute import FeaturePlan
from factor_data.fit.kinds import RANK_KINDS, NormaliserKind
from factor_data.fit.normalise import Normaliser, fit_normaliser_parts
from factor_data.fit.tokens import QuantileTokenizer
from factor_data.fit.vocabulary import SymbolVocabulary
from factor_data.folds.fold import Fold
from factor_data.labels.config import Label, Labels
from factor_data.labels.report import LabelReport, count_labels
from factor_data.labels.returns import neutral_values, symbol_values
from factor_data.labels.targets import LabelCheck
from factor_data.news.config import NewsConfig, NewsVectorConfig
from factor_data.news.tone import NEWS_FEATURES
from factor_data.news.vectors import TextEncoder
from factor_data.panel.array_file import ArrayFile, Spans
from factor_data.parquet import CHECKSUMS
from factor_data.store import LEFT_OUT, fold_folder
from factor_data.sums import write_sums

ROW_GROUP = 1 << 20  # rows of a row group of index.parquet, as pandas writes it: 25 MiB in memory


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """What is fitted per fold: the arguments of `fit_normaliser`, `QuantileTokenizer.fit` and the news features."""

    normaliser: NormaliserKind
    """How features are brought to one scale."""
    clip: float
    """Normalised values are clipped to [-clip, clip] (robust_zscore)."""
    num_tokens: int
    """Quantile tokens per feature, besides 0 = missing."""
    news: NewsConfig = field(default_factory=NewsConfig)
    """How texts become numbers."""
    news_vectors: NewsVectorConfig | None = None
    """Mean text vectors as further inputs; None: none."""
    encoder: TextEncoder | None = None
    """What makes the vectors, for the kinds whose encoder is handed in."""
    strict: bool = False
    """Refuse a fold with an input that is unknown on all its training rows; else it is left out of that fold."""


@dataclass(frozen=True, kw_only=True)
class StoreWriter:
    """Writes the files of a store one after the other: labels, features and index, then a fold at a time."""

    directory: Path
    panel: SavedPanel
    workers: Workers
    plan: FeaturePlan
    labels: Labels
    """In the order of columns and heads (`in_head_order`)."""

    def write_labels(self) -> list[LabelReport]:
        """labels.npy; how many rows each label has, and how many of them are decided by a delisting."""
        self.directory.mkdir(parents=True, exist_ok=True)
        file = ArrayFile.create(self.directory / "labels.npy", (self.panel.num_rows, len(self.labels)), np.float64)
        parts = self._symbol_parts(8 * len(self.labels))
        counts = self.workers.map(partial(_write_labels, self.panel, file, self.labels), parts)
        reports = [LabelReport.sum(of_parts) for of_parts in zip(*counts, strict=True)]
        for head, label in enumerate(self.labels.values()):
            if label.neutral is not None:
                reports[head] = reports[head].without(self._make_neutral(file, head, label.neutral))
        return reports

    def _make_neutral(self, file: ArrayFile, head: int, column: str) -> int:
        """A second step, over whole dates; return how many labels are lost for want of a group."""
        if column not in self.panel.columns:
            raise ValueError(f"neutral: {column!r} is no column of the bars; they have {list(self.panel.columns)}")
        parts = self.panel.date_parts(self.workers.rows(8 * (len(self.labels) + 4)))
        return sum(self.workers.map(partial(_write_neutral, self.panel, file, head, column), parts))

    def check_labels(self, fold: Fold) -> None:
        """Refuse, as `factor_data.check_labels` does, a fold whose training labels teach nothing."""
        check = LabelCheck(tuple(self.labels))
        parts = self.panel.parts_of_dates(fold.train, self.workers.rows(8 * (len(self.labels) + 1)))
        load = partial(_universe_values, self.panel, (self._file("labels"),))
        for labels in self.workers.map(load, parts):
            check.add(labels)
        check.refuse(f"fold {fold.index} train")

    def write_features(self) -> None:
        """features.npy, index.parquet and store.json: what no fold changes."""
        path, num_rows, plan = self.directory / "features.npy", self.panel.num_rows, self.plan
        target = ArrayFile.create(path, (num_rows, len(plan.names)), np.float32)
        bases = target
        if plan.date_features:  # a second step: what a symbol gives, then what takes the whole date
            shape = (num_rows, len(plan.symbol_names))
            bases = ArrayFile.create(self.directory / "symbol_features.npy", shape, np.float32)
        parts = self._symbol_parts(4 * len(plan.symbol_names))
        self.workers.run(partial(_write_symbol_features, self.panel, plan, bases), parts)
        if plan.date_features:
            rows = self.workers.rows(4 * (len(plan.names) + len(plan.symbol_names)))
            task = partial(_write_date_features, self.panel, plan, bases, target)
            self.workers.run(task, self.panel.date_parts(rows))
            bases.path.unlink()
        write_index(self.panel, self.directory / "index.parquet")
        labels = {name: asdict(label) for name, label in self.labels.items()}
        header: dict[str, Any] = {"features": list(plan.names), "labels": labels}
        header["dates_ahead"] = {name: self._dates_ahead(label) for name, label in self.labels.items()}
        write_json(self.directory / "store.json", header)

    def _dates_ahead(self, label: Label) -> int:
        """Dates of the panel that a label reaches; bars are counted on the dates of a symbol's own market."""
        return label.ahead if label.column is not None else self.panel.markets.reach(label.ahead)

    def write_folds(
        self, folds: Sequence[Fold], fit: FitConfig, news: pd.DataFrame | None = None
    ) -> dict[int, tuple[str, ...]]:
        """Per fold: fit on its training rows alone, write what was fitted, inputs and tokens; at last the digests.

        Returns
        -------
        fold -> inputs that are left out of it, since they are unknown on all its training rows: missing on every row,
        so that no weight that was never trained meets a value. The store names them in `left_out.json` of the fold
        """
        ranked: ArrayFile | None = None
        found: dict[int, tuple[str, ...]] = {}
        for fold in folds:
            inputs, left_out = self._write_fold(fold, fit, news, ranked)
            if left_out:
                found[fold.index] = left_out
            elif fit.normaliser in RANK_KINDS:
                ranked = ranked or inputs
        write_sums(self.directory)
        return found

    def _write_fold(
        self, fold: Fold, fit: FitConfig, news: pd.DataFrame | None, ranked: ArrayFile | None
    ) -> tuple[ArrayFile, tuple[str, ...]]:
        """`ranked` are the inputs of another fold: ranks of features within a date are the same in all folds."""
        folder = fold_folder(self.directory, fold.index)
        folder.mkdir(parents=True)
        sources = [self._file("features")]
        names = self.plan.names
        if news is not None:
            sources.append(self._write_news(fold, fit.news, news, folder))
            names = (*names, *NEWS_FEATURES)
        if news is not None and fit.news_vectors is not None:
            vectoriser = fit_vectors(news, self.panel, fold.train, fit.news_vectors, self.workers, fit.encoder)
            vectoriser.save(folder)
            path = folder / "news_vectors.npy"
            sources.append(write_news_features(vectoriser, news, self.panel, path, self.workers))
            names = (*names, *vectoriser.names)
            if fit.news_vectors.documents_per_bar:
                write_documents(vectoriser, news, self.panel, folder, self.workers)
        rows = self.workers.rows(8 * len(names))
        train = self.panel.parts_of_dates(fold.train, rows)
        SymbolVocabulary.fit(self._symbols_in(train)).save(folder / "vocabulary.json")
        normaliser = fit_normaliser_parts(self._columns(tuple(sources), train), names, fit.normaliser, fit.clip)
        write_json(folder / "normaliser.json", normaliser.to_dict())
        shape = (self.panel.num_rows, len(names))
        inputs = ArrayFile.create(folder / "inputs.npy", shape, np.float32)
        if ranked is not None and news is None:
            self.workers.run(partial(_copy_rows, ranked, inputs), self.panel.symbol_parts(rows))
        else:
            task = partial(_write_inputs, self.panel, tuple(sources), normaliser, ranked, inputs)
            self.workers.run(task, self.panel.date_parts(rows))
        for news_features in sources[1:]:
            news_features.path.unlink()
        fitted = self._columns((inputs,), train)
        tokenizer = QuantileTokenizer.fit_parts(fitted, fit.num_tokens, names, strict=fit.strict)
        if tokenizer.unknown:
            columns = np.flatnonzero(np.isin(names, tokenizer.unknown))
            self.workers.run(partial(_blank_columns, inputs, columns), self.panel.symbol_parts(rows))
            write_json(folder / LEFT_OUT, list(tokenizer.unknown))
        write_json(folder / "tokenizer.json", tokenizer.to_dict())
        tokens = ArrayFile.create(folder / "tokens.npy", shape, np.uint8)
        self.workers.run(partial(_write_tokens, inputs, tokenizer, tokens), self.panel.symbol_parts(rows))
        return inputs, tokenizer.unknown

    def _write_news(self, fold: Fold, config: NewsConfig, news: pd.DataFrame, folder: Path) -> ArrayFile:
        """Learn words on the label that looks about as far as news is remembered, and score every row."""
        overlaps = np.array([label.overlap for label in self.labels.values()])
        head = int(np.argmin(np.abs(overlaps - config.half_life)))
        labels = self._file("labels")
        scorer = fit_scorer(news, self.panel, labels, head, fold.train, config, self.workers, folder)
        write_json(folder / "news_scorer.json", scorer.to_dict())
        return write_news_features(scorer, news, self.panel, folder / "news_scores.npy", self.workers)

    def _symbols_in(self, parts: Sequence[Spans]) -> NDArray[np.str_]:
        """The symbols that have a bar of the universe in the parts."""
        seen = np.zeros(len(self.panel.symbols), dtype=bool)
        for codes in self.workers.map(partial(_universe_values, self.panel, (self.panel.symbol_code,)), parts):
            seen[codes] = True
        return self.panel.symbols[seen]

    def _columns(self, sources: tuple[ArrayFile, ...], parts: Sequence[Spans]) -> ColumnParts:
        return ColumnParts(load=partial(_universe_values, self.panel, sources), tasks=parts, workers=self.workers)

    def _symbol_parts(self, row_bytes: int) -> list[Spans]:
        return self.panel.symbol_parts(self.workers.rows(row_bytes + self.panel.row_bytes))

    def _file(self, name: str) -> ArrayFile:
        return ArrayFile.open(self.directory / f"{name}.npy")


def write_index(panel: SavedPanel, path: Path) -> None:
    """index.parquet: timestamp, symbol and in_universe of every row, written a row group at a time."""
    symbols = pd.Index(panel.symbols)
    writer: pq.ParquetWriter | None = None
    for first in range(0, max(panel.num_rows, 1), ROW_GROUP):
        last = min(first + ROW_GROUP, panel.num_rows)
        frame = pd.DataFrame(
            {
                "timestamp": panel.dates[panel.date_code.read(first, last)],
                "symbol": pd.Categorical.from_codes(panel.symbol_code.read(first, last), symbols),
                "in_universe": panel.in_universe(np.array([[first, last]])),
            }
        )
        table = pa.Table.from_pandas(frame, preserve_index=False)
        if writer is None:
            writer = pq.ParquetWriter(path, table.schema, **CHECKSUMS)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def gather(sources: tuple[ArrayFile, ...], spans: Spans) -> NDArray:
    """The rows of several arrays side by side."""
    values = [source.gather(spans) for source in sources]
    return values[0] if len(values) == 1 else np.hstack(values)


def _universe_values(panel: SavedPanel, sources: tuple[ArrayFile, ...], spans: Spans) -> NDArray:
    return gather(sources, spans)[panel.in_universe(spans)]


def _write_labels(panel: SavedPanel, target: ArrayFile, labels: Labels, spans: Spans) -> list[LabelReport]:
    part = panel.read(*spans[0].tolist())
    columns = {name: symbol_values(part, label) for name, label in labels.items()}
    target.scatter(spans, np.column_stack(list(columns.values())))
    return [count_labels(name, labels[name], values, part) for name, values in columns.items()]


def _write_neutral(panel: SavedPanel, target: ArrayFile, head: int, column: str, spans: Spans) -> int:
    labels, in_universe = target.gather(spans), panel.in_universe(spans)
    group, date_code = panel.columns[column].gather(spans), panel.date_code.gather(spans)
    known = np.isfinite(labels[:, head]) & in_universe
    labels[:, head] = neutral_values(labels[:, head], group, date_code, in_universe)
    target.scatter(spans, labels)
    return int(known.sum() - np.isfinite(labels[:, head]).sum())


def _write_symbol_features(panel: SavedPanel, plan: FeaturePlan, target: ArrayFile, spans: Spans) -> None:
    target.scatter(spans, plan.symbol_values(panel.read(*spans[0].tolist()), threads=1))


def _write_date_features(
    panel: SavedPanel, plan: FeaturePlan, bases: ArrayFile, target: ArrayFile, spans: Spans
) -> None:
    date_code, symbol_code = panel.date_code.gather(spans), panel.symbol_code.gather(spans)
    values = plan.all_values(bases.gather(spans), date_code, symbol_code, panel.in_universe(spans))
    target.scatter(spans, values)


def _write_inputs(
    panel: SavedPanel,
    sources: tuple[ArrayFile, ...],
    normaliser: Normaliser,
    ranked: ArrayFile | None,
    target: ArrayFile,
    spans: Spans,
) -> None:
    date_code = panel.date_code.gather(spans)
    if ranked is None:
        target.scatter(spans, normaliser.transform(gather(sources, spans), date_code))
        return
    values = ranked.gather(spans)
    num_features = sources[0].shape[1]
    of_news = replace(normaliser, names=normaliser.names[num_features:])
    values[:, num_features:] = of_news.transform(gather(sources[1:], spans), date_code)
    target.scatter(spans, values)


def _copy_rows(source: ArrayFile, target: ArrayFile, spans: Spans) -> None:
    target.scatter(spans, source.gather(spans))


def _blank_columns(target: ArrayFile, columns: NDArray[np.int64], spans: Spans) -> None:
    values = target.gather(spans)
    values[:, columns] = np.nan
    target.scatter(spans, values)


def _write_tokens(source: ArrayFile, tokenizer: QuantileTokenizer, target: ArrayFile, spans: Spans) -> None:
    target.scatter(spans, tokenizer.transform(source.gather(spans)))
