"""What the stages hand to the report: counted rows, marked forecasts, shared dates; on a small simulated market."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factor_data import (
    FeatureStore,
    Panel,
)
from factor_metrics import rank_ic
from market_samples import make_store
from stages.evaluate import per_window
from stages.judge import best_floor_rank_ic, floor_signals, judge, judge_floors, summary
from stages.model_card import HEADER, evaluated_card
from stages.model_report import beside_floor, overfit, result_rows
from stages.params import EvaluateParams
from stages.report_data import Subject, attained_row, date_series, floor_rows, profile, row_counts
from stages.show import cell

CONFIG = EvaluateParams(quantiles=3, min_symbols=5, confidence=0.95, bootstrap=100, seed=0)
HORIZONS = (1, 5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return make_store(tmp_path_factory.mktemp("store"), 20, HORIZONS)


@pytest.fixture(scope="module")
def prediction(store: FeatureStore) -> np.ndarray:
    """A forecast of the last 60 dates at horizon 5 that knows a little; the first symbol is never predicted."""
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
    label = store.matrix(store.labels[:, 1], dates)
    return Subject(
        name="knowing",
        horizon=5,
        dates=dates,
        judged=judge(prediction, label, 5, CONFIG),
        floors=judge_floors(floor_signals(panel, dates, 0), prediction, label, 5, CONFIG),
        attainable=np.full(len(dates), 0.5),
        profile=profile(prediction, label, 5, dates, store, CONFIG),
        row_counts=row_counts(prediction, 5, dates, store),
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


def test_a_forecast_is_held_against_its_floors_on_the_same_dates(subject: Subject) -> None:
    rows = floor_rows({"knowing": subject.judged}, subject.floors, 5, CONFIG)
    assert [row.floor for row in rows] == list(subject.floors)
    for row in rows:
        paired = subject.judged.rank_ic - subject.floors[row.floor].rank_ic
        assert row.difference == pytest.approx(np.nanmean(paired))
    assert {row.status for row in rows} == {"above"}
    assert subject.best_floor == max(rows, key=lambda row: row.floor_rank_ic or -1.0).floor
    (turned,) = floor_rows({"random": subject.floors["random"]}, {"knowing": subject.judged}, 5, CONFIG)
    assert turned.status == "below"


def test_what_does_not_beat_the_best_floor_is_marked(subject: Subject) -> None:
    above, *floors = result_rows(subject)
    assert not above.below_floor
    assert [row.kind for row in floors] == ["floor"] * len(subject.floors)
    assert not any(row.below_floor for row in floors)
    below = replace(subject, judged=subject.floors["random"], floors={"knowing": subject.judged})
    assert result_rows(below)[0].below_floor


def test_the_card_of_a_model_ends_with_its_results_beside_the_best_floor(
    subject: Subject, tmp_path: Path
) -> None:
    for fold in ("fold_00", "fold_01"):
        (tmp_path / fold).mkdir()
        (tmp_path / fold / "model_card.md").write_text(f"# knowing, {fold}\n\nwhat train wrote\n")
    metrics = {"h5": {**summary(subject.judged), "best_floor_rank_ic": best_floor_rank_ic(subject.floors)}}
    floors = floor_rows({"knowing": subject.judged}, subject.floors, 5, CONFIG)
    card = evaluated_card(tmp_path, [subject], metrics, floors)
    assert card.startswith("# knowing, fold_01\n\nwhat train wrote\n")
    row = next(line for line in card.splitlines() if line.startswith("| 5 |"))
    cells = [text.strip() for text in row.strip("|").split("|")]
    assert len(cells) == HEADER.count("|") - 1
    assert float(cells[1]) == pytest.approx(np.nanmean(subject.judged.rank_ic), abs=5e-5)
    assert cells[5] == subject.best_floor
    assert float(cells[1]) - float(cells[6]) == pytest.approx(float(cells[7]), abs=2e-4)
    assert "2 folds" in card


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


def test_the_profile_reaches_over_all_horizons_of_the_store(
    store: FeatureStore, subject: Subject, prediction: np.ndarray
) -> None:
    found = subject.profile
    other = store.matrix(store.labels[:, 0], subject.dates)
    assert found.horizon_decay.names == ("1", "5")
    assert found.horizon_decay.mean[0] == pytest.approx(np.nanmean(rank_ic(prediction, other, 5)))
    assert found.horizon_decay.mean[1] == pytest.approx(subject.judged.rank_ic_summary.mean)
    assert found.calibration is not None


def test_series_show_the_model_its_best_floor_and_what_is_attainable(subject: Subject) -> None:
    item = beside_floor(subject, "rank_ic", subject.attainable)
    assert list(item.values) == ["knowing", subject.best_floor, "attainable"]
    np.testing.assert_array_equal(item.values["knowing"], subject.judged.rank_ic)
    assert item.dates[0] == str(subject.dates[0])[:10]


def test_bars_within_a_day_keep_their_time() -> None:
    stamps = np.array(["2024-01-02T09:30", "2024-01-02T09:35"], dtype="datetime64[ns]")
    assert list(date_series(stamps, {}).dates) == ["2024-01-02T09:30:00", "2024-01-02T09:35:00"]


def test_attained_is_left_out_where_it_is_not_known(subject: Subject) -> None:
    (row,) = attained_row("knowing", subject.judged, subject)
    assert row.ratio == pytest.approx(subject.judged.rank_ic_summary.mean / 0.5)
    assert attained_row("knowing", subject.judged, replace(subject, attainable=None)) == []


def test_the_table_shows_a_score_without_an_interval() -> None:
    row = {"rank_ic": 0.0123, "ci_low": None, "ci_high": None}
    assert cell(row) == "+0.012 [-, -]"
    assert cell(row | {"ci_low": 0.001, "ci_high": 0.02}) == "+0.012 [+0.001, +0.020]"
    assert cell(row | {"rank_ic": None}) == "-"


def test_the_table_of_windows_is_that_of_a_plain_loop_over_dates(
    store: FeatureStore, prediction: np.ndarray, subject: Subject
) -> None:
    """Two folds of unequal length; two dates without a forecast are counted and enter no mean."""
    label, horizon = store.matrix(store.labels[:, 1], subject.dates), 5
    prediction = prediction.copy()
    prediction[[3, 40]] = np.nan
    judged = replace(subject, judged=judge(prediction, label, horizon, CONFIG))
    fold_of_date = np.where(np.arange(60) < 25, 2, 5)

    def quantiles(values: np.ndarray) -> tuple[set[int], set[int]]:
        """Lowest and highest third of the symbols that have a value."""
        order = [symbol for symbol in np.argsort(values) if np.isfinite(values[symbol])]
        third = [int((place + 0.5) / len(order) * CONFIG.quantiles) for place in range(len(order))]
        lowest, highest = (
            {int(symbol) for symbol, one in zip(order, third, strict=True) if one == which}
            for which in (0, CONFIG.quantiles - 1)
        )
        return lowest, highest

    by_date = []
    for date in range(60):
        both = np.isfinite(prediction[date]) & np.isfinite(label[date])
        row = {"fold": fold_of_date[date]}
        if both.sum() >= CONFIG.min_symbols:
            forecast, came = pd.Series(prediction[date, both]), pd.Series(label[date, both])
            row |= {"ic": forecast.corr(came), "rank_ic": forecast.corr(came, method="spearman")}
            low, high = quantiles(np.where(both, prediction[date], np.nan))
            row["spread"] = label[date, list(high)].mean() - label[date, list(low)].mean()
        if date >= horizon and np.isfinite(prediction[[date, date - horizon]]).any(axis=1).all():
            now, before = quantiles(prediction[date]), quantiles(prediction[date - horizon])
            new = sum(len(side - was) for side, was in zip(now, before, strict=True))
            row["turnover"] = new / sum(map(len, now))
        by_date.append(row)
    frame = pd.DataFrame(by_date)
    table = per_window(judged, fold_of_date)
    assert list(table["fold"]) == [2, 5]
    assert list(table["dates"]) == [25, 35]
    assert list(table["horizon"]) == [5, 5]
    assert list(table["first"]) == list(subject.dates[[0, 25]])
    assert list(table["last"]) == list(subject.dates[[24, 59]])
    for (_, fold), (_, row) in zip(frame.groupby("fold"), table.iterrows(), strict=True):
        assert fold["rank_ic"].notna().sum() < len(fold)
        rank_ic = fold["rank_ic"].dropna()
        expected = {
            **{name: fold[name].mean() for name in ("ic", "rank_ic", "spread", "turnover")},
            "rank_icir": rank_ic.mean() / rank_ic.std(),
            "hit_rate": (rank_ic > 0).mean(),
        }
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
