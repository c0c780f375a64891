"""News vectors: fixed length for any number of documents, fitted on training documents, no look-ahead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from factor_data import (
    HashingEncoder,
    NewsVectorConfig,
    NewsVectoriser,
    Panel,
    SimulatedMarket,
    TfidfEncoder,
    assert_no_lookahead,
    fit_news_vectors,
)
from factor_data.news import document_rows
from market_samples import bars_on_days
from stages import ROOT


class Counting:
    """An encoder whose vectors can be checked by hand: (number of characters, 1)."""

    identity, dimensions = "counting", 2

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: list[str]) -> np.ndarray:
        self.asked += texts
        return np.array([[len(text), 1.0] for text in texts], dtype=np.float32).reshape(-1, 2)


def documents(*rows: tuple[int, str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["timestamp", "symbol", "text"])
    return frame.assign(timestamp=pd.Timestamp("2020-01-01") + pd.to_timedelta(frame["timestamp"], unit="D"))


def features_of(panel: Panel, news: pd.DataFrame, symbol: str, **config: int) -> list[list[float]]:
    vectoriser = fit_news_vectors(
        news, panel, np.ones(panel.num_rows, bool), NewsVectorConfig(kind="encoder", **config), Counting()
    )
    values = vectoriser.transform(news, panel).values
    assert vectoriser.names == ("news_vector_000", "news_vector_001", "news_documents")
    return np.where(np.isnan(values), -1, values)[panel.symbol == symbol].tolist()


NONE = [-1.0, -1.0, 0.0]  # NaN vectors, and that there were no documents is known


def test_the_mean_of_any_number_of_documents_has_one_length_and_none_is_missing_not_zero() -> None:
    """The defect 2e.10: vectors of length 20 for none, 768 for one, k times 768 for more."""
    panel = bars_on_days(A=[0, 1, 2], B=[0, 1, 2])
    news = documents((1, "A", "four"), (1, "A", "sixsix"), (1, "A", "eighty-8"), (2, "B", "x"))
    assert features_of(panel, news, "A") == [NONE, [6.0, 1.0, 3.0], NONE]
    assert features_of(panel, news, "B") == [NONE, NONE, [1.0, 1.0, 1.0]]
    assert features_of(panel, news.iloc[:0], "A") == [NONE] * 3


def test_memory_counts_calendar_dates_from_when_a_document_was_known() -> None:
    panel = bars_on_days(A=[0, 3, 4, 5], B=[0, 1, 2, 3, 4, 5])
    news = documents((1, "A", "aa"), (4, "A", "bbbb"), (5, "B", "b"))
    assert features_of(panel, news, "A", memory=1) == [NONE, NONE, [4.0, 1.0, 1.0], NONE]
    assert features_of(panel, news, "A", memory=3) == [NONE, [2, 1, 1], [4, 1, 1], [4, 1, 1]]
    assert features_of(panel, news, "A", memory=4) == [NONE, [2, 1, 1], [3, 1, 2], [4, 1, 1]]
    assert features_of(panel, news, "B", memory=4) == [NONE] * 5 + [[1, 1, 1]]


@settings(max_examples=80, deadline=None)
@given(
    days=st.dictionaries(st.sampled_from(["A", "B", "C"]), st.sets(st.integers(0, 12), min_size=1), min_size=1),
    stamps=st.lists(
        st.tuples(st.integers(-2, 13), st.sampled_from(["A", "B", "C", "D"]), st.text("ab", max_size=6)), max_size=20
    ),
    memory=st.integers(1, 5),
)  # fmt: skip
def test_features_equal_a_loop_over_rows_and_documents(
    days: dict[str, set[int]], stamps: list[tuple[int, str, str]], memory: int
) -> None:
    panel = bars_on_days(**{symbol: sorted(numbers) for symbol, numbers in days.items()})
    news = documents(*stamps)
    config = NewsVectorConfig(kind="encoder", memory=memory)
    vectoriser = fit_news_vectors(news, panel, np.ones(panel.num_rows, bool), config, Counting())
    for row, values in enumerate(vectoriser.transform(news, panel).values):
        lengths = []
        for stamp, symbol, text in zip(news["timestamp"], news["symbol"], news["text"], strict=True):
            first_known = np.flatnonzero(panel.dates >= stamp.to_datetime64())
            if symbol == panel.symbol[row] and len(first_known):
                age = panel.date_code[row] - first_known[0]
                lengths += [len(text)] if 0 <= age < memory else []
        expected = [np.mean(lengths), 1.0] if lengths else [np.nan, np.nan]
        np.testing.assert_allclose(values, [*expected, len(lengths)], rtol=1e-6)


def test_equal_texts_are_encoded_once() -> None:
    panel, encoder = bars_on_days(A=[0, 1], B=[0, 1]), Counting()
    news = documents((0, "A", "same"), (1, "A", "same"), (1, "B", "same"), (1, "B", "other"))
    config = NewsVectorConfig(kind="encoder")
    fit_news_vectors(news, panel, np.ones(4, bool), config, encoder).transform(news, panel)
    assert sorted(encoder.asked) == ["other", "same"]


def texts_of(market: SimulatedMarket) -> list[str]:
    return list(market.news["text"])


def test_tfidf_vectors_equal_scikit_learn_up_to_the_sign(market: SimulatedMarket) -> None:
    texts = texts_of(market)
    encoder = TfidfEncoder.fit(texts, 8, min_count=5)
    vectorizer = TfidfVectorizer(token_pattern=r"[^\W\d_]{2,}", min_df=5)
    projected = TruncatedSVD(8, algorithm="arpack", random_state=3).fit_transform(vectorizer.fit_transform(texts))
    vectors = encoder.encode(texts)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(texts), 8)
    np.testing.assert_allclose(np.abs(vectors), np.abs(projected), atol=1e-5)
    assert (encoder.components.max(axis=1) == np.abs(encoder.components).max(axis=1)).all()
    np.testing.assert_allclose(encoder.components @ encoder.components.T, np.eye(8), atol=1e-10)


def test_a_text_has_the_same_vector_whatever_is_beside_it(market: SimulatedMarket) -> None:
    texts = texts_of(market)[:50]
    for encoder in (HashingEncoder(dimensions=16), TfidfEncoder.fit(texts_of(market), 8)):
        together = encoder.encode(texts)
        np.testing.assert_array_equal(np.concatenate([encoder.encode([text]) for text in texts]), together)
        assert (encoder.encode(["", "12 !", "q"]) == 0).all()
        assert encoder.encode([]).shape == (0, encoder.dimensions)


def test_hashed_words_count_and_the_length_is_one() -> None:
    vectors = HashingEncoder(dimensions=32).encode(["Beats record", "record, BEATS!", "beats", "beats beats"])
    np.testing.assert_array_equal(vectors[0], vectors[1])
    np.testing.assert_array_equal(vectors[2], vectors[3])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-6)


SCRIPT = """
import hashlib, itertools
import numpy as np
from factor_data import HashingEncoder, TfidfEncoder
words = ["".join(letters) for letters in itertools.islice(itertools.product("abcdefghij", repeat=5), 3000)]
share = 1 / np.arange(1, 3001)
texts = [" ".join(row) for row in np.random.default_rng(0).choice(words, (8000, 12), p=share / share.sum())]
for encoder in (HashingEncoder(dimensions=16), TfidfEncoder.fit(texts, 32)):
    print(encoder.identity, hashlib.sha256(encoder.encode(texts).tobytes()).hexdigest())
"""


def test_another_process_gives_the_same_vectors_on_any_number_of_cores() -> None:
    said = []
    for seed, cores in enumerate(("1", "2", "4")):
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), cores)
        paths = {"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT / "packages/data/src")}
        environment = {**os.environ, **threads, **paths}
        process = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
        )
        said.append(process.stdout)
    assert said[0].startswith("hashing-16 ")
    assert said[1:] == said[:1] * 2


CONFIG = NewsVectorConfig(dimensions=6, cutoff_minutes=960, memory=3)


def test_fit_looks_at_training_documents_only(market: SimulatedMarket) -> None:
    """The defect 2e.3: every split was fitted on itself."""
    panel = Panel.from_frame(market.bars)
    train = panel.date_code < 250
    fitted = fit_news_vectors(market.news, panel, train, CONFIG)
    row, _, kept = document_rows(market.news, panel, CONFIG)
    is_training = np.zeros(len(market.news), dtype=bool)
    is_training[kept[train[row]]] = True
    scrambled = market.news.assign(text=market.news["text"].where(is_training, "words never seen before"))
    assert fit_news_vectors(scrambled, panel, train, CONFIG).encoder.identity == fitted.encoder.identity
    other = fit_news_vectors(market.news, panel, panel.date_code < 200, CONFIG)
    assert other.encoder.identity != fitted.encoder.identity


@pytest.mark.parametrize("kind", ["hashing", "tfidf_svd"])
def test_news_features_do_not_look_ahead(kind: str, market: SimulatedMarket) -> None:
    """Also when documents after the cut are changed: texts, not bars, are what could leak here."""
    whole = Panel.from_frame(market.bars)
    cut = whole.dates[300]
    close = cut + np.timedelta64(960, "m")
    config = NewsVectorConfig(kind=kind, dimensions=6, cutoff_minutes=960, memory=3)  # type: ignore[arg-type]

    def features(panel: Panel, news: pd.DataFrame = market.news) -> np.ndarray:
        train = panel.date_code < 250
        return fit_news_vectors(news, panel, train, config).transform(news, panel).values

    assert_no_lookahead(features, whole, cut)
    early = whole.timestamp <= cut
    assert np.isfinite(features(whole)[early]).all(axis=1).any()
    later = market.news["timestamp"] > close
    assert later.any()
    changed = market.news.assign(text=market.news["text"].mask(later, "changed"))
    for news in (changed, market.news[~later]):
        np.testing.assert_array_equal(features(whole, news)[early], features(whole)[early])


def test_a_saved_vectoriser_gives_the_same_bits_and_another_encoder_is_refused(
    market: SimulatedMarket, tmp_path: Path
) -> None:
    panel = Panel.from_frame(market.bars)
    train = panel.date_code < 250
    for kind in ("hashing", "tfidf_svd", "encoder"):
        encoder = Counting() if kind == "encoder" else None
        config = NewsVectorConfig(kind=kind, dimensions=6)  # type: ignore[arg-type]
        fitted = fit_news_vectors(market.news, panel, train, config, encoder)
        fitted.save(tmp_path / kind)
        again = NewsVectoriser.load(tmp_path / kind, encoder)
        assert again.config == config
        expected, actual = (v.transform(market.news, panel) for v in (fitted, again))
        np.testing.assert_array_equal(expected.values, actual.values)
        assert expected.names == actual.names
    with pytest.raises(ValueError, match="kind encoder needs an encoder"):
        NewsVectoriser.load(tmp_path / "encoder")
    arrays = tmp_path / "tfidf_svd" / "news_vectors.npz"
    arrays_content = arrays.read_bytes()
    arrays.write_bytes(arrays_content[:50])
    with pytest.raises(ValueError, match=r"news_vectors\.npz: cannot be read"):
        NewsVectoriser.load(tmp_path / "tfidf_svd")
    arrays.write_bytes(arrays_content)
    header = tmp_path / "tfidf_svd" / "news_vectors.json"
    header.write_text(json.dumps({**json.loads(header.read_text()), "encoder": "tfidf-svd-0"}))
    with pytest.raises(ValueError, match="saved was tfidf-svd-0: not the same vectors"):
        NewsVectoriser.load(tmp_path / "tfidf_svd")
    with pytest.raises(ValueError, match="holds no saved news vectors"):
        NewsVectoriser.load(tmp_path)


def test_bad_settings_are_refused() -> None:
    panel = bars_on_days(A=[0, 1])
    news = documents((0, "A", "some words here"), (1, "A", "other words"))
    train = np.ones(2, dtype=bool)
    with pytest.raises(ValueError, match=r"dimensions \(2\) must be less than the training documents \(2\)"):
        fit_news_vectors(news, panel, train, NewsVectorConfig(dimensions=2, min_count=1))
    with pytest.raises(ValueError, match="no word is in at least 5 of 2 documents"):
        fit_news_vectors(news, panel, train, NewsVectorConfig())
    with pytest.raises(ValueError, match="kind hashing makes its own encoder"):
        fit_news_vectors(news, panel, train, NewsVectorConfig(kind="hashing"), Counting())
    foreign = TfidfEncoder(words=("other",), idf=np.ones(1), components=np.ones((1, 1)))
    with pytest.raises(ValueError, match="kind tfidf_svd makes its own encoder"):  # fitted on who knows what
        fit_news_vectors(news, panel, train, NewsVectorConfig(dimensions=1), foreign)
    with pytest.raises(ValueError, match="memory must be at least 1, got 0"):
        NewsVectorConfig(memory=0)
    with pytest.raises(ValueError, match="train_rows must have shape"):
        fit_news_vectors(news, panel, np.ones(3, dtype=bool))
