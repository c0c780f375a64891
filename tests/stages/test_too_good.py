"""A forecast that knows its label gets as far as the stack, which refuses to promote it and says where to look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factor_data import FeatureStore, write_sums
from workplace import Workplace


@pytest.fixture(scope="module")
def evaluated(tokenized: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    copy = tokenized.copy(tmp_path_factory.mktemp("evaluated") / "copy")
    copy.change_params(lambda params: params.update(models=["linear"]))
    copy.run("plan")
    for stage in ("train", "evaluate"):
        copy.made(stage, "linear")
    return copy


def too_good(workplace: Workplace) -> dict[str, Any]:
    workplace.run("stack")
    gates = json.loads((workplace.results / "stack" / "gates.json").read_text())
    (gate,) = [one for one in gates["gates"] if one["name"] == "too_good"]
    assert gate["passed"] or not gates["promoted"]
    return gate


def forget_truth(workplace: Workplace) -> None:
    """As on real data, of which nobody knows the true expectation."""
    file = workplace.results / "split" / "truth.parquet"
    pd.read_parquet(file).iloc[:0].to_parquet(file, index=False)
    write_sums(file.parent)


def add_label(workplace: Workplace, share: float) -> None:
    """What a leak of any kind does to a forecast: the label shines through its noise, for h5 alone."""
    file = workplace.results / "train" / "linear" / "predictions.parquet"
    frame, store = pd.read_parquet(file), FeatureStore(workplace.results / "tokenize")
    chosen = (frame["label"] == "h5").to_numpy()
    dates = np.searchsorted(store.dates, frame["timestamp"].to_numpy().astype(store.dates.dtype))[chosen]
    symbols = np.searchsorted(store.symbols, frame["symbol"].to_numpy().astype(str))[chosen]
    label = store.matrix(store.label("h5"), store.dates)[dates, symbols]
    noise = np.random.default_rng(0).standard_normal(chosen.sum())
    known = share * np.nan_to_num(label / np.nanstd(label)) + noise
    frame.loc[chosen, "prediction"] = known.astype(np.float32)
    frame.to_parquet(file, index=False)
    write_sums(file.parent)


@pytest.mark.parametrize("truth", [True, False])
def test_a_leak_in_any_label_is_not_promoted(evaluated: Workplace, truth: bool, tmp_path: Path) -> None:
    copy = evaluated.copy(tmp_path / "copy")
    if not truth:
        forget_truth(copy)
    add_label(copy, share=1.0)
    gate = too_good(copy)
    assert not gate["passed"]
    assert gate["threshold"] == (1.1 if truth else 0.25)
    assert gate["value"] > gate["threshold"]
    assert gate["rule"].endswith("for h5): above it, look for a leak")


def test_the_bound_is_a_parameter(evaluated: Workplace, tmp_path: Path) -> None:
    copy = evaluated.copy(tmp_path / "copy")
    forget_truth(copy)
    add_label(copy, share=1.0)
    copy.change_params(lambda params: params["stack"].update(gates={"max_rank_ic": 0.9}))
    copy.run("plan")
    gate = too_good(copy)
    assert (gate["passed"], gate["threshold"]) == (True, 0.9)
    assert gate["value"] > 0.25
