"""What is forecast, from params.yaml to the pages: labels of every kind, in any order, for models that differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, matthews_corrcoef, roc_auc_score

from factor_data import FeatureStore, Label, Panel, forward_return, open_panel, write_sums
from factor_metrics import har_volatility, rank_ic
from factor_models.kline import point_forecasts
from stages.kline.predictor import STATISTICS
from stages.params.reading import Params, parse_params
from stages.planning.stages import make_plan, stage_names
from stages.running.stage import StageError
from stages.tokenize_features import feature_plan
from workplace import Workplace, make_workplace, smoke_document

LABELS: dict[str, Any] = {
    "sign5": {"horizon": 5, "direction": {"up": 0.01, "down": -0.02}},
    "nextT1d": {"column": "nextT1d", "reach": 1},
    "risk5": {"horizon": 5, "measure": "volatility", "delisting": "last"},
}


def judged(workplace: Workplace, models: list[str]) -> Workplace:
    for stage in ("train", "evaluate"):
        for model in models:
            workplace.run(stage, model)
    workplace.run("stack")
    for model in models:
        workplace.run("report", model)
    workplace.run("report_stack")
    return workplace


def rows(path: Path, by: list[str]) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    return frame.astype({"label": str}).sort_values(by, ignore_index=True)


def document(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A column of the data, a volatility and a direction; a regressor beside a classifier."""
    params = smoke_document()
    params["models"] = ["linear", "lstm"]
    params["tokenize"] |= {"labels": LABELS, "use_news": False}
    params["zoo"]["lstm"]["train"] = {"target": "direction", "loss": "bce", "lr": 0.01, "checkpoint": {"keep": 1}}
    workplace = make_workplace(tmp_path_factory.mktemp("mixed") / "factorcast", params)
    workplace.run("plan")
    workplace.made("sample")
    for path in (workplace.results / "sample" / "bars").glob("*.parquet"):
        frame = pd.read_parquet(path)
        close = frame["adj_close"] if "adj_close" in frame else frame["close"]
        frame["nextT1d"] = close.groupby(frame["symbol"]).shift(-1) / close - 1
        frame.to_parquet(path, index=False)
    write_sums(workplace.results / "sample")
    workplace.run("split")
    workplace.run("tokenize_features")
    return judged(workplace, params["models"])


def test_a_column_that_looks_ahead_is_a_label_as_it_is(mixed: Workplace) -> None:
    store, panel = FeatureStore(mixed.results / "tokenize"), Panel.load(mixed.results / "split" / "panel")
    np.testing.assert_array_equal(store.label("nextT1d"), panel.columns["nextT1d"])
    assert np.isfinite(store.label("nextT1d")).mean() > 0.9
    assert "nextT1d" not in store.feature_names
    frame = pd.read_parquet(mixed.results / "train" / "linear" / "predictions.parquet")
    assert set(frame["label"]) == set(LABELS)
    np.testing.assert_array_equal(store.label("sign5"), forward_return(panel, 5))


@pytest.mark.parametrize("own", [{"columns": ["next*"]}, {"expressions": {"leak": "$nextT1d * 2"}}])
def test_a_column_that_is_a_label_is_no_feature(mixed: Workplace, own: dict[str, Any]) -> None:
    params = smoke_document()
    params["models"] = ["linear"]
    params["tokenize"] |= {"labels": LABELS, **own}
    panel = open_panel(mixed.results / "split" / "panel")
    with pytest.raises(ValueError, match="the bars have no column"):
        feature_plan(panel, parse_params(params, "params.yaml").tokenize)


def test_a_classifier_calls_each_label_by_its_own_thresholds(mixed: Workplace) -> None:
    store = FeatureStore(mixed.results / "tokenize")
    called = document(mixed.results / "evaluate" / "lstm" / "metrics.json")
    frame = pd.read_parquet(mixed.results / "train" / "lstm" / "predictions.parquet")
    test = frame[(frame["segment"] == "test") & (frame["label"] == "sign5")]
    dates = np.searchsorted(store.dates, test["timestamp"].to_numpy())
    symbols = np.searchsorted(store.symbols, test["symbol"].to_numpy().astype(str))
    value = pd.Series(store.label("sign5"), index=[store.date_code, store.symbol_code]).loc[
        list(zip(dates, symbols, strict=True))
    ]
    up, down = (value >= 0.01).to_numpy(), (value <= -0.02).to_numpy()
    right = (test["prediction"].to_numpy() > 0) == up
    assert 0 < (up | down).sum() < len(up)
    assert called["sign5"]["accuracy"] == pytest.approx(right[up | down].mean())
    outcome, forecast = up[up | down], test["prediction"].to_numpy()[up | down]
    assert called["sign5"]["mcc"] == pytest.approx(matthews_corrcoef(outcome, forecast > 0))
    assert called["sign5"]["f1"] == pytest.approx(f1_score(outcome, forecast > 0))
    assert called["sign5"]["auc"] == pytest.approx(roc_auc_score(outcome, forecast))
    assert "accuracy" not in document(mixed.results / "evaluate" / "linear" / "metrics.json")["sign5"]


def test_each_model_is_trained_by_its_own_keys(mixed: Workplace) -> None:
    kept = {
        name: document(mixed.results / "train" / name / "folds" / "fold_01" / "metadata.json")
        for name in ("linear", "lstm")
    }
    assert (kept["lstm"]["loss"], kept["lstm"]["target"], kept["linear"]["target"]) == ("bce", "direction", "rank")
    assert kept["lstm"]["heads"] == ["nextT1d", "risk5", "sign5"]
    page = (mixed.results / "report" / "stack" / "report.html").read_text()
    assert "Training of lstm" in page
    assert "loss bce" in page


def test_pages_and_files_speak_of_labels_by_name_in_the_order_of_the_list(mixed: Workplace) -> None:
    results = mixed.results
    for path in ("evaluate/lstm/metrics.json", "stack/metrics.json", "stack/weights.json"):
        assert list(document(results / path)) == list(LABELS), path
    manifest = document(results / "stack" / "bundle" / "manifest.json")
    assert list(manifest["labels"]) == list(LABELS)
    assert manifest["heads"] == ["nextT1d", "risk5", "sign5"]
    gates = {gate["name"]: gate["rule"] for gate in document(results / "stack" / "gates.json")["gates"]}
    assert "for sign5" in gates["stack_interval"]
    for page in ("lstm", "stack"):
        html = (results / "report" / page / "report.html").read_text()
        assert "column nextT1d, which looks 1 date ahead" in html
        assert "counts with its last close" in html
    card = (results / "report" / "lstm" / "model_card.md").read_text()
    assert "| label risk5 | volatility over 5 bars from the close 1 bar after t;" in card


def test_a_volatility_is_held_against_past_volatility_by_models_and_gates(mixed: Workplace) -> None:
    floors = document(mixed.results / "evaluate" / "linear" / "floors.json")
    past = {"past_volatility_5", "past_volatility_20", "ewma_volatility", "har_volatility"}
    assert past <= set(floors["risk5"])
    assert not past & set(floors["sign5"])
    assert floors["risk5"]["past_volatility_20"]["rank_ic"] > 0.1
    panel = Panel.load(mixed.results / "split" / "panel")
    expected = har_volatility(panel.to_matrix(panel.adjusted("close")), 5, 1)
    store = FeatureStore(mixed.results / "tokenize")
    frame = pd.read_parquet(mixed.results / "train" / "linear" / "predictions.parquet")
    tested = frame[(frame["segment"] == "test") & (frame["label"] == "risk5")]
    said = tested.pivot(index="timestamp", columns="symbol", values="prediction")
    dates = said.index.to_numpy().astype("datetime64[ns]")
    signal = np.where(
        np.isfinite(said.reindex(columns=store.symbols).to_numpy()),
        expected[np.searchsorted(panel.dates, dates)],
        np.nan,
    )
    by_date = rank_ic(signal, store.matrix(store.label("risk5"), dates), 10)
    assert floors["risk5"]["har_volatility"]["rank_ic"] == pytest.approx(np.nanmean(by_date), abs=1e-9)
    stack = document(mixed.results / "stack" / "page.json")
    assert past <= {row["floor"] for row in stack["floors"] if row["label"] == "risk5"}


def test_what_a_delisting_decides_is_counted(mixed: Workplace) -> None:
    counts = {one["name"]: one for one in document(mixed.results / "tokenize" / "labels.json")}
    assert counts["nextT1d"]["delisted"] == 0
    assert counts["sign5"]["delisted"] == counts["risk5"]["delisted"] > 0
    page = document(mixed.results / "evaluate" / "linear" / "page.json")
    scored = {one["label"]: one["row_counts"] for one in page["subjects"]}
    assert scored["sign5"]["delisted"] <= counts["sign5"]["delisted"]
    assert "has none" in scored["sign5"]["rule"]
    for one in scored.values():
        parts = ("without_prediction", "without_price", "after_the_end", "scored")
        assert sum(one[part] for part in parts) == one["in_universe"]


def test_the_order_of_the_labels_permutes_results_and_nothing_else(mixed: Workplace, tmp_path: Path) -> None:
    """No plan before the judging changes, so nothing is trained again; what is judged comes in another order."""
    other = mixed.copy(tmp_path / "other")
    listed = ["risk5", "sign5", "nextT1d"]
    other.change_params(lambda params: params["tokenize"].update(labels={name: LABELS[name] for name in listed}))
    other.run("plan")
    plans = {path.name for path in (mixed.results / "plan").glob("*.json")}
    changed = {
        name for name in plans if document(mixed.results / "plan" / name) != document(other.results / "plan" / name)
    }
    pages = {"report_linear.json", "report_lstm.json", "report_stack.json"}  # they list the settings, in their order
    assert changed == {"evaluate_linear.json", "evaluate_lstm.json", "stack.json", *pages}
    for model in ("linear", "lstm"):
        other.run("evaluate", model)
    other.run("stack")
    for path in (
        "evaluate/lstm/metrics.json",
        "evaluate/linear/floors.json",
        "stack/metrics.json",
        "stack/weights.json",
    ):
        one, two = document(mixed.results / path), document(other.results / path)
        assert one == two
        assert (list(one), list(two)) == (list(LABELS), listed)
    for path, keys in (("evaluate/lstm/ic.parquet", []), ("stack/predictions.parquet", ["symbol"])):
        by = ["label", "timestamp", *keys]
        pd.testing.assert_frame_equal(rows(mixed.results / path, by), rows(other.results / path, by))


def test_generated_paths_forecast_their_mean_return_or_their_volatility() -> None:
    heads = {"h1": Label(horizon=1), "risk5": Label(horizon=5, measure="volatility")}
    said = np.random.default_rng(0).normal(size=(4, 2, len(STATISTICS))).astype(np.float32)
    expected = np.column_stack([said[:, 0, 0], said[:, 1, STATISTICS.index("volatility")]])
    np.testing.assert_array_equal(point_forecasts(said, heads.values()), expected)


def with_labels(**labels: dict[str, Any]) -> dict[str, Any]:
    params = smoke_document()
    params["tokenize"]["labels"] = labels
    return params


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"far": {"column": "x", "reach": 22}}, "split.folds.purge: 21 must be >= 22, the dates that label far looks"),
        (
            {"h1": {"horizon": 1}, "late": {"horizon": 20, "delay": 2}},
            "purge: 21 must be >= 22, the dates that label late looks ahead (tokenize.labels.late.horizon)",
        ),
        ({"promoted": {"horizon": 1}}, "tokenize.labels: promoted is the name of a number of the summary"),
        ({"h1": {"horizn": 1}}, "tokenize.labels.h1.horizn: unknown key; did you mean 'horizon'?"),
        ({"h1": {"horizon": 1, "direction": {"up": 0.0, "down": 1.0}}}, "tokenize.labels.h1.direction.down: 1.0"),
        ({"next": {"column": "x", "reach": 1}}, "models: kronos forecasts returns and volatilities"),
    ],
)
def test_labels_that_do_not_suit_the_run_are_refused(labels: dict[str, Any], said: str) -> None:
    with pytest.raises(StageError) as refusal:
        parse_params(with_labels(**labels), "params.yaml")
    assert said in str(refusal.value)


def with_own(**own: dict[str, Any]) -> dict[str, Any]:
    params = smoke_document()
    for model, keys in own.items():
        params["zoo"].setdefault(model, {})["train"] = keys
    return params


def plans(params: Params) -> dict[str, Any]:
    return {"@".join(filter(None, name)): make_plan(*name, params) for name in stage_names(params)}


def test_keys_of_a_model_s_own_change_its_plans_alone(smoke: Params) -> None:
    """Another target is also another judgement; what was chosen for the section's loss does not go with another one."""
    common = {"loss": "huber", "loss_settings": {"delta": 0.5}}
    document = smoke_document()
    document["train"] |= common
    before = plans(parse_params(document, "before"))
    document["zoo"]["lstm"]["train"] = {"loss": "focal", "target": "direction", "checkpoint": {"keep": 7}}
    chosen = parse_params(document, "after")
    after = plans(chosen)
    assert {stage for stage in after if after[stage] != before[stage]} == {
        "train@lstm", "evaluate@lstm", "report@lstm", "report_stack", "refit",
    }  # fmt: skip
    settings = after["train@lstm"]["settings"]["train"]
    assert (settings["loss"], "delta" in settings["loss_settings"], settings["lr"]) == ("focal", False, smoke.train.lr)
    assert chosen.train_of("lstm").checkpoint.keep == 7
    assert chosen.train_of("lstm").checkpoint.every_minutes == smoke.train.checkpoint.every_minutes
    assert chosen.train_of("tcn_attention") == chosen.train


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"lstm": {"leraning_rate": 1.0}}, "zoo.lstm.train.leraning_rate: unknown key"),
        ({"lstm": {"lr": -1.0}}, "zoo.lstm.train.lr"),
        ({"lstm": {"loss": "bce"}}, "zoo.lstm.train.loss: bce needs directions"),
        ({"linear": {"lr": 0.1}}, "zoo.linear.train.lr: linear is not fitted with it, only with seed, target"),
        ({"lstm": 3}, "zoo.lstm.train: 3 must be keys of section train"),
    ],
)
def test_own_keys_that_cannot_be_are_refused(own: dict[str, Any], said: str) -> None:
    with pytest.raises(StageError) as refusal:
        parse_params(with_own(**own), "params.yaml")
    assert said in str(refusal.value)


def test_a_tabular_model_may_call_directions_beside_networks_that_rank() -> None:
    params = parse_params(with_own(lightgbm={"target": "direction"}), "params.yaml")
    assert (params.train_of("lightgbm").target, params.train_of("lstm").target) == ("direction", "rank")
