"""train.windows: which windows networks learn and predict from, and whether they are told what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factor_data import FeatureStore, read_folds
from stages.params.reading import parse_params
from stages.running.stage import StageError
from workplace import Workplace, smoke_document


def trained(tokenized: Workplace, path: Path, **rules: Any) -> tuple[dict[str, Any], pd.DataFrame]:
    """The metadata of the first fold's lstm and all its predictions, by params.yaml alone."""
    copy = tokenized.copy(path / "factorcast")

    def change(document: dict[str, Any]) -> None:
        document["models"] = ["lstm"]
        document["train"]["windows"] = rules or None
        document["zoo"]["lstm"]["lookback"] = 4

    copy.change_params(change)
    copy.run("plan")
    copy.run("train", "lstm")
    folder = copy.results / "train" / "lstm"
    metadata = json.loads((folder / "folds" / "fold_00" / "metadata.json").read_text())
    return metadata, pd.read_parquet(folder / "predictions.parquet")


def test_windows_over_gaps_and_missing_values_are_left_out_and_a_mask_doubles_the_inputs(
    tokenized: Workplace, tmp_path: Path
) -> None:
    """Every rule counts what it refused; a row that is no sample has no prediction."""
    store, fold = (
        FeatureStore(tokenized.results / "tokenize"),
        read_folds(tokenized.results / "split" / "folds.json")[0],
    )
    inputs, rows = store.inputs(fold.index), np.flatnonzero(store.rows(fold, "train"))
    missing = np.isnan(inputs).mean(axis=1)
    most = float(np.quantile(missing[rows], 0.8))
    metadata, predictions = trained(tokenized, tmp_path, max_gap=0, max_missing=most, missing_mask=True)
    refused = dict.fromkeys(("short_history", "gap", "missing"), 0)
    for row in rows:
        window = slice(row - 3, row + 1)
        if row < 3 or len(set(store.symbol_code[window])) > 1:
            refused["short_history"] += 1
        elif np.diff(store.date_code[window]).max() > 1:
            refused["gap"] += 1
        elif np.isnan(inputs[window]).sum() > most * 4 * inputs.shape[1]:
            refused["missing"] += 1
    found = metadata["train_windows"]
    assert {name: found[name] for name in refused} == refused
    assert min(refused["gap"], refused["missing"]) > 0
    assert found["samples"] == metadata["train_samples"] == len(rows) - sum(refused.values())
    assert metadata["missing_mask"] is True
    config = json.loads((tmp_path / "factorcast/results/train/lstm/folds/fold_00/config.json").read_text())
    assert config["num_features"] == 2 * inputs.shape[1]
    rows_tested = int(store.rows(fold, "test").sum())
    rows_predicted = len(predictions[(predictions["fold"] == 0) & (predictions["segment"] == "test")]) // 3
    assert 0 < rows_predicted < rows_tested


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ({"max_gap": -1}, "train.windows.max_gap: -1 must be >= 0"),
        ({"max_missing": 2}, "train.windows.max_missing: 2.0 must be in [0, 1]"),
        ({"session_starts": ["9:30"]}, "train.windows.session_starts: '9:30' must be a time of day such as 09:30"),
        ({"session_starts": ["13:00", "09:00"]}, "must rise, each once"),
        ({"maxgap": 1}, "train.windows.maxgap: unknown key; did you mean 'max_gap'?"),
    ],
)
def test_impossible_rules_are_refused_by_key(rules: dict[str, Any], why: str) -> None:
    document = smoke_document()
    document["train"]["windows"] = rules
    with pytest.raises(StageError) as refusal:
        parse_params(document, "params.yaml")
    assert why in str(refusal.value)
