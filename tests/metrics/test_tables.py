"""An evaluation as tables: by fold that of a plain loop over dates, by date the series themselves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factor_metrics import Evaluation, EvaluationConfig, evaluate_predictions
from factor_metrics import evaluation_by_date as by_date
from factor_metrics import evaluation_by_fold as by_fold

CONFIG = EvaluationConfig(quantiles=3, min_symbols=5, bootstrap=100)
HORIZON = 5
DATES = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]").astype("datetime64[ns]")
FOLD_OF_DATE = np.where(np.arange(60) < 25, 2, 5)


@pytest.fixture(scope="module")
def prediction() -> np.ndarray:
    """A forecast with holes; the first symbol and two dates are never predicted."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(60, 20))
    values[generator.random(values.shape) < 0.1] = np.nan
    values[:, 0] = np.nan
    values[[3, 40]] = np.nan
    return values


@pytest.fixture(scope="module")
def label(prediction: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(1)
    values = np.nan_to_num(prediction) + generator.normal(size=prediction.shape)
    values[generator.random(values.shape) < 0.05] = np.nan
    return values


@pytest.fixture(scope="module")
def judged(prediction: np.ndarray, label: np.ndarray) -> Evaluation:
    return evaluate_predictions(prediction, label, horizon=HORIZON, config=CONFIG)


def quantiles(values: np.ndarray) -> tuple[set[int], set[int]]:
    """Lowest and highest third of the symbols that have a value."""
    order = [symbol for symbol in np.argsort(values) if np.isfinite(values[symbol])]
    third = [int((place + 0.5) / len(order) * CONFIG.quantiles) for place in range(len(order))]
    lowest, highest = (
        {int(symbol) for symbol, one in zip(order, third, strict=True) if one == which}
        for which in (0, CONFIG.quantiles - 1)
    )
    return lowest, highest


def test_the_table_by_fold_is_that_of_a_plain_loop_over_dates(
    prediction: np.ndarray, label: np.ndarray, judged: Evaluation
) -> None:
    """Two folds of unequal length; two dates without a forecast are counted and enter no mean."""
    rows = []
    for date in range(60):
        both = np.isfinite(prediction[date]) & np.isfinite(label[date])
        row: dict[str, float] = {"fold": FOLD_OF_DATE[date]}
        if both.sum() >= CONFIG.min_symbols:
            forecast, came = pd.Series(prediction[date, both]), pd.Series(label[date, both])
            row |= {"ic": forecast.corr(came), "rank_ic": forecast.corr(came, method="spearman")}
            low, high = quantiles(np.where(both, prediction[date], np.nan))
            row["spread"] = label[date, list(high)].mean() - label[date, list(low)].mean()
        if date >= HORIZON and np.isfinite(prediction[[date, date - HORIZON]]).any(axis=1).all():
            now, before = quantiles(prediction[date]), quantiles(prediction[date - HORIZON])
            new = sum(len(side - was) for side, was in zip(now, before, strict=True))
            row["turnover"] = new / sum(map(len, now))
        rows.append(row)
    frame = pd.DataFrame(rows)
    table = by_fold(judged, DATES, FOLD_OF_DATE, label="h5")
    assert list(table["fold"]) == [2, 5]
    assert list(table["dates"]) == [25, 35]
    assert list(table["label"]) == ["h5", "h5"]
    assert list(table["first"]) == list(DATES[[0, 25]])
    assert list(table["last"]) == list(DATES[[24, 59]])
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


def test_the_table_by_date_has_the_series_and_a_running_sum(judged: Evaluation) -> None:
    table = by_date(judged, DATES, label="h5", overlap=HORIZON)
    assert list(table) == [
        "timestamp",
        "label",
        "overlap",
        "ic",
        "rank_ic",
        "cumulative_rank_ic",
        "spread",
        "turnover",
    ]
    assert table["overlap"].dtype == np.int16
    assert list(table["timestamp"]) == list(DATES)
    for name in ("ic", "rank_ic", "spread", "turnover"):
        np.testing.assert_array_equal(table[name], getattr(judged, name))
    assert np.isnan(table["rank_ic"][3])
    assert table["cumulative_rank_ic"][3] == table["cumulative_rank_ic"][2]
    assert table["cumulative_rank_ic"].iloc[-1] == pytest.approx(np.nansum(judged.rank_ic))


def test_dates_of_another_number_are_refused(judged: Evaluation) -> None:
    with pytest.raises(ValueError, match=r"dates must have one entry per date of the evaluation, \(60,\)"):
        by_date(judged, DATES[1:], label="h5", overlap=1)
    with pytest.raises(ValueError, match=r"fold_of_date must have .*, got \(59,\)"):
        by_fold(judged, DATES, FOLD_OF_DATE[1:], label="h5")
