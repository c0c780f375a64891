"""What forecasts rest on: inputs shuffled within dates, from params.yaml to the page of each kind of model."""

from __future__ import annotations

import hashlib
import json
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factor_data import FeatureStore, read_folds
from factor_data.store import fold_name
from factor_metrics import shuffled_within_dates
from stages.judging.importance import Judged, groups_of
from stages.judging.pages import ModelPage
from stages.params.reading import parse_params
from stages.records import read_record
from workplace import Workplace, smoke_document

MODELS = ("linear", "lightgbm", "token_transformer")


@pytest.fixture(scope="module")
def measured(tokenized: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    place = tokenized.copy(tmp_path_factory.mktemp("importance") / "copy")

    def change(document: dict[str, Any]) -> None:
        document["models"] = list(MODELS)
        document["evaluate"] |= {
            "importance": {"dates": 12, "groups": {"momentum": ["momentum_*"], "all": ["*"]}},
            "bootstrap": 100,
        }

    place.change_params(change)
    place.run("plan")
    for model in MODELS:
        place.made("train", model)
        place.run("evaluate", model)
    return place


@pytest.mark.parametrize("model", MODELS)
def test_the_loaded_models_say_what_their_predictions_say(measured: Workplace, model: str) -> None:
    """On the dates that are looked at the rank IC is that of evaluate, so what is lost is lost from the result."""
    store, results = FeatureStore(measured.results / "tokenize"), measured.results
    table = pd.read_parquet(results / "evaluate" / model / "ic.parquet")
    for fold in read_folds(results / "split" / "folds.json"):
        judged = Judged(model, fold, store, 12, results / "train" / model / "folds" / fold_name(fold.index))
        assert len(judged.dates) == 12
        for label, found in judged.rank_ics(judged.values, 10).items():
            known = table[table["label"] == label].set_index("timestamp")["rank_ic"].reindex(judged.dates)
            np.testing.assert_allclose(found, known.to_numpy(), atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_the_page_has_groups_and_inputs_and_the_gain_of_trees(measured: Workplace, model: str) -> None:
    page = read_record(measured.results / "evaluate" / model / "page.json", ModelPage)
    for label, one in page.importances.items():
        assert one.groups.names == ("momentum", "all")
        assert "momentum_60_5" in one.inputs.names
        assert np.isfinite(one.groups.mean).all()
        if label == "h20":  # of every third date 7 have labels that overlap, and 24 are fewer than 5 times that
            assert np.isnan([one.groups.low, one.groups.high]).all()
        else:
            assert (one.groups.low <= one.groups.mean).all()
            assert (one.groups.mean <= one.groups.high).all()
        assert one.num_dates == 24
        assert bool(one.gain) == (model == "lightgbm")
        if one.gain:
            assert sum(one.gain.values()) == pytest.approx(1.0)
            unused = [place for place, name in enumerate(one.inputs.names) if one.gain[name] == 0.0]
            np.testing.assert_allclose(one.inputs.mean[unused], 0.0, atol=1e-12)  # no split reads them
    measured.run("report", model)
    html = (measured.results / "report" / model / "report.html").read_text()
    assert "Importance of inputs" in html
    assert ("chart-training-loss" in html) == (model == "token_transformer")  # the others are fitted in one call


def test_a_page_that_is_sent_says_what_it_was_made_of(measured: Workplace) -> None:
    measured.run("report", "linear")
    html = (measured.results / "report" / "linear" / "report.html").read_text()
    plan = hashlib.md5((measured.results / "plan" / "report_linear.json").read_bytes()).hexdigest()
    assert f"git log --oneline -S {plan} -- dvc.lock" in html
    for part in ("split/panel", "tokenize", "train/linear"):
        assert hashlib.sha256((measured.results / part / "sums.json").read_bytes()).hexdigest() in html
    for line in ("split.folds.train: 160", "zoo.linear.alpha: &quot;auto&quot;", "evaluate.importance.dates: 12"):
        assert f"\n{line}\n" in html


def test_who_does_not_ask_has_neither_the_room_nor_the_section(measured: Workplace, tmp_path: Path) -> None:
    copy = measured.copy(tmp_path / "copy")
    copy.change_params(lambda document: document["evaluate"].update(importance=None))
    copy.run("plan")
    asked, plain = (
        json.loads((one.results / "plan" / "evaluate_lightgbm.json").read_text())["modules"] for one in (measured, copy)
    )
    assert {"stages.judging.importance", "factor_models.tabular.lightgbm_trees"} <= set(asked) - set(plain)
    stacks = [(one.results / "plan" / "stack.json").read_bytes() for one in (measured, copy)]
    assert stacks[0] == stacks[1], "the stack does not run again"
    copy.run("evaluate", "linear")
    with chdir(copy.path):
        assert read_record(Path("results/evaluate/linear/page.json"), ModelPage).importances == {}


def test_rows_of_a_date_exchange_the_columns_of_a_group_and_nothing_else() -> None:
    generator = np.random.default_rng(0)
    values, date = generator.normal(size=(200, 4)), generator.integers(0, 9, size=200)
    found = shuffled_within_dates(values, date, np.array([1, 3]), generator)
    assert (found[:, [0, 2]] == values[:, [0, 2]]).all()
    assert (found[:, 1] != values[:, 1]).mean() > 0.8
    for one in range(9):
        before, after = (array[date == one][:, [1, 3]] for array in (values, found))
        assert sorted(map(tuple, before)) == sorted(map(tuple, after)), "pairs of a row stay together"


def test_groups_are_sets_unless_patterns_say_otherwise() -> None:
    inputs = ("momentum_60_5", "KMID", "mine")
    assert groups_of(inputs, {}) == {"bars": ("momentum_60_5",), "alpha158": ("KMID",), "others": ("mine",)}
    assert groups_of(inputs, {"own": ("m*",)}) == {"own": ("momentum_60_5", "mine")}


def test_over_time_there_is_no_date_to_shuffle_in() -> None:
    document = smoke_document()
    document["evaluate"] |= {"scoring": "time_series", "importance": {}}
    with pytest.raises(ValueError, match=r"evaluate.*importance: shuffles the symbols of a date"):
        parse_params(document, "params.yaml")
