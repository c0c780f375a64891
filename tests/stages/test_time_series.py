"""Scoring over time: blocks of dates as cross-sections, no look-ahead, the stack of them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from factor_data import FeatureStore, directions, read_folds, write_sums
from factor_metrics import GateConfig
from factor_models import StackConfig
from stages.json_files import read_json
from stages.judging.stack_over_time import StackOverTime, auc_gates, level_on_valid
from stages.judging.time_series import BY_DATE, scoring_view
from stages.params.evaluate import EvaluateParams
from stages.params.reading import parse_params
from stages.predictions import OutOfFold
from stages.running.stage import StageError
from stages.scoring import Scoring, valid_auc, valid_scores
from workplace import Workplace, make_workplace, smoke_document

CONFIG: dict[str, Any] = {"quantiles": 3, "min_symbols": 5, "confidence": 0.95, "bootstrap": 100, "seed": 0}
OVER_TIME = EvaluateParams(**CONFIG, scoring="time_series", block_dates=10)


def hours(count: int) -> np.ndarray:
    return np.datetime64("2020-01-01", "ns") + np.arange(count) * np.timedelta64(1, "h")


def test_a_block_holds_consecutive_dates_of_one_fold_and_each_cell_once() -> None:
    dates, fold = hours(45), np.repeat([3, 4], [25, 20])
    view = scoring_view(OVER_TIME, dates, fold)
    assert view.fold.tolist() == [3, 3, 3, 4, 4]
    assert view.dates.tolist() == dates[[0, 10, 20, 25, 35]].tolist()
    matrix = np.arange(90.0).reshape(45, 2)
    blocks = view(matrix)
    assert blocks.shape == (5, 20)
    assert blocks[2, :10].tolist() == matrix[20:25].ravel().tolist()
    assert np.isnan(blocks[2, 10:]).all(), "the last block of a fold is shorter"
    assert sorted(blocks[np.isfinite(blocks)].tolist()) == matrix.ravel().tolist()
    assert view.total(np.ones(45, np.int64)).tolist() == [10, 10, 5, 10, 10]
    assert [view.overlap(bars) for bars in (1, 2, 11, 12)] == [1, 2, 2, 3]


def test_a_block_is_judged_by_the_rank_correlation_of_its_cells() -> None:
    generator = np.random.default_rng(0)
    dates, fold = hours(40), np.zeros(40, np.int64)
    prediction, outcome = generator.standard_normal((2, 40, 2))
    view = scoring_view(OVER_TIME, dates, fold)
    judged = view.judge(view.ordered(prediction), view.ordered(outcome), 5, OVER_TIME)
    expected = [spearmanr(prediction[i : i + 10].ravel(), outcome[i : i + 10].ravel())[0] for i in range(0, 40, 10)]
    np.testing.assert_allclose(judged.rank_ic, expected, atol=1e-12)
    assert np.isnan(judged.turnover).all()


def test_by_date_nothing_changes() -> None:
    matrix = np.arange(6.0).reshape(3, 2)
    assert scoring_view(EvaluateParams(**CONFIG), hours(3), np.zeros(3, np.int64))(matrix) is matrix
    assert BY_DATE(matrix) is matrix
    assert Scoring.of(CONFIG).rows(matrix) is matrix
    assert Scoring.of(CONFIG | {"scoring": "time_series"}).rows(matrix).shape == (1, 6)


def stack_of(outcome: np.ndarray, block_dates: int, step: int = 1, ahead: int = 1) -> StackOverTime:
    """Three models of unlike skill in three folds; every `step`-th hour of the calendar has a forecast."""
    config = EvaluateParams(**CONFIG, scoring="time_series", block_dates=block_dates)
    skill = np.array([0.5, 0.0, -0.3])[:, None, None]
    forecasts = skill * outcome_of(len(outcome)) + np.random.default_rng(1).standard_normal((3, *outcome.shape))
    dates, fold = hours(step * len(outcome))[::step], np.repeat([0, 1, 2], len(outcome) // 3)
    store: Any = SimpleNamespace(dates=hours(step * len(outcome)), dates_ahead=lambda label: ahead)
    valid = np.random.default_rng(2).standard_normal((50, 2))
    models: Any = {name: SimpleNamespace(matrix=lambda *of: valid) for name in "abc"}
    return StackOverTime("h1", models, forecasts, outcome, dates, scoring_view(config, dates, fold), store)


def outcome_of(num_dates: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((num_dates, 2))


def test_weights_are_learned_where_blocks_are_long() -> None:
    """Twenty blocks of 50 dates a fold: labels of one date overlap in no two blocks, however many dates these hold."""
    learned = stack_of(outcome_of(3000), block_dates=50).stack(StackConfig(weights="ridge"))
    np.testing.assert_allclose(learned.weights[0], 1 / 3)
    assert (learned.weights[1:, 0] > 0.5).all()
    assert (learned.weights[1:, 2] < -0.1).all()


def test_no_label_that_ends_in_a_fold_teaches_it_where_dates_without_forecasts_lie_between() -> None:
    """Every other hour has a forecast: 12 of them reach over 23 hours, and a label over 6."""
    outcome = outcome_of(1800)
    before = stack_of(outcome, 12, step=2, ahead=6).stack(StackConfig(weights="ridge"))
    outcome[600 - 3 : 600] *= -9.0  # known 2 to 6 hours after the last of them, as the fold begins or later
    after = stack_of(outcome, 12, step=2, ahead=6).stack(StackConfig(weights="ridge"))
    np.testing.assert_array_equal(after.weights[1], before.weights[1])
    assert (after.weights[2] != before.weights[2]).any()


def test_a_model_that_is_constant_up_to_rounding_on_valid_dates_has_no_level() -> None:
    rounding = np.random.default_rng(0).integers(-1, 2, (50, 2)) * np.float32(7e-9)
    model: Any = SimpleNamespace(matrix=lambda *of: np.float32(0.1) + rounding.astype(np.float32))
    mean, deviation = level_on_valid(model, "h1", 0)
    assert mean == pytest.approx(0.1)
    assert deviation == 0.0, "a test forecast of 0.2 would count with 1e7 deviations"


def directions_of(num_symbols: int, models: list[str], folder: Path) -> Workplace:
    """The directions of a few symbols, scored over time, up to the stack."""
    document = smoke_document() | {"models": models}
    document["sample"] |= {"symbols": 10, "bars": 420, "frequency": "hour"}  # 16 blocks: an interval of h20 needs 15
    document["split"]["calendars"] = {"all": ["*"]}
    document["tokenize"] |= {"normaliser": "robust_zscore", "use_news": False}
    document["train"] |= {"target": "direction", "loss": "focal", "stop_on": "auc"}
    document["zoo"]["kronos"]["train"] |= {"target": "raw", "loss": "mse", "stop_on": "rank_ic"}
    document["evaluate"] |= {"scoring": "time_series", "block_dates": 10, "min_symbols": 5, "bootstrap": 100}
    workplace = make_workplace(folder, document)
    for stage in ("plan", "sample"):
        workplace.run(stage)
    for path in (workplace.results / "sample" / "bars").iterdir():
        bars = pd.read_parquet(path)
        bars[bars["symbol"].isin(bars["symbol"].unique()[:num_symbols])].to_parquet(path, index=False)
    for name in ("sums.json", "truth.parquet"):
        (workplace.results / "sample" / name).unlink()
    for stage in ("split", "tokenize_features", "tokenize_kline", "inputs"):
        workplace.run(stage)
    for model in models:
        workplace.run("train", model)
        workplace.run("evaluate", model)
    workplace.run("stack")
    for model in models:
        workplace.run("report", model)
    workplace.run("report_stack")
    return workplace


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return directions_of(4, ["lightgbm", "linear", "lstm"], tmp_path_factory.mktemp("few") / "factorcast")


def test_one_symbol_alone_goes_through_to_its_stack_and_page(tmp_path: Path) -> None:
    workplace = directions_of(1, ["lightgbm", "linear"], tmp_path / "factorcast")
    assert len(FeatureStore(workplace.results / "tokenize").symbols) == 1
    stack = json.loads((workplace.results / "stack" / "metrics.json").read_text())
    assert stack["h1"]["auc"] is not None
    page = (workplace.results / "report" / "stack" / "report.html").read_text()
    assert "blocks of 10 dates" in page


def test_four_symbols_have_a_stack_with_scores_gates_and_floors_in_terms_of_the_auc(few: Workplace) -> None:
    store = FeatureStore(few.results / "tokenize")
    assert len(store.symbols) == 4
    stack = json.loads((few.results / "stack" / "metrics.json").read_text())
    for model in ("lightgbm", "linear", "lstm"):
        metrics = json.loads((few.results / "evaluate" / model / "metrics.json").read_text())
        oof = OutOfFold(few.results / "train" / model / "predictions.parquet", store)
        dates = oof.dates("test")
        for label in store.heads:
            score, outcome = oof.matrix(label, "test"), store.matrix(directions(store)[:, store.head(label)], dates)
            known = np.isfinite(score) & np.isfinite(outcome)
            assert metrics[label]["auc"] == pytest.approx(roc_auc_score(outcome[known], score[known]))
            assert metrics[label]["auc_low"] < metrics[label]["auc"] < metrics[label]["auc_high"]
            assert 0.0 < metrics[label]["opposite_auc"] < 1.0
            assert metrics[label]["valid_auc"] is not None
        symbols = pd.read_csv(few.results / "evaluate" / model / "symbols.csv")
        assert len(symbols) == 4 * len(store.heads)
        assert symbols["auc"].notna().all()
    assert all("pooled_rank_ic" in one and "auc_low" in one for one in stack.values())
    gates = {gate["name"]: gate for gate in json.loads((few.results / "stack" / "gates.json").read_text())["gates"]}
    assert {"auc_interval", "auc_gap", "stack_interval", "beats_floor"} <= set(gates)
    errors = [
        json.loads((few.results / "evaluate" / model / "metrics.json").read_text())["h1"]["calibration_error"]
        for model in ("lightgbm", "linear", "lstm")
    ]
    assert gates["calibration"]["value"] == max(errors)
    assert (few.results / "stack" / "bundle" / "manifest.json").is_file()


def test_what_comes_later_in_a_block_changes_no_forecast_of_the_stack(few: Workplace, tmp_path: Path) -> None:
    """Forecasts of models on the last test dates are replaced: the stack before them stays the same to the bit."""
    before = pd.read_parquet(few.results / "stack" / "predictions.parquet")
    copy = few.copy(tmp_path / "factorcast")
    cut = np.sort(before["timestamp"].unique())[-7]  # in the middle of a block
    for model in ("lightgbm", "linear", "lstm"):
        folder = copy.results / "train" / model
        frame = pd.read_parquet(folder / "predictions.parquet")
        late = (frame["segment"] == "test") & (frame["timestamp"] >= cut)
        frame.loc[late, "prediction"] = frame.loc[late, "prediction"] * -3.0 + 1.0
        frame.to_parquet(folder / "predictions.parquet", index=False)
        (folder / "sums.json").unlink()
        write_sums(folder)
    copy.run("stack")
    after = pd.read_parquet(copy.results / "stack" / "predictions.parquet")
    kept = before["timestamp"] < cut
    pd.testing.assert_frame_equal(after[kept], before[kept], check_exact=True)
    assert not after[~kept]["prediction"].equals(before[~kept]["prediction"])


def test_the_auc_on_valid_dates_is_that_of_scikit_learn(few: Workplace) -> None:
    store, (fold, *_) = FeatureStore(few.results / "tokenize"), read_folds(few.results / "split" / "folds.json")
    rows = np.flatnonzero(store.rows(fold, "valid"))
    values = np.random.default_rng(0).standard_normal((len(rows), len(store.heads)))
    found = valid_auc(store, fold, rows, values)
    for head, name in enumerate(store.heads):
        outcome = directions(store)[rows, head]
        known = np.isfinite(outcome)
        assert found[name] == pytest.approx(roc_auc_score(outcome[known], values[known, head]))


def test_a_forecast_of_the_market_is_a_signal_over_time(few: Workplace) -> None:
    """It orders no symbols of a date, and dates it does."""
    store, (fold, *_) = FeatureStore(few.results / "tokenize"), read_folds(few.results / "split" / "folds.json")
    rows = np.flatnonzero(store.rows(fold, "valid"))
    market = np.random.default_rng(2).normal(size=len(store.dates))[store.date_code[rows]]
    values = np.repeat(market[:, None], len(store.heads), axis=1)
    assert valid_scores(store, fold, rows, values, Scoring(min_symbols=3, over_time=True)).no_signal is None
    said = valid_scores(store, fold, rows, values, Scoring(min_symbols=3)).no_signal
    assert said is not None
    assert "forecast of the market" in said
    constant = valid_scores(store, fold, rows, np.ones_like(values), Scoring(min_symbols=3, over_time=True))
    assert constant.no_signal is not None


def test_few_symbols_without_it_are_refused_with_the_line_that_helps(few: Workplace, tmp_path: Path) -> None:
    copy = few.copy(tmp_path / "factorcast")
    copy.change_params(lambda params: params["evaluate"].update(scoring="cross_section", quantiles=3))
    copy.run("plan")
    said = copy.refused("split")
    assert "evaluate.min_symbols: 5 must be at most the number of symbols, 4" in said
    assert "evaluate.scoring: time_series scores blocks of dates" in said


def test_stopping_on_the_auc_needs_directions() -> None:
    document = smoke_document()
    document["train"]["stop_on"] = "auc"
    with pytest.raises(StageError, match=r"train\.stop_on: auc needs directions, target: rank gives none"):
        parse_params(document, "params.yaml")


@pytest.mark.parametrize(
    ("low", "opposite", "valid", "passed"),
    [(0.53, 0.52, 0.56, [True, True]), (0.53, 0.54, 0.56, [False, True]), (0.49, 0.4, 0.7, [False, False])],
)
def test_gates_hold_the_interval_against_the_floor_and_valid_against_test(
    low: float, opposite: float, valid: float, passed: list[bool]
) -> None:
    scores = {"auc": 0.55, "auc_low": low, "opposite_auc": opposite}
    gates = auc_gates(scores, {"lstm": valid - 0.55, "linear": 0.0}, "h5", GateConfig())
    assert [gate.passed for gate in gates] == passed
    unknown = auc_gates(scores, {"lstm": float("nan"), "linear": 0.0}, "h5", GateConfig())
    assert not unknown[1].passed, "what cannot be measured is not passed"


def test_what_a_model_logs_once_is_a_number_and_no_curve(few: Workplace) -> None:
    live = few.results / "train" / "linear" / "live"
    assert not list(live.rglob("*.tsv"))
    assert read_json(live / "metrics.json")["fold_0"].keys() == {"best_valid_rank_ic"}


def test_a_gap_of_the_auc_that_is_too_wide_says_by_how_much() -> None:
    scores = {"auc_low": 0.52, "opposite_auc": 0.4}
    interval, gap = auc_gates(scores, {"linear": 0.01, "lstm": -0.07}, "h5", GateConfig(max_auc_gap=0.05))
    assert interval.passed
    assert not gap.passed
    assert gap.shortfall == "0.02 too high"
