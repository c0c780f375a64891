"""What a fold takes over from another one has never learned its test dates: other combinations are refused by key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from factor_data import FoldConfig, SymbolVocabulary, make_folds
from factor_data.fit.vocabulary import UNKNOWN_ID
from factor_data.folds.config import FIELDS
from factor_models import build_model
from stages.fitting.before import Start
from stages.fitting.network import inherit
from stages.params.reading import parse_params
from stages.running.stage import StageError
from workplace import Workplace, smoke_document

CPCV = {"scheme": "cpcv", "num_groups": 4, "num_test_groups": 1}


def document(folds: dict[str, Any], start: str, weights: str) -> dict[str, Any]:
    """The smoke preset with these folds, without the K-line model, which begins every fold anew."""
    params = smoke_document()
    params["models"] = ["linear", "lstm"]
    params["split"]["folds"] = folds
    params["train"]["start"] = start
    params["stack"]["weights"] = weights
    return params


@pytest.mark.parametrize(
    ("start", "weights", "said"),
    [
        ("previous", "equal", "train.start: previous would begin a fold with weights that have learned its test dates"),
        ("best_previous", "equal", "train.start: best_previous would begin a fold with weights"),
        ("cold", "ridge", "stack.weights: ridge would learn from forecasts of models that have learned the test dates"),
    ],
)
def test_what_would_learn_a_test_date_by_way_of_another_fold_is_refused(start: str, weights: str, said: str) -> None:
    with pytest.raises(StageError) as refused:
        parse_params(document(CPCV, start, weights), "params.yaml")
    assert f"params.yaml: {said}" in str(refused.value)
    assert "split.folds.scheme: cpcv" in str(refused.value)


def test_what_learns_nothing_from_other_folds_is_taken() -> None:
    assert parse_params(document(CPCV, "cold", "equal"), "params.yaml").stack.weights == "equal"
    rolling = smoke_document()["split"]["folds"]
    assert parse_params(document(rolling, "best_previous", "ridge"), "params.yaml").train.start == "best_previous"


SCHEMES: dict[str, dict[str, Any]] = {
    "rolling": {"train": 200, "valid": 60, "test": 100, "step": 100, "embargo": 5},
    "expanding": {"train": 200, "valid": 60, "test": 100, "step": 130, "embargo": 5},
    "yearly": {"min_train_years": 2, "valid_months": 6},
    "fixed": {
        "train_range": ("2015-01-01", "2016-06-30"),
        "valid_range": ("2016-07-01", "2016-12-31"),
        "test_range": ("2017-01-01", "2017-12-31"),
    },
    "ratio": {"ratios": (0.6, 0.2, 0.2)},
    "cpcv": {"num_groups": 6, "num_test_groups": 1},
}


@pytest.mark.parametrize("scheme", FIELDS)
def test_every_scheme_but_cpcv_moves_forward_so_that_earlier_folds_never_learn_later_test_dates(scheme: str) -> None:
    """Independent of the names: what earlier folds learn or choose by, labels included, ends before a fold tests."""
    dates = pd.bdate_range("2015-01-01", "2019-12-31").to_numpy().astype("datetime64[ns]")
    reach = 6
    folds = make_folds(dates, FoldConfig(scheme=scheme, **SCHEMES[scheme]), reach=6)  # type: ignore[arg-type]
    inherited = False
    for number, fold in enumerate(folds):
        for earlier in folds[:number]:
            learned = np.searchsorted(dates, np.r_[earlier.train, earlier.valid])
            tested = np.searchsorted(dates, fold.test)
            inherited |= bool(learned.max() + reach > tested.min())
    assert inherited == (scheme == "cpcv")


def test_what_was_learned_of_a_symbol_goes_with_the_symbol_and_not_with_its_id() -> None:
    """As many symbols in both folds, one delisted and one new: every id but the first is another symbol's."""
    before, now = (SymbolVocabulary.fit(symbols) for symbols in ("BCDE", "ACDE"))
    sizes = {"lookback": 4, "channels": 4, "num_features": 3, "num_horizons": 1, "num_symbols": now.num_ids}
    old, new = (build_model("tcn_attention", **sizes, symbol_embedding=True) for _ in range(2))
    assert isinstance(old, nn.Module)
    assert isinstance(new, nn.Module)
    own = {name: value.clone() for name, value in new.state_dict().items()}
    learned = old.state_dict()
    used = inherit(new, Start(weights=learned, vocabulary=before), Mock(vocabulary=now))
    table = "symbol.table.weight"
    assert table in used
    for name, value in new.state_dict().items():
        torch.testing.assert_close(value, used[name], rtol=0.0, atol=0.0)
        if name != table:
            torch.testing.assert_close(value, learned[name], rtol=0.0, atol=0.0)
    for symbol in "CDE":
        there, here = before.encode([symbol])[0], now.encode([symbol])[0]
        torch.testing.assert_close(used[table][here], learned[table][there], rtol=0.0, atol=0.0)
    for place in (UNKNOWN_ID, now.encode(["A"])[0]):
        torch.testing.assert_close(used[table][place], own[table][place], rtol=0.0, atol=0.0)


def test_combinatorial_folds_are_stacked_by_equal_weights_on_every_date(tokenized: Workplace, tmp_path: Path) -> None:
    copy = tokenized.copy(tmp_path / "copy")

    def change(params: dict[str, Any]) -> None:
        params["models"] = ["linear"]
        params["split"]["folds"] = CPCV | {"num_groups": 3}
        params["stack"]["weights"] = "equal"

    copy.change_params(change)
    for stage in ("plan", "split", "tokenize_features", "train linear", "evaluate linear", "stack"):
        copy.run(*stage.split())
    weights = json.loads((copy.results / "stack" / "weights.json").read_text())
    assert {value for folds in weights.values() for fold in folds.values() for value in fold.values()} == {1.0}
    assert len(weights["h1"]) == 3
    stacked = pd.read_parquet(copy.results / "stack" / "predictions.parquet")
    assert stacked["fold"].unique().tolist() == [0, 1, 2]
