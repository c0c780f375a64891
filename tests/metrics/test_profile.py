"""The profile of a forecast: quantile means, decay, and whether its scale is right."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from factor_metrics import profile_forecast, rank_ic
from factor_metrics.judging.profile import calibration_series, estimate
from factor_metrics.significance.bootstrap import bootstrap_interval


def market(seed: int = 0, num_dates: int = 60, num_symbols: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Label = prediction + noise, both with a part that moves all symbols alike, some values missing."""
    generator = np.random.default_rng(seed)
    prediction = generator.normal(size=(num_dates, num_symbols)) + generator.normal(size=(num_dates, 1))
    label = prediction + generator.normal(size=prediction.shape) + 5.0 * generator.normal(size=(num_dates, 1))
    prediction[generator.random(prediction.shape) < 0.05] = np.nan
    label[generator.random(label.shape) < 0.05] = np.nan
    return prediction, label


def test_calibration_by_hand() -> None:
    predicted, realised, slope = calibration_series([[1.0, 2.0, 3.0, 4.0]], [[10.0, 12.0, 10.0, 16.0]], num_bins=2)
    np.testing.assert_allclose(predicted, [[-1.0, 1.0]])
    np.testing.assert_allclose(realised, [[-1.0, 1.0]])
    # sum (x - 2.5)(y - 12) / sum (x - 2.5)^2 = (3 + 0 - 1 + 6) / 5
    np.testing.assert_allclose(slope, [1.6])


def test_the_slope_is_that_of_ordinary_least_squares_on_each_date() -> None:
    prediction, label = market()
    _, _, slope = calibration_series(prediction, label)
    for date in range(len(slope)):
        both = ~(np.isnan(prediction[date]) | np.isnan(label[date]))
        fitted = sm.OLS(label[date, both], sm.add_constant(prediction[date, both])).fit()
        assert slope[date] == pytest.approx(fitted.params[1], abs=1e-10)


def test_bins_hold_what_a_loop_puts_into_them() -> None:
    prediction, label = market()
    predicted, realised, _ = calibration_series(prediction, label, num_bins=4)
    for date in (0, 7, 31):
        both = np.flatnonzero(~(np.isnan(prediction[date]) | np.isnan(label[date])))
        order = both[np.argsort(prediction[date, both])]
        bin_of = [(2 * place + 1) * 4 // (2 * len(order)) for place in range(len(order))]
        for index in range(4):
            members = [symbol for symbol, b in zip(order, bin_of, strict=True) if b == index]
            x = prediction[date, members].mean() - prediction[date, both].mean()
            y = label[date, members].mean() - label[date, both].mean()
            assert (predicted[date, index], realised[date, index]) == (pytest.approx(x), pytest.approx(y))


@settings(max_examples=25)
@given(st.floats(0.1, 10.0), st.floats(-5.0, 5.0), st.integers(0, 100))
def test_a_scaled_forecast_has_the_inverse_slope_and_a_shift_changes_nothing(
    scale: float, shift: float, seed: int
) -> None:
    prediction, label = market(seed, num_dates=5)
    _, realised, slope = calibration_series(prediction, label, num_bins=3)
    _, same, scaled = calibration_series(scale * prediction + shift, label + shift, num_bins=3)
    np.testing.assert_allclose(scaled * scale, slope, rtol=1e-6)
    np.testing.assert_allclose(same, realised, atol=1e-8)


def test_a_date_that_says_nothing_is_missing_not_zero() -> None:
    prediction = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, np.nan, np.nan, np.nan], [1.0, 2.0, 3.0, 4.0]])
    label = np.arange(12.0).reshape(3, 4)
    predicted, realised, slope = calibration_series(prediction, label, num_bins=2)
    assert np.isnan(predicted[:2]).all()
    assert np.isnan(realised[:2]).all()
    np.testing.assert_array_equal(np.isnan(slope), [True, True, False])


def test_a_calibrated_forecast_has_slope_one_inside_its_interval() -> None:
    prediction, label = market(num_dates=300)
    found = profile_forecast(prediction, {"h1": label}, "h1", label, overlaps={"h1": 1}).calibration
    assert found is not None
    assert found.slope.low[0] < 1.0 < found.slope.high[0]
    assert (np.diff(found.predicted) > 0).all()
    inside = (found.realised.low < found.predicted) & (found.predicted < found.realised.high)
    assert inside.sum() >= 8


def test_estimates_are_the_means_and_bootstrap_intervals_of_their_series() -> None:
    series = np.random.default_rng(1).normal(size=80)
    series[5] = np.nan
    found = estimate({"a": series, "b": np.full(80, np.nan)}, [1, 20], num_bootstrap=200, seed=3)
    assert found.names == ("a", "b")
    assert found.mean[0] == pytest.approx(np.nanmean(series))
    assert (found.low[0], found.high[0]) == bootstrap_interval(series, 1, 0.95, 200, 3)
    assert np.isnan([found.mean[1], found.low[1], found.high[1]]).all()


def test_decay_is_the_rank_ic_against_every_label_and_of_old_forecasts() -> None:
    prediction, label = market()
    other = np.roll(label, 3, axis=1)
    labels = {"other": other, "h1": label}
    found = profile_forecast(
        prediction, labels, "h1", overlaps={"h1": 1, "other": 5}, delays=(0, 2, 99), num_bootstrap=50
    )
    assert found.label_decay.names == ("other", "h1")
    assert found.label_decay.mean[1] == pytest.approx(np.nanmean(rank_ic(prediction, label)))
    assert found.label_decay.mean[0] == pytest.approx(np.nanmean(rank_ic(prediction, other)))
    assert found.delay_decay.names == ("0", "2")
    assert found.delay_decay.mean[0] == found.label_decay.mean[1]
    assert found.delay_decay.mean[1] == pytest.approx(np.nanmean(rank_ic(prediction[:-2], label[2:])))
    assert found.calibration is None


def test_autocorrelation_is_the_rank_correlation_of_a_forecast_with_itself_so_many_dates_before() -> None:
    """Beside scipy, date by date; age 0 is no lag, and one that leaves no date is dropped."""
    noise, label = market(3)
    prediction = np.array([noise[max(0, date - 3) : date + 1].mean(axis=0) for date in range(len(noise))])
    found = profile_forecast(prediction, {"h1": label}, "h1", overlaps={"h1": 1}, delays=(0, 1, 5, 99)).autocorrelation
    assert found.names == ("1", "5")
    for place, lag in enumerate((1, 5)):
        pairs = [
            scipy.stats.spearmanr(prediction[date], prediction[date - lag], nan_policy="omit").statistic
            for date in range(lag, len(prediction))
        ]
        assert found.mean[place] == pytest.approx(np.mean(pairs), abs=1e-12)
        assert found.low[place] < found.mean[place] < found.high[place]
    assert found.mean[0] > 0.5 > abs(found.mean[1]), "a mean over four dates has forgotten all after five"


def test_quantile_means_leave_the_market_out() -> None:
    prediction, label = market(num_dates=200)
    found = profile_forecast(prediction, {"h1": label}, "h1", overlaps={"h1": 1}, num_bootstrap=50).quantiles
    shifted = profile_forecast(prediction, {"h1": label + 7.0}, "h1", overlaps={"h1": 1}, num_bootstrap=50).quantiles
    np.testing.assert_allclose(shifted.mean, found.mean, atol=1e-9)
    assert found.mean.sum() == pytest.approx(0.0, abs=1e-9)
    assert (np.diff(found.mean) > 0).all()


def test_the_own_label_must_be_among_the_labels() -> None:
    prediction, label = market()
    with pytest.raises(ValueError, match=r"own label h3, got \['h1'\]"):
        profile_forecast(prediction, {"h1": label}, "h3", overlaps={"h1": 1})
