"""Charts: nice axes, broken lines, running sums, months."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factor_metrics.judging.profile import Estimates
from factor_metrics.report.axes import band_path, date_ticks, line_path, nice_ticks, scale_of
from factor_metrics.report.charts import Line, estimate_chart, time_chart
from factor_metrics.report.series import (
    MAX_POINTS,
    cumulative,
    drawn,
    monthly_means,
    rolling_error,
    rolling_mean,
    rolling_window,
)

FINITE = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(FINITE, min_size=1, max_size=20))
def test_an_axis_holds_every_value_and_has_ticks_inside(values: list[float]) -> None:
    scale = scale_of([np.array(values)])
    assert scale.low <= min(*values, 0.0) <= max(*values, 0.0) <= scale.high
    assert all(scale.low - 1e-9 * abs(scale.low) <= tick <= scale.high * (1 + 1e-9) + 1e-12 for tick in scale.ticks)
    assert 2 <= len(scale.ticks) <= 12
    assert len({scale.text(tick) for tick in scale.ticks}) == len(scale.ticks)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (-0.03, 0.11, (0.0, 0.05, 0.1)),
        (0.0, 7.0, (0.0, 2.0, 4.0, 6.0)),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: tuple[float, ...]) -> None:
    assert nice_ticks(low, high) == ticks


def test_an_axis_without_a_number_still_stands() -> None:
    scale = scale_of([np.array([np.nan, np.inf])])
    assert (scale.low, scale.high) == (0.0, 1.05)
    assert scale_of([np.array([1e-17, -1e-17])]).ticks == scale.ticks


def test_tick_labels_have_a_sign_only_where_the_axis_has_both() -> None:
    both, positive = scale_of([np.array([-0.02, 0.02])], "share"), scale_of([np.array([0.02])], "share")
    assert (both.text(0.01), both.text(-0.01), both.text(0.0)) == ("+1 %", "−1 %", "0 %")
    assert positive.text(0.01) == "1.0 %"


def test_date_ticks_fall_on_the_first_date_of_round_months() -> None:
    dates = [str(date)[:10] for date in pd.bdate_range("2017-05-15", "2020-05-15")]
    ticks = date_ticks(dates)
    assert [text for _, text in ticks] == ["2017-07", "2018-01", "2018-07", "2019-01", "2019-07", "2020-01"]
    assert [dates[position] for position, _ in ticks][:2] == ["2017-07-03", "2018-01-01"]
    decades = [str(date)[:10] for date in pd.bdate_range("1990-01-01", "2023-01-01")]
    assert [text for _, text in date_ticks(decades)] == ["1995", "2000", "2005", "2010", "2015", "2020"]


def test_a_short_calendar_gets_a_few_dates_with_their_time() -> None:
    stamps = [f"2024-03-05T{hour:02d}:30:00" for hour in range(9, 16)]
    assert [text for _, text in date_ticks(stamps)][::4] == ["2024-03-05 09:30", "2024-03-05 15:30"]
    assert date_ticks([]) == []


def test_a_missing_value_breaks_the_line_and_a_lone_one_is_a_dot() -> None:
    x = np.arange(5.0)
    y = np.array([1.0, 2.0, np.nan, 4.0, np.nan])
    assert line_path(x, y) == "M0 1l1 1M3 4h0"
    assert band_path(x, y, y + 1.0) == "M0 2l1 1 0-1-1-1ZM3 5l0-1Z"
    assert line_path(x, np.full(5, np.nan)) == ""


def test_rolling_mean_and_sums_by_hand() -> None:
    values = np.array([1.0, 3.0, np.nan, 5.0])
    np.testing.assert_allclose(rolling_mean(values, 2), [1.0, 2.0, 3.0, 5.0])
    np.testing.assert_allclose(rolling_mean(values, 4), [np.nan, 2.0, 2.0, 3.0])
    np.testing.assert_allclose(cumulative(values, 2), [0.5, 2.0, 2.0, 4.5])
    assert np.isnan(cumulative(np.full(3, np.nan), 1)).all()
    assert [rolling_window(number) for number in (1, 9, 90, 1000)] == [1, 3, 30, 60]


def test_rolling_mean_is_that_of_pandas() -> None:
    values = np.random.default_rng(0).normal(size=200)
    values[::7] = np.nan
    expected = pd.Series(values).rolling(30, min_periods=15).mean()
    np.testing.assert_allclose(rolling_mean(values, 30), expected, atol=1e-12)


def test_the_band_of_independent_dates_is_the_error_of_a_rolling_mean() -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(size=(400, 300))
    error = values[:, 0].std() / np.sqrt(400)
    claimed = rolling_error(values[:, 0], 60, error)[-1]
    simulated = np.std([rolling_mean(column, 60)[-1] for column in values.T])
    assert claimed == pytest.approx(simulated, rel=0.12)


@pytest.mark.parametrize("num_dates", [0, 1, MAX_POINTS, MAX_POINTS + 1, 10 * MAX_POINTS + 3])
def test_a_long_series_is_thinned_evenly_and_ends_at_its_end(num_dates: int) -> None:
    kept = drawn(num_dates)
    assert len(kept) <= MAX_POINTS
    assert len(np.unique(np.diff(kept))) <= 1
    assert num_dates == 0 or kept[-1] == num_dates - 1
    assert num_dates > MAX_POINTS or len(kept) == num_dates


def test_monthly_means_are_those_of_pandas() -> None:
    dates = pd.bdate_range("2019-11-01", "2020-02-20")
    values = np.random.default_rng(2).normal(size=len(dates))
    values[dates.month == 12] = np.nan
    means = monthly_means([str(date)[:10] for date in dates], values)
    expected = pd.Series(values, dates).dropna().groupby([lambda d: d.year, lambda d: d.month]).agg(["mean", "count"])
    found = {(y, m): pair for y, months in means.items() for m, pair in months.items() if m}
    assert set(found) == set(expected.index)
    for key, (mean, count) in found.items():
        assert mean == pytest.approx(expected.loc[key, "mean"])
        assert count == expected.loc[key, "count"]
    year = values[(dates.year == 2020)]
    assert means[2020][0] == (pytest.approx(year.mean()), len(year))


def test_values_lie_where_the_axis_says() -> None:
    values = np.array([0.0, 1.0, 0.5])
    chart = time_chart(
        "c", "label", ["2020-01-01", "2020-02-01", "2020-03-01"], [Line(name="a", values=values, tone="s1")]
    )
    scale = scale_of([values])
    (path,) = re.findall(r'data-line="0" d="([^"]+)"', chart.html)
    steps = np.array(re.findall(r"-?[\d.]+", path), float).reshape(-1, 2)
    points = steps.cumsum(axis=0)  # the first is a place, the others steps
    assert [x for x, _ in points] == [0.0, 500.0, 1000.0]
    np.testing.assert_allclose(
        [y for _, y in points], 1000 * (1 - (values - scale.low) / (scale.high - scale.low)), atol=0.1
    )
    assert chart.values["lines"] == [{"name": "a", "values": [0.0, 1.0, 0.5]}]


def test_bars_start_at_zero_and_whiskers_span_the_interval() -> None:
    estimates = Estimates(
        names=("1", "2"),
        mean=np.array([-1.0, 2.0]),
        low=np.array([-2.0, np.nan]),
        high=np.array([0.0, np.nan]),
    )
    html = estimate_chart("c", "label", estimates, bars=True).html
    scale = scale_of([estimates.mean, estimates.low, estimates.high])
    zero = 1000 * (1 - scale.place(0.0))
    boxes = [(float(y), float(h)) for y, h in re.findall(r'y="([\d.]+)" height="([\d.]+)"', html)]
    assert boxes[0][0] == pytest.approx(zero, abs=0.1)
    assert boxes[1][0] + boxes[1][1] == pytest.approx(zero, abs=0.2)
    assert html.count('class="whisker"') == 1


def test_a_calibration_chart_has_the_line_of_equality() -> None:
    both = np.array([-0.1, 0.1])
    estimates = Estimates(names=("1", "2"), mean=both, low=both - 0.1, high=both + 0.1)
    chart = estimate_chart("c", "label", estimates, across=both)
    assert 'class="line muted dash"' in chart.html
    assert [line["name"] for line in chart.values["lines"]] == ["predicted", "realised", "low", "high"]


def test_a_bin_without_a_prediction_is_left_out() -> None:
    values = np.array([-0.1, np.nan, 0.1])
    estimates = Estimates(names=("1", "2", "3"), mean=values, low=values - 0.1, high=np.array([0.0, 0.1, 0.2]))
    chart = estimate_chart("c", "label", estimates, across=values)
    assert "nan" not in chart.html
    assert chart.html.count('class="dot"') == chart.html.count('class="whisker"') == 2
    assert chart.values["x"][1] is None
