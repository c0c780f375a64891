"""Folds as scikit-learn's `cv`: every scheme, purged, rows in any order, in its own search and cross-validation."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from factor_data import Fold, FoldConfig, FoldList, FoldSplitter, make_folds, read_folds, write_folds

DAYS = np.arange("2020-01-01", "2022-01-01", dtype="datetime64[D]").astype("datetime64[ns]")
SYMBOLS = 3
REACH = 2

SCHEMES: dict[str, dict[str, Any]] = {
    "rolling": {"train": 100, "valid": 20, "test": 50, "step": 50},
    "expanding": {"train": 100, "valid": 20, "test": 50, "step": 50},
    "yearly": {"min_train_years": 1, "valid_months": 2},
    "fixed": {
        "train_range": ("2020-01-01", "2020-12-31"), "valid_range": ("2021-01-01", "2021-03-31"),
        "test_range": ("2021-04-01", "2021-12-31"),
    },
    "ratio": {"ratios": (0.6, 0.2, 0.2)},
    "cpcv": {"num_groups": 5, "num_test_groups": 2},
}  # fmt: skip
WITHOUT_VALID: dict[str, dict[str, Any]] = {
    "rolling": {"valid": 0}, "expanding": {"valid": 0}, "yearly": {"valid_months": 0}, "fixed": {"valid_range": None},
    "ratio": {"ratios": (0.7, 0.0, 0.3)}, "cpcv": {"valid_groups": 0},
}  # fmt: skip
K_FOLD = FoldConfig(scheme="cpcv", num_groups=4, num_test_groups=1, valid_groups=0)


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X, y and the date of each row, shuffled."""
    generator = np.random.default_rng(0)
    dates = generator.permutation(np.repeat(DAYS, SYMBOLS))
    X = generator.standard_normal((len(dates), 4))
    return X, X @ [1.0, -1.0, 0.5, 0.0] + 0.1 * generator.standard_normal(len(dates)), dates


@pytest.mark.parametrize("without", [False, True], ids=["valid", "no valid"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_splits_rows_by_its_folds(
    scheme: str, without: bool, rows: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    X, y, dates = rows
    config = FoldConfig(scheme=scheme, **(SCHEMES[scheme] | (WITHOUT_VALID[scheme] if without else {})))  # type: ignore[arg-type]
    folds = make_folds(DAYS, config, reach=REACH)
    assert config.has_valid != without
    assert all((len(fold.valid) == 0) == without for fold in folds)
    for valid in ("train", "drop"):
        splitter = FoldSplitter(config, reach=REACH, valid=valid)  # type: ignore[arg-type]
        splits = list(splitter.split(X, y, dates))
        assert len(splits) == len(folds) == splitter.get_n_splits(X, y, dates)
        for fold, (train, test) in zip(folds, splits, strict=True):
            trained = np.r_[fold.train, fold.valid] if valid == "train" else fold.train
            assert set(dates[train]) == set(trained)
            assert set(dates[test]) == set(fold.test)
            assert len(train) == SYMBOLS * len(trained)
            assert len(test) == SYMBOLS * len(fold.test)
            apart = np.abs(np.searchsorted(DAYS, trained)[:, None] - np.searchsorted(DAYS, fold.test)[None, :])
            assert apart.min() > REACH


def test_a_search_over_a_pipeline_takes_the_splitter(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    X, y, dates = rows
    config = FoldConfig(scheme="rolling", **(SCHEMES["rolling"] | {"valid": 0}))
    search = GridSearchCV(
        make_pipeline(StandardScaler(), Ridge()),
        {"ridge__alpha": [1.0, 1e6]},
        cv=FoldSplitter(config, reach=REACH),
        error_score="raise",
    )
    search.fit(X, y, groups=dates)
    assert search.best_params_ == {"ridge__alpha": 1.0}
    assert search.n_splits_ == len(make_folds(DAYS, config, reach=REACH))


def test_a_frame_tells_its_dates_itself_and_one_test_group_tests_every_row_once(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    X, y, dates = rows
    index = pd.MultiIndex.from_arrays([dates, np.arange(len(dates))], names=["when", "symbol"])
    splitter = FoldSplitter(K_FOLD, reach=REACH)
    forecasts = cross_val_predict(Ridge(), pd.DataFrame(X, index=index), y, cv=splitter)
    np.testing.assert_allclose(forecasts, cross_val_predict(Ridge(), X, y, cv=splitter, groups=dates), rtol=1e-9)
    assert np.corrcoef(forecasts, y)[0, 1] > 0.9
    scores = cross_val_score(Ridge(), pd.DataFrame(X, index=pd.DatetimeIndex(dates)), y, cv=splitter)
    assert len(scores) == splitter.get_n_splits(groups=dates) == 4


def test_metadata_routing_hands_the_dates_on(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    X, y, dates = rows
    splitter = FoldSplitter(K_FOLD, reach=REACH)
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_val_score(Ridge(), X, y, cv=splitter, params={"groups": dates})
    np.testing.assert_array_equal(scores, cross_val_score(Ridge(), X, y, cv=splitter, groups=dates))


def test_a_calendar_is_cut_where_it_is_given(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    X, y, dates = rows
    splitter = FoldSplitter(K_FOLD, reach=REACH, calendar=DAYS)
    assert splitter.get_n_splits() == 4
    some = dates > np.datetime64("2021-01-01")
    with pytest.raises(ValueError, match="fold 0: X has no row on its test dates"):
        list(splitter.split(X[some], y[some], dates[some]))
    with pytest.raises(ValueError, match="1 dates of rows are not on the calendar, first 2030-01-01"):
        list(splitter.split(X[:1], None, np.array(["2030-01-01"], dtype="datetime64[D]")))
    assert copy.deepcopy(splitter).get_n_splits() == 4


def test_rows_without_dates_are_refused(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    X, y, dates = rows
    splitter = FoldSplitter(K_FOLD, reach=REACH)
    with pytest.raises(ValueError, match=r"give groups, the date of each row, .* X is a ndarray$"):
        next(splitter.split(X, y))
    with pytest.raises(ValueError, match="X is a DataFrame with the index None of int64"):
        next(splitter.split(pd.DataFrame(X), y))
    with pytest.raises(ValueError, match="groups are numbers"):
        next(splitter.split(X, y, np.arange(len(X))))
    with pytest.raises(ValueError, match="must be the date of each of the 2193 rows of X, got 2192"):
        next(splitter.split(X, y, dates[1:]))
    with pytest.raises(ValueError, match="valid must be 'train' or 'drop', got 'test'"):
        FoldSplitter(K_FOLD, reach=REACH, valid="test")  # type: ignore[arg-type]


def test_folds_are_told_in_lines_and_shown_in_a_notebook(tmp_path: Any) -> None:
    folds = make_folds(DAYS, FoldConfig(scheme="rolling", **SCHEMES["rolling"]), reach=REACH)
    write_folds(tmp_path / "folds.json", folds)
    assert isinstance(read_folds(tmp_path / "folds.json"), FoldList)
    assert repr(folds[0]) == (
        "Fold(0: train 2020-01-01 .. 2020-04-09 (100), valid 2020-04-12 .. 2020-05-01 (20), "
        "test 2020-05-04 .. 2020-06-22 (50), 4 purged, 0 embargoed)"
    )
    assert repr(folds).count("Fold(") == len(folds)
    page = folds._repr_html_()
    assert page.count("<svg") == 1
    assert page.count("2020-06-22") >= 1
    assert "<script" not in page
    assert isinstance(folds[0], Fold)
    assert folds[0]._repr_html_().count("<svg") == 1
    assert FoldList()._repr_html_()
