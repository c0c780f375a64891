"""What the stages hand to the pages: counted rows, marked forecasts, shared dates; on a small simulated market."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factor_data import FeatureStore, Label, Panel
from factor_metrics import OrderedMatrix, evaluate_predictions, rank_ic
from factor_metrics.report import (
    Subject,
)
from market_samples import make_store, returns_over
from stages.commands.show import cell
from stages.drawing.model_page import beside_floor, overfit
from stages.judging.floors import floor_signals, judge_floors
from stages.judging.judge import ordered_outcomes, profile, row_counts
from stages.judging.kept import Kept
from stages.judging.tables import per_fold
from stages.judging.time_series import BY_DATE
from stages.params.evaluate import EvaluateParams

CONFIG = EvaluateParams(quantiles=3, min_symbols=5, confidence=0.95, bootstrap=100, seed=0)
LABELS = returns_over(1, 5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return make_store(tmp_path_factory.mktemp("store"), 20, LABELS)


@pytest.fixture(scope="module")
def prediction(store: FeatureStore) -> np.ndarray:
    """A forecast of the last 60 dates for h5 that knows a little; the first symbol is never predicted."""
    dates, head = store.dates[-60:], 1
    label = store.matrix(store.labels[:, head], dates)
    noise = np.random.default_rng(0).normal(0.0, np.nanstd(label), size=label.shape)
    in_universe = np.isfinite(store.matrix(np.ones(len(store.date_code)), dates))
    prediction = np.where(in_universe, np.nan_to_num(label) + noise, np.nan)
    prediction[:, 0] = np.nan
    return prediction


@pytest.fixture(scope="module")
def subject(store: FeatureStore, prediction: np.ndarray) -> Subject:
    panel = Panel.load(store.directory / "panel")
    dates = store.dates[-60:]
    ordered, outcomes = OrderedMatrix(prediction), ordered_outcomes(["h5", "h1"], dates, store, BY_DATE)
    label = store.matrix(store.labels[:, 1], dates)
    return Subject(
        name="knowing",
        label="h5",
        overlap=5,
        dates=dates,
        judged=evaluate_predictions(prediction, label, horizon=5, config=CONFIG),
        floors=judge_floors(
            {name: OrderedMatrix(signal) for name, signal in floor_signals(panel, dates, 0).items()},
            ordered,
            outcomes["h5"],
            store.overlap("h5"),
            CONFIG,
        ),
        attainable=np.full(len(dates), 0.5),
        profile=profile(ordered, label, "h5", outcomes, store, CONFIG),
        row_counts=row_counts(prediction, "h5", dates, store, panel),
    )


def test_every_row_of_the_scored_dates_is_counted_once(store: FeatureStore, subject: Subject) -> None:
    counts = subject.row_counts
    frame = pd.DataFrame(
        {
            "date": store.dates[store.date_code],
            "symbol": store.symbol_code,
            "in_universe": store.in_universe,
            "label": store.labels[:, 1],
        }
    )
    frame = frame[frame["date"].isin(subject.dates)]
    universe = frame[frame["in_universe"]]
    predicted = universe[universe["symbol"] != 0]
    last = np.sort(frame["date"].unique())[-6:]  # entry one bar later, exit five after that
    missing = predicted["label"].isna()
    assert (counts.bars, counts.in_universe) == (len(frame), len(universe))
    assert counts.without_prediction == (universe["symbol"] == 0).sum()
    assert counts.after_the_end == predicted["date"].isin(last).sum()
    assert counts.without_price == (missing & ~predicted["date"].isin(last)).sum()
    assert counts.scored == (~missing).sum()
    parts = counts.without_prediction + counts.without_price + counts.after_the_end + counts.scored
    assert parts == counts.in_universe


def test_which_labels_a_delisting_decides_is_found_once_for_all_models(
    store: FeatureStore, prediction: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, asked = Panel.load(store.directory / "panel"), list[str]()

    def first_symbols(panel: Panel, label: Label) -> np.ndarray:
        asked.append(label.describe())
        return panel.symbol_code < 3

    monkeypatch.setattr("stages.judging.judge.decided_by_delisting", first_symbols)
    kept, dates = Kept(b"code", folder=tmp_path), store.dates[-60:]
    alone = row_counts(prediction, "h5", dates, store, panel)
    assert alone.delisted == np.isfinite(prediction[:, :3]).sum() > 0
    assert [row_counts(prediction, "h5", dates, store, panel, kept) for _ in range(3)] == [alone] * 3
    assert len(asked) == 2, "by the one without a place to keep it, and by the first of the three"
    row_counts(prediction, "h1", dates, store, panel, kept)
    row_counts(prediction[1:], "h5", dates[1:], store, panel, kept)
    assert len(asked) == 4, "other labels and other dates are others"


def test_valid_and_test_are_compared_for_all_folds_and_each(subject: Subject) -> None:
    folds = np.repeat([0, 1], 30)
    valid = np.full((2, 40), np.nan)
    valid[0, :20], valid[1, 20:] = 0.2, 0.4
    rows = {row.name: row for row in overfit(subject, folds, valid)}
    test = subject.judged.rank_ic
    assert list(rows) == ["all folds", "fold 0", "fold 1"]
    assert [row.valid_rank_ic for row in rows.values()] == pytest.approx([0.3, 0.2, 0.4])
    assert rows["fold 1"].test_rank_ic == pytest.approx(np.nanmean(test[30:]))
    assert rows["fold 0"].gap == pytest.approx(0.2 - np.nanmean(test[:30]))
    assert rows["fold 0"].retention == pytest.approx(np.nanmean(test[:30]) / 0.2)


def test_the_profile_reaches_over_all_labels_of_the_store(
    store: FeatureStore, subject: Subject, prediction: np.ndarray
) -> None:
    found = subject.profile
    other = store.matrix(store.labels[:, 0], subject.dates)
    assert found.label_decay.names == ("h5", "h1")
    assert found.label_decay.mean[1] == pytest.approx(np.nanmean(rank_ic(prediction, other, 5)))
    assert found.label_decay.mean[0] == pytest.approx(subject.judged.rank_ic_summary.mean)
    assert found.calibration is not None


def test_series_show_the_model_its_best_floor_and_what_is_attainable(subject: Subject) -> None:
    item = beside_floor(subject, "rank_ic", subject.attainable)
    assert list(item.values) == ["knowing", subject.best_floor, "attainable"]
    np.testing.assert_array_equal(item.values["knowing"], subject.judged.rank_ic)
    assert item.dates[0] == str(subject.dates[0])[:10]


def test_the_table_shows_a_score_without_an_interval() -> None:
    row = {"rank_ic": 0.0123, "ci_low": None, "ci_high": None}
    assert cell(row) == "+0.012 (no interval)"
    assert cell(row | {"ci_low": 0.001, "ci_high": 0.02}) == "+0.012 [+0.001, +0.020]"
    assert cell(row | {"rank_ic": None}) == "-"


def test_the_table_by_fold_names_every_label_and_fold_apart(subject: Subject) -> None:
    folds = np.arange(len(subject.dates)) % 2
    table = per_fold([subject, replace(subject, label="h20")], folds)
    assert table["name"].tolist() == ["h5 fold 0", "h5 fold 1", "h20 fold 0", "h20 fold 1"]
    assert table["label"].tolist() == ["h5", "h5", "h20", "h20"]
