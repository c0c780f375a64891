"""The scores of an evaluation, how files and tables go through them, and the settings they are made with."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import pytest

from factor_metrics import (
    Evaluation,
    EvaluationConfig,
    Scores,
    best_floor_rank_ic,
    evaluate_horizons,
    evaluate_predictions,
    overfit_gap,
    profile_forecast,
    to_json_safe,
)
from factor_metrics.report import ResultRow
from factor_metrics.report.results import results_html


def noise(seed: int, shape: tuple[int, int] = (60, 25)) -> tuple[np.ndarray, np.ndarray]:
    """(prediction, label) that are related."""
    generator = np.random.default_rng(seed)
    label = generator.normal(size=shape)
    return 0.3 * label + generator.normal(size=shape), label


@pytest.fixture(scope="module")
def judged() -> Evaluation:
    prediction, label = noise(0)
    prediction[7] = np.nan
    return evaluate_predictions(prediction, label, horizon=2, num_bootstrap=50)


def test_scores_are_the_means_of_the_evaluation_and_its_summary(judged: Evaluation) -> None:
    scores, rank = judged.scores(), judged.rank_ic_summary
    assert scores.ic == judged.ic_summary.mean
    assert (scores.rank_ic, scores.ci_low, scores.ci_high) == (rank.mean, rank.ci_low, rank.ci_high)
    assert (scores.icir, scores.t_stat, scores.hit_rate) == (rank.icir, rank.t_stat, rank.hit_rate)
    assert scores.spread == np.nanmean(judged.spread)
    assert scores.turnover == np.nanmean(judged.turnover)
    assert scores.num_dates == rank.num_dates == 59


def test_scores_of_no_date_are_nan_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    scores = evaluate_predictions(np.full((4, 12), np.nan), np.ones((4, 12)), horizon=1).scores()
    assert scores.num_dates == 0
    assert all(math.isnan(value) for name, value in scores.to_dict().items() if name != "num_dates")
    assert len(recwarn) == 0


def test_a_metrics_file_has_the_scores_in_the_order_of_the_fields(judged: Evaluation) -> None:
    names = [
        "ic",
        "rank_ic",
        "ci_low",
        "ci_high",
        "icir",
        "t_stat",
        "p_value",
        "effective_dates",
        "naive_t_stat",
        "hit_rate",
        "spread",
        "turnover",
        "num_dates",
    ]
    assert list(judged.scores().to_dict()) == [field.name for field in fields(Scores)] == names


def test_scores_come_back_from_json_and_null_is_nan() -> None:
    scores = Scores(rank_ic=0.03, spread=math.nan, num_dates=5)
    document = json.loads(json.dumps(to_json_safe(scores))) | {"valid_rank_ic": 0.1}
    assert document["spread"] is None
    back = Scores.of(document)
    assert (back.rank_ic, back.num_dates) == (0.03, 5)
    assert math.isnan(back.spread)
    assert math.isnan(Scores.of({"rank_ic": None}).rank_ic)
    with pytest.raises(KeyError, match="rank_ic"):
        Scores.of({"ic": 0.1})


def test_a_row_of_results_is_written_flat_and_read_back() -> None:
    scores = Scores(
        **{field.name: 0.5 + place for place, field in enumerate(fields(Scores))}  # type: ignore[arg-type]
    )
    row = ResultRow(name="lstm", kind="model", label="h5", scores=scores, below_floor=True)
    document = to_json_safe(row)
    assert list(document) == [
        *("name", "kind", "label", "rank_ic", "ci_low", "ci_high", "t_stat", "p_value"),
        *("effective_dates", "naive_t_stat", "icir", "ic", "hit_rate"),
        *("spread", "turnover", "num_dates", "below_floor"),
    ]
    assert {name: document[name] for name in asdict(scores)} == asdict(scores)
    assert ResultRow.of(document) == row


@dataclass(frozen=True, kw_only=True)
class MoreScores(Scores):
    """One score more."""

    tail_hit_rate: float = 0.1234


def test_a_new_score_is_a_field_and_appears_in_files_and_in_the_table() -> None:
    row = ResultRow(name="lstm", kind="model", label="h5", scores=MoreScores(rank_ic=0.5))
    assert to_json_safe(row)["tail_hit_rate"] == 0.1234
    assert to_json_safe(row.scores)["tail_hit_rate"] == 0.1234
    table = results_html([row])
    assert ">Tail hit rate</th>" in table
    assert ">+0.1234</td>" in table
    head, body = table.split("</thead>")
    assert head.count("<th ") == body.count("<td") + body.count("<th ")


def test_the_best_floor_is_the_one_with_the_highest_mean_rank_ic(judged: Evaluation) -> None:
    prediction, label = noise(1)
    other = evaluate_predictions(-prediction, label, horizon=2, num_bootstrap=50)
    assert best_floor_rank_ic({"a": other, "b": judged}) == judged.rank_ic_summary.mean
    with pytest.raises(ValueError, match="at least one floor"):
        best_floor_rank_ic({})


def test_the_overfit_gap_is_valid_less_test() -> None:
    assert overfit_gap({"valid_rank_ic": 0.5, "rank_ic": 0.125, "ic": 9.0}) == 0.375


def test_a_config_judges_as_the_same_loose_numbers() -> None:
    prediction, label = noise(2)
    config = EvaluationConfig(quantiles=3, min_symbols=20, confidence=0.9, bootstrap=60, seed=4)
    loose = {"num_quantiles": 3, "min_symbols": 20, "confidence": 0.9, "num_bootstrap": 60, "seed": 4}
    same(
        evaluate_predictions(prediction, label, horizon=2, config=config),
        evaluate_predictions(prediction, label, horizon=2, **loose),  # type: ignore[arg-type]
    )
    same(
        evaluate_horizons([prediction], [label], horizons=[2], config=config)[2],
        evaluate_horizons([prediction], [label], horizons=[2], **loose)[2],  # type: ignore[arg-type]
    )
    same(
        profile_forecast(prediction, {"h2": label}, "h2", label, overlaps={"h2": 2}, config=config).quantiles,
        profile_forecast(prediction, {"h2": label}, "h2", label, overlaps={"h2": 2}, **loose).quantiles,  # type: ignore[arg-type]
    )


def test_a_loose_number_takes_the_place_of_the_one_in_the_config() -> None:
    prediction, label = noise(3)
    config = EvaluationConfig(quantiles=4, bootstrap=60)
    same(
        evaluate_predictions(prediction, label, horizon=1, config=config, num_quantiles=3, seed=0),
        evaluate_predictions(prediction, label, horizon=1, config=replace(config, quantiles=3)),
    )


def same(first: object, second: object) -> None:
    """Both hold the same numbers, to the bit."""
    assert type(first) is type(second)
    for field in fields(first):  # type: ignore[arg-type]
        np.testing.assert_array_equal(np.asarray(getattr(first, field.name)), np.asarray(getattr(second, field.name)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantiles": 1}, "quantiles must be at least 2, got 1"),
        ({"min_symbols": 1}, "min_symbols must be at least 2, got 1"),
        ({"min_symbols": 3.5}, "min_symbols must be an integer, got 3.5"),
        ({"confidence": 1.0}, "confidence must lie strictly between 0 and 1, got 1.0"),
        ({"bootstrap": 0}, "bootstrap must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluationConfig(**changes)


def test_a_loose_number_is_refused_by_its_own_name() -> None:
    prediction, label = noise(4)
    for given, message in (
        ({"num_quantiles": 1}, "num_quantiles must be at least 2, got 1"),
        ({"num_bootstrap": 0}, "num_bootstrap must be at least 1, got 0"),
        ({"min_symbols": 0}, "min_symbols must be at least 2, got 0"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            evaluate_predictions(prediction, label, horizon=1, **given)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unexpected keyword argument 'quantiles', must be one of num_quantiles, "):
        evaluate_predictions(prediction, label, horizon=1, quantiles=3)  # type: ignore[call-arg]
