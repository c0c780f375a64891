"""Trees that see the other assets: the columns by hand, the leader found, nothing seen of other dates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factor_models import Table, build_model, load_model, save_model
from factor_models.tabular.cross_asset import CrossAssetTrees, choose_leaders, date_moments
from factor_models.tabular.lightgbm_trees import LightGBMTrees

NUM_DATES, NUM_SYMBOLS, NUM_FEATURES = 200, 12, 3
LEADER = 5
SMALL = {"rounds": 60, "min_rows_in_leaf": 20, "num_threads": 1, "l2": 0.0}


def make_market(seed: int = 0) -> Table:
    """Every symbol's target follows feature 1 of one symbol; own features say nothing."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((NUM_DATES, NUM_SYMBOLS, NUM_FEATURES)).astype(np.float32)
    y = x[:, [LEADER - 1], 1:2] * np.ones((1, NUM_SYMBOLS, 1)) + generator.standard_normal((NUM_DATES, NUM_SYMBOLS, 1))
    date, symbol = np.indices((NUM_DATES, NUM_SYMBOLS))
    return Table(
        features=x.reshape(-1, NUM_FEATURES),
        targets=y.reshape(-1, 1).astype(np.float32),
        groups=date.ravel() + 40,
        symbols=symbol.ravel() + 1,
    )


def build(**config: Any) -> CrossAssetTrees:
    sizes = {"num_features": NUM_FEATURES, "num_horizons": 1, "num_symbols": NUM_SYMBOLS + 1}
    return build_model("cross_asset_lightgbm", **(sizes | SMALL | {"leaders": 1} | config))


@pytest.fixture(scope="module")
def market() -> Table:
    return make_market()


@pytest.fixture(scope="module")
def fitted(market: Table) -> CrossAssetTrees:
    return build().fit(market)


def correlation(model: CrossAssetTrees | LightGBMTrees, table: Table) -> float:
    return np.corrcoef(model.predict(table)[:, 0], table.targets[:, 0])[0, 1]


def test_the_leader_is_found_and_explains_what_own_features_cannot(market: Table, fitted: CrossAssetTrees) -> None:
    assert fitted.leaders.tolist() == [LEADER]
    fresh = make_market(seed=1)
    assert correlation(fitted, fresh) > 0.6
    own = SMALL | {"num_features": NUM_FEATURES, "num_horizons": 1}
    assert abs(correlation(build_model("lightgbm", **own).fit(market), fresh)) < 0.1


def test_scores_of_leaders_are_those_of_a_plain_loop() -> None:
    generator = np.random.default_rng(4)
    table = make_market(seed=4)
    x, y = table.features.astype(np.float64), table.targets.astype(np.float64)
    x[generator.random(x.shape) < 0.1] = np.nan
    dates, symbols = table.groups - 40, table.symbols
    score = {}
    for leader in range(1, NUM_SYMBOLS + 1):
        score[leader] = 0.0
        for feature in range(NUM_FEATURES):
            signal = x[symbols == leader, feature]
            for other in set(range(1, NUM_SYMBOLS + 1)) - {leader}:
                filled = np.where(np.isnan(signal), np.nanmean(signal), signal)
                r = np.corrcoef(filled, y[symbols == other, 0])[0, 1]
                score[leader] += r**2 - 1 / (np.isfinite(signal).sum() - 1)
    best = sorted(sorted(score, key=lambda leader: -score[leader])[:4])
    assert choose_leaders(x, y, dates, symbols, 4).tolist() == best


def test_unknown_symbols_do_not_lead_and_there_are_no_more_leaders_than_symbols(market: Table) -> None:
    renamed = np.where(market.symbols == LEADER, 0, market.symbols)
    leaders = choose_leaders(market.features, market.targets, market.groups - 40, renamed, 50)
    assert 0 not in leaders
    assert len(leaders) == NUM_SYMBOLS - 1


def test_moments_of_a_date_are_those_of_numpy_without_missing_values() -> None:
    generator = np.random.default_rng(2)
    x = generator.standard_normal((5, 7, 2)) * 3 + 100
    x[1, :3, 0] = np.nan
    x[2, :, 1] = np.nan
    mean, deviation = date_moments(x.reshape(-1, 2), np.repeat(np.arange(5), 7))
    known = np.isfinite(x).any(axis=1)
    np.testing.assert_array_equal(np.isfinite(mean), known)
    for date, feature in zip(*np.nonzero(known), strict=True):
        np.testing.assert_allclose(mean[date, feature], np.nanmean(x[date, :, feature]), rtol=1e-12)
        np.testing.assert_allclose(deviation[date, feature], np.nanstd(x[date, :, feature]), rtol=1e-10)


def test_a_prediction_depends_on_its_own_date_alone(market: Table, fitted: CrossAssetTrees) -> None:
    expected = fitted.predict(market)
    changed = market.features.copy()
    date = 120 + 40
    changed[market.groups == date] += 2.0
    after = fitted.predict(replace(market, features=changed))
    np.testing.assert_array_equal(after[market.groups != date], expected[market.groups != date])
    assert np.abs(after[market.groups == date] - expected[market.groups == date]).max() > 0.1
    one_date = market.groups == date - 1
    alone = Table(features=market.features[one_date], groups=market.groups[one_date], symbols=market.symbols[one_date])
    np.testing.assert_array_equal(fitted.predict(alone), expected[one_date])


def test_a_prediction_sees_the_leader_of_its_date_and_its_absence(market: Table, fitted: CrossAssetTrees) -> None:
    expected = fitted.predict(market)
    changed = market.features.copy()
    changed[(market.groups == 50) & (market.symbols == LEADER), 1] = 3.0
    after = fitted.predict(replace(market, features=changed))
    others = (market.groups == 50) & (market.symbols != LEADER)
    assert (after[others] - expected[others]).max() > 0.1
    there = (market.groups != 50) | (market.symbols != LEADER)
    without = Table(features=market.features[there], groups=market.groups[there], symbols=market.symbols[there])
    assert np.isfinite(fitted.predict(without)).all()


def test_the_order_of_rows_does_not_matter(market: Table, fitted: CrossAssetTrees) -> None:
    order = np.random.default_rng(0).permutation(len(market))
    shuffled = Table(features=market.features[order], groups=market.groups[order], symbols=market.symbols[order])
    np.testing.assert_allclose(fitted.predict(shuffled), fitted.predict(market)[order], rtol=1e-5)


def test_a_loaded_model_knows_its_leaders(market: Table, fitted: CrossAssetTrees, tmp_path: Path) -> None:
    config = {"name": "cross_asset_lightgbm", "num_features": NUM_FEATURES, "num_horizons": 1, "leaders": 1}
    config |= SMALL | {"num_symbols": NUM_SYMBOLS + 1}
    save_model(tmp_path, fitted, config, {})
    loaded, _ = load_model(tmp_path)
    assert loaded.leaders.tolist() == [LEADER]
    np.testing.assert_array_equal(loaded.predict(market), fitted.predict(market))


def test_symbols_are_needed_for_leaders_only(market: Table) -> None:
    without = replace(market, symbols=None)
    with pytest.raises(ValueError, match="symbols are None: leading symbols"):
        build().fit(without)
    for model in (build(leaders=0), build(num_symbols=0)):
        assert len(model.fit(without).leaders) == 0
    with pytest.raises(ValueError, match=r"^model 'cross_asset_lightgbm': leaders = -1: must be >= 0"):
        build(leaders=-1)
