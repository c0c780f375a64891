"""Small universes: models train and are judged by the user's `evaluate.min_symbols`; what asks for more is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from factor_data import FeatureStore, Segment, open_panel, read_folds
from factor_data.sums import write_sums
from factor_metrics import rank_ic
from market_samples import returns_over
from stages.judging.members import without_constant_dates
from stages.params.evaluate import EvaluateParams
from stages.params.train import LiveICParams
from stages.predictions import OutOfFold, prediction_frame
from stages.processes.live_ic import LiveIC
from stages.running.stage import StageError
from stages.scoring import Scoring, valid_scores, why_unscored
from stages.universe import check_forecasts, check_panel
from workplace import Workplace, make_workplace, smoke_document

pytestmark = pytest.mark.end_to_end

LABELS = returns_over(1, 5, 20)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Six symbols, of which a date needs four, up to the tokens."""
    document = smoke_document()
    document["models"] = ["linear"]
    document["sample"]["symbols"] = 10
    document["evaluate"] |= {"min_symbols": 4, "quantiles": 3}
    workplace = make_workplace(tmp_path_factory.mktemp("small") / "factorcast", document)
    for stage in ("plan", "sample"):
        workplace.run(stage)
    paths = sorted((workplace.results / "sample" / "bars").iterdir())
    bars = [pd.read_parquet(path) for path in paths]
    longest = pd.concat(bars)["symbol"].value_counts().index[:6]
    for path, part in zip(paths, bars, strict=True):
        part[part["symbol"].isin(longest)].to_parquet(path, index=False)
    write_sums(workplace.results / "sample")
    for stage in ("split", "tokenize_features"):
        workplace.run(stage)
    return workplace


def test_a_model_trains_and_is_judged_on_fewer_than_ten_symbols(
    small: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    small.run("train", "linear")
    small.run("evaluate", "linear")
    metrics = json.loads((small.results / "evaluate" / "linear" / "metrics.json").read_text())
    assert all(np.isfinite(scores["rank_ic"]) and np.isfinite(scores["spread"]) for scores in metrics.values())
    assert metrics["h5"]["effective_dates"] > 5
    assert metrics["h20"]["t_stat"] is metrics["h20"]["p_value"] is None
    assert "t +" in (told := capsys.readouterr().out) or "t -" in told
    assert "linear h20: rank IC " in told
    assert "dates, fewer than 5 horizons of 20), best floor" in told


def test_the_live_ic_goes_by_the_same_number_of_symbols(
    small: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store, (fold, *_) = FeatureStore(small.results / "tokenize"), read_folds(small.results / "split" / "folds.json")
    targets, engine = store.targets("rank"), SimpleNamespace(current_model=lambda: None, step=3)

    def predict(model: Any, segment: Segment, last_dates: int) -> tuple[NDArray, NDArray]:
        rows = np.flatnonzero(store.rows(fold, segment))
        return rows, targets[rows]

    config = LiveICParams(every_steps=None, every_minutes=None)
    for min_symbols, is_known in ((4, True), (7, False)):
        live: Any = (fold, store, targets, engine, predict, config, Scoring(min_symbols=min_symbols))
        LiveIC("lstm", *live, first=True, resumed=False).report()
        report = json.loads((tmp_path / ".live" / "lstm" / "fold_00" / "latest.json").read_text())
        scores = [target["out_of_sample"]["rank_ic"] for target in report["targets"].values()]
        assert [score is not None for score in scores] == [is_known] * 3


def test_a_universe_that_is_too_small_on_every_date_is_refused_with_the_numbers(small: Workplace) -> None:
    panel, folds = open_panel(small.results / "split" / "panel"), read_folds(small.results / "split" / "folds.json")
    check_panel({"min_symbols": 6, "quantiles": 6}, panel, folds, LABELS)
    late = replace(folds[0], test=panel.dates[-20:])  # their labels of 20 bars lie beyond the end
    for asked, key, why in (
        ({"min_symbols": 7, "quantiles": 3}, "min_symbols", "no date would have an IC"),
        ({"min_symbols": 4, "quantiles": 7}, "quantiles", "no date would have a spread"),
    ):
        told = f"params.yaml: evaluate.{key}: 7 must be at most 6: no test date has more symbols with a label h1"
        with pytest.raises(StageError, match=f"{told}, so {why}"):
            check_panel(asked, panel, folds, LABELS)
    if late.test[-1] == panel.dates[-1]:
        with pytest.raises(StageError, match="must be at most 0: no test date has more symbols with a label h20"):
            check_panel({"min_symbols": 4, "quantiles": 3}, panel, [late], LABELS)


def test_more_symbols_than_there_are_is_refused_before_anything_is_fitted(small: Workplace, tmp_path: Path) -> None:
    copy = small.copy(tmp_path / "copy")
    copy.change_params(lambda params: params["evaluate"].update(min_symbols=7))
    copy.run("plan")
    assert "evaluate.min_symbols: 7 must be at most the number of symbols, 6: no date" in copy.refused("split")
    assert "min_symbols: 7 must be at most 6: no valid date of fold 0 has more" in copy.refused("train", "linear")


def test_forecasts_of_which_no_date_can_be_judged_are_refused_with_the_numbers() -> None:
    label = np.random.default_rng(0).normal(size=(10, 6))
    forecast = label.copy()
    forecast[:, 0] = np.nan
    config = {"confidence": 0.95, "bootstrap": 100, "seed": 0}
    check_forecasts("lstm", 5, EvaluateParams(quantiles=5, min_symbols=5, **config), forecast, label)
    for key in ("quantiles", "min_symbols"):
        wanted = EvaluateParams(**{"quantiles": 3, "min_symbols": 3, key: 6} | config)
        with pytest.raises(
            StageError, match=f"evaluate.{key}: 6 must be at most 5: no test date has more symbols with"
        ):
            check_forecasts("lstm", 5, wanted, forecast, label)


def test_what_has_no_score_is_called_by_what_it_is() -> None:
    generator = np.random.default_rng(1)
    label, by_date = generator.normal(size=(20, 6)), generator.normal(size=(20, 1))
    market = np.broadcast_to(by_date, label.shape)
    rounded = market * (1.0 + 1e-7 * generator.integers(-1, 2, label.shape))
    assert why_unscored(label, label, 5, "valid") == ""
    for forecast in (market, rounded):
        assert why_unscored(forecast, label, 5, "valid").startswith("are a forecast of the market: they differ between")
    assert (
        why_unscored(np.full_like(label, 0.3), label, 5, "valid") == "are constant on every valid date, up to rounding"
    )
    assert why_unscored(np.full_like(label, np.nan), label, 5, "valid") == "are not finite on any valid date"
    assert "no valid date has evaluate.min_symbols = 7 symbols" in why_unscored(label, label, 7, "valid")
    assert "labels are the same for all" in why_unscored(label, np.ones_like(label), 5, "valid")


def test_a_stored_forecast_keeps_the_type_that_says_how_it_was_rounded(small: Workplace, tmp_path: Path) -> None:
    """Equal float32 forecasts that differ in their last bits have no rank IC, and teach the stack nothing."""
    store, (fold, *_) = FeatureStore(small.results / "tokenize"), read_folds(small.results / "split" / "folds.json")
    rows = np.flatnonzero(store.rows(fold, "test"))
    bits = np.random.default_rng(4).integers(0, 4, (len(rows), len(store.heads)))
    values = (0.1 * (1.0 + bits * float(np.finfo(np.float32).eps))).astype(np.float32)
    prediction_frame(store, fold, "test", rows, values).to_parquet(tmp_path / "predictions.parquet", index=False)
    forecast = OutOfFold(tmp_path / "predictions.parquet", store).matrix("h5", "test")
    label = store.matrix(store.labels[:, 1], fold.test)
    assert forecast.dtype == np.float32
    assert np.isnan(rank_ic(forecast, label, 4)).all()
    assert not np.isnan(rank_ic(forecast.astype(np.float64), label, 4)).all()
    assert np.isnan(without_constant_dates(forecast)).all()
    forecast[3] = label[3]
    np.testing.assert_array_equal(np.isfinite(without_constant_dates(forecast)).any(axis=1), np.arange(len(label)) == 3)


def test_a_forecast_of_the_market_is_called_so(small: Workplace) -> None:
    store, (fold, *_) = FeatureStore(small.results / "tokenize"), read_folds(small.results / "split" / "folds.json")
    rows = np.flatnonzero(store.rows(fold, "valid"))
    market = np.random.default_rng(2).normal(size=len(store.dates))[store.date_code[rows]]
    values = np.repeat(market[:, None], len(store.heads), axis=1)
    said = valid_scores(store, fold, rows, values, Scoring(min_symbols=4)).no_signal
    assert said is not None
    assert said.startswith("for h1, h5, h20 predictions are a forecast of the market")
    values[:, 0] += np.random.default_rng(3).normal(size=len(rows))
    judged = valid_scores(store, fold, rows, values, Scoring(min_symbols=4))
    assert list(judged.undefined) == ["h5", "h20"]
    assert np.isfinite(judged.rank_ic["h1"])


def test_rows_that_come_twice_or_of_a_strange_symbol_are_refused_with_their_keys(small: Workplace) -> None:
    store, (fold, *_) = FeatureStore(small.results / "tokenize"), read_folds(small.results / "split" / "folds.json")
    rows = np.flatnonzero(store.rows(fold, "test"))
    values = np.random.default_rng(5).normal(size=(len(rows), len(store.heads)))
    frame = prediction_frame(store, fold, "test", rows, values)
    whole = OutOfFold.of(frame, store)
    wanted = np.full(len(store.date_code), np.nan)
    wanted[rows] = values[:, store.head("h5")]
    np.testing.assert_array_equal(whole.matrix("h5", "test"), store.matrix(wanted, whole.dates("test")), strict=True)
    np.testing.assert_array_equal(whole.dates("test"), np.unique(store.dates[store.date_code[rows]]))
    assert whole.folds() == [fold.index]
    assert not np.isfinite(whole.matrix("h5", "valid", dates=whole.dates("test"))).any()
    twice = OutOfFold.of(pd.concat([frame, frame[frame["label"] == "h5"].iloc[:1]]), store)
    with pytest.raises(ValueError, match=r"1 row\(s\) refused, the same \(timestamp, symbol\) occurs twice"):
        twice.matrix("h5", "test")
    strange = OutOfFold.of(frame.assign(symbol=frame["symbol"].astype(str) + "?"), store)
    with pytest.raises(ValueError, match="not on the given dates and symbols"):
        strange.matrix("h5", "test")
