"""The feature store: what tokenize writes (`chunks.write_store`) and training reads.

Shared by all folds: `features.npy` (num_rows, num_features) float32 as computed, `labels.npy` (num_rows,
num_labels) float64, `index.parquet` (timestamp, symbol, in_universe), `store.json` (names of features; labels),
`sums.json` (digests of all files: each is held against its own when it is opened).
Per fold, in `fold_00` ...: what was fitted on its training dates (`normaliser.json`, `tokenizer.json`,
`vocabulary.json`, with news `news_scorer.json` and `news_vectors.*`), `left_out.json` where inputs are unknown on all
of them, and what models read: `inputs.npy` float32, `tokens.npy` uint8, both (num_rows, num_inputs), the news columns
last. Rows are those of the panel, sorted by (symbol, time), in every array; all can be memory-mapped, so that several
training processes share one copy. With `documents_per_bar` also `news_documents.npy` (num_documents, dimensions)
float32 and `news_document_rows.npy` (num_rows, 2) int64: the documents that each row knows.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from factor_data.folds.fold import Fold, Segment
from factor_data.json_document import as_written, read_document
from factor_data.labels.config import Label, read_label
from factor_data.parquet import read_parquet
from factor_data.sums import Sums

# Loaded where they are used: most readers of a store need no compiled kernel, and numba takes half a second to load.
if TYPE_CHECKING:
    from factor_data.fit.normalise import Normaliser
    from factor_data.fit.tokens import QuantileTokenizer
    from factor_data.fit.vocabulary import SymbolVocabulary
    from factor_data.labels.kinds import TargetKind
    from factor_data.windows.texts import DocumentVectors


LEFT_OUT = "left_out.json"
PLACES_KEPT = 2
"""Sets of dates whose places in a matrix are kept: those that are scored, and those that choose."""


def fold_folder(directory: Path, fold: int) -> Path:
    """Return the folder of a fold in a store."""
    return directory / fold_name(fold)


def fold_name(fold: int) -> str:
    """Return the name of the folder of a fold."""
    return f"fold_{fold:02d}"


class FeatureStore:
    """A store opened for reading; arrays are memory-mapped, once their bytes are known to be those written.

    Attributes: `heads` name -> `Label` in the order of the columns of `labels`, which is that of the models' heads
    (`in_head_order`); `dates` (num_dates,) sorted; `symbols` (num_symbols,) sorted; `date_code`,
    `symbol_code` (num_rows,) positions in them; `in_universe` (num_rows,) bool; `labels` (num_rows,
    num_labels) float64, NaN where unknown; `features` (num_rows, num_features) float32. Whatever reads a file of
    the store raises DamagedError where it is not what was written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory, self._sums = directory, Sums(directory)
        header = self._json("store.json")
        with as_written(directory / "store.json"):
            self.heads: dict[str, Label] = {name: read_label(one) for name, one in header["labels"].items()}
            self._dates_ahead: dict[str, int] = header["dates_ahead"]
            self.feature_names: tuple[str, ...] = tuple(header["features"])
        index = read_parquet(self._sums.path("index.parquet"))
        timestamp = index["timestamp"].to_numpy().astype("datetime64[ns]")
        self.dates, date_code = np.unique(timestamp, return_inverse=True)
        self.date_code = date_code.astype(np.int32)
        symbol = index["symbol"].astype("category").cat
        self.symbols: NDArray[np.str_] = np.asarray(symbol.categories, dtype=str)
        self.symbol_code = symbol.codes.to_numpy().astype(np.int32)
        self.in_universe = index["in_universe"].to_numpy()
        self.labels: NDArray[np.float64] = self._array("labels.npy")
        self._places: dict[bytes, tuple[NDArray[np.integer], NDArray[np.integer]]] = {}

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """(num_rows, num_features) float32 as computed."""
        return self._array("features.npy")

    def dates_ahead(self, name: str) -> int:
        """Return how many of `dates` a label reaches at most; its bars are those of a symbol's own market."""
        return self._dates_ahead[name]

    def overlap(self, name: str) -> int:
        """Return over how many of `dates` the labels of neighbouring ones overlap; dates of other markets count too."""
        return self.heads[name].overlap + self.dates_ahead(name) - self.heads[name].ahead

    @property
    def reach(self) -> int:
        """The most of `dates_ahead`."""
        return max(self._dates_ahead.values())

    def label(self, name: str) -> NDArray[np.float64]:
        """One label, (num_rows,)."""
        return self.labels[:, self.head(name)]

    def head(self, name: str) -> int:
        """Return the column of a label in `labels`, and its place among a model's heads."""
        return list(self.heads).index(name)

    def feature(self, name: str) -> NDArray[np.float32]:
        """One feature as computed, (num_rows,); ValueError lists the names."""
        if name not in self.feature_names:
            raise ValueError(f"feature {name!r} is not in the store: it has {', '.join(self.feature_names)}")
        return self.features[:, self.feature_names.index(name)]

    def matrix(self, values: NDArray, dates: NDArray[np.datetime64]) -> NDArray:
        """Values (num_rows,) spread over (len(dates), num_symbols); NaN where there is no bar of the universe."""
        rows, cells = self._cells(dates)
        result = np.full((len(dates), len(self.symbols)), np.nan, dtype=values.dtype)
        result.reshape(-1)[cells] = values[rows]
        return result

    def _cells(self, dates: NDArray[np.datetime64]) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        """Return the rows of the universe on some dates and their places in a flat matrix; the last two are kept."""
        key = np.asarray(dates, dtype="datetime64[ns]").tobytes()
        if key not in self._places:
            position = np.full(len(self.dates), -1, dtype=np.int64)
            position[np.searchsorted(self.dates, dates)] = np.arange(len(dates))
            row = position[self.date_code]
            rows = np.flatnonzero((row >= 0) & self.in_universe)
            while len(self._places) >= PLACES_KEPT:
                del self._places[next(iter(self._places))]
            self._places[key] = rows, row[rows] * len(self.symbols) + self.symbol_code[rows]
        return self._places[key]

    def normaliser(self, fold: int) -> Normaliser:
        """Return the normaliser that was fitted on the training rows of a fold."""
        from factor_data.fit.normalise import Normaliser

        with as_written(self.directory / fold_name(fold) / "normaliser.json"):
            return Normaliser.from_dict(self._document(fold, "normaliser"))

    def tokenizer(self, fold: int) -> QuantileTokenizer:
        """Return the tokenizer that was fitted on the training rows of a fold."""
        from factor_data.fit.tokens import QuantileTokenizer

        with as_written(self.directory / fold_name(fold) / "tokenizer.json"):
            return QuantileTokenizer.from_dict(self._document(fold, "tokenizer"))

    def vocabulary(self, fold: int) -> SymbolVocabulary:
        """Ids of the symbols that the fold was trained on; every other one is unknown."""
        from factor_data.fit.vocabulary import SymbolVocabulary

        return SymbolVocabulary.load(self._sums.path(f"{fold_name(fold)}/vocabulary.json"))

    def left_out(self, fold: int) -> tuple[str, ...]:
        """Inputs that are unknown on all training rows of a fold, and therefore missing on every row of it."""
        name = f"{fold_name(fold)}/{LEFT_OUT}"
        return tuple(read_document(self._sums.path(name))) if name in self._sums.digests else ()

    def inputs(self, fold: int) -> NDArray[np.float32]:
        """Normalised inputs (num_rows, num_inputs) float32; NaN = missing."""
        return self._array(f"{fold_name(fold)}/inputs.npy")

    def tokens(self, fold: int) -> NDArray[np.uint8]:
        """Quantile tokens (num_rows, num_features) uint8; 0 = missing."""
        return self._array(f"{fold_name(fold)}/tokens.npy")

    def documents(self, fold: int) -> DocumentVectors | None:
        """The documents each row knows; None where the store was written without (`documents_per_bar` 0)."""
        from factor_data.windows.texts import DocumentVectors

        vectors, bounds = (f"{fold_name(fold)}/{name}.npy" for name in ("news_documents", "news_document_rows"))
        if vectors not in self._sums.digests:
            return None
        per_bar = self._document(fold, "news_vectors")["config"]["documents_per_bar"]
        return DocumentVectors(vectors=self._array(vectors), bounds=self._array(bounds), per_bar=per_bar)

    def text_encoder(self, fold: int) -> str:
        """Identity of what made the documents' vectors."""
        return self._document(fold, "news_vectors")["encoder"]

    def targets(self, kind: TargetKind) -> NDArray[np.float32]:
        """Labels as training sees them (num_rows, num_labels): transformed per date over the universe."""
        return np.column_stack([self.target(kind, name) for name in self.heads])

    def target(self, kind: TargetKind, name: str) -> NDArray[np.float32]:
        """One column of `targets`, (num_rows,)."""
        from factor_data.labels.targets import cross_sectional_target

        return cross_sectional_target(np.where(self.in_universe, self.label(name), np.nan), self.date_code, kind)

    def rows(self, fold: Fold, segment: Segment) -> NDArray[np.bool_]:
        """Mask (num_rows,) of the universe's rows on the dates of a fold's segment."""
        return np.isin(self.dates, fold.dates(segment))[self.date_code] & self.in_universe

    def _document(self, fold: int, name: str) -> dict:
        return self._json(f"{fold_name(fold)}/{name}.json")

    def _json(self, name: str) -> dict:
        found: dict[str, Any] = read_document(self._sums.path(name))
        if not isinstance(found, dict):
            raise ValueError(f"{self.directory / name}: must hold keys and values")
        return found

    def _array(self, name: str) -> NDArray:
        return np.load(self._sums.path(name), mmap_mode="r", allow_pickle=False)
