"""docs/flows/direction_hourly.md as a user follows it, at smoke size: hours of a few coins, to a bundle."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest

from checkout import Checkout, preset_checkout

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

LABELS = ["h5", "h12", "h24"]
MODELS = ["lightgbm", "xgboost", "cross_asset_lightgbm", "lstm", "tft"]


def smaller(params: dict[str, Any]) -> None:
    """The sizes of a test; all else is the preset's."""
    params["split"]["folds"] |= {"train": 300, "valid": 72, "test": 120, "step": 120}
    params["train"] |= {"epochs": 1, "precision": "fp32"}
    for name in ("lightgbm", "xgboost", "cross_asset_lightgbm"):
        params["zoo"][name] |= {"rounds": 10}
    params["zoo"]["lstm"] |= {"lookback": 8, "hidden": 8}
    params["zoo"]["tft"] |= {"lookback": 4, "dim": 4}
    params["evaluate"] |= {"block_dates": 24, "min_symbols": 50}


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The preset, its files simulated and imported, and the whole DAG."""
    folder = tmp_path_factory.mktemp("direction_hourly") / "factorcast"
    checkout, imported = preset_checkout(
        folder, "direction_hourly", smaller, "--symbols", "6", "--days", "32", "--signal", "4"
    )
    assert "6 symbols, 2015-01-02 to 2015-02-02T23:00, 768 dates (layout 'symbol'" in imported
    checkout.run("dvc", "repro")
    return checkout


def read(checkout: Checkout, name: str) -> Any:
    return json.loads((checkout.path / "results" / name).read_text())


def test_a_few_coins_end_in_a_stack_judged_by_the_auc(flow: Checkout) -> None:
    stack = read(flow, "stack/metrics.json")
    assert list(stack) == LABELS
    for scores in stack.values():
        assert scores["auc_low"] < scores["auc"] < scores["auc_high"]
        assert 0.3 < scores["opposite_auc"] < 0.7
        assert scores["majority_accuracy"] >= 0.5
    gates = {gate["name"] for gate in read(flow, "stack/gates.json")["gates"]}
    assert {"auc_interval", "auc_gap", "beats_floor"} <= gates
    assert (flow.path / "results" / "stack" / "bundle" / "manifest.json").is_file()
    shown = flow.run("python", "-m", "stages.commands.show").stdout
    assert "AUC over all symbols and dates out of fold" in shown
    assert all(name in shown for name in (*MODELS, "floor: opposite of the last move"))
    page = (flow.path / "results" / "report" / "stack" / "report.html").read_text()
    assert "blocks of 24 dates" in page
    assert "AUC h12" in page


@pytest.mark.parametrize("model", MODELS)
def test_every_model_forecasts_directions_by_the_thresholds_of_each_label(model: str, flow: Checkout) -> None:
    metrics = read(flow, f"evaluate/{model}/metrics.json")
    known = [scores["num_directions"] / scores["num_cells"] for scores in metrics.values()]
    assert all(0.5 < share < 1.0 for share in known), "between the thresholds a direction is unknown"
    symbols = pd.read_csv(flow.path / "results" / "evaluate" / model / "symbols.csv")
    assert set(symbols["symbol"]) == {f"S{number:04d}" for number in range(6)}
    assert symbols[["auc", "accuracy", "ic"]].notna().any().all()


def test_networks_stop_by_the_auc_with_the_focal_loss(flow: Checkout) -> None:
    plan = read(flow, "plan/train_lstm.json")["settings"]["train"]
    assert (plan["loss"], plan["target"], plan["stop_on"]) == ("focal", "direction", "auc")
    assert plan["augmentation"]["time_warp"] == 0.1
