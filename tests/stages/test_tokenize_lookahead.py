"""tokenize refuses features and labels that know the future, on the bars of the user, before anything is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import stages.tokenize_features
from factor_data import FEATURES, Label, Panel
from stages.running.stage import StageError
from workplace import Workplace

Floats = NDArray[np.float64]


def centred_mean(panel: Panel) -> Floats:
    """What a slip of the pen makes of a moving average: two of its five bars lie ahead."""
    close = pd.Series(panel.adjusted("close"))
    return close.groupby(panel.symbol_code).transform(lambda own: own.rolling(5, center=True).mean() / own).to_numpy()


def log_volume(panel: Panel) -> Floats:
    """Every later split divides the volume."""
    return np.log1p(panel.adjusted("volume"))


def close_level(panel: Panel) -> Floats:
    return np.log(panel.columns["close"])


@pytest.fixture
def with_mine(tokenized: Workplace, tmp_path: Path) -> Workplace:
    copy = tokenized.copy(tmp_path / "copy")
    copy.change_params(lambda params: params["tokenize"].update(features=["return_1", "mine"]))
    return copy


@pytest.mark.parametrize(
    ("leak", "what"),
    [(centred_mean, "when later bars were changed"), (log_volume, "when adj_close was multiplied by a constant")],
)
def test_a_leaking_feature_is_refused_with_symbol_date_and_both_values(
    leak: object, what: str, with_mine: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FEATURES, "mine", leak)
    with_mine.run("plan")
    before = sorted((with_mine.results / "tokenize").rglob("*"))
    said = with_mine.refused("tokenize_features")
    assert "tokenize.features: a feature knows the future:" in said
    assert what in said
    assert pd.Series([said]).str.contains(r"S\d{4} at 20\S+, mine: \S+ became \S+").all()
    assert sorted((with_mine.results / "tokenize").rglob("*")) == before


def test_a_feature_that_only_looks_back_is_taken(with_mine: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FEATURES, "mine", close_level)
    with_mine.run("plan")
    with_mine.run("tokenize_features")


def test_a_label_that_looks_further_than_folds_are_purged_for_is_refused(
    tokenized: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = stages.tokenize_features.label_values

    def far(panel: Panel, label: Label) -> Floats:
        assert label.horizon is not None
        return honest(panel, replace(label, horizon=label.horizon + 1))

    monkeypatch.setattr(stages.tokenize_features, "label_values", far)
    said = r"tokenize\.labels\.h1: the label looks more than 2 dates ahead: .*label h1: "
    with pytest.raises(StageError, match=said):
        tokenized.copy(tmp_path / "copy").run("tokenize_features")


def test_features_that_cannot_be_checked_are_said(
    with_mine: Workplace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(FEATURES, "mine", lambda panel: np.full(panel.num_rows, np.nan))
    with_mine.run("plan")
    with_mine.run("tokenize_features")
    assert "look-ahead: not checked, since they have no value: mine (1 features)" in capsys.readouterr().out
