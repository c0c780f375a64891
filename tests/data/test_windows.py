"""Windows: equal to brute force, dates whole, ranks and epochs partition the samples."""

from __future__ import annotations

import numpy as np
import pytest

from factor_data import Panel, WindowDataset

LOOKBACK = 7


def dataset(panel: Panel, rows: np.ndarray | None = None, dtype: type = np.float32) -> WindowDataset:
    features = (np.arange(panel.num_rows * 3).reshape(-1, 3) % 251).astype(dtype)
    labels = np.arange(panel.num_rows * 2, dtype=np.float32).reshape(-1, 2)
    return WindowDataset(
        features, labels, LOOKBACK, symbol_code=panel.symbol_code, date_code=panel.date_code, rows=rows
    )


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_windows_equal_brute_force(panel: Panel, dtype: type) -> None:
    data = dataset(panel, dtype=dtype)
    expected_rows = [
        row
        for code in range(panel.num_symbols)
        for row in range(panel.starts[code] + LOOKBACK - 1, panel.starts[code + 1])
    ]
    assert data.rows.tolist() == expected_rows
    features = (np.arange(panel.num_rows * 3).reshape(-1, 3) % 251).astype(dtype)
    positions = np.random.default_rng(0).permutation(len(data))
    windows = data.windows(positions)
    assert windows.dtype == dtype
    for position, window in zip(positions, windows, strict=True):
        row = expected_rows[position]
        np.testing.assert_array_equal(window, features[row - LOOKBACK + 1 : row + 1])
    np.testing.assert_array_equal(data.targets(positions)[:, 0], 2 * data.rows[positions])


def test_rows_choose_samples_as_mask_or_indices_while_windows_reach_back(panel: Panel) -> None:
    mask = panel.date_code >= 100
    by_mask, by_index = dataset(panel, mask), dataset(panel, np.flatnonzero(mask)[::-1])
    np.testing.assert_array_equal(by_mask.rows, by_index.rows)
    assert panel.date_code[by_mask.rows].min() == 100


def test_time_order_without_seed_and_groups_count_dates(panel: Panel) -> None:
    data = dataset(panel)
    batches = list(data.batches(4))
    dates = np.concatenate([panel.date_code[b.rows] for b in batches])
    assert (np.diff(dates) >= 0).all()
    for batch in batches:
        assert np.unique(batch.groups).tolist() == list(range(batch.groups.max() + 1))
        pairs = set(zip(batch.groups.tolist(), panel.date_code[batch.rows].tolist(), strict=True))
        assert len(pairs) == len(np.unique(batch.groups))
        np.testing.assert_array_equal(batch.targets[:, 0], 2 * batch.rows)


def test_every_date_comes_once_an_epoch_over_all_ranks(panel: Panel) -> None:
    data = dataset(panel)
    for world_size in (1, 2, 4):
        per_rank = [list(data.batches(8, seed=5, epoch=2, rank=r, world_size=world_size)) for r in range(world_size)]
        assert {len(batches) for batches in per_rank} == {data.num_batches(8)}
        rows = np.concatenate([batch.rows for batches in per_rank for batch in batches])
        assert np.sort(rows).tolist() == data.rows.tolist()


def test_global_batches_do_not_depend_on_the_number_of_ranks(panel: Panel) -> None:
    data = dataset(panel)
    alone = [set(b.rows.tolist()) for b in data.batches(8, seed=1, drop_last=True)]
    pairs = zip(*(data.batches(8, seed=1, rank=r, world_size=2, drop_last=True) for r in (0, 1)), strict=True)
    assert [set(a.rows.tolist()) | set(b.rows.tolist()) for a, b in pairs] == alone


def test_order_is_a_function_of_seed_and_epoch(panel: Panel) -> None:
    data = dataset(panel)

    def rows(**order: int) -> list[int]:
        return np.concatenate([b.rows for b in data.batches(8, **order)]).tolist()

    assert rows(seed=1, epoch=0) == rows(seed=1, epoch=0)
    assert rows(seed=1, epoch=0) != rows(seed=1, epoch=1)
    assert rows(seed=1, epoch=0) != rows(seed=2, epoch=0)


def test_drop_last_drops_the_incomplete_batch_only(panel: Panel) -> None:
    data = dataset(panel)
    full, rest = divmod(data.num_dates, 8)
    assert rest
    assert len(list(data.batches(8, drop_last=True))) == full == data.num_batches(8, drop_last=True)
    assert len(list(data.batches(8))) == full + 1


def test_windows_without_labels_and_of_too_few_bars(panel: Panel) -> None:
    features = np.zeros((panel.num_rows, 1), dtype=np.float32)
    codes = {"symbol_code": panel.symbol_code, "date_code": panel.date_code}
    assert WindowDataset(features, None, 3, **codes).targets(np.arange(4)).shape == (4, 0)
    assert len(WindowDataset(features, None, panel.num_rows + 1, **codes)) == 0
    assert list(WindowDataset(features, None, 10_000, **codes).batches(2)) == []


def test_bad_arguments_are_refused(panel: Panel) -> None:
    data = dataset(panel)
    with pytest.raises(ValueError, match="must be a multiple of world_size"):
        next(data.batches(3, world_size=2))
    with pytest.raises(ValueError, match="rank must lie in"):
        next(data.batches(4, rank=2, world_size=2))
    features = np.zeros((panel.num_rows, 1), dtype=np.float32)
    codes = {"symbol_code": panel.symbol_code, "date_code": panel.date_code}
    with pytest.raises(ValueError, match="lookback must be at least 1"):
        WindowDataset(features, None, 0, **codes)
    with pytest.raises(ValueError, match="labels must be"):
        WindowDataset(features, np.zeros((3, 1), dtype=np.float32), 5, **codes)
    with pytest.raises(ValueError, match="symbol_code must be sorted"):
        WindowDataset(features, None, 5, symbol_code=panel.symbol_code[::-1], date_code=panel.date_code)
