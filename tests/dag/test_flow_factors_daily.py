"""docs/flows/factors_daily.md as a user follows it, at smoke size: days of factors without prices, to a bundle."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest

from checkout import Checkout, preset_checkout
from factor_data import FeatureStore
from stages import ROOT

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

LABELS = ["intra30m", "nextT1d", "ema1d"]
HEADS = ["intra30m", "ema1d", "nextT1d"]


def smaller(params: dict[str, Any]) -> None:
    """The sizes of a test; all else is the preset's."""
    params["train"]["epochs"] = 1
    params["zoo"]["tcn_attention"] |= {"lookback": 8, "channels": 8, "levels": 2}
    params["zoo"]["lstm"] |= {"lookback": 8, "hidden": 8}


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The preset, its files simulated and imported, and the whole DAG."""
    folder = tmp_path_factory.mktemp("factors_daily") / "factorcast"
    checkout, imported = preset_checkout(folder, "factors_daily", smaller, "--symbols", "30", "--days", "190")
    assert "380 dates (layout 'day'" in imported
    checkout.run("dvc", "repro")
    return checkout


def read(checkout: Checkout, name: str) -> Any:
    return json.loads((checkout.path / "results" / name).read_text())


def test_days_of_factors_end_in_a_stack_a_report_and_a_bundle(flow: Checkout) -> None:
    assert list(read(flow, "stack/metrics.json")) == LABELS
    assert all(metrics["num_dates"] >= 55 for metrics in read(flow, "stack/metrics.json").values())
    assert read(flow, "stack/gates.json")["gates"][0]["name"] != "folds", "there is a stack"
    assert (flow.path / "results" / "stack" / "bundle" / "manifest.json").is_file()
    page = (flow.path / "results" / "report" / "stack" / "report.html").read_text()
    assert all(label in page for label in LABELS)
    shown = flow.run("python", "-m", "stages.commands.show").stdout
    assert all(word in shown for word in (*LABELS, "tcn_attention", "stack"))


def test_the_inputs_are_the_hundred_columns_and_no_target(flow: Checkout) -> None:
    store = FeatureStore(flow.path / "results" / "tokenize")
    assert list(store.feature_names) == [str(number) for number in range(100)]
    assert list(store.heads) == HEADS
    rules = {rule["name"]: rule for rule in read(flow, "split/quality.json")["rules"]}
    assert rules["limit_day"]["count"] > 0
    assert rules["close_unusable"]["effect"] == "not checked: no close"


@pytest.mark.parametrize("model", ["tcn_attention", "lstm"])
def test_networks_aim_at_the_ic_of_each_target_by_its_name(model: str, flow: Checkout) -> None:
    metadata = read(flow, f"train/{model}/folds/fold_00/metadata.json")
    assert metadata["heads"] == HEADS
    assert metadata["loss"] == "quantitative"
    assert dict(zip(HEADS, metadata["loss_settings"]["target_ic"], strict=True)) == {
        "intra30m": 0.08, "nextT1d": 0.05, "ema1d": 0.03,
    }  # fmt: skip
    forecasts = pd.read_parquet(flow.path / "results" / "train" / model / "predictions.parquet")
    assert set(forecasts["label"]) == set(LABELS)


def test_fixed_dates_cut_one_fold(flow: Checkout) -> None:
    """The lines of the page."""
    page = (ROOT / "docs" / "flows" / "factors_daily.md").read_text(encoding="utf-8")
    assert "scheme: fixed" in page
    flow.change_params(
        lambda params: params["split"].update(
            folds={
                "scheme": "fixed",
                "train_range": ["2015-01-02", "2015-06-30"],
                "valid_range": ["2015-07-01", "2015-07-31"],
                "test_range": ["2015-08-01", "2015-09-20"],
            }
        )
    )
    flow.run("dvc", "repro", "split")
    (fold,) = read(flow, "split/folds.json")["folds"]
    assert fold["train"][-1] < "2015-07-01" <= fold["valid"][0] < fold["valid"][-1] < "2015-08-01" <= fold["test"][0]
