"""Scores by date of long columns: against the matrix, against pandas, and inside scikit-learn's search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.linear_model import Ridge
from sklearn.metrics import make_scorer, mean_squared_error
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score

from factor_metrics import DateScorer, rank_ic, rank_ic_score, rank_ic_scorer

DAYS, SYMBOLS = pd.date_range("2024-01-01", periods=20), 15


@pytest.fixture(scope="module")
def long() -> tuple[pd.DataFrame, pd.Series]:
    generator = np.random.default_rng(1)
    index = pd.MultiIndex.from_product([DAYS, range(SYMBOLS)], names=["timestamp", "symbol"])
    X = pd.DataFrame(generator.standard_normal((len(index), 2)), index=index, columns=["a", "b"])
    y = X["a"] + pd.Series(generator.standard_normal(len(index)), index=index)
    return X, y.where(generator.random(len(y)) > 0.1)


def test_the_score_of_a_column_is_that_of_its_matrix_in_any_order(long: tuple[pd.DataFrame, pd.Series]) -> None:
    X, y = long
    expected = np.nanmean(rank_ic(X["b"].unstack().to_numpy(), y.unstack().to_numpy(), min_symbols=3))
    assert rank_ic_score(y, X["b"]) == pytest.approx(expected, abs=1e-15)
    order = np.random.default_rng(2).permutation(len(y))
    shuffled = rank_ic_score(y.to_numpy()[order], X["b"].to_numpy()[order], dates=y.index.get_level_values(0)[order])
    assert shuffled == pytest.approx(expected, abs=1e-15)
    assert np.isnan(rank_ic_score(y, np.ones(len(y))))


def test_any_metric_is_taken_by_date(long: tuple[pd.DataFrame, pd.Series]) -> None:
    X, y = long
    y = y.dropna()
    X = X.loc[y.index]
    fitted = Ridge().fit(X, y)
    squared = (y - fitted.predict(X)) ** 2
    expected = -squared.groupby(level="timestamp").mean().mean()
    scorer = DateScorer(mean_squared_error, sign=-1)
    assert scorer(fitted, X, y) == pytest.approx(expected, rel=1e-12)
    assert scorer(fitted, X, y.to_numpy()) == pytest.approx(expected, rel=1e-12)  # X tells the dates as well


def test_a_search_takes_the_scorer(long: tuple[pd.DataFrame, pd.Series]) -> None:
    X, y = long
    y = y.dropna()
    X = X.loc[y.index]
    search = GridSearchCV(
        Ridge(), {"alpha": [1.0, 10.0]}, scoring={"ic": rank_ic_scorer, "mse": DateScorer(mean_squared_error, sign=-1)},
        refit="ic", cv=KFold(3), error_score="raise",
    ).fit(X, y)  # fmt: skip
    assert 0.4 < search.best_score_ < 1.0
    plain = cross_val_score(Ridge(), X, y, scoring=make_scorer(rank_ic_score), cv=KFold(3))
    np.testing.assert_array_equal(plain, cross_val_score(Ridge(), X, y, scoring=rank_ic_scorer, cv=KFold(3)))
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = make_scorer(rank_ic_score).set_score_request(dates=True)
        dates = {"dates": X.index.get_level_values(0)}
        routed = cross_val_score(Ridge(), X.to_numpy(), y.to_numpy(), scoring=scorer, cv=KFold(3), params=dates)
    np.testing.assert_allclose(routed, plain, rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([1.0], [1.0]), "dates are not known: give dates"),
        (([1.0, 2.0], [1.0], [1, 1]), r"columns of one length, got \(2,\), \(1,\) and \(2,\)"),
        (([[1.0]], [[1.0]], [1]), "columns of one length"),
    ],
)
def test_what_has_no_dates_or_no_length_is_refused(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rank_ic_score(arguments[0], arguments[1], dates=arguments[2] if len(arguments) > 2 else None)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="sign must be 1 or -1, got 0"):
        DateScorer(sign=0)
    with pytest.raises(ValueError, match="min_symbols must be at least 1, got 0"):
        DateScorer(min_symbols=0)
