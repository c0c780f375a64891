"""Labels: hand case, brute force, targets against scipy, refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, rankdata

from factor_data import (
    CleanRules,
    Panel,
    check_labels,
    clean_bars,
    cross_sectional_target,
    direction,
    forward_return,
    label_report,
    multi_step_direction,
    ready_made_targets,
)


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
def test_equals_a_shifted_matrix_of_adjusted_closes(bars: pd.DataFrame, panel: Panel, horizon: int, delay: int) -> None:
    price = bars.pivot(index="timestamp", columns="symbol", values="adj_close")
    expected = (price.shift(-delay - horizon) / price.shift(-delay) - 1).to_numpy()
    actual = forward_return(panel, horizon, delay)
    np.testing.assert_allclose(actual, expected[panel.date_code, panel.symbol_code], rtol=1e-12)


@pytest.mark.parametrize(("horizon", "delay"), [(1, 1), (5, 2)])
def test_open_to_open_is_a_shifted_matrix_of_adjusted_opens(
    bars: pd.DataFrame, panel: Panel, horizon: int, delay: int
) -> None:
    adjusted = bars.assign(price=bars["open"] * bars["adj_close"] / bars["close"])
    price = adjusted.pivot(index="timestamp", columns="symbol", values="price")
    expected = (price.shift(-delay - horizon) / price.shift(-delay) - 1).to_numpy()
    actual = forward_return(panel, horizon, delay, price="open")
    np.testing.assert_allclose(actual, expected[panel.date_code, panel.symbol_code], rtol=1e-12, atol=1e-15)


def test_an_open_that_is_missing_or_zero_makes_no_label(bars: pd.DataFrame) -> None:
    frame = bars[bars["symbol"] == "S0"].reset_index(drop=True)
    frame.loc[[10, 20], "open"] = [0.0, np.nan]
    panel = Panel.from_frame(frame, dates=frame["timestamp"].to_numpy())
    flagged, _ = clean_bars(panel, CleanRules(actions={"open_unusable": "flag", "open_outside_range": "flag"}))
    for kept in (panel, flagged, clean_bars(panel)[0]):
        label = forward_return(kept, 3, price="open")
        assert not np.isinf(label).any()
        assert np.flatnonzero(np.isnan(label)).tolist() == [6, 9, 16, 19, *range(len(frame) - 4, len(frame))]


def test_the_open_of_t_cannot_be_entered_after_the_close_of_t(panel: Panel) -> None:
    with pytest.raises(ValueError, match="delay must be at least 1 for price 'open'"):
        forward_return(panel, 1, delay=0, price="open")
    with pytest.raises(ValueError, match=r"price must be one of .* got 'vwap'"):
        forward_return(panel, 1, price="vwap")


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


@pytest.mark.parametrize("kind", ["rank", "zscore", "rank_gauss", "demeaned"])
def test_a_constant_or_single_date_is_missing(kind: str) -> None:
    label = np.array([0.1, 0.1, 0.1, 5.0, 1.0, 2.0])
    target = cross_sectional_target(label, np.array([0, 0, 0, 1, 2, 2]), kind)
    assert np.isnan(target).tolist() == [True, True, True, True, False, False]


def test_labels_without_information_are_refused_by_segment_and_label() -> None:
    labels = np.array([[0.1, 0.2], [0.2, 0.2], [np.nan, 0.3], [np.nan, 0.2]])
    late, early = np.array([False, False, True, True]), np.array([True, True, False, False])
    check_labels(labels, ["h1", "h5"], {"fold 0 train": np.array([True, True, True, False])})
    with pytest.raises(ValueError, match="fold 1 train: label h1 is known on 0 of 2 rows"):
        check_labels(labels, ["h1", "h5"], {"fold 1 train": late})
    with pytest.raises(ValueError, match=r"fold 0 train: label h5 is constant \(0.2 on 2 rows\)"):
        check_labels(labels, ["h1", "h5"], {"fold 0 train": early})


def test_rank_gauss_and_demeaned_targets_equal_scipy_and_pandas() -> None:
    generator = np.random.default_rng(3)
    label = generator.integers(0, 9, 80).astype(float)
    label[::9] = np.nan
    date = np.sort(generator.integers(0, 3, 80))
    gauss = cross_sectional_target(label, date, "rank_gauss")
    demeaned = cross_sectional_target(label, date, "demeaned")
    for d in range(3):
        known = (date == d) & ~np.isnan(label)
        expected = norm.ppf((rankdata(label[known]) - 0.5) / known.sum())
        np.testing.assert_allclose(gauss[known], expected, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(demeaned[known], label[known] - label[known].mean(), rtol=1e-5, atol=1e-6)
    assert np.isnan(gauss[::9]).all()
    assert np.isnan(demeaned[::9]).all()


@pytest.mark.parametrize("kind", ["raw", "rank", "zscore", "rank_gauss", "demeaned"])
def test_a_target_neutral_to_groups_knows_nothing_of_the_mean_of_its_group(kind: str) -> None:
    generator = np.random.default_rng(4)
    label, date = generator.normal(size=300), np.sort(generator.integers(0, 4, 300))
    group = generator.integers(0, 5, 300)
    frame = pd.DataFrame({"label": label, "date": date, "group": group})
    residual = frame["label"] - frame.groupby(["date", "group"])["label"].transform("mean")
    expected = cross_sectional_target(residual.to_numpy(), date, kind)
    np.testing.assert_allclose(cross_sectional_target(label, date, kind, group), expected, rtol=1e-6, atol=1e-6)
    shifted = label + 10.0 * group  # a move of the whole group
    np.testing.assert_allclose(cross_sectional_target(shifted, date, kind, group), expected, rtol=1e-4, atol=1e-5)
    alone = cross_sectional_target(np.array([0.1, 0.1, 0.1, 0.7]), np.zeros(4, dtype=int), kind, np.array([0, 0, 0, 1]))
    assert (alone == 0).all() if kind == "raw" else np.isnan(alone).all()  # nothing is left to rank


def test_direction_has_a_dead_zone_whose_ends_are_labelled() -> None:
    moves = np.array([0.0055, 0.00549, 0.0, -0.00499, -0.005, -1.0, np.nan])
    expected = [1.0, np.nan, np.nan, np.nan, 0.0, 0.0, np.nan]
    np.testing.assert_array_equal(direction(moves, up=0.0055, down=-0.005), expected)
    np.testing.assert_array_equal(direction(np.array([0.1, 0.0, -0.1]), up=0.0, down=0.0), [1.0, 0.0, 0.0])
    with pytest.raises(ValueError, match=r"down must not lie above up, got down 0\.1 and up 0\.0"):
        direction(moves, up=0.0, down=0.1)


def test_the_last_dates_are_unknown_and_not_down(panel: Panel) -> None:
    """A comparison with a price that is not there yet is no move down."""
    for horizon, delay in ((1, 0), (1, 1), (5, 1)):
        label = direction(forward_return(panel, horizon, delay), up=0.0, down=0.0)
        last = panel.date_code >= panel.num_dates - delay - horizon
        assert last.any()
        assert np.isnan(label[last]).all()
        assert set(np.unique(label[~np.isnan(label)])) == {0.0, 1.0}
    assert np.isnan(multi_step_direction(panel, 3)[panel.date_code == panel.num_dates - 3]).any(axis=1).all()


def test_the_first_of_several_steps_compares_the_next_close_with_this_one() -> None:
    frame = pd.DataFrame(
        {
            "timestamp": pd.bdate_range("2020-01-01", periods=6),
            "symbol": "A",
            "close": [1.0, 2.0, 1.0, 1.0, 3.0, 4.0],
        }
    ).assign(**dict.fromkeys(("open", "high", "low", "volume"), 1.0))
    nan = np.nan
    expected = [[1, 0, 0], [0, 0, 1], [0, 1, 1], [1, 1, nan], [1, nan, nan], [nan, nan, nan]]
    np.testing.assert_array_equal(multi_step_direction(Panel.from_frame(frame), 3), expected)
    later = multi_step_direction(Panel.from_frame(frame), 2, delay=1)
    np.testing.assert_array_equal(later, [[0, 0], [0, 1], [1, 1], [1, nan], [nan, nan], [nan, nan]])
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        multi_step_direction(Panel.from_frame(frame), 0)


def test_ready_made_targets_are_passed_through_without_a_second_shift(panel: Panel) -> None:
    """They look ahead already: the value beside the bar of t is the target of t."""
    generator = np.random.default_rng(0)
    names = ("intra30m", "nextT1d", "ema1d")
    columns = {name: generator.normal(size=panel.num_rows) for name in names}
    columns["ema1d"][3], columns["ema1d"][4] = np.inf, np.nan
    rich = panel.with_columns(**columns)
    targets = ready_made_targets(rich, ["nextT1d", "intra30m"])
    np.testing.assert_array_equal(targets, np.column_stack([columns["nextT1d"], columns["intra30m"]]))
    assert np.flatnonzero(np.isnan(ready_made_targets(rich, ["ema1d"]))).tolist() == [3, 4]
    with pytest.raises(ValueError, match=r"no target column \['nextT2d'\]; the panel has \['open'"):
        ready_made_targets(rich, ["nextT1d", "nextT2d"])
    with pytest.raises(ValueError, match="each once"):
        ready_made_targets(rich, ["nextT1d", "nextT1d"])


def test_a_label_reports_what_it_leaves_out(panel: Panel) -> None:
    returns = forward_return(panel, 1, delay=0)
    label = direction(returns, up=0.0055, down=-0.005)
    inside = panel.date_code >= 10
    report = label_report("up", label, in_universe=inside, source=returns, rule="moves in (-0.5 %, 0.55 %)")
    assert report.rows == inside.sum() == report.used + report.unknown + report.dropped
    assert report.unknown == (np.isnan(returns) & inside).sum() > 0
    assert report.dropped == ((returns < 0.0055) & (returns > -0.005) & inside).sum() > 0
    assert report.outside == (~inside).sum()
    assert "moves in (-0.5 %, 0.55 %)" in str(report)
    plain = label_report("return", np.column_stack([returns, returns]), in_universe=inside)
    assert (plain.dropped, plain.used) == (0, (~np.isnan(returns) & inside).sum())
    with pytest.raises(ValueError, match="up: the label is known on rows whose source is not"):
        label_report("up", np.zeros(panel.num_rows), in_universe=inside, source=returns)
