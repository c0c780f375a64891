"""What a forecast is made of: bets that are an exposure, groups, regimes and calendar, each by another way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from factor_metrics import EvaluationConfig, anatomy, exposures, neutralise, rank_ic, rank_rows, regimes

CONFIG = EvaluationConfig(min_symbols=10, bootstrap=200)
DATES = np.array(pd.bdate_range("2020-01-01", periods=120), dtype="datetime64[ns]")


def market(seed: int = 0, num_symbols: int = 40) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    moves = generator.normal(0.0, 0.01, size=(120, 1)) + generator.normal(0.0, 0.02, size=(120, num_symbols))
    return 50.0 * np.cumprod(1.0 + moves, axis=0), generator.lognormal(10.0, 1.0, size=moves.shape)


def taken_apart(prediction: np.ndarray, label: np.ndarray, known: dict[str, Any], **regime: np.ndarray) -> Any:
    return anatomy(prediction, label, DATES, known, regime, overlap=1, config=CONFIG)


def test_exposures_are_those_of_pandas() -> None:
    close, traded = market()
    close[30:33, 2] = traded[50, 1] = np.nan
    moves = pd.DataFrame(close).pct_change(fill_method=None)
    mean = moves.mean(axis=1)
    found = exposures(close, traded, mean.to_numpy())
    for symbol in (0, 1, 2):
        both = moves[symbol]
        x = mean.where(both.notna())
        expected = both.rolling(60, 30).cov(x, ddof=0) / x.rolling(60, 30).var(ddof=0)
        np.testing.assert_allclose(found["beta"][:, symbol], expected.to_numpy(), rtol=1e-9)
    volume = pd.DataFrame(traded).rolling(20, 1).mean().to_numpy()
    np.testing.assert_allclose(found["money traded"], volume, rtol=1e-12)
    np.testing.assert_allclose(found["momentum"][60:], close[55:115] / close[:60] - 1.0)


def test_exposures_and_their_market_know_no_future() -> None:
    close, traded = market(1)
    mean = np.full(120, 0.001) * np.arange(120)
    whole, part = exposures(close, traded, mean), exposures(close[:80], traded[:80], mean[:80])
    for name, values in part.items():
        np.testing.assert_array_equal(values, whole[name][:80])


def test_a_bet_on_an_exposure_is_gone_once_it_is_neutral_and_skill_is_not() -> None:
    generator = np.random.default_rng(2)
    beta, label = generator.normal(size=(2, 120, 60))
    label = label + beta  # high beta rose all the time
    skill = label - beta + generator.normal(size=label.shape)
    bet = beta + 0.3 * generator.normal(size=label.shape)
    parts = [taken_apart(forecast, label, {"beta": beta, "momentum": skill * 0.0 + 1.0}) for forecast in (bet, skill)]
    as_it_is, neutral, _, _ = parts[0].neutral.mean
    assert parts[0].neutral.names == ("as it is", "beta", "momentum", "all")
    assert as_it_is > 0.4
    assert abs(neutral) < 0.1 * as_it_is, "but for what is no straight line between the ranks"
    assert parts[1].neutral.mean[1] > 0.4
    assert parts[0].exposure.mean[0] > 0.9
    assert abs(parts[1].exposure.mean[0]) < 0.05


def test_neutral_is_the_rank_correlation_of_residuals_by_scipy() -> None:
    generator = np.random.default_rng(3)
    prediction, label, size = generator.normal(size=(3, 120, 25))
    prediction[4, 3] = size[5, 2] = np.nan
    expected = []
    for row in range(120):
        there = ~np.isnan(prediction[row]) & ~np.isnan(size[row])
        y, x = stats.rankdata(prediction[row, there]), stats.rankdata(size[row, there])
        line = stats.linregress(x, y)
        expected.append(stats.spearmanr(y - line.slope * x - line.intercept, label[row, there]).statistic)
    found = taken_apart(prediction, label, {"money traded": size}).neutral
    # Residuals of ranks that are equal but for rounding are in one order here and in another there.
    assert found.mean[1] == pytest.approx(np.mean(expected), abs=2e-4)
    assert found.mean[1] == pytest.approx(found.mean[2], abs=1e-9)


def test_neutral_to_all_is_what_neutralise_leaves() -> None:
    generator = np.random.default_rng(7)
    prediction, label, beta, size = generator.normal(size=(4, 120, 30))
    prediction[3, 4] = beta[5, 6] = np.nan
    known = {"beta": beta, "money traded": size, "momentum": 2.0 * beta + 1.0}  # collinear
    there = ~(np.isnan(prediction) | np.isnan(beta))
    ranks = [rank_rows(np.where(there, values, np.nan)) for values in (prediction, beta, size)]
    expected = rank_ic(neutralise(ranks[0], np.stack(ranks[1:], axis=2)), label, 10)
    found = taken_apart(prediction, label, known).neutral
    assert found.mean[-1] == pytest.approx(np.nanmean(expected), abs=2e-4)


def test_neutral_to_sectors_is_a_regression_on_columns_of_0_and_1_with_the_exposures() -> None:
    generator = np.random.default_rng(8)
    prediction, label, beta = generator.normal(size=(3, 120, 30))
    sector = np.broadcast_to(np.arange(30) % 3 * 10.0, prediction.shape).copy()
    sector[7, 2] = np.nan
    prediction += sector / 5.0
    there = ~np.isnan(sector)
    ranks, of_beta = (rank_rows(np.where(there, values, np.nan)) for values in (prediction, beta))
    columns = [np.where(there, sector == one, np.nan) for one in (0.0, 10.0, 20.0)]
    expected = [
        rank_ic(neutralise(ranks, np.stack(known, axis=2)), label, 10) for known in (columns, [*columns, of_beta])
    ]
    found = anatomy(prediction, label, DATES, {"beta": beta}, {}, overlap=1, sector=sector, config=CONFIG)
    assert found.neutral.names == ("as it is", "beta", "sector", "all")
    np.testing.assert_allclose(found.neutral.mean[2:], [np.nanmean(one) for one in expected], atol=2e-4)
    assert found.neutral_decay.names == ("0", "1", "2", "5", "10", "20")
    assert found.neutral_decay.mean[0] == found.neutral.mean[3]
    old = neutralise(ranks, np.stack([*columns, of_beta], axis=2))
    assert found.neutral_decay.mean[2] == pytest.approx(np.nanmean(rank_ic(old[:-2], label[2:], 10)), abs=2e-4)


def test_nothing_is_left_of_a_forecast_that_is_an_exposure() -> None:
    generator = np.random.default_rng(5)
    beta, momentum = generator.normal(size=(2, 120, 60))
    found = taken_apart(np.exp(momentum), momentum + beta, {"beta": beta, "momentum": momentum}).neutral
    assert found.names == ("as it is", "beta", "momentum", "all")
    assert np.isfinite(found.mean).tolist() == [True, True, False, False], "an order of rounding has no rank IC"


def test_terciles_regimes_and_calendar_by_hand() -> None:
    generator = np.random.default_rng(4)
    label, size = generator.normal(size=(2, 120, 45))
    small = size < np.quantile(size, 1.0 / 3.0, axis=1, keepdims=True)
    prediction = np.where(small, label, generator.normal(size=label.shape))
    up = np.arange(120) % 3 == 0
    part = taken_apart(prediction, label, {"money traded": size}, up=up, down=~up)
    assert part.by_size.names == ("low", "middle", "high")
    assert part.by_size.mean[0] == pytest.approx(1.0)
    assert np.abs(part.by_size.mean[1:]).max() < 0.1
    assert part.by_volatility.names == ()
    per_date = rank_ic(prediction, label, 10)
    np.testing.assert_allclose(part.by_regime.mean, [per_date[up].mean(), per_date[~up].mean()])
    days, months = pd.Series(per_date).groupby(pd.DatetimeIndex(DATES).dayofweek).mean(), pd.DatetimeIndex(DATES).month
    assert part.by_weekday.names == ("Mon", "Tue", "Wed", "Thu", "Fri")
    np.testing.assert_allclose(part.by_weekday.mean, days.to_numpy())
    assert part.by_month.names == ("Jan", "Feb", "Mar", "Apr", "May", "Jun")
    np.testing.assert_allclose(part.by_month.mean, pd.Series(per_date).groupby(months).mean().to_numpy())


def test_regimes_go_by_what_the_market_did_before() -> None:
    generator = np.random.default_rng(5)
    moves = np.concatenate(
        [[np.nan], 0.01 + 1e-5 * generator.normal(size=59), -0.03 + 1e-5 * generator.normal(size=60)]
    )
    found = regimes(moves, np.ones(120, dtype=bool))
    assert not any(on[:9].any() for on in found.values()), "fewer than half of twenty returns are known"
    assert found["up"][10:60].all()
    assert found["down"][70:].all()
    assert found["wild"][80:].all()
    assert found["calm"][10:60].all()
    early = regimes(moves[:50], np.ones(50, dtype=bool))
    np.testing.assert_array_equal(early["up"], found["up"][:50])


def test_weekly_dates_have_no_weekdays_and_no_knowledge_has_no_parts() -> None:
    generator = np.random.default_rng(6)
    prediction, label = generator.normal(size=(2, 40, 20))
    weeks = np.datetime64("2020-01-06", "D") + 7 * np.arange(40)
    part = anatomy(prediction, label, weeks, {}, {}, overlap=1, config=CONFIG)
    assert part.by_weekday.names == part.neutral.names == part.by_regime.names == part.exposure.names == ()
    assert len(part.by_month.names) == 9 + 1
