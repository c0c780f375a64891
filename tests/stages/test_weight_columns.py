"""Weights by a column that holds none are refused in split: every row would count the same, without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factor_data import Panel, SavedPanel, open_panel
from stages.running.stage import StageError
from stages.weights import check_weight_values, check_weights


def document(column: str, model: str = "") -> dict[str, Any]:
    weights = {"weights": {"column": column}}
    return {"train": {"weights": None} if model else weights, "zoo": {model: {"train": weights}} if model else {}}


@pytest.fixture
def panel(tmp_path: Path) -> SavedPanel:
    columns = {name: np.ones(4) for name in ("open", "high", "low", "close", "volume")}
    columns |= {
        "adv": np.array([1.0, 0.0, np.nan, 4.0]),
        "signed": np.array([1.0, 2.0, -3.0, 4.0]),
        "zero": np.zeros(4),
        "unknown": np.full(4, np.nan),
    }
    Panel(
        symbols=np.array(["A", "B"]),
        dates=np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[ns]"),
        symbol_code=np.array([0, 0, 1, 1], dtype=np.int32),
        date_code=np.array([0, 1, 0, 1], dtype=np.int32),
        columns=columns,
    ).save(tmp_path)
    return open_panel(tmp_path)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("signed", "'signed' is negative on 1 of 4 bars"),
        ("zero", "'zero' is above 0 on none of 4 bars"),
        ("unknown", "'unknown' is above 0 on none of 4 bars"),
    ],
)
@pytest.mark.parametrize(("model", "place"), [("", "train"), ("lstm", "zoo.lstm.train")])
def test_a_column_without_weights_is_refused(column: str, said: str, model: str, place: str, panel: SavedPanel) -> None:
    with pytest.raises(StageError, match=f"params.yaml: {place}.weights.column: {said}"):
        check_weight_values(document(column, model), panel)


def test_a_column_of_weights_is_taken_and_one_that_is_not_there_refused(panel: SavedPanel) -> None:
    check_weight_values(document("adv"), panel)
    check_weight_values({"train": {"weights": None}, "zoo": {"lstm": None}}, panel)
    check_weights(document("adv", "lstm"), list(panel.columns))
    with pytest.raises(StageError, match=r"zoo.lstm.train.weights.column: the bars have no column 'adw'; they"):
        check_weights(document("adw", "lstm"), list(panel.columns))
