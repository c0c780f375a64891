"""Labels: hand case, brute force, targets against scipy, refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from factor_data import Panel, check_labels, cross_sectional_target, forward_return


def test_hand_case_counts_calendar_positions_not_bars() -> None:
    dates = pd.bdate_range("2020-01-01", periods=5)
    frame = pd.concat(
        [
            pd.DataFrame({"timestamp": dates, "symbol": "A", "close": [1.0, 2.0, 4.0, 8.0, 4.0]}),
            pd.DataFrame({"timestamp": dates[[0, 1, 3, 4]], "symbol": "B", "close": [1.0, 2.0, 3.0, 6.0]}),
        ]
    )
    panel = Panel.from_frame(frame.assign(**dict.fromkeys(("open", "high", "low", "volume"), 1.0)))
    np.testing.assert_array_equal(
        forward_return(panel, 1, delay=1), [1.0, 1.0, -0.5, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan]
    )
    np.testing.assert_array_equal(
        forward_return(panel, 2, delay=0), [3.0, 3.0, 0.0, np.nan, np.nan, np.nan, 0.5, np.nan, np.nan]
    )


@pytest.mark.parametrize(("horizon", "delay"), [(1, 0), (1, 1), (5, 1), (20, 2), (200, 1)])
def test_equals_a_shifted_matrix_of_adjusted_closes(
    bars: pd.DataFrame, panel: Panel, horizon: int, delay: int
) -> None:
    price = bars.pivot(index="timestamp", columns="symbol", values="adj_close")
    expected = (price.shift(-delay - horizon) / price.shift(-delay) - 1).to_numpy()
    actual = forward_return(panel, horizon, delay)
    np.testing.assert_allclose(actual, expected[panel.date_code, panel.symbol_code], rtol=1e-12)


def test_horizon_and_delay_are_checked(panel: Panel) -> None:
    with pytest.raises(ValueError, match="horizon must be at least 1 bar, got 0"):
        forward_return(panel, 0)
    with pytest.raises(ValueError, match="delay must not be negative, got -1"):
        forward_return(panel, 1, -1)


def test_rank_target_is_the_centred_average_rank_of_unit_spread() -> None:
    generator = np.random.default_rng(0)
    label = generator.integers(0, 6, 60).astype(float)
    label[::7] = np.nan
    date = np.sort(generator.integers(0, 3, 60))
    target = cross_sectional_target(label, date, "rank")
    for d in range(3):
        known = (date == d) & ~np.isnan(label)
        n = known.sum()
        expected = (rankdata(label[known]) - (n + 1) / 2) / np.sqrt((n**2 - 1) / 12)
        np.testing.assert_allclose(target[known], expected, rtol=1e-6)
    assert np.isnan(target[::7]).all()
    distinct = cross_sectional_target(np.arange(50.0), np.zeros(50, dtype=int), "rank")
    assert np.std(distinct) == pytest.approx(1.0, abs=1e-6)


def test_zscore_target_is_clipped_and_raw_is_the_label() -> None:
    label = np.r_[np.random.default_rng(0).normal(size=99), 50.0]
    date = np.zeros(100, dtype=int)
    expected = np.clip((label - label.mean()) / label.std(), -3, 3)
    np.testing.assert_allclose(cross_sectional_target(label, date, "zscore"), expected, rtol=1e-5)
    np.testing.assert_array_equal(cross_sectional_target(label, date, "raw"), label.astype(np.float32))
    with pytest.raises(ValueError, match="kind must be one of"):
        cross_sectional_target(label, date, "ranks")


@pytest.mark.parametrize("kind", ["rank", "zscore"])
def test_a_constant_or_single_date_is_missing(kind: str) -> None:
    label = np.array([0.1, 0.1, 0.1, 5.0, 1.0, 2.0])
    target = cross_sectional_target(label, np.array([0, 0, 0, 1, 2, 2]), kind)
    assert np.isnan(target).tolist() == [True, True, True, True, False, False]


def test_labels_without_information_are_refused_by_segment_and_horizon() -> None:
    labels = np.array([[0.1, 0.2], [0.2, 0.2], [np.nan, 0.3], [np.nan, 0.2]])
    late, early = np.array([False, False, True, True]), np.array([True, True, False, False])
    check_labels(labels, [1, 5], {"fold 0 train": np.array([True, True, True, False])})
    with pytest.raises(ValueError, match="fold 1 train: label of horizon 1 is known on 0 of 2 rows"):
        check_labels(labels, [1, 5], {"fold 1 train": late})
    with pytest.raises(ValueError, match=r"fold 0 train: label of horizon 5 is constant \(0.2 on 2 rows\)"):
        check_labels(labels, [1, 5], {"fold 0 train": early})
