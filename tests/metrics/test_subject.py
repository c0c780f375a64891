"""The rows of a report and the card of a model, made of evaluations alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from factor_metrics import (
    Evaluation,
    EvaluationConfig,
    best_floor_rank_ic,
    evaluate_predictions,
    mean_test,
    profile_forecast,
    random_ranking,
)
from factor_metrics.report import (
    FloorRow,
    RowCounts,
    Subject,
    attained_row,
    date_series,
    evaluated_card,
    floor_rows,
    result_row,
    standard_error,
)
from factor_metrics.report.card import HEADER

CONFIG = EvaluationConfig(quantiles=3, min_symbols=5, bootstrap=100)
DATES = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]").astype("datetime64[ns]")
COUNTS = RowCounts(
    label="h5",
    bars=1200,
    in_universe=1200,
    without_prediction=0,
    without_price=0,
    after_the_end=0,
    scored=1200,
)


@pytest.fixture(scope="module")
def subject() -> Subject:
    """A forecast that knows a little beside floors that know less."""
    generator = np.random.default_rng(0)
    label = generator.normal(size=(60, 20))

    def judge(prediction: np.ndarray) -> Evaluation:
        return evaluate_predictions(prediction, label, horizon=5, config=CONFIG)

    prediction = label + generator.normal(size=label.shape)
    return Subject(
        name="knowing",
        label="h5",
        overlap=5,
        dates=DATES,
        judged=judge(prediction),
        floors={
            "weak": judge(label + 5.0 * generator.normal(size=label.shape)),
            "random": judge(random_ranking(label.shape)),
        },
        attainable=np.full(60, 0.5),
        profile=profile_forecast(prediction, {"h5": label}, "h5", overlaps={"h5": 5}, config=CONFIG),
        row_counts=COUNTS,
    )


def test_a_forecast_is_held_against_its_floors_on_the_same_dates(subject: Subject) -> None:
    rows = floor_rows({"knowing": subject.judged}, subject.floors, label="h5", overlap=5, config=CONFIG)
    assert [row.floor for row in rows] == list(subject.floors)
    for row in rows:
        paired = subject.judged.rank_ic - subject.floors[row.floor].rank_ic
        assert row.difference == pytest.approx(np.nanmean(paired))
    assert {row.status for row in rows} == {"above"}
    assert subject.best_floor == max(rows, key=lambda row: row.floor_rank_ic or -1.0).floor
    (turned,) = floor_rows(
        {"random": subject.floors["random"]}, {"knowing": subject.judged}, label="h5", overlap=5, config=CONFIG
    )
    assert turned.status == "below"


def test_a_floors_file_has_the_difference_its_interval_and_the_verdict() -> None:
    row = FloorRow(name="a", floor="b", label="h1", rank_ic=0.5, floor_rank_ic=0.2, difference=0.3, low=0.1, high=0.4)
    assert row.to_difference() == {
        "difference": 0.3,
        "difference_low": 0.1,
        "difference_high": 0.4,
        "difference_p": None,
        "difference_effective_dates": None,
        "model_is": "above",
    }


def test_what_does_not_beat_the_best_floor_is_marked(subject: Subject) -> None:
    above = result_row("knowing", "model", subject.judged, subject)
    assert not above.below_floor
    assert above.scores == subject.judged.scores()
    assert (above.name, above.kind, above.label) == ("knowing", "model", "h5")
    assert not any(result_row(name, "floor", judged, subject).below_floor for name, judged in subject.floors.items())
    below = replace(subject, judged=subject.floors["random"], floors={"knowing": subject.judged})
    assert result_row("random", "model", below.judged, below).below_floor


def test_the_card_of_a_model_ends_with_its_results_beside_the_best_floor(subject: Subject) -> None:
    scores = subject.judged.scores().to_dict()
    metrics = {"h5": {**scores, "best_floor_rank_ic": best_floor_rank_ic(subject.floors)}}
    floors = floor_rows({"knowing": subject.judged}, subject.floors, label="h5", overlap=5, config=CONFIG)
    card = evaluated_card("# knowing, fold_01\n\nwhat train wrote\n", 2, [subject], metrics, floors)
    assert card.startswith("# knowing, fold_01\n\nwhat train wrote\n\n## Results out of fold\n")
    row = next(line for line in card.splitlines() if line.startswith("| h5 |"))
    cells = [text.strip() for text in row.strip("|").split("|")]
    assert len(cells) == HEADER.count("|") - 1
    assert float(cells[1]) == pytest.approx(np.nanmean(subject.judged.rank_ic), abs=5e-5)
    assert cells[6] == subject.best_floor
    assert float(cells[1]) - float(cells[7]) == pytest.approx(float(cells[8]), abs=2e-4)
    assert float(cells[4]) == round(subject.judged.rank_ic_summary.effective_dates)
    assert "2 folds, 2024-01-01 to 2024-02-29:" in card
    withheld = {"h5": metrics["h5"] | {"t_stat": None, "effective_dates": None}}
    assert "| undefined | undefined |" in evaluated_card("# knowing\n", 2, [subject], withheld, floors)


def test_attained_is_left_out_where_it_is_not_known(subject: Subject) -> None:
    (row,) = attained_row("knowing", subject.judged, subject)
    assert row.ratio == pytest.approx(subject.judged.rank_ic_summary.mean / 0.5)
    assert attained_row("knowing", subject.judged, replace(subject, attainable=None)) == []


def test_the_standard_error_is_that_of_the_test_of_the_mean(subject: Subject) -> None:
    assert standard_error(subject) == mean_test(subject.judged.rank_ic, 5).standard_error


def test_whole_days_lose_their_time_and_bars_within_a_day_keep_it(subject: Subject) -> None:
    item = date_series(DATES, {"knowing": subject.judged.rank_ic})
    assert item.dates[0] == "2024-01-01"
    np.testing.assert_array_equal(item.values["knowing"], subject.judged.rank_ic)
    stamps = np.array(["2024-01-02T09:30", "2024-01-02T09:35"], dtype="datetime64[ns]")
    assert list(date_series(stamps, {}).dates) == ["2024-01-02T09:30:00", "2024-01-02T09:35:00"]
