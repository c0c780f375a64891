"""Augmentation: seeded per sample, training only, and the label untouched."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from factor_data import Augmentation, Panel, WindowDataset

ALL = Augmentation(noise_std=0.1, mask_share=0.2, time_warp=0.5)


def windows(shape: tuple[int, int, int] = (4, 9, 3)) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def apply(augmentation: Augmentation, values: np.ndarray, seed: int = 1, epoch: int = 2, step: int = 3) -> np.ndarray:
    return augmentation.apply(values, np.arange(len(values)), seed=seed, epoch=epoch, step=step)


def test_the_same_seed_epoch_and_step_give_the_same_bits_and_any_other_give_others() -> None:
    values = windows()
    before = values.copy()
    expected = apply(ALL, values)
    np.testing.assert_array_equal(apply(ALL, values), expected)
    np.testing.assert_array_equal(values, before)
    for other in ({"seed": 9}, {"epoch": 9}, {"step": 9}):
        assert not np.array_equal(apply(ALL, values, **other), expected, equal_nan=True)


def test_a_sample_is_changed_alike_in_any_batch() -> None:
    values = windows()
    expected = apply(ALL, values)
    part = ALL.apply(values[2:], np.array([2, 3]), seed=1, epoch=2, step=3)
    np.testing.assert_array_equal(part, expected[2:])


def test_noise_is_normal_of_the_deviation_asked_for() -> None:
    noise = apply(Augmentation(noise_std=0.5), np.zeros((200, 15, 8), dtype=np.float32)).ravel() / 0.5
    assert scipy.stats.kstest(noise, "norm").pvalue > 0.01
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.02
    # No uniform number is used twice: neither radius nor angle of a pair tells anything of the next pair.
    pairs = noise[: len(noise) // 2 * 2].reshape(-1, 2)
    radius, angle = np.hypot(*pairs.T), np.arctan2(pairs[:, 1], pairs[:, 0]) % (2 * np.pi)
    for this in (radius, angle):
        for following in (radius, angle):
            assert abs(np.corrcoef(this[:-1], following[1:])[0, 1]) < 0.04
    assert abs(np.corrcoef(radius, angle)[0, 1]) < 0.04


def test_a_masked_feature_is_missing_in_its_whole_window() -> None:
    masked = np.isnan(apply(Augmentation(mask_share=0.2), windows((500, 4, 10))))
    assert (masked.all(axis=1) == masked.any(axis=1)).all()
    assert masked.any(axis=1).mean() == pytest.approx(0.2, abs=0.02)


def test_missing_values_stay_missing_under_noise() -> None:
    values = windows()
    values[1, 2, 0] = np.nan
    changed = apply(Augmentation(noise_std=0.1), values)
    np.testing.assert_array_equal(np.isnan(changed), np.isnan(values))


def test_warped_time_keeps_both_ends_and_stays_in_order() -> None:
    clock = np.tile(np.arange(12, dtype=np.float32)[None, :, None], (300, 1, 1))
    warped = apply(Augmentation(time_warp=0.9), clock)[:, :, 0]
    np.testing.assert_array_equal(warped[:, [0, -1]], clock[:, [0, -1], 0])
    assert (np.diff(warped, axis=1) > 0).all()
    assert np.abs(warped - clock[:, :, 0]).max() > 1.0
    np.testing.assert_array_equal(apply(Augmentation(time_warp=0.0), clock), clock)


def test_warped_values_equal_linear_interpolation() -> None:
    values = windows((5, 11, 2)).astype(np.float64)
    clock = np.tile(np.arange(11.0)[None, :, None], (5, 1, 1))
    augmentation = Augmentation(time_warp=0.6)
    times, warped = apply(augmentation, clock)[:, :, 0], apply(augmentation, values)
    for sample in range(5):
        for feature in range(2):
            expected = np.interp(times[sample], np.arange(11.0), values[sample, :, feature])
            np.testing.assert_allclose(warped[sample, :, feature], expected, atol=1e-12)


def test_tokens_can_be_masked_only() -> None:
    tokens = np.full((50, 4, 6), 9, dtype=np.uint8)
    masked = apply(Augmentation(mask_share=0.3), tokens)
    assert masked.dtype == np.uint8
    assert set(np.unique(masked)) == {0, 9}
    with pytest.raises(ValueError, match="need floating-point windows, got uint8"):
        apply(Augmentation(noise_std=0.1), tokens)


def test_what_is_drawn_for_a_sample_does_not_depend_on_later_bars_of_other_symbols(panel: Panel) -> None:
    """They move its row."""
    values = windows((panel.num_rows, 1, 3))[:, 0]
    early = panel.date_code < 100

    def augmented(rows: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
        part = panel.select(rows)
        codes = {"symbol_code": part.symbol_code, "date_code": part.date_code}
        dataset = WindowDataset(values[rows], None, 5, **codes, rows=part.date_code < 60)
        batches = dataset.batches(10, seed=4, augmentation=ALL)
        return {
            (part.symbol_code[row], part.date_code[row]): window
            for batch in batches
            for row, window in zip(batch.rows, batch.windows, strict=True)
        }

    whole, cut = augmented(np.ones(panel.num_rows, dtype=bool)), augmented(early)
    assert whole.keys() == cut.keys()
    for sample, window in whole.items():
        np.testing.assert_array_equal(cut[sample], window)


def test_labels_rows_and_weights_stay_and_reading_without_a_seed_cannot_be_augmented(panel: Panel) -> None:
    """D22, T24: training only. Validation, test and prediction read in time order, without a seed."""
    features = windows((panel.num_rows, 1, 3))[:, 0]
    labels = np.arange(panel.num_rows, dtype=np.float32)[:, None]
    data = WindowDataset(
        features,
        labels,
        5,
        symbol_code=panel.symbol_code,
        date_code=panel.date_code,
        weights=np.ones(panel.num_rows),
    )
    for read in (data.batches, data.sample_batches):
        plain, changed = next(read(20, seed=1)), next(read(20, seed=1, augmentation=ALL))
        for name in ("targets", "rows", "groups", "weights"):
            np.testing.assert_array_equal(getattr(plain, name), getattr(changed, name))
        assert not np.array_equal(plain.windows, changed.windows, equal_nan=True)
        with pytest.raises(ValueError, match="augmentation is for training: it needs a seed"):
            read(20, augmentation=ALL)


def test_augmented_batches_are_the_same_for_any_number_of_ranks(panel: Panel) -> None:
    features = windows((panel.num_rows, 1, 3))[:, 0]
    data = WindowDataset(features, None, 5, symbol_code=panel.symbol_code, date_code=panel.date_code)
    options = {"seed": 1, "epoch": 4, "augmentation": ALL}
    alone = next(data.sample_batches(16, **options)).windows
    parts = [next(data.sample_batches(16, **options, rank=rank, world_size=4)).windows for rank in range(4)]
    np.testing.assert_array_equal(np.concatenate(parts), alone)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="noise_std must be finite and not negative, got -1"):
        Augmentation(noise_std=-1)
    with pytest.raises(ValueError, match=r"time_warp must lie in \[0, 1\), got 1"):
        Augmentation(time_warp=1)
