"""What a model of features or tokens reads on a fold: inputs, targets, weights, windows."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data import (
    FeatureStore,
    Fold,
    SampleWeights,
    Segment,
    SymbolVocabulary,
    WeightParams,
    WindowDataset,
    WindowRules,
    session_codes,
)
from factor_metrics import to_json_safe
from factor_models import input_kind, model_sizes
from stages.scoring import Scoring, ValidScores, valid_scores

ROWS_AT_ONCE = 65536  # whose inputs are copied at a time


class FoldInputs:
    """A model's inputs on a fold. They are mapped from disk; nothing is copied but what `windows` and batches take."""

    def __init__(  # noqa: PLR0913 -- all that decides what a fold reads
        self,
        name: str,
        settings: Any,
        store: FeatureStore,
        targets: NDArray[np.float32],
        fold: Fold,
        weights: WeightParams | None,
        panel: Path,
        scoring: Scoring,
        outputs_per_target: int = 1,
        rules: WindowRules | None = None,
        train_dates: NDArray[np.datetime64] | None = None,
    ) -> None:
        self.name, self.settings, self.store, self.targets, self.fold = name, settings, store, targets, fold
        self.scoring, self.train_dates = scoring, train_dates
        self.kind = input_kind(name)
        self.rules = rules or WindowRules()
        self.inputs = (store.tokens if self.kind == "tokens" else store.inputs)(fold.index)
        self.weights = SampleWeights.of_fold(weights, store, fold, panel)
        self.missing_mask = self.rules.missing_mask and self.kind == "features"
        sizes = {
            "num_features": self.inputs.shape[1] * (1 + self.missing_mask),
            "num_horizons": len(store.heads) * outputs_per_target,
        }
        self.vocabulary: SymbolVocabulary | None = None
        self.symbol_ids: NDArray[np.integer] | None = None
        if "num_tokens" in model_sizes(name):
            sizes["num_tokens"] = store.tokenizer(fold.index).num_tokens
        if "num_symbols" in model_sizes(name):
            self.vocabulary = store.vocabulary(fold.index)
            sizes["num_symbols"] = self.vocabulary.num_ids
            self.symbol_ids = self.vocabulary.encode(store.symbols)[store.symbol_code]
        self.texts = store.documents(fold.index) if "text_dim" in model_sizes(name) else None
        if "text_dim" in model_sizes(name):
            sizes["text_dim"] = 0 if self.texts is None else self.texts.dimensions
        self.model_config: dict[str, Any] = {"name": name, **sizes, **asdict(settings)}
        self.train_windows = self.windows("train")

    def windows(
        self, segment: Segment, last_dates: int | None = None, targets: NDArray[np.float32] | None = None
    ) -> WindowDataset:
        """The samples of a segment, or of its last dates; with other targets than the fold's if they are given.

        Of the training dates, where `train_dates` are given, those alone.
        """
        rows = self.store.rows(self.fold, segment)
        if segment == "train" and self.train_dates is not None:
            rows &= np.isin(self.store.dates, self.train_dates)[self.store.date_code]
        if last_dates is not None:
            rows &= np.isin(self.store.dates, self.fold.dates(segment)[-last_dates:])[self.store.date_code]
        dataset = WindowDataset(
            self.inputs,
            self.targets if targets is None else targets,
            getattr(self.settings, "lookback", 1),
            symbol_code=self.store.symbol_code,
            date_code=self.store.date_code,
            rows=rows,
            symbol_ids=self.symbol_ids,
            texts=self.texts,
            weights=self.weights.within_date,
            max_missing=self.rules.max_missing,
            max_gap=self.rules.max_gap,
            session_code=self.sessions(),
            missing_mask=self.missing_mask,
        )
        if len(dataset) == 0:
            raise ValueError(
                f"fold {self.fold.index}: no sample in {segment} has {dataset.lookback} bars of history"
                + (f" under train.windows ({dataset.report})" if self.rules != WindowRules() else "")
            )
        return dataset

    def valid_scores(self, rows: NDArray, values: NDArray) -> ValidScores:
        """What forecasts (num_rows, num_labels) of the valid dates are worth."""
        return valid_scores(self.store, self.fold, rows, values, self.scoring)

    def sessions(self) -> NDArray[np.int64] | None:
        """Number of the session of each row; None where windows may span several."""
        if not self.rules.session_starts:
            return None
        return session_codes(self.store.dates, self.rules.session_starts)[self.store.date_code]

    def missing_inputs(self) -> int:
        """Missing values among the inputs of the training rows; 0 of tokens, which have one for missing."""
        if self.kind == "tokens":
            return 0
        rows = self.train_windows.rows
        pieces = (rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE))
        return sum(int(np.isnan(self.inputs[piece]).sum()) for piece in pieces)

    def metadata(self, target: str, seed: int, scores: dict[str, float]) -> dict[str, Any]:
        """Metadata for a user of the model, with hashes of the inputs it was fitted on."""
        index, store = self.fold.index, self.store
        normaliser = store.normaliser(index)
        symbols = {} if self.vocabulary is None else {"vocabulary_sha256": self.vocabulary.hash}
        return {
            "features": list(normaliser.names),
            "normaliser_sha256": normaliser.hash,
            "tokenizer_sha256": store.tokenizer(index).hash,
            **symbols,
            "heads": list(store.heads),
            "labels": {name: label.describe() for name, label in store.heads.items()},
            "target": target,
            "seed": seed,
            "fold": self.fold.describe(),
            "train_samples": len(self.train_windows),
            "train_windows": asdict(self.train_windows.report),
            "window_rules": asdict(self.rules),
            "missing_mask": self.missing_mask,
            "missing_inputs": self.missing_inputs(),
            "valid_rank_ic": to_json_safe(scores),
            "best_head": max(scores, key=lambda name: np.nan_to_num(scores[name], nan=-np.inf)),
        }
