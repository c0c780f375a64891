"""The estimators: scikit-learn's own checks, every model behind one face, dates, windows, weights, purged search."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from factor_data.folds import combinatorial_purged
from factor_models import (
    FactorClassifier,
    FactorRegressor,
    available_models,
    input_kind,
)
from factor_models.estimators.samples import Samples, quantile_edges, quantile_tokens
from rounding import ROUNDING_FLOAT64

pytestmark = pytest.mark.numeric

TREES = {"rounds": 50, "min_rows_in_leaf": 2, "num_threads": 1, "l2": 0.0, "learning_rate": 0.2}
TINY = {"settings": {"hidden": 8}, "epochs": 5, "lr": 0.08}
NUM_DATES, NUM_SYMBOLS, NUM_FEATURES, LOOKBACK = 20, 12, 4, 8

BAGGED = "rows are drawn by their number, and leaves are limited by their number of rows"
SHUFFLED = "samples are shuffled into blocks by their number: repeated ones change the blocks"
FAILS = {
    "linear": {},
    "lightgbm": {"check_sample_weight_equivalence_on_dense_data": BAGGED},
    "lstm": {"check_sample_weight_equivalence_on_dense_data": SHUFFLED},
    "mlp": {"check_sample_weight_equivalence_on_dense_data": SHUFFLED},
}


def representatives(estimator: type) -> list[Any]:
    return [
        estimator("linear", settings={"alpha": 0.1}),
        estimator("lightgbm", settings=TREES),
        estimator("lstm", batch_rows=24, **TINY),
        estimator("mlp", batch_rows=24, **TINY),
    ]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[Any]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@parametrize_with_checks(
    representatives(FactorRegressor) + representatives(FactorClassifier),
    expected_failed_checks=lambda estimator: FAILS[estimator.model],
    xfail_strict=True,
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_s_checks_pass(estimator: FactorRegressor, check: Any) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def market() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows whose last bar tells the target within a date; each date has a level of its own."""
    generator = np.random.default_rng(0)
    shape = (NUM_DATES * NUM_SYMBOLS, LOOKBACK, NUM_FEATURES)
    windows = generator.standard_normal(shape).astype(np.float32)
    dates = np.repeat(np.arange(NUM_DATES), NUM_SYMBOLS)
    level = 5 * generator.standard_normal(NUM_DATES)[dates]
    y = 0.02 * (windows[:, -1, 0] + 0.3 * generator.standard_normal(len(dates)) + level)
    return windows, y, dates


def rank_ic(prediction: np.ndarray, y: np.ndarray, dates: np.ndarray) -> float:
    per_date = pd.DataFrame({"p": prediction, "y": y}).groupby(dates)
    return per_date.apply(lambda one: one["p"].corr(one["y"], method="spearman")).mean()


def test_the_linear_regressor_is_scikit_learn_s_ridge() -> None:
    generator = np.random.default_rng(1)
    X = generator.standard_normal((200, 3)) * [1, 5, 0.1] + 2
    y = X @ [1, -0.2, 3] + 100 + generator.standard_normal(200)
    expected = make_pipeline(StandardScaler(), Ridge(alpha=10.0)).fit(X, y).predict(X)
    ours = FactorRegressor("linear", settings={"alpha": 10.0}).fit(X, y).predict(X)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_a_network_learns_what_is_there_in_the_unit_of_the_target(
    market: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    windows, _, _ = market
    y = 300 + 40 * windows[:, -1, 0]
    fitted = FactorRegressor("lstm", settings={"hidden": 16}, epochs=60, lr=0.01).fit(windows, y)
    assert fitted.score(windows, y) > 0.8


def test_with_dates_a_per_date_loss_ranks_within_the_date(market: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    windows, y, dates = market
    settings = {"settings": {"hidden": 8}, "loss": "ic", "epochs": 25, "lr": 0.02}
    fitted = FactorRegressor("lstm", **settings).fit(windows, y, dates=dates)
    assert rank_ic(fitted.predict(windows), y, dates) > 0.8


def test_rows_that_hold_bars_one_after_another_are_windows(market: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    windows, y, _ = market
    settings = {"settings": {"hidden": 4}, "epochs": 2}
    three = FactorRegressor("lstm", **settings).fit(windows, y)
    flat = windows.reshape(len(windows), -1)
    two = FactorRegressor("lstm", lookback=LOOKBACK, **settings).fit(flat, y)
    assert two.n_features_in_ == three.n_features_in_ == LOOKBACK * NUM_FEATURES
    np.testing.assert_array_equal(two.predict(flat), three.predict(windows))
    linear = FactorRegressor("linear", lookback=LOOKBACK).fit(flat, y)
    np.testing.assert_array_equal(
        linear.predict(flat), FactorRegressor("linear").fit(windows[:, -1], y).predict(windows[:, -1])
    )


@pytest.mark.parametrize("name", ["linear", "lightgbm", "lstm"])
def test_rows_of_weight_0_teach_nothing(market: tuple[np.ndarray, np.ndarray, np.ndarray], name: str) -> None:
    windows, y, dates = market
    odd = np.arange(len(y)) % 4 == 0
    wrong = np.where(odd, -50.0, y)
    settings = {"lstm": TINY, "lightgbm": {"settings": TREES | {"rounds": 10}}}.get(name, {})
    fits = [
        FactorRegressor(name, **settings).fit(windows, target, sample_weight=~odd * 1.0, dates=dates)
        for target in (y, wrong)
    ]
    np.testing.assert_allclose(fits[0].predict(windows), fits[1].predict(windows), rtol=1e-4, atol=1e-6)
    plain = FactorRegressor(name, **settings).fit(windows, wrong, dates=dates)
    assert np.abs(plain.predict(windows) - fits[0].predict(windows)).max() > 0.1


def test_unknown_targets_are_left_out_and_several_targets_give_several_columns(
    market: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    windows, y, dates = market
    both = np.column_stack([y, -y])
    both[::3, 1] = np.nan
    for model in (FactorRegressor("linear"), FactorRegressor("lstm", **TINY)):
        prediction = model.fit(windows, both, dates=dates).predict(windows)
        assert prediction.shape == (len(y), 2)
        assert np.isfinite(prediction).all()
    known = np.isfinite(both[:, 1])
    alone = FactorRegressor("linear").fit(windows[known], both[known, 1])
    together = FactorRegressor("linear").fit(windows, both)
    # The features are standardised on all rows there, on half of them here.
    np.testing.assert_allclose(together.predict(windows)[:, 1], alone.predict(windows), atol=0.01)


def test_a_loss_of_quantiles_gives_one_forecast_per_target(market: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    windows, y, dates = market
    fitted = FactorRegressor("lstm", loss="quantile", **TINY).fit(windows, np.column_stack([y, -y]), dates=dates)
    assert fitted.predict(windows).shape == (len(y), 2)


def test_the_same_seed_gives_the_same_model_and_leaves_the_generator_alone(
    market: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    windows, y, _ = market
    torch.manual_seed(4)
    before = torch.get_rng_state()
    settings = {"settings": {"hidden": 4, "dropout": 0.3}, "epochs": 2}
    first, again, other = (
        FactorRegressor("lstm", random_state=seed, **settings).fit(windows, y).predict(windows) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4
    assert torch.equal(torch.get_rng_state(), before)


def test_the_last_dates_stop_training(market: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    windows, y, dates = market
    noise = np.random.default_rng(3).standard_normal(len(y))
    network = FactorRegressor("lstm", settings={"hidden": 16}, epochs=60, lr=0.02, valid_share=0.25, patience=3)
    assert network.fit(windows, noise, dates=dates).best_epoch_ < 30
    trees = FactorRegressor("lightgbm", settings=TREES | {"patience": 3}, valid_share=0.25)
    assert trees.fit(windows, noise, dates=dates).model_.num_trees[0] < 20
    train, valid = Samples(windows=windows, rows=np.arange(len(y)), dates=dates).split_last(0.25)
    assert set(train.dates) == set(range(15))
    assert set(valid.dates) == {15, 16, 17, 18, 19}


def test_batches_hold_whole_dates_and_every_sample_once(market: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    windows, _, dates = market
    order = np.random.default_rng(5).permutation(len(dates))
    samples = Samples(windows=windows[order], rows=np.arange(len(dates)), dates=dates[order])
    batches = list(samples.train_batches(3, 64, seed=1, epoch=0))
    assert len(batches) == samples.num_train_batches(3, 64) == 7
    assert np.sort(np.concatenate([batch.rows for batch in batches])).tolist() == list(range(len(dates)))
    for batch in batches:
        assert all((batch.dates == date).sum() == NUM_SYMBOLS for date in np.unique(batch.dates))
    epochs = [[batch.rows.tolist() for batch in samples.train_batches(3, 64, 1, epoch)] for epoch in (0, 0, 1)]
    assert epochs[0] == epochs[1] != epochs[2]
    blocks = list(Samples(windows=windows, rows=np.arange(len(dates))).train_batches(3, 64, 1, 0))
    assert [len(block) for block in blocks] == [60, 60, 60, 60]


def test_tokens_are_quantiles_of_the_training_values_and_0_is_missing() -> None:
    values = np.r_[np.arange(100.0), np.nan].astype(np.float32).reshape(-1, 1, 1)
    edges = quantile_edges(values, 4)
    tokens = quantile_tokens(values, edges)[:, 0, 0]
    assert np.bincount(tokens).tolist() == [1, 25, 25, 25, 25]
    assert quantile_tokens(np.array([[[-1e9]], [[1e9]]], np.float32), edges).ravel().tolist() == [1, 4]


@pytest.mark.parametrize("name", available_models())
def test_every_model_of_the_zoo_is_an_estimator(market: tuple[np.ndarray, np.ndarray, np.ndarray], name: str) -> None:
    windows, y, dates = market
    symbols = np.tile([f"S{number:02d}" for number in range(NUM_SYMBOLS)], NUM_DATES)
    fitted = FactorRegressor(name, epochs=1).fit(windows, y, dates=dates, symbols=symbols)
    prediction = fitted.predict(windows, dates=dates, symbols=symbols)
    assert prediction.shape == y.shape
    assert np.isfinite(prediction).all()
    assert len(np.unique(dates[:24])) == 2
    two_dates = fitted.predict(windows[:24], dates=dates[:24], symbols=symbols[:24])
    np.testing.assert_allclose(two_dates, prediction[:24], rtol=0, atol=ROUNDING_FLOAT64)
    if input_kind(name) != "last_bar":
        labels = np.where(y > np.median(y), "up", "down")
        told = FactorClassifier(name, epochs=1).fit(windows, labels, dates=dates, symbols=symbols)
        assert set(told.predict(windows, dates=dates, symbols=symbols)) <= {"up", "down"}


@pytest.mark.parametrize("name", ["linear", "lightgbm", "lstm"])
def test_a_classifier_gives_the_probability_of_its_second_label(
    market: tuple[np.ndarray, np.ndarray, np.ndarray], name: str
) -> None:
    windows = market[0]
    labels = np.where(windows[:, -1, 1] > 0, "up", "down")
    settings = {
        "lstm": {"settings": {"hidden": 8}, "epochs": 30, "lr": 0.02},
        "lightgbm": {"settings": TREES},
    }
    fitted = FactorClassifier(name, **settings.get(name, {})).fit(windows, labels)
    assert fitted.classes_.tolist() == ["down", "up"]
    assert fitted.score(windows, labels) > 0.85
    probability = fitted.predict_proba(windows)
    np.testing.assert_allclose(probability.sum(axis=1), 1.0)
    np.testing.assert_array_equal(fitted.predict(windows) == "up", probability[:, 1] > 0.5)
    assert probability[labels == "up", 1].mean() > probability[labels == "down", 1].mean() + 0.3


def test_a_purged_search_over_a_pipeline_finds_the_better_setting(
    market: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    windows, y, dates = market
    X = windows[:, -1].astype(np.float64)
    X[::17, 1] = np.nan
    folds = combinatorial_purged(
        np.arange(NUM_DATES).astype("datetime64[D]"), num_groups=4, num_test_groups=1, valid_groups=0, purge=1,
        embargo=1,
    )  # fmt: skip
    day = dates.astype("datetime64[D]")
    splits = [(np.flatnonzero(np.isin(day, fold.train)), np.flatnonzero(np.isin(day, fold.test))) for fold in folds]
    assert all(abs(dates[train][:, None] - dates[test]).min() > 1 for train, test in splits)
    pipeline = make_pipeline(StandardScaler(), FactorRegressor("linear"))
    search = GridSearchCV(
        pipeline,
        {"factorregressor__settings": [{"alpha": 1.0}, {"alpha": 1e6}]},
        cv=splits,
        error_score="raise",
    )
    within = y - pd.Series(y).groupby(dates).transform("mean").to_numpy()
    search.fit(X, within, factorregressor__dates=dates)
    assert search.best_params_ == {"factorregressor__settings": {"alpha": 1.0}}
    assert search.best_score_ > 0.7
    assert np.isfinite(search.predict(X)).all()


def test_bad_arguments_are_refused(market: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    windows, y, dates = market
    cases = [
        ({"model": "lstn"}, {}, r"model 'lstn' is unknown: did you mean 'lstm'"),
        ({"settings": {"hiden": 3}}, {}, r"no setting 'hiden': did you mean 'hidden'"),
        ({"settings": {"lookback": 3}}, {}, r"settings hold 'lookback'"),
        ({"lookback": 5}, {}, r"lookback = 5: X holds windows of 8 bars"),
        ({"epochs": 0}, {}, r"epochs = 0: must be >= 1"),
        ({"valid_share": 1.0}, {}, r"valid_share = 1.0: must be in \[0, 1\)"),
        ({"loss": "mes"}, {}, r"loss 'mes' is unknown"),
        (
            {"loss": "bce"},
            {},
            r"loss = 'bce': it is one of classification, which FactorRegressor does not do",
        ),
        ({}, {"dates": dates[1:]}, r"dates have shape \(239,\): must be \(num_samples=240,\)"),
        ({}, {"texts": windows}, r"texts have shape"),
        ({}, {"sample_weight": -np.ones(len(y))}, r"Negative values"),
    ]
    for settings, arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            FactorRegressor(**({"epochs": 1} | settings)).fit(windows, y, **arguments)
    with pytest.raises(ValueError, match="lookback = 3: X has 32 columns, which is not a multiple"):
        FactorRegressor("linear", lookback=3).fit(windows.reshape(len(y), -1), y)
    with pytest.raises(ValueError, match="without a finite value of positive weight"):
        FactorRegressor("linear").fit(windows, np.full(len(y), np.nan))
    fitted = FactorRegressor("linear").fit(windows, y)
    with pytest.raises(ValueError, match="X holds windows of 4 bars: the model was fitted on 8"):
        fitted.predict(np.concatenate([windows, windows], axis=2)[:, :4])
