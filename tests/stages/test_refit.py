"""refit: the promoted recipe up to the last date, through the look-ahead gate, and refused where it disagrees."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock, patch

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import load_file

from factor_data import (
    SEGMENTS,
    FeatureStore,
    Fold,
    Panel,
    Workers,
    assert_no_lookahead,
    open_panel,
    read_bars,
    read_folds,
    read_news,
    training_targets,
)
from factor_models import model_config
from factor_serve import forecast, load_bundle
from factor_serve.canary import compare_canary
from factor_serve.shadow.judge import reference_of
from rounding import ROUNDING_FLOAT32
from stages.fitting.before import check_later
from stages.fitting.contract import Conditions
from stages.fitting.inputs import FoldInputs
from stages.fitting.network import replayed
from stages.fitting.tabular import TabularFold
from stages.params.refit import RefitParams
from stages.params.tabular import TabularParams
from stages.refit import folds_of
from stages.refitting import workplace as refitting
from stages.refitting.again import forecasts_again
from stages.refitting.fold import refit_fold
from stages.running.planned import read_plan
from stages.running.stage import StageError
from stages.scoring import Scoring
from stages.tokenize_features import fill_store
from workplace import Workplace, make_workplace, smoke_document

MODELS = ["linear", "lstm", "kronos"]
FLOOR = "floor_reversal_1"
"""A member that is not trained."""


def run_here(folder: Path, command: Sequence[str]) -> None:
    """A stage of the refit in the process of the test."""
    Workplace(folder).run(*command)


@pytest.fixture(scope="module")
def stacked(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    document = smoke_document()
    document["models"] = MODELS
    document["zoo"]["lstm"]["train"] = {"seeds": 2}  # an ensemble goes the way of every other member
    document["stack"]["floors"] = ["reversal_1"]
    document["refit"] = {"unpromoted": True, "min_agreement": -1.0}
    workplace = make_workplace(tmp_path_factory.mktemp("refit") / "factorcast", document)
    workplace.run("plan")
    for stage in ("sample", "split", "tokenize_features", "tokenize_kline", "inputs"):
        workplace.made(stage)
    for stage in ("train", "evaluate"):
        for model in document["models"]:
            workplace.run(stage, model)
    workplace.run("stack")
    return workplace


@pytest.fixture(scope="module")
def trained(stacked: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stages make of the refit's fold, kept for all tests."""
    folder = tmp_path_factory.mktemp("trained") / "factorcast"
    with chdir(stacked.path), patch.object(refitting, "run_stage", run_here):
        plan, manifest = read_plan("refit"), json.loads(Path("results/stack/bundle/manifest.json").read_text())
        *before, fold = folds_of(plan, plan.section("refit", RefitParams), manifest)
        assert list(manifest["members"]) == [*MODELS, FLOOR]
        members = {name: Path("results/stack/bundle/models") / name for name in MODELS}
        return refitting.train_in(folder, fold, members, before)


def refit(workplace: Workplace, trained: Path) -> None:
    workplace.run("plan")

    def kept(folder: Path, fold: Fold, members: Mapping[str, Path], before: Sequence[Fold]) -> Path:
        assert list(members) == MODELS, "a floor is not trained"
        return trained

    with patch("stages.refit.train_in", kept):
        workplace.run("refit")


def test_a_member_says_again_what_it_has_said(stacked: Workplace) -> None:
    with chdir(stacked.path):
        store, fold = FeatureStore(Path("results/tokenize")), read_folds("results/split/folds.json")[-1]
        for name in MODELS:
            member = Path("results/train") / name / "folds" / f"fold_{fold.index:02d}"
            dates = fold.test[-3:]
            said = forecasts_again(
                name, read_plan("train", name), member, store, Path("results/split/panel"), fold, dates
            )
            frame = pd.read_parquet(f"results/train/{name}/predictions.parquet")
            then = frame[(frame["segment"] == "test") & frame["timestamp"].isin(dates)]
            for label, values in said.items():
                mine = then[then["label"] == label].pivot(index="timestamp", columns="symbol", values="prediction")
                now = pd.DataFrame(values, dates, store.symbols)[mine.columns.astype(str)]
                np.testing.assert_array_equal(now.to_numpy(), mine.to_numpy(), err_msg=f"{name} {label}")


def test_a_refit_knows_more_is_served_like_any_bundle_and_keeps_what_was_judged(
    stacked: Workplace, trained: Path
) -> None:
    refit(stacked, trained)
    folder = stacked.results / "refit" / "bundle"
    bundle, judged = load_bundle(folder), load_bundle(stacked.results / "stack" / "bundle")
    assert bundle.members["lstm"].config["seeds"] == judged.members["lstm"].config["seeds"] == 2
    assert all(one.same_bits for one in compare_canary(bundle))
    told = bundle.manifest["refit"]
    assert told["judged"] == judged.identity
    assert told["evaluation"] == json.loads((stacked.results / "stack" / "metrics.json").read_text())
    assert bundle.manifest["gates"] == judged.manifest["gates"]
    assert bundle.promoted == judged.promoted
    assert reference_of(bundle).expected == reference_of(judged).expected != {}
    assert bundle.train_dates[-1] > judged.train_dates[-1]
    assert len(bundle.train_dates) == len(judged.train_dates)
    found = {(one["label"], one["model"]): one for one in told["agreement"]}
    assert set(found) == {(label, model) for label in judged.labels for model in (*MODELS, FLOOR, "stack")}
    assert all(-1.0 <= one["correlation"] <= 1.0 for one in found.values() if one["correlation"] is not None)
    assert found["h1", "linear"]["num_dates"] == 30
    assert found["h1", FLOOR]["correlation"] == pytest.approx(1.0), "it is what it was"
    panel = read_bars(stacked.path / "data" / "bars")
    news = read_news(stacked.path / "data" / "news", calendar=panel.dates)
    said = forecast(bundle, panel, news, model="all")
    stored = pd.read_parquet(folder / "canary" / "forecasts.parquet")
    assert said["timestamp"].unique().tolist() == [pd.Timestamp(panel.dates[-1])]
    keys = ["model", "label", "symbol"]
    now, then = (one.sort_values(keys)["prediction"].to_numpy() for one in (said, stored))
    np.testing.assert_array_equal(now, then)
    assert not list(stacked.path.rglob(".work-*"))


def test_a_refit_that_disagrees_or_was_not_promoted_writes_nothing(
    stacked: Workplace, trained: Path, tmp_path: Path
) -> None:
    other = stacked.copy(tmp_path / "factorcast")
    shutil.rmtree(other.results / "refit", ignore_errors=True)
    other.change_params(lambda document: document["refit"].update(unpromoted=False))
    with pytest.raises(StageError, match=r"is not promoted \(out-of-fold rows.*refit\.unpromoted: true"):
        refit(other, trained)
    other.change_params(lambda document: document["refit"].update(unpromoted=True, min_agreement=1.0))
    with pytest.raises(StageError, match=r"h1: \S+ over 30 dates must be >= 1; h5"):
        refit(other, trained)
    assert not (other.results / "refit").exists()


def test_a_refit_with_replay_goes_on_from_the_judged_weights(stacked: Workplace, trained: Path, tmp_path: Path) -> None:
    """At a learning rate of next to nothing the weights it ends with are those it began with."""
    place = Workplace(tmp_path / "factorcast")
    shutil.copytree(trained.parent, place.path, symlinks=True)
    document = yaml.safe_load((stacked.path / "params.yaml").read_text())
    update = {"start": "previous", "replay": 0.25, "lr": 1e-30, "weight_decay": 0.0}
    document["zoo"]["lstm"]["train"] |= update
    (place.path / "params.yaml").unlink()
    (place.path / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    place.run("plan")
    place.run("train", "lstm")
    folder, judged = (
        place.results / "train" / "lstm" / "folds" / "fold_00",
        stacked.results / "stack" / "bundle" / "models",
    )
    weights, twin = (load_file(one / "model.safetensors") for one in (folder, judged / "lstm"))
    assert set(weights) == set(twin)
    for name, values in weights.items():
        np.testing.assert_array_equal(values, twin[name], err_msg=name)

    before = read_folds(place.results / "before" / "folds.json")
    (fold,) = read_folds(place.results / "split" / "folds.json")
    dates = replayed([*before, fold], 0.25, document["train"]["seed"])[-1]
    assert dates is not None
    is_old = np.isin(dates, np.concatenate([one.train for one in before]))
    assert is_old.sum() == round((~is_old).sum() / 3) > 0
    told, cold = (json.loads((one / "metadata.json").read_text()) for one in
                  (folder, trained / "train" / "lstm" / "folds" / "fold_00"))  # fmt: skip
    assert (told["start"], cold["start"]) == ("previous", "cold")
    assert told["train_samples"] < cold["train_samples"] * len(dates) / len(fold.train) * 1.2
    with pytest.raises(ValueError, match=r"chosen on dates up to .* a smaller refit\.valid"):
        check_later(before, replace(fold, valid=before[-1].valid))


def test_nothing_after_the_last_date_has_a_part_in_a_refit(
    stacked: Workplace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Change and drop every bar after `until`: dates, inputs and forecasts up to it stay as they were."""
    with chdir(stacked.path):
        judged = read_folds("results/split/folds.json")[-1]
        panel = Panel.load(Path("results/split/panel"))
        plan = read_plan("train", "linear")
    params, until = RefitParams(until=str(panel.dates[-25])[:10], valid=10), panel.dates[-25]

    def said(bars: Panel) -> np.ndarray:
        """Per row the segment, the first inputs and the forecasts of a model that is fitted anew."""
        fold = refit_fold(bars.dates, judged, params, 21, growing=False)
        folder = tmp_path_factory.mktemp("store")
        bars.save(folder / "panel")
        fill_store(
            folder / "store",
            open_panel(folder / "panel"),
            [fold],
            None,
            stacked.params().tokenize,
            Workers(max_bytes=300_000),
            None,
        )
        store, linear = FeatureStore(folder / "store"), plan.section("train", TabularParams)
        inputs = FoldInputs(
            "linear", plan.section("zoo.linear", model_config("linear")), store,
            training_targets(store, linear.target), fold, linear.weights, folder / "panel",
            Scoring.of(plan.value("evaluate")),
        )  # fmt: skip
        conditions = Conditions(progress=MagicMock(), live=None, watch=None, earlier=())
        rows, values = TabularFold(inputs, linear).fit(conditions).predict_rows("test")
        told = np.full((bars.num_rows, 1 + len(store.heads)), np.nan)
        told[rows, 1:] = values
        for number, name in enumerate(SEGMENTS):
            told[fold.rows(bars, name), 0] = number
        return np.hstack([told, store.inputs(0)[:, :8]])

    assert_no_lookahead(said, panel, until, rounding=ROUNDING_FLOAT32)
    fold = refit_fold(panel.dates, judged, params, 21, growing=False)
    assert fold.test[0] == until
    place = np.searchsorted(panel.dates, [fold.train[-1], fold.valid[0], fold.valid[-1], fold.test[0]])
    assert np.diff(place).tolist() == [22, 9, 22], "no label of one segment reaches into the next"


def test_dates_that_do_not_suffice_are_refused(stacked: Workplace) -> None:
    with chdir(stacked.path):
        judged = read_folds("results/split/folds.json")[-1]
        dates = Panel.load(Path("results/split/panel")).dates
    usual = RefitParams()
    for params, rule in (
        (replace(usual, until="1999-01-01"), "refit.until: 1999-01-01 is before the first date"),
        (replace(usual, train=400), "train 400 .* need 473 dates, 320 are there"),
        (replace(usual, until=str(judged.valid[-1])[:10]), "nothing newer to learn from"),
    ):
        with pytest.raises(StageError, match=rule):
            refit_fold(dates, judged, params, 21, growing=False)
    grown = refit_fold(dates, judged, usual, 21, growing=True)
    assert grown.train[0] == judged.train[0]
    for key, value, rule in (("until", "soon", "must be a date"), ("min_agreement", 2.0, "rank correlation"),
                             ("train", 0, "must be >= 1")):  # fmt: skip
        with pytest.raises(ValueError, match=f"{key}: .*{rule}"):
            RefitParams(**{key: value})
