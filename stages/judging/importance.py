"""What a model's out-of-fold forecasts lose when an input is shuffled among the symbols of its date.

The fitted model of every fold forecasts some of its test dates again: as they are, and with the values of one input, or
of a group of them, exchanged among the symbols of each date. The rank IC lost is paired by date. Only a plan with
`evaluate.importance` has this room in it, with all that a model needs to forecast.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from factor_data import FEATURE_SETS, FeatureStore, Fold, WindowDataset, WindowRules, read_folds, session_codes
from factor_data.store import fold_name
from factor_metrics import Estimates, Importance, rank_ic, shuffled_within_dates
from factor_metrics.judging.profile import estimate
from factor_models import (
    Table,
    TabularModel,
    gather_predictions,
    get_loss,
    input_kind,
    load_model,
    model_sizes,
    predict,
)
from factor_models.checkpoints import read_config
from stages.named import check_groups
from stages.params.evaluate import EvaluateParams, ImportanceParams
from stages.running.files import stored

HISTORY = 60
"""Dates before a window that are read too: a symbol's bars may have gaps."""
OTHERS = "others"
"""Group of the inputs that are in no set: news, columns of the bars, features of the user's own."""

Losses = dict[str, dict[str, NDArray[np.float64]]]
"""By label and group."""


class Judged:
    """The fitted model of a fold with the rows that its forecasts of some test dates read, sorted as in the store."""

    def __init__(self, name: str, fold: Fold, store: FeatureStore, num_dates: int, folder: Path) -> None:
        self.model, self.metadata = load_model(folder)
        self.name, self.fold, self.store, self.config = name, fold, store, read_config(folder)
        tokens = input_kind(name) == "tokens"
        self.inputs = store.tokenizer(fold.index).names if tokens else store.normaliser(fold.index).names
        tested = np.intersect1d(fold.test, store.dates)
        self.dates = tested[np.unique(np.linspace(0, len(tested) - 1, min(num_dates, len(tested))).astype(int))]
        self.lookback = int(self.config.get("lookback", 1))
        first, last = np.searchsorted(store.dates, self.dates[[0, -1]])
        self.places = np.flatnonzero((store.date_code >= first - self.lookback - HISTORY) & (store.date_code <= last))
        self.values = np.asarray((store.tokens if tokens else store.inputs)(fold.index)[self.places])
        self.date_code, self.symbol_code = store.date_code[self.places], store.symbol_code[self.places]

    def rank_ics(self, values: NDArray, min_symbols: int) -> dict[str, NDArray[np.float64]]:
        """Return by label (num_dates,) rank IC of what the model says of these values (num_rows, num_inputs)."""
        rows, forecasts = self._forecast(values)
        place = np.searchsorted(self.dates, self.store.dates[self.date_code[rows]])
        found = {}
        for head, label in enumerate(self.store.heads):
            matrix = np.full((len(self.dates), len(self.store.symbols)), np.nan, dtype=np.float32)
            matrix[place, self.symbol_code[rows]] = forecasts[:, head]
            found[label] = rank_ic(matrix, self._outcomes[label], min_symbols)
        return found

    def _forecast(self, values: NDArray) -> tuple[NDArray[np.int64], NDArray]:
        """Return rows and their forecasts (num_rows, num_labels)."""
        windows = self._windows(values)
        if isinstance(self.model, nn.Module):
            rows, outputs = gather_predictions(*predict(self.model, windows.batches(1)))
            return rows, self._loss.point(torch.from_numpy(outputs)).numpy()
        assert isinstance(self.model, TabularModel), f"{self.name} reads inputs"
        rows, ids = windows.rows, self._symbol_ids
        table = Table(features=values[rows], groups=self.date_code[rows], symbols=None if ids is None else ids[rows])
        return rows, self.model.predict(table)

    def _windows(self, values: NDArray) -> WindowDataset:
        said = dict(self.metadata.get("window_rules", {}))
        rules = WindowRules(**{**said, "session_starts": tuple(said.get("session_starts", ()))})
        starts, store = rules.session_starts, self.store
        texts = store.documents(self.fold.index) if "text_dim" in model_sizes(self.name) else None
        wanted = np.isin(store.dates, self.dates)[self.date_code] & store.in_universe[self.places]
        return WindowDataset(
            values,
            None,
            self.lookback,
            symbol_code=self.symbol_code,
            date_code=self.date_code,
            rows=wanted,
            symbol_ids=self._symbol_ids,
            texts=None if texts is None else replace(texts, bounds=texts.bounds[self.places]),
            max_missing=rules.max_missing,
            max_gap=rules.max_gap,
            session_code=session_codes(store.dates, starts)[self.date_code] if starts else None,
            missing_mask=rules.missing_mask and input_kind(self.name) == "features",
        )

    @cached_property
    def _outcomes(self) -> dict[str, NDArray[np.float64]]:
        """By label (num_dates, num_symbols)."""
        return {label: self.store.matrix(self.store.label(label), self.dates) for label in self.store.heads}

    @cached_property
    def _symbol_ids(self) -> NDArray[np.integer] | None:
        if "num_symbols" not in model_sizes(self.name):
            return None
        return self.store.vocabulary(self.fold.index).encode(self.store.symbols)[self.symbol_code]

    @cached_property
    def _loss(self) -> Any:
        said: Mapping[str, Any] = self.metadata["loss_settings"]
        settings = {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}
        return get_loss(self.metadata["loss"], list(self.store.heads), **settings)

    def gain(self) -> dict[str, dict[str, float]]:
        """Return by label the share of each input in the gain of the splits; empty of what has no trees."""
        shares = getattr(self.model, "gain_shares", None)
        if shares is None:
            return {}
        return {
            label: dict(zip(self.inputs, map(float, row), strict=True))
            for label, row in zip(self.store.heads, shares(), strict=True)
        }


def importances(
    name: str, store: FeatureStore, config: EvaluateParams, settings: ImportanceParams
) -> dict[str, Importance]:
    """Return by label the importance of the inputs of a model, over the test dates of all its folds."""
    torch.set_num_threads(1)
    folds = read_folds(stored("split", "folds.json"))
    judged = [
        Judged(name, fold, store, settings.dates, stored(f"train/{name}", f"folds/{fold_name(fold.index)}"))
        for fold in folds
    ]
    inputs = tuple(dict.fromkeys(one for fold in judged for one in fold.inputs))
    check_groups({"importance": {"groups": settings.groups}}, inputs)
    groups = groups_of(inputs, settings.groups)
    unshuffled = [(one, one.rank_ics(one.values, config.min_symbols)) for one in judged]
    by_group = [losses(one, before, groups, config) for one, before in unshuffled]
    by_input = [losses(one, before, {name: (name,) for name in inputs}, config) for one, before in unshuffled]
    gains = [one.gain() for one in judged]
    # Dates are apart, so fewer of those that are looked at have labels that overlap.
    apart = max(1, min(len(fold.test) // len(one.dates) for fold, one in zip(folds, judged, strict=True)))
    return {
        label: Importance(
            groups=lost(by_group, label, -(-store.overlap(label) // apart), config),
            inputs=lost(by_input, label, -(-store.overlap(label) // apart), config),
            num_dates=sum(len(one.dates) for one in judged),
            gain=mean_gain([one.get(label, {}) for one in gains]),
        )
        for label in store.heads
    }


def lost(folds: Sequence[Losses], label: str, overlap: int, config: EvaluateParams) -> Estimates:
    """Return the mean of each loss over the dates of all folds with its interval."""
    series = {key: np.concatenate([fold[label][key] for fold in folds]) for key in folds[0][label]}
    level, draws = config.confidence, config.bootstrap
    return estimate(series, [overlap] * len(series), confidence=level, num_bootstrap=draws, seed=config.seed)


def losses(
    judged: Judged, as_it_is: Mapping[str, NDArray], groups: Mapping[str, Sequence[str]], config: EvaluateParams
) -> Losses:
    """Return by label and group (num_dates,) rank IC less that with the group shuffled; NaN where it has no input.

    `as_it_is` has by label the rank IC with nothing shuffled.
    """
    found: Losses = {label: {} for label in as_it_is}
    places = {name: place for place, name in enumerate(judged.inputs)}
    for key, names in groups.items():
        columns = np.array([places[name] for name in names if name in places], dtype=np.int64)
        if not len(columns):
            for label, before in as_it_is.items():
                found[label][key] = np.full(len(before), np.nan)
            continue
        luck = np.random.default_rng([config.seed, judged.fold.index, zlib.crc32(repr(key).encode())])
        shuffled = shuffled_within_dates(judged.values, judged.date_code, columns, luck)
        for label, after in judged.rank_ics(shuffled, config.min_symbols).items():
            found[label][key] = as_it_is[label] - np.nan_to_num(after)  # a constant forecast orders nothing
    return found


def groups_of(inputs: Sequence[str], given: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return the inputs of each group: by the patterns that are given, else by the set that each belongs to."""
    if given:
        return {
            group: tuple(name for name in inputs if any(fnmatchcase(name, pattern) for pattern in patterns))
            for group, patterns in given.items()
        }
    of_input = {name: next((one for one, names in FEATURE_SETS.items() if name in names), OTHERS) for name in inputs}
    return {
        group: tuple(name for name in inputs if of_input[name] == group) for group in dict.fromkeys(of_input.values())
    }


def mean_gain(of_folds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean share of each input over the folds; one that a fold went without counts 0 there."""
    names = dict.fromkeys(name for one in of_folds for name in one)
    return {name: float(np.mean([one.get(name, 0.0) for one in of_folds])) for name in names}
