"""Which rows are samples, and what their windows hold: equal to a brute-force loop over any panel and any rules."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factor_data import Augmentation, Panel, WindowDataset, session_codes

NUM_FEATURES = 2


class Rows(NamedTuple):
    """The rows of a small panel: listings, delistings and gaps as they fall."""

    symbol_code: np.ndarray
    date_code: np.ndarray
    features: np.ndarray
    session_code: np.ndarray


@st.composite
def small_rows(draw: st.DrawFn) -> Rows:
    num_symbols, num_dates = draw(st.integers(1, 4)), draw(st.integers(1, 14))
    cells = num_symbols * num_dates
    present = np.array(draw(st.lists(st.booleans(), min_size=cells, max_size=cells)), dtype=bool)
    symbol_code, date_code = np.nonzero(present.reshape(num_symbols, num_dates))
    features = np.arange(len(symbol_code) * NUM_FEATURES, dtype=np.float32).reshape(-1, NUM_FEATURES)
    share = draw(st.sampled_from([0.0, 0.3]))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    features[generator.random(features.shape) < share] = np.nan
    return Rows(symbol_code.astype(np.int32), date_code.astype(np.int32), features, date_code // 3)


def brute_force(rows: Rows, lookback: int, max_missing: float, max_gap: int | None, by_session: bool) -> dict:
    """Row -> window, one row and one rule at a time."""
    windows = {}
    for row in range(len(rows.symbol_code)):
        own = [r for r in range(row + 1) if rows.symbol_code[r] == rows.symbol_code[row]][-lookback:]
        window = rows.features[own]
        steps = [int(rows.date_code[b]) - int(rows.date_code[a]) for a, b in itertools.pairwise(own)]
        if (
            len(own) == lookback
            and (max_gap is None or all(step - 1 <= max_gap for step in steps))
            and (not by_session or len({int(rows.session_code[r]) for r in own}) == 1)
            and np.isnan(window).sum() / window.size <= max_missing
        ):
            windows[row] = window
    return windows


RULES = {
    "lookback": st.integers(1, 6),
    "max_missing": st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    "max_gap": st.sampled_from([None, 0, 1, 3]),
    "by_session": st.booleans(),
}


@settings(max_examples=150, deadline=None)
@given(rows=small_rows(), data=st.data(), **RULES)
def test_samples_and_windows_equal_brute_force(
    rows: Rows, data: st.DataObject, lookback: int, max_missing: float, max_gap: int | None, by_session: bool
) -> None:
    wanted = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows[0]), max_size=len(rows[0]))), dtype=bool)
    dataset = WindowDataset(
        rows.features, None, lookback, symbol_code=rows.symbol_code, date_code=rows.date_code, rows=wanted,
        max_missing=max_missing, max_gap=max_gap, session_code=rows.session_code if by_session else None,
    )  # fmt: skip
    expected = brute_force(rows, lookback, max_missing, max_gap, by_session)
    assert dataset.rows.tolist() == [row for row in expected if wanted[row]]
    windows = dataset.windows(np.arange(len(dataset)))
    for row, window in zip(dataset.rows, windows, strict=True):
        np.testing.assert_array_equal(window, expected[row])
    counts = asdict(dataset.report)
    assert counts.pop("candidates") == wanted.sum() == sum(counts.values())


def one_symbol(dates: list[int], **options: Any) -> WindowDataset:
    features = np.arange(len(dates), dtype=np.float32)[:, None]
    return WindowDataset(features, None, 3, symbol_code=np.zeros(len(dates), int), date_code=np.array(dates), **options)


def test_a_window_that_bridges_a_long_gap_is_refused_and_counted() -> None:
    """The defect 1i.11: windows bridged gaps without a word."""
    dates = [0, 1, 2, 5, 6, 7, 8, 10, 11]  # two dates missing before 5, one before 10
    assert one_symbol(dates).rows.tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert one_symbol(dates, max_gap=2).rows.tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert one_symbol(dates, max_gap=1).rows.tolist() == [2, 5, 6, 7, 8]
    strict = one_symbol(dates, max_gap=0)
    assert strict.rows.tolist() == [2, 5, 6]
    assert (strict.report.short_history, strict.report.gap, strict.report.samples) == (2, 4, 3)


def test_a_session_lasts_until_the_next_begins_also_over_midnight() -> None:
    stamps = pd.to_datetime(
        ["2024-01-02 09:00", "2024-01-02 11:30", "2024-01-02 13:00", "2024-01-02 21:00", "2024-01-03 02:30",
         "2024-01-03 09:00"],
    ).to_numpy()  # fmt: skip
    lunch_and_night = session_codes(stamps, ("09:00", "13:00", "21:00"))
    assert (lunch_and_night - lunch_and_night[0]).tolist() == [0, 0, 1, 2, 2, 3]
    days = session_codes(stamps)
    assert (days - days[0]).tolist() == [0, 0, 0, 0, 1, 1]


def test_a_mask_stands_beside_the_inputs_and_knows_what_augmentation_took_away() -> None:
    features = np.array([[1.0, np.nan], [2.0, 4.0], [np.nan, 5.0]], dtype=np.float32)
    code = {"symbol_code": np.zeros(3, dtype=int), "date_code": np.arange(3)}
    dataset = WindowDataset(features, None, 2, missing_mask=True, **code)
    (batch,) = dataset.batches(2)
    np.testing.assert_array_equal(batch.windows[..., :2], [features[:2], features[1:]])
    np.testing.assert_array_equal(batch.windows[..., 2:], np.isnan(batch.windows[..., :2]))
    (taken,) = dataset.batches(2, seed=1, augmentation=Augmentation(mask_share=0.9))
    np.testing.assert_array_equal(taken.windows[..., 2:], np.isnan(taken.windows[..., :2]))
    assert taken.windows[..., 2:].sum() > batch.windows[..., 2:].sum()
    with pytest.raises(ValueError, match="missing_mask needs floating-point features; uint8 tokens have one"):
        WindowDataset(np.ones((3, 2), dtype=np.uint8), None, 2, missing_mask=True, **code)


def test_intraday_windows_do_not_span_the_night_when_told_so() -> None:
    stamps = pd.to_datetime([f"2024-01-0{day} {hour}:00" for day in (2, 3) for hour in ("10", "11", "12", "13")])
    sessions = session_codes(stamps.to_numpy())
    dataset = one_symbol(list(range(8)), session_code=sessions)
    assert dataset.rows.tolist() == [2, 3, 6, 7]
    assert dataset.report.session == 2


def test_a_share_of_missing_values_is_met_exactly_and_integer_tokens_count_zero_as_missing() -> None:
    features = np.ones((5, 2), dtype=np.float32)
    features[2, 0] = np.nan
    codes = {"symbol_code": np.zeros(5, int), "date_code": np.arange(5)}
    assert WindowDataset(features, None, 2, max_missing=0.25, **codes).rows.tolist() == [1, 2, 3, 4]
    assert WindowDataset(features, None, 2, max_missing=0.24, **codes).rows.tolist() == [1, 4]
    tokens = np.nan_to_num(features).astype(np.uint8)
    dropped = WindowDataset(tokens, None, 2, max_missing=0.0, **codes)
    assert dropped.rows.tolist() == [1, 4]
    assert dropped.report.missing == 2


def test_a_short_history_makes_no_sample(panel: Panel) -> None:
    """The defect 1i.16: short histories were tiled or padded with zeros into samples."""
    late = panel.select((panel.symbol_code == 4) & (panel.date_code < 40))
    features = np.ones((late.num_rows, 1), dtype=np.float32)
    codes = {"symbol_code": late.symbol_code, "date_code": late.date_code}
    dataset = WindowDataset(features, None, late.num_rows + 1, **codes)
    assert len(dataset) == 0
    assert dataset.report.short_history == late.num_rows
    assert len(WindowDataset(features, None, late.num_rows, **codes)) == 1


def test_rows_out_of_time_order_are_refused() -> None:
    """The defect 1i.10: rows were sorted by symbol only, and time order was lost."""
    with pytest.raises(
        ValueError, match=r"date_code must rise .* 2 rows, first row 2 \(1 then 0\), row 3 \(0 then 0\)"
    ):
        one_symbol([0, 1, 0, 0, 4])


@pytest.mark.parametrize("lookback", [1, 2, 5])
def test_the_lookback_asked_for_is_the_length_of_the_window(lookback: int, panel: Panel) -> None:
    """The defect 2e.2: the look-back was never passed on and windows had one bar."""
    features = np.ones((panel.num_rows, 1), dtype=np.float32)
    dataset = WindowDataset(features, None, lookback, symbol_code=panel.symbol_code, date_code=panel.date_code)
    assert next(dataset.batches(1)).windows.shape[1] == lookback
    assert next(dataset.sample_batches(4, seed=0)).windows.shape == (4, lookback, 1)


def test_labels_stay_beside_their_own_row_and_unknown_ones_stay_nan(panel: Panel) -> None:
    """The defects 1i.16 and 2e.4: labels of other rows, zeros for unknown ones."""
    labels = np.arange(panel.num_rows, dtype=np.float32)[:, None]
    labels[::5] = np.nan
    features = np.arange(panel.num_rows, dtype=np.float32)[:, None]
    dataset = WindowDataset(features, labels, 4, symbol_code=panel.symbol_code, date_code=panel.date_code)
    for batch in dataset.sample_batches(64, seed=3):
        np.testing.assert_array_equal(batch.windows[:, -1, 0], batch.rows)
        np.testing.assert_array_equal(batch.targets, labels[batch.rows])


def test_bad_rules_are_refused() -> None:
    with pytest.raises(ValueError, match=r"max_missing must lie in \[0, 1\], got 1.5"):
        one_symbol([0, 1, 2], max_missing=1.5)
    with pytest.raises(ValueError, match="max_gap must not be negative, got -1"):
        one_symbol([0, 1, 2], max_gap=-1)
    with pytest.raises(ValueError, match="session_code must have the 3 rows of features"):
        one_symbol([0, 1, 2], session_code=np.zeros(2))
