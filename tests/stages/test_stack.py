"""The stack where there is little to combine: one fold or model, models without signal. All is reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn.metrics import roc_auc_score

from factor_data import FeatureStore, Panel, read_folds, write_sums
from factor_models import StackConfig, stack_oof
from factor_serve import load_bundle
from factor_serve.canary import compare_canary
from stages.judging.floor_members import floor_members
from stages.judging.floors import floor_signals
from stages.params.reading import parse_params
from stages.params.stack import FLOOR_INPUTS
from stages.predictions import OutOfFold
from stages.running.stage import StageError
from workplace import Workplace, make_workplace, smoke_document


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def finish(workplace: Workplace, models: list[str], told: bool = False) -> None:
    """Everything after tokenize, as `dvc repro` does it; what is `told` of the models is told in each test anew."""
    workplace.run("plan")
    for stage in ("train", "evaluate", "report"):
        for model in models:
            (workplace.run if told else workplace.made)(stage, model)
    workplace.run("stack")
    workplace.run("report_stack")


def weights_of_valid_dates(results: Path) -> dict[str, float]:
    """Ridge weights of h1 in fold 0, learned by `stack_oof` as the second of two folds, of which the first is valid."""
    store, [fold] = FeatureStore(results / "tokenize"), read_folds(results / "split" / "folds.json")
    rows = np.flatnonzero(fold.rows(store, "valid") | fold.rows(store, "test"))
    keys = pd.MultiIndex.from_arrays(
        [store.dates[store.date_code[rows]], np.asarray(store.symbols, str)[store.symbol_code[rows]]]
    )
    said = {}
    for model in ("linear", "lightgbm"):
        frame = pd.read_parquet(results / "train" / model / "predictions.parquet").query("label == 'h1'")
        own = pd.MultiIndex.from_arrays([frame["timestamp"], frame["symbol"].astype(str)])
        said[model] = pd.Series(frame["prediction"].to_numpy(float), own).reindex(keys).to_numpy()
    number = np.isin(store.dates[store.date_code[rows]], fold.test).astype(int)
    label, dates = store.label("h1")[rows], store.date_code[rows]
    purge, config = store.dates_ahead("h1"), StackConfig(weights="ridge")
    stacked = stack_oof(np.stack([*said.values()]), label, dates, number, config=config, purge=purge)
    assert stacked.learners[1] == "ridge"
    return dict(zip(said, map(float, stacked.weights[1]), strict=True))


def test_one_fold_is_stacked_with_equal_weights_or_by_its_valid_dates_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = smoke_document()
    document["models"] = ["linear", "lightgbm"]
    document["stack"]["first_fold"] = "equal"
    document["split"]["folds"] = {"scheme": "ratio", "ratios": [0.5, 0.2, 0.3], "purge": 21, "embargo": 2}
    workplace = make_workplace(tmp_path / "factorcast", document)
    workplace.run("plan")
    workplace.made("sample")
    for stage in ("split", "tokenize_features"):
        workplace.run(stage)
    assert "one fold: no earlier one teaches the stack its weights" in capsys.readouterr().err
    finish(workplace, document["models"])
    results = workplace.results
    gates = read(results / "stack" / "gates.json")
    assert not gates["promoted"], "the market of this test is small"
    rows = read(results / "stack" / "comparison.json")
    assert {row["kind"] for row in rows} == {"stack", "model", "floor"}
    stack, equal = ([row["rank_ic"] for row in rows if row["name"] == name] for name in ("stack", "equal_weight"))
    assert stack == equal
    assert all(np.isfinite(row["rank_ic"]) for row in rows)
    evaluated = read(results / "evaluate" / "linear" / "metrics.json")["h1"]["rank_ic"]
    mine = next(row for row in rows if (row["name"], row["label"]) == ("linear", "h1"))
    assert mine["rank_ic"] == pytest.approx(evaluated), "models are judged on the same rows as by evaluate"
    manifest = read(results / "stack" / "bundle" / "manifest.json")
    assert manifest["weights"]["h20"] == {"linear": 0.5, "lightgbm": 0.5}
    assert not manifest["promoted"]
    assert (results / "stack" / "bundle" / "models" / "lightgbm" / "config.json").is_file()
    oof = pd.read_parquet(results / "train" / "linear" / "predictions.parquet").query("segment == 'test'")
    assert len(pd.read_parquet(results / "stack" / "predictions.parquet")) == len(oof)
    page = (results / "report" / "stack" / "report.html").read_text()
    assert "the first one is stacked with equal weights" in page
    workplace.change_params(lambda document: document["stack"].update(first_fold="valid", weights="ridge"))
    for stage in ("plan", "stack", "report_stack"):
        workplace.run(stage)
    assert read(results / "stack" / "weights.json")["h1"]["fold 0"] == pytest.approx(weights_of_valid_dates(results))
    assert (
        "the first one is stacked with what its valid dates teach"
        in (results / "report" / "stack" / "report.html").read_text()
    )
    assert read(results / "summary.json")["promoted"] == 0
    workplace.run("commands.show")
    assert "equal_weight" in capsys.readouterr().out


@pytest.mark.parametrize("weights", ["auto", "ridge"])
def test_a_stack_of_one_model_has_its_rank_ic(tokenized: Workplace, tmp_path: Path, weights: str) -> None:
    """Also where it is below 0: nothing else is there that its sign could be held against."""
    workplace = tokenized.copy(tmp_path / "copy")

    def change(document: dict[str, Any]) -> None:
        document["models"] = ["linear"]
        document["stack"]["weights"] = weights

    workplace.change_params(change)
    finish(workplace, ["linear"])
    rows = read(workplace.results / "stack" / "comparison.json")
    scores = {name: [row["rank_ic"] for row in rows if row["name"] == name] for name in ("stack", "linear")}
    assert scores["stack"] == scores["linear"]
    assert len(scores["stack"]) == 3


def test_a_stack_of_directions_is_learned_and_told_by_the_auc(tokenized: Workplace, tmp_path: Path) -> None:
    """Beside the same with the IC; the AUC is that of scikit-learn on each date, by each label's own thresholds."""
    workplace, names = tokenized.copy(tmp_path / "copy"), ["linear", "lightgbm"]

    def change(document: dict[str, Any]) -> None:
        document["models"] = names
        document["train"] |= {"target": "direction", "loss": "bce"}
        document["stack"] |= {"weights": "ridge", "learn_by": "ic"}

    workplace.change_params(change)
    finish(workplace, names)
    by_ic = read(workplace.results / "stack" / "weights.json")
    assert not [key for key in read(workplace.results / "stack" / "metrics.json")["h1"] if "auc" in key]
    bounds = {"measured": {"auc_by_date": {"minimum": 0.99}}}
    workplace.change_params(lambda document: document["stack"].update(learn_by="auc", gates=bounds))
    workplace.run("plan")
    workplace.run("stack")
    workplace.run("report_stack")
    results = workplace.results
    store, found = FeatureStore(results / "tokenize"), read(results / "stack" / "metrics.json")
    stacked = pd.read_parquet(results / "stack" / "predictions.parquet")
    for label in ("h1", "h20"):
        outcome = pd.Series(store.label(label), [store.dates[store.date_code], store.symbols[store.symbol_code]])
        mine = stacked[stacked["label"] == label]
        keys = pd.MultiIndex.from_arrays([mine["timestamp"], mine["symbol"].astype(str)])
        mine = mine.assign(outcome=outcome.reindex(keys).to_numpy()).dropna()
        of_dates = [
            roc_auc_score(date["outcome"] > 0, date["prediction"])
            for _, date in mine.groupby("timestamp")
            if (date["outcome"] > 0).nunique() == 2
        ]
        assert found[label]["auc_by_date"] == pytest.approx(np.mean(of_dates), abs=1e-6)
        assert 0 < found[label]["equal_weight_auc_by_date"] < 1
    by_auc = read(results / "stack" / "weights.json")
    assert by_auc["h1"]["fold 0"] == by_ic["h1"]["fold 0"], "nothing to learn from"
    assert any(by_auc[label] != by_ic[label] for label in by_auc)
    gates = read(results / "stack" / "gates.json")["gates"]
    assert [gate["passed"] for gate in gates if gate["name"] == "auc_by_date"] == [False]
    assert "learned by the AUC of directions" in (results / "report" / "stack" / "report.html").read_text()


def test_a_volatility_has_no_directions_to_learn_by() -> None:
    document = smoke_document()
    document["stack"]["learn_by"] = "auc"
    document["tokenize"]["labels"]["risk5"] = {"horizon": 5, "measure": "volatility"}
    with pytest.raises(
        StageError, match=r"stack\.learn_by: auc needs labels that go up and down; tokenize\.labels\.risk5"
    ):
        parse_params(document, "params.yaml")


def test_floors_are_members_from_the_params_to_the_bundle(tokenized: Workplace, tmp_path: Path) -> None:
    """They order symbols as the floors of evaluate do, but beside missing bars, and are served to the bit."""
    workplace = tokenized.copy(tmp_path / "copy")

    def change(document: dict[str, Any]) -> None:
        document["models"] = ["linear"]
        document["stack"] |= {"weights": "equal", "floors": ["momentum_60_5", "reversal_1"]}

    workplace.change_params(change)
    finish(workplace, ["linear"])
    results, names = workplace.results, ["linear", "floor_momentum_60_5", "floor_reversal_1"]
    assert list(read(results / "stack" / "weights.json")["h1"]["fold 0"]) == names
    rows = read(results / "stack" / "comparison.json")
    assert [row["name"] for row in rows if (row["kind"], row["label"]) == ("model", "h1")] == names
    store, panel = FeatureStore(results / "tokenize"), Panel.load(results / "split" / "panel")
    members = floor_members(["momentum_60_5", "reversal_1"], store, read_folds(results / "split" / "folds.json"))
    linear = OutOfFold(results / "train" / "linear" / "predictions.parquet", store)
    dates = linear.dates("test")
    signals = floor_signals(panel, dates, 0)
    stacked = pd.read_parquet(results / "stack" / "predictions.parquet")
    assert set(stacked["timestamp"]) == set(dates)
    for name, member in members.items():
        mine, floor = member.matrix("h1", "test"), signals[name.removeprefix("floor_")]
        both = np.isfinite(mine) & np.isfinite(floor)
        assert both.mean() > 0.5
        agreed = [scipy.stats.spearmanr(mine[d, both[d]], floor[d, both[d]]).statistic for d in range(len(dates))]
        assert np.mean(agreed) > 0.99, "inputs count the bars of a symbol, floors the dates of the calendar"
    manifest = read(results / "stack" / "bundle" / "manifest.json")
    assert manifest["members"] == dict.fromkeys(names, "last_bar")
    bundle = load_bundle(results / "stack" / "bundle")
    told = compare_canary(bundle)
    assert [one.model for one in told] == [*names, "stack"]
    assert all(one.same_bits and one.num_forecasts > 0 for one in told)
    page = (results / "report" / "stack" / "report.html").read_text()
    assert "floor_momentum_60_5" in page


@pytest.mark.parametrize(
    ("floors", "message"),
    [
        (["momentum_60_5", "momentum_60_5"], r"stack\.floors: .* must name each floor once"),
        (["random"], r"stack\.floors: 'random' cannot be a member; known are .*momentum_60_5"),
    ],
)
def test_floors_that_cannot_be_members_are_refused_before_any_work(floors: list[str], message: str) -> None:
    document = smoke_document()
    document["stack"]["floors"] = floors
    with pytest.raises(StageError, match=message):
        parse_params(document, "params.yaml")


def test_a_floor_whose_input_is_not_made_is_refused_by_its_name(
    tokenized: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tokenized.results / "tokenize")
    folds = read_folds(tokenized.results / "split" / "folds.json")
    monkeypatch.setitem(FLOOR_INPUTS, "momentum_60_5", ("gone", 1.0))
    with pytest.raises(StageError, match=r"stack\.floors: momentum_60_5 is read from the input gone"):
        floor_members(["momentum_60_5"], store, folds)


def test_models_missing_on_rows_and_in_a_fold_or_constant_leave_the_universe_whole(
    tokenized: Workplace, tmp_path: Path
) -> None:
    """What a model lacks is told on the page; its neighbours forecast those rows."""
    workplace = tokenized.copy(tmp_path / "copy")
    workplace.change_params(lambda document: document.update(models=["linear", "lightgbm", "xgboost"]))
    finish(workplace, ["linear", "lightgbm", "xgboost"])
    whole = pd.read_parquet(workplace.results / "stack" / "predictions.parquet")
    damage(workplace.results / "train" / "lightgbm", lambda frame: frame.query("fold != 1 or segment == 'valid'"))
    damage(workplace.results / "train" / "xgboost", without_a_third_and_constant_on_some_dates)
    workplace.run("stack")
    workplace.run("report_stack")
    left = pd.read_parquet(workplace.results / "stack" / "predictions.parquet")
    keys = ["timestamp", "symbol", "fold", "label"]
    pd.testing.assert_frame_equal(left[keys].reset_index(drop=True), whole[keys].reset_index(drop=True))
    page = read(workplace.results / "stack" / "page.json")["labels"][0]
    linear, lightgbm, xgboost = np.array(page["present"]).T
    assert (linear == 1).all()
    assert lightgbm[:2].tolist() == [1, 0]
    assert (xgboost < 0.8).all()


def test_what_a_model_adds_is_the_stack_less_the_stack_of_the_others(tokenized: Workplace, tmp_path: Path) -> None:
    """And copies are pruned by what earlier folds showed, with the reason on the page."""
    workplace = tokenized.copy(tmp_path / "copy")
    workplace.change_params(lambda document: document.update(models=["linear", "lightgbm", "xgboost"]))
    finish(workplace, ["linear", "lightgbm", "xgboost"])
    whole = read(workplace.results / "stack" / "page.json")["labels"]
    workplace.change_params(lambda document: document.update(models=["linear", "xgboost"]))
    workplace.run("plan")
    workplace.run("stack")
    without = read(workplace.results / "stack" / "page.json")["labels"]
    store, withheld = FeatureStore(workplace.results / "tokenize"), []
    for label, one, other in zip(store.heads, whole, without, strict=True):
        added = {entry["name"]: entry for entry in one["contributions"]}["lightgbm"]
        stack, mean = (page["subject"]["judged"]["rank_ic_summary"]["mean"] for page in (one, other))
        assert added["without"] == pytest.approx(mean, abs=1e-9)
        assert added["difference"] == pytest.approx(stack - mean, abs=1e-9)
        if one["subject"]["judged"]["rank_ic_summary"]["num_dates"] >= 5 * store.overlap(label):
            assert added["low"] <= added["difference"] <= added["high"]
        else:
            withheld.append(label)
            assert (added["low"], added["high"]) == (None, None)
        assert np.array(one["errors"], float).shape == (3, 3)
    assert withheld == ["h20"]
    page = (workplace.results / "report" / "stack" / "report.html").read_text()
    assert "Stack without" in page
    assert "uncorrelated models of 3" in page
    copies = pd.read_parquet(workplace.results / "train" / "linear" / "predictions.parquet")
    damage(workplace.results / "train" / "xgboost", lambda frame: copies)
    workplace.change_params(lambda document: document["stack"].update(prune=0.95, first_fold="equal"))
    workplace.run("plan")
    workplace.run("stack")
    workplace.run("report_stack")
    page = (workplace.results / "report" / "stack" / "report.html").read_text()
    assert "Pruned:</b> xgboost in fold 1: rank correlation 1.00 with linear" in page
    weights = read(workplace.results / "stack" / "weights.json")["h1"]
    assert weights["fold 0"] == {"linear": 0.5, "xgboost": 0.5}
    assert weights["fold 1"] == {"linear": 1.0, "xgboost": 0.0}


def damage(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change a model's predictions as if it had written them so."""
    frame = change(pd.read_parquet(folder / "predictions.parquet"))
    frame.to_parquet(folder / "predictions.parquet", index=False)
    write_sums(folder, ["predictions.parquet"])


def without_a_third_and_constant_on_some_dates(frame: pd.DataFrame) -> pd.DataFrame:
    test = frame["segment"] == "test"
    dates = frame["timestamp"].astype("int64") // 86_400 // 10**9 % 5
    changed = frame.assign(prediction=frame["prediction"].where(~test | (dates != 0), np.float32(0.25)))
    return changed[~test | (np.random.default_rng(0).random(len(frame)) > 0.3)]


def test_a_model_without_signal_is_reported_and_left_out_with_its_reason(
    tokenized: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workplace = tokenized.copy(tmp_path / "copy")

    def change(document: dict[str, Any]) -> None:
        document["models"] = ["linear", "lightgbm", "lstm"]
        document["zoo"]["lightgbm"]["min_rows_in_leaf"] = 10**7  # no tree can split
        document["zoo"]["lstm"]["hidden"] = 8
        document["train"] |= {"lr": 1e-30, "weight_decay": 0.0}

    workplace.change_params(change)
    finish(workplace, ["linear", "lightgbm", "lstm"], told=True)
    said = capsys.readouterr().err
    reason = "for h1, h5, h20 predictions are constant on every valid date, up to rounding"
    assert f"no signal: {reason}" in said
    assert f"lightgbm is left out of the ensemble: fold 0: {reason}" in said
    results = workplace.results
    assert read(results / "evaluate" / "lightgbm" / "metrics.json")["h1"]["rank_ic"] is None
    assert "undefined" in (results / "report" / "lightgbm" / "model_card.md").read_text()
    assert read(results / "stack" / "gates.json")["left_out"] == {"lightgbm": f"fold 0: {reason}"}
    assert list(read(results / "stack" / "weights.json")["h1"]["fold 1"]) == ["linear", "lstm"]
    assert sorted(path.name for path in (results / "stack" / "bundle" / "models").iterdir()) == ["linear", "lstm"]
    assert read(results / "stack" / "bundle" / "manifest.json")["left_out"]["lightgbm"].startswith("fold 0")
    assert "Left out: lightgbm" in (results / "report" / "stack" / "report.html").read_text()
    workplace.change_params(lambda document: document["train"].update(no_signal="fail"))
    workplace.run("plan")
    with pytest.raises(StageError, match=rf"fold 0: {reason}; train\.no_signal: leave_out lets the run go on without"):
        workplace.run("train", "lightgbm")
    workplace.change_params(lambda document: document.update(models=["lightgbm"]))
    workplace.run("plan")
    with pytest.raises(StageError, match=r"no model has a signal, so there is nothing to combine: lightgbm \(fold 0"):
        workplace.run("stack")
