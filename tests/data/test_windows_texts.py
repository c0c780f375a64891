"""Documents beside windows: the latest ones known at each bar, and never one that came later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factor_data import (
    Augmentation,
    Batch,
    DocumentVectors,
    NewsVectorConfig,
    Panel,
    SimulatedMarket,
    WindowDataset,
    fit_news_vectors,
)
from market_samples import bars_on_days

LOOKBACK, PER_BAR = 4, 3


class Counting:
    """An encoder whose vectors can be checked by hand: (number of characters, 1)."""

    identity, dimensions = "counting", 2

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.array([[len(text), 1.0] for text in texts], dtype=np.float32).reshape(-1, 2)


def news_of(*rows: tuple[int, str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["timestamp", "symbol", "text"])
    return frame.assign(timestamp=pd.Timestamp("2020-01-01") + pd.to_timedelta(frame["timestamp"], unit="h"))


def documents_of(panel: Panel, news: pd.DataFrame, per_bar: int = PER_BAR, memory: int = 1) -> DocumentVectors:
    config = NewsVectorConfig(kind="encoder", memory=memory, documents_per_bar=per_bar)
    fitted = fit_news_vectors(news, panel, np.ones(panel.num_rows, bool), config, Counting())
    return fitted.documents(news, panel)


def test_a_bar_has_its_latest_documents_oldest_first_and_nan_where_there_is_none() -> None:
    panel = bars_on_days(A=[0, 1, 2], B=[0, 1, 2])
    news = news_of((24, "A", "aaaa"), (20, "A", "aa"), (5, "A", "a"), (23, "A", "aaa"), (48, "B", "bbbbbbb"))
    lengths = documents_of(panel, news, per_bar=2).gather(np.array([0, 3]), 3)[..., 0]
    nothing = [np.nan, np.nan]
    np.testing.assert_array_equal(lengths[0], [nothing, [3, 4], nothing])
    np.testing.assert_array_equal(lengths[1], [nothing, nothing, [7, np.nan]])


@settings(max_examples=60, deadline=None)
@given(
    days=st.dictionaries(st.sampled_from(["A", "B"]), st.sets(st.integers(0, 9), min_size=3), min_size=1),
    stamps=st.lists(
        st.tuples(st.integers(-30, 250), st.sampled_from(["A", "B", "C"]), st.text("ab", max_size=6)), max_size=25
    ),
    memory=st.integers(1, 3),
    per_bar=st.integers(1, 4),
)  # fmt: skip
def test_gathered_documents_equal_a_loop_over_bars_and_documents(
    days: dict[str, set[int]], stamps: list[tuple[int, str, str]], memory: int, per_bar: int
) -> None:
    panel = bars_on_days(**{symbol: sorted(numbers) for symbol, numbers in days.items()})
    news = news_of(*stamps).sort_values("timestamp", kind="stable", ignore_index=True)
    vectors = documents_of(panel, news, per_bar, memory).gather(np.arange(panel.num_rows - 1), 2)
    assert vectors.shape == (panel.num_rows - 1, 2, per_bar, 2)
    for first, window in enumerate(vectors):
        for bar, found in enumerate(window):
            row, known = first + bar, []
            for stamp, symbol, text in zip(news["timestamp"], news["symbol"], news["text"], strict=True):
                dates = np.flatnonzero(panel.dates >= stamp.to_datetime64())
                if symbol == panel.symbol[row] and len(dates):
                    known += [len(text)] if 0 <= panel.date_code[row] - dates[0] < memory else []
            expected = np.full(per_bar, np.nan)
            latest = known[-per_bar:]
            expected[: len(latest)] = latest
            np.testing.assert_array_equal(found[:, 0], expected)


CONFIG = NewsVectorConfig(dimensions=6, cutoff_minutes=960, memory=2, documents_per_bar=PER_BAR)


def dataset(panel: Panel, texts: DocumentVectors | None, rows: np.ndarray | None = None) -> WindowDataset:
    features = np.arange(panel.num_rows * 2, dtype=np.float32).reshape(-1, 2)
    return WindowDataset(
        features, features, LOOKBACK, symbol_code=panel.symbol_code, date_code=panel.date_code, rows=rows, texts=texts
    )  # fmt: skip


@pytest.fixture(scope="module")
def panel(market: SimulatedMarket) -> Panel:
    return Panel.from_frame(market.bars)


@pytest.fixture(scope="module")
def texts(market: SimulatedMarket, panel: Panel) -> DocumentVectors:
    return fit_news_vectors(market.news, panel, panel.date_code < 250, CONFIG).documents(market.news, panel)


def test_batches_carry_the_documents_of_their_windows(panel: Panel, texts: DocumentVectors) -> None:
    data = dataset(panel, texts)
    batches = [next(data.batches(3, seed=1)), next(data.sample_batches(16, seed=1))]
    for batch in batches:
        assert batch.texts is not None
        assert batch.texts.shape == (len(batch.rows), LOOKBACK, PER_BAR, 6)
        for row, found in zip(batch.rows, batch.texts, strict=True):
            for bar in range(LOOKBACK):
                first, last = texts.bounds[row - LOOKBACK + 1 + bar]
                np.testing.assert_array_equal(found[bar, : last - first], texts.vectors[first:last])
                assert np.isnan(found[bar, last - first :]).all()
    assert any(np.isfinite(batch.texts).any() for batch in batches if batch.texts is not None)
    assert next(dataset(panel, None).batches(3)).texts is None


def test_parts_have_their_own_texts_and_augmentation_leaves_them(panel: Panel, texts: DocumentVectors) -> None:
    data = dataset(panel, texts)
    batch = next(data.batches(4))
    assert batch.texts is not None
    joined = [part.texts for part in batch.split(3, whole_dates=True) if part.texts is not None]
    np.testing.assert_array_equal(np.concatenate(joined), batch.texts)
    noisy = next(data.batches(4, seed=1, augmentation=Augmentation(noise_std=1.0)))
    plain = next(data.batches(4, seed=1))
    assert not np.array_equal(noisy.windows, plain.windows)
    assert noisy.texts is not None
    np.testing.assert_array_equal(noisy.texts, plain.texts)
    without = Batch(windows=batch.windows, targets=batch.targets, groups=batch.groups, rows=batch.rows)
    assert batch.num_bytes == without.num_bytes + batch.texts.nbytes


def test_memory_mapped_documents_give_the_same_batch(panel: Panel, texts: DocumentVectors, tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", texts.vectors)
    np.save(tmp_path / "bounds.npy", texts.bounds)
    vectors, bounds = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("vectors", "bounds"))
    mapped = DocumentVectors(vectors=vectors, bounds=bounds, per_bar=PER_BAR)
    first_rows = np.arange(20)
    np.testing.assert_array_equal(mapped.gather(first_rows, LOOKBACK), texts.gather(first_rows, LOOKBACK))


def test_later_news_and_later_bars_change_no_earlier_document(market: SimulatedMarket) -> None:
    """Texts could leak as much as prices: documents after the cut are changed, dropped, added; bars are cut off."""
    whole = Panel.from_frame(market.bars)
    cut = whole.dates[300]
    close = cut + np.timedelta64(960, "m")
    late = market.news["timestamp"] > close
    assert late.any()

    def windows_before(frame: pd.DataFrame, news: pd.DataFrame) -> np.ndarray:
        panel = Panel.from_frame(frame)
        fitted = fit_news_vectors(news, panel, panel.date_code < 250, CONFIG)
        early = np.flatnonzero(panel.timestamp <= cut)
        data = dataset(panel, fitted.documents(news, panel), early)
        return np.concatenate([batch.texts for batch in data.batches(50) if batch.texts is not None])

    expected = windows_before(market.bars, market.news)
    assert np.isfinite(expected).any()
    changed = market.news.assign(text=market.news["text"].mask(late, "changed"))
    added = pd.concat([market.news, market.news[late].assign(text="more")], ignore_index=True)
    for news in (changed, market.news[~late], added):
        np.testing.assert_array_equal(windows_before(market.bars, news), expected)
    earlier_bars = market.bars[market.bars["timestamp"] <= cut]
    np.testing.assert_array_equal(windows_before(earlier_bars, market.news), expected)


def test_documents_that_do_not_fit_are_refused(panel: Panel) -> None:
    vectors, bounds = np.zeros((5, 2), np.float32), np.zeros((3, 2), np.int64)
    with pytest.raises(ValueError, match="per_bar must be at least 1 document, got 0"):
        DocumentVectors(vectors=vectors, bounds=bounds, per_bar=0)
    with pytest.raises(ValueError, match=r"vectors must be \(num_documents, dimensions\) float32"):
        DocumentVectors(vectors=vectors.astype(np.float64), bounds=bounds, per_bar=1)
    with pytest.raises(ValueError, match=r"first row 1 \[2, 6\]"):
        DocumentVectors(vectors=vectors, bounds=np.array([[0, 1], [2, 6], [4, 3]]), per_bar=1)
    with pytest.raises(ValueError, match=f"texts must have the {panel.num_rows} rows of features, got 3"):
        dataset(panel, DocumentVectors(vectors=vectors, bounds=bounds, per_bar=1))
    with pytest.raises(ValueError, match="documents_per_bar must not be negative, got -1"):
        NewsVectorConfig(documents_per_bar=-1)
