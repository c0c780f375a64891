"""Order, shards, resume, weights: each sample once an epoch, whoever reads it and wherever the run was cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factor_data import Augmentation, Batch, Panel, WindowDataset

Read = Callable[..., Iterator[Batch]]


def dataset(panel: Panel, **options: object) -> WindowDataset:
    features = np.random.default_rng(0).standard_normal((panel.num_rows, 3)).astype(np.float32)
    labels = np.arange(panel.num_rows, dtype=np.float32)[:, None]
    return WindowDataset(features, labels, 7, symbol_code=panel.symbol_code, date_code=panel.date_code, **options)  # type: ignore[arg-type]


def readers(data: WindowDataset) -> dict[str, Read]:
    return {"samples": data.sample_batches, "dates": data.batches}


def assert_same(actual: Batch, expected: Batch) -> None:
    assert actual.step == expected.step
    for name in ("windows", "targets", "groups", "rows"):
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name))


@pytest.mark.parametrize("kind", ["samples", "dates"])
@settings(max_examples=40, deadline=None)
@given(
    per_rank=st.integers(1, 40), world_size=st.integers(1, 4), num_workers=st.integers(1, 3),
    start_step=st.integers(0, 3), drop_last=st.booleans(), seed=st.sampled_from([None, 3]),
)  # fmt: skip
def test_ranks_and_workers_share_an_epoch_exactly(
    kind: str, panel: Panel, per_rank: int, world_size: int, num_workers: int, start_step: int, drop_last: bool,
    seed: int | None,
) -> None:  # fmt: skip
    """Each sample exactly once, the same number of batches on every rank, and the global batches of one process.

    The defect 1i.12: every rank and every worker read everything.
    """
    data = dataset(panel)
    read, size = readers(data)[kind], per_rank * world_size
    order = {"seed": seed, "epoch": 1, "drop_last": drop_last}
    alone = list(read(size, **order))
    start_step = min(start_step, len(alone))
    assert [batch.step for batch in alone] == list(range(len(alone)))
    per_rank_batches = []
    for rank in range(world_size):
        streams = [
            list(
                read(
                    size, **order, rank=rank, world_size=world_size, worker=worker,
                    num_workers=num_workers, start_step=start_step,
                )
            )
            for worker in range(num_workers)
        ]  # fmt: skip
        # A reader that asks the workers in turn gets the steps in order.
        merged = [streams[i % num_workers][i // num_workers] for i in range(sum(map(len, streams)))]
        assert [batch.step for batch in merged] == list(range(start_step, len(alone)))
        per_rank_batches.append(merged)
    for step, whole in enumerate(alone[start_step:]):
        rows = np.concatenate([batches[step].rows for batches in per_rank_batches])
        np.testing.assert_array_equal(rows, whole.rows)
    seen = np.sort(np.concatenate([np.empty(0, int), *(batch.rows for batch in alone)]))
    if drop_last:
        assert len(np.unique(seen)) == len(seen)
    else:
        np.testing.assert_array_equal(seen, data.rows)


@pytest.mark.parametrize("kind", ["samples", "dates"])
def test_a_resumed_epoch_goes_on_bit_for_bit(kind: str, panel: Panel) -> None:
    read = readers(dataset(panel))[kind]
    options = {
        "seed": 5,
        "epoch": 2,
        "augmentation": Augmentation(noise_std=0.1, mask_share=0.1, time_warp=0.3),
    }
    whole = list(read(8, **options))
    for start in (0, 1, len(whole) - 1, len(whole)):
        rest = list(read(8, **options, start_step=start))
        assert len(rest) == len(whole) - start
        for actual, expected in zip(rest, whole[start:], strict=True):
            assert_same(actual, expected)


def test_sample_order_is_a_function_of_seed_and_epoch_and_time_order_without_a_seed(panel: Panel) -> None:
    data = dataset(panel)

    def rows(**order: object) -> list[int]:
        return np.concatenate([batch.rows for batch in data.sample_batches(32, **order)]).tolist()  # type: ignore[arg-type]

    assert rows(seed=1, epoch=0) == rows(seed=1, epoch=0)
    assert len({tuple(rows(seed=seed, epoch=epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4
    assert (np.diff(panel.date_code[rows()]) >= 0).all()


def test_a_shuffled_batch_mixes_symbols_and_dates(panel: Panel) -> None:
    """The defect 1i.12: the shuffle flag was never used."""
    batch = next(dataset(panel).sample_batches(64, seed=0))
    assert len(np.unique(panel.symbol_code[batch.rows])) == panel.num_symbols
    assert len(np.unique(panel.date_code[batch.rows])) > 30


def test_groups_of_a_sample_batch_count_its_dates(panel: Panel) -> None:
    for batch in dataset(panel).sample_batches(50, seed=0):
        dates = np.unique(panel.date_code[batch.rows])
        np.testing.assert_array_equal(dates[batch.groups], panel.date_code[batch.rows])


def test_a_reused_buffer_holds_the_batch_until_the_next_one(panel: Panel) -> None:
    data = dataset(panel)
    fresh = list(data.sample_batches(32, seed=1))
    buffers = set()
    for batch, expected in zip(data.sample_batches(32, seed=1, reuse_buffer=True), fresh, strict=True):
        assert_same(batch, expected)
        buffers.add(batch.windows.__array_interface__["data"][0])
    assert len(buffers) == 1
    with pytest.raises(ValueError, match="reuse_buffer would overwrite"):
        data.sample_batches(32, seed=1, reuse_buffer=True, prefetch_bytes=1000)


def test_weights_travel_with_their_samples_and_two_is_the_row_twice(panel: Panel) -> None:
    """D21: a weighted mean of squared errors with weight 2 is the mean with the row written twice."""
    generator = np.random.default_rng(1)
    weights = generator.integers(0, 3, panel.num_rows).astype(float)
    data = dataset(panel, weights=weights)
    total, count, twice = 0.0, 0.0, []
    for batch in data.sample_batches(64, seed=0):
        assert batch.weights is not None
        np.testing.assert_array_equal(batch.weights, weights[batch.rows])
        error = (batch.targets[:, 0] - batch.windows[:, -1, 0]).astype(float) ** 2
        total, count = total + float(batch.weights @ error), count + float(batch.weights.sum())
        twice += [value for value, weight in zip(error, batch.weights, strict=True) for _ in range(int(weight))]
    assert total / count == pytest.approx(np.mean(twice), rel=1e-12)
    assert next(dataset(panel).batches(1)).weights is None


def test_a_weight_that_is_no_number_is_refused_where_a_row_is_a_sample(panel: Panel) -> None:
    weights = np.ones(panel.num_rows)
    weights[0] = np.nan  # no whole window ends here
    dataset(panel, weights=weights)
    weights[[20, 30]] = np.nan, -1.0
    with pytest.raises(ValueError, match=r"weights must be finite .* 2 samples, first row 20 \(nan\), row 30 \(-1.0\)"):
        dataset(panel, weights=weights)


@pytest.mark.parametrize("num_parts", [1, 2, 3, 7, 1000])
def test_a_batch_cut_in_parts_is_the_same_batch(panel: Panel, num_parts: int) -> None:
    """D20: when memory runs out the parts get smaller, not the batch."""
    data = dataset(panel, weights=np.linspace(0, 2, panel.num_rows))
    for batch, whole_dates in (
        (next(data.sample_batches(50, seed=1)), False),
        (next(data.batches(6, seed=1)), True),
        (next(data.batches(6, seed=1)), False),
    ):
        parts = batch.split(num_parts, whole_dates=whole_dates)
        assert len(parts) <= num_parts
        for name in ("windows", "targets", "rows", "weights"):
            joined = np.concatenate([getattr(part, name) for part in parts])
            np.testing.assert_array_equal(joined, getattr(batch, name))
            assert all(np.shares_memory(getattr(part, name), getattr(batch, name)) for part in parts)
        dates = [set(panel.date_code[part.rows].tolist()) for part in parts]
        assert all(len(part.rows) for part in parts)
        assert all(set(part.groups) == set(range(len(of))) for part, of in zip(parts, dates, strict=True))
        if whole_dates:
            assert sum(map(len, dates)) == 6
            assert len(parts) == min(num_parts, 6)


def test_bad_cuts_of_a_batch_are_refused(panel: Panel) -> None:
    batch = next(dataset(panel).sample_batches(50, seed=1))
    with pytest.raises(ValueError, match="num_parts must be at least 1, got 0"):
        batch.split(0)
    with pytest.raises(ValueError, match="must come date by date"):
        batch.split(2, whole_dates=True)


def full_panel(features: np.ndarray) -> WindowDataset:
    """Six symbols of 20 dates each, none missing."""
    codes = {"symbol_code": np.repeat(np.arange(6), 20), "date_code": np.tile(np.arange(20), 6)}
    return WindowDataset(features, None, 5, **codes)


def test_the_cross_section_of_a_full_panel_is_a_view_of_the_mapped_matrix(tmp_path: Path) -> None:
    features = np.random.default_rng(0).standard_normal((120, 3)).astype(np.float32)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    data = full_panel(mapped)
    for view, copied in zip(data.batches(1, seed=2, copy=False), data.batches(1, seed=2), strict=True):
        assert_same(view, copied)
        assert np.shares_memory(view.windows, mapped)
        assert not np.shares_memory(copied.windows, mapped)
        assert not view.windows.flags.writeable


def test_a_batch_that_cannot_be_a_view_is_copied(panel: Panel) -> None:
    data = dataset(panel)  # gaps and listings: the rows of a date are not evenly spaced
    for maybe_view, copied in zip(data.batches(1, copy=False), data.batches(1), strict=True):
        assert_same(maybe_view, copied)
    two_dates = next(full_panel(np.zeros((120, 3), dtype=np.float32)).batches(2, copy=False))
    assert two_dates.windows.flags.writeable


def test_features_in_c_order_are_used_in_place() -> None:
    features = np.zeros((10, 2), dtype=np.float32)
    data = WindowDataset(features, None, 2, symbol_code=np.zeros(10, int), date_code=np.arange(10))
    features[:] = 7.0
    assert (data.windows(np.arange(len(data))) == 7.0).all()


def test_out_takes_the_windows_and_must_fit(panel: Panel) -> None:
    data = dataset(panel)
    out = np.empty((3, 7, 3), dtype=np.float32)
    assert data.windows(np.array([4, 0, 9]), out=out) is out
    np.testing.assert_array_equal(out, data.windows(np.array([4, 0, 9])))
    with pytest.raises(ValueError, match="out must be C-ordered"):
        data.windows(np.array([0, 1]), out=out)


def test_transform_sees_every_batch_of_windows_and_must_keep_the_shape(panel: Panel) -> None:
    def centred(windows: np.ndarray) -> np.ndarray:
        return windows - windows.mean(axis=1, keepdims=True)

    plain, data = dataset(panel), dataset(panel, transform=centred)
    for batch, raw in zip(data.sample_batches(40, seed=0), plain.sample_batches(40, seed=0), strict=True):
        np.testing.assert_array_equal(batch.windows, centred(raw.windows))
    np.testing.assert_array_equal(data.windows(np.arange(3)), centred(plain.windows(np.arange(3))))
    with pytest.raises(ValueError, match="transform must keep the shape"):
        next(dataset(panel, transform=lambda windows: windows[:, 0]).batches(1))


def test_bad_shards_are_refused_before_the_first_batch(panel: Panel) -> None:
    data = dataset(panel)
    with pytest.raises(ValueError, match=r"batch_size \(3\) must be a multiple of world_size \(2\)"):
        data.sample_batches(3, world_size=2)
    with pytest.raises(ValueError, match=r"worker must lie in \[0, 2\), got 2"):
        data.sample_batches(4, worker=2, num_workers=2)
    with pytest.raises(ValueError, match="start_step must lie in"):
        data.batches(4, start_step=10_000)


def test_dates_in_runs_stay_together_and_come_once(panel: Panel) -> None:
    data = dataset(panel)
    seen = []
    for batch in data.batches(6, dates_per_run=3, seed=4):
        codes = panel.date_code[batch.rows]
        dates = codes[np.unique(batch.groups, return_index=True)[1]]
        seen.append(dates)
        for run in np.split(dates, range(3, len(dates), 3)):
            place = np.searchsorted(data.date_codes, run)
            np.testing.assert_array_equal(place, place[0] + np.arange(len(run)))
    order = np.concatenate(seen)
    np.testing.assert_array_equal(np.sort(order), data.date_codes)
    assert (np.diff(order) < 0).any()
    alone = [batch.rows for batch in data.batches(6, seed=4)]
    for batch, rows in zip(data.batches(6, dates_per_run=1, seed=4), alone, strict=True):
        np.testing.assert_array_equal(batch.rows, rows)
    with pytest.raises(ValueError, match=r"dates_per_run \(4\) must be at least 1 and divide dates_per_batch \(6\)"):
        next(data.batches(6, dates_per_run=4))
