"""Texts to vectors of one length, offline: hashed words, or TF-IDF and its leading singular vectors.

Hashing (Weinberger et al., 2009, "Feature Hashing for Large Scale Multitask Learning") is fitted on nothing. TF-IDF
with truncated SVD (Deerwester et al., 1990, "Indexing by Latent Semantic Analysis") is fitted on training documents.
A word is a run of two or more letters, in lower case. A text without a known word has the vector 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

WORD_PATTERN = r"[^\W\d_]{2,}"


class TextEncoder(Protocol):
    """Interface of an encoder of texts; a text's vector depends on that text alone."""

    @property
    def identity(self) -> str:
        """A text that differs wherever the vectors may differ."""
        ...

    @property
    def dimensions(self) -> int:
        """Return the length of a vector."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (num_texts, dimensions) float32."""
        ...


@dataclass(frozen=True, kw_only=True)
class HashingEncoder:
    """Signed counts of hashed words (MurmurHash3: the same in every process), scaled to length 1."""

    dimensions: int = 64

    def __post_init__(self) -> None:
        if self.dimensions < 1:
            raise ValueError(f"dimensions must be at least 1, got {self.dimensions}")

    @property
    def identity(self) -> str:
        """Return the name that says all that decides the vectors."""
        return f"hashing-{self.dimensions}"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (num_texts, dimensions) float32."""
        from sklearn.feature_extraction.text import HashingVectorizer  # takes a second to import

        if not len(texts):
            return np.empty((0, self.dimensions), dtype=np.float32)
        vectorizer = HashingVectorizer(n_features=self.dimensions, token_pattern=WORD_PATTERN, norm="l2")
        return vectorizer.transform(texts).toarray().astype(np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class TfidfEncoder:
    """Words weighted by how few training documents have them, projected on the leading singular vectors.

    words : sorted; idf : (num_words,) float64, ln((1 + documents) / (1 + documents with the word)) + 1
    components : (dimensions, num_words) float64, rows orthonormal; the largest entry of each is positive
    """

    words: tuple[str, ...]
    idf: NDArray[np.float64]
    components: NDArray[np.float64]

    @classmethod
    def fit(
        cls, texts: Sequence[str], dimensions: int = 64, *, min_count: int = 5, max_words: int = 20_000
    ) -> TfidfEncoder:
        """Fit on training documents: words in at least `min_count` of them, the `max_words` most frequent.

        ValueError if there are not more documents, and not more such words, than `dimensions`.
        """
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer
        from threadpoolctl import threadpool_limits

        vectorizer = TfidfVectorizer(token_pattern=WORD_PATTERN, min_df=min_count, max_features=max_words)
        try:
            matrix = vectorizer.fit_transform(texts) if len(texts) else None
        except ValueError as error:  # no word is left
            raise ValueError(f"no word is in at least {min_count} of {len(texts)} documents") from error
        num_texts, num_words = (0, 0) if matrix is None else matrix.shape
        if min(num_texts, num_words) <= dimensions:
            raise ValueError(
                f"dimensions ({dimensions}) must be less than the training documents ({num_texts}) and than the words "
                f"in at least {min_count} of them ({num_words})"
            )
        # ARPACK iterates to machine precision from a fixed start: no random projection in the result. Sums that are
        # shared among threads round differently: with one the bytes are the same on any number of cores.
        with threadpool_limits(limits=1):
            svd = TruncatedSVD(dimensions, algorithm="arpack", random_state=0).fit(matrix)
        components = svd.components_
        largest = np.abs(components).argmax(axis=1)
        components = components * np.sign(components[np.arange(dimensions), largest])[:, None]
        return cls(words=tuple(vectorizer.get_feature_names_out()), idf=vectorizer.idf_, components=components)

    @property
    def dimensions(self) -> int:
        """Return the length of a vector."""
        return len(self.components)

    @cached_property
    def identity(self) -> str:
        """Content hash of words and numbers."""
        digest = hashlib.sha256("\n".join(self.words).encode())
        for array in (self.idf, self.components):
            digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return f"tfidf-svd-{digest.hexdigest()}"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (num_texts, dimensions) float32."""
        if not len(texts):
            return np.empty((0, self.dimensions), dtype=np.float32)
        return np.asarray(self._vectorizer.transform(texts) @ self.components.T, dtype=np.float32)

    @cached_property
    def _vectorizer(self) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(token_pattern=WORD_PATTERN, vocabulary=list(self.words))
        vectorizer.idf_ = self.idf
        return vectorizer

    def write(self, file: IO[bytes]) -> None:
        """Write the arrays as `.npz`."""
        np.savez(file, words=np.array(self.words, dtype=np.str_), idf=self.idf, components=self.components)

    @classmethod
    def read(cls, file: IO[bytes]) -> TfidfEncoder:
        """Read what `write` wrote, exactly."""
        with np.load(file, allow_pickle=False) as arrays:
            words = tuple(str(word) for word in arrays["words"])
            return cls(words=words, idf=arrays["idf"], components=arrays["components"])
