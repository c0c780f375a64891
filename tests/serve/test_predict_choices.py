"""Forecasts from a bundle, and from its graphs, are those of the DAG for what the default run does not choose.

Own features of every kind, text vectors and documents, a mask of missing values, rules for windows, quantiles,
directions, models of whole cross-sections, a calendar of five-minute bars.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

from factor_data import read_bars, read_news
from factor_serve import Bundle, forecast, load_bundle
from factor_serve.canary import compare_canary
from factor_serve.check import check_bundle
from factor_serve.export.bundle import export_bundle
from factor_serve.http.app import make_app
from factor_serve.http.service import Service
from factor_serve.http.settings import HttpSettings
from factor_serve.memory import held_bars, kept_bars
from serve.bundle_samples import ORDER, assert_same_bits, columns, last_test_dates, update_date_by_date
from workplace import Workplace, make_workplace, smoke_document

pytestmark = [pytest.mark.slow, pytest.mark.numeric]

LEFT_OUT = "lightgbm"


def run_all(workplace: Workplace, models: list[str]) -> None:
    workplace.run("plan")
    for stage in ("sample", "split", "tokenize_features"):
        workplace.made(stage)
    for stage in ("tokenize_kline", "inputs"):
        workplace.run(stage)
    for stage in ("train", "evaluate"):
        for model in models:
            workplace.run(stage, model)
    workplace.run("stack")


def own_features(document: dict[str, Any]) -> None:
    document["tokenize"] |= {
        "features": ["bars", "rsi_6", "market_return_1", "rank_return_5", "neutral_return_5", "return_1@S0003"],
        "columns": ["close", {"names": ["volume"], "missing": "last", "max_age": 5}],
        "expressions": {"up": "Mean($close, 10) / $close - 1", "slow": "EMA($close, 5) / $close"},
        "functions": {"features/example.py": ["momentum"]},
        "normaliser": "robust_zscore",
        "news_vectors": {"kind": "tfidf_svd", "dimensions": 3, "memory": 5, "documents_per_bar": 4},
    }
    document["models"] = ["xgboost", "cross_asset_lightgbm", "lstm", "stockmixer", "gated_news"]
    document["train"]["windows"] = {"max_gap": 3, "max_missing": 0.4, "missing_mask": True}
    document["zoo"]["xgboost"] = {"rounds": 5, "patience": 5, "leaves": 5, "num_threads": 1}
    document["zoo"]["cross_asset_lightgbm"] = {"rounds": 5, "patience": 5, "leaves": 5, "num_threads": 1}
    document["zoo"]["lstm"] |= {"train": {"loss": "quantile", "loss_settings": {"levels": [0.1, 0.5, 0.9]}}}


def directions(document: dict[str, Any]) -> None:
    document["sample"] |= {"frequency": "5min", "bars": 840, "symbols": 26}
    document["tokenize"] |= {"use_news": False, "normaliser": "quantile_gauss", "features": ["bars", "memory"]}
    document["tokenize"]["labels"] = {
        "up5": {"horizon": 5, "direction": {"up": 0.001, "down": -0.001}},
        "h1": {"horizon": 1},
    }
    document["models"] = ["linear", "transformer", "token_transformer", "kronos"]
    document["train"] |= {"target": "direction", "loss": "bce"}
    document["split"]["folds"] |= {"train": 400, "valid": 60, "test": 20, "step": 220}
    document["split"]["clean"]["min_history"] = 30


def over_time(document: dict[str, Any]) -> None:
    """As `directions`, of forecasts that are compared over time, by trees, a linear model and a network.

    A model of which no tree can split is left out of the stack.
    """
    directions(document)
    document["models"] = ["linear", LEFT_OUT, "xgboost", "lstm"]
    document["zoo"][LEFT_OUT]["min_rows_in_leaf"] = 10**7
    document["zoo"]["xgboost"] = {"rounds": 5, "patience": 5, "leaves": 5, "num_threads": 1}
    document["evaluate"] |= {"scoring": "time_series", "block_dates": 12, "min_symbols": 20}


FUNCTION = '''
"""A feature of a user's own."""

from factor_data.history import bar_age, lagged


def momentum(panel):
    close, age = panel.adjusted("close"), bar_age(panel.symbol_code)
    return lagged(close, age, 5) / lagged(close, age, 30) - 1.0
'''


@pytest.mark.parametrize("change", [own_features, directions, over_time])
def test_forecasts_are_those_of_the_dag(change: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = smoke_document()
    change(document)
    workplace = make_workplace(tmp_path / "factorcast", document)
    (workplace.path / "features").mkdir()
    (workplace.path / "features" / "example.py").write_text(FUNCTION)
    run_all(workplace, document["models"])
    bundle = load_bundle(workplace.results / "stack" / "bundle")
    assert (bundle.code is not None) == (change is own_features)
    monkeypatch.chdir(tmp_path)  # nothing of the checkout is needed any more
    (workplace.path / "features" / "example.py").unlink()
    panel = read_bars(workplace.path / "data" / "bars")
    news = read_news(workplace.path / "data" / "news", calendar=panel.dates) if bundle.reads_news else None
    dates = last_test_dates(workplace.results, document["models"][0])
    said = forecast(bundle, panel, news, dates, "all")
    assert set(said["model"]) == {*bundle.members, "stack"}
    assert set(document["models"]) - {*bundle.members} == ({LEFT_OUT} if change is over_time else set())
    for model in (*bundle.members, "stack"):
        assert_same_bits(said, workplace.results, model)
    assert_http_answers_so(workplace, bundle, dates[-1], said)
    assert all(one.same_bits for one in compare_canary(bundle))
    if change is not own_features:  # what long averages are taken of is held, and not the bars that it is made of
        assert kept_bars(bundle, panel) > 600  # type: ignore[operator]
        assert held_bars(bundle, panel) < 100  # type: ignore[operator]
    told = update_date_by_date(bundle, panel, news, dates[-4:])
    batch = said[said["timestamp"].isin(dates[-4:])]
    pd.testing.assert_frame_equal(told, batch.sort_values(ORDER, ignore_index=True))
    pytest.importorskip("onnx", reason="onnx is not installed (factor-serve[onnx])")
    done = export_bundle(bundle, tmp_path / "onnx")
    assert done.stack is not None, (done.left_out, done.without_stack)
    failed = [
        [one for one in check_bundle(folder, unpromoted=True) if not one.passed]
        for folder in (tmp_path / "onnx", bundle.folder)
    ]
    assert failed == [[], []]
    graphs = forecast(load_bundle(tmp_path / "onnx"), panel, news, dates[-4:], "all").sort_values(
        ORDER, ignore_index=True
    )
    then = batch.sort_values(ORDER, ignore_index=True)
    assert (graphs[ORDER].astype(str) == then[ORDER].astype(str)).all(axis=None)
    is_stack = (then["model"] == "stack").to_numpy()  # of ranks: two that all but tie may change places
    difference = (graphs["prediction"] - then["prediction"]).abs().to_numpy()
    assert difference[~is_stack].max() < 1e-4
    assert difference[is_stack].max() < 1e-2


def assert_http_answers_so(workplace: Workplace, bundle: Bundle, date: np.datetime64, said: pd.DataFrame) -> None:
    """A server that is sent the bars up to a date, and their news, gives the forecasts of that date with their bits."""
    frame = read_bars(workplace.path / "data" / "bars").to_pandas()
    frame = frame[frame["timestamp"] <= date]
    body = {"bars": columns(frame), "model": "all"}
    if bundle.reads_news:
        body["news"] = columns(read_news(workplace.path / "data" / "news", calendar=frame["timestamp"].unique()))
    with TestClient(make_app(Service(bundle.folder, unpromoted=True), HttpSettings(unpromoted=True))) as client:
        answer = client.post("/predict", json=body)
    assert answer.status_code == 200, answer.text
    told = pd.DataFrame(answer.json()["forecasts"]).sort_values(ORDER, ignore_index=True)
    expected = said[said["timestamp"] == date].sort_values(ORDER, ignore_index=True)
    named = ["model", "label", "symbol"]
    assert (told[named] == expected[named].astype(str)).all(axis=None)
    np.testing.assert_array_equal(told["prediction"].to_numpy(np.float32), expected["prediction"])
