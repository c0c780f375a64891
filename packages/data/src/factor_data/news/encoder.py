"""A local Hugging Face encoder as text vectors, and a cache on disk so that no text is encoded twice.

`transformers` and torch are imported when an encoder is opened, not before: the package works without them
(`pip install "factor-data[encoder]"`). Nothing is downloaded and no pickled weights are read.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from factor_data.news.vectors import TextEncoder
from factor_data.whole_file import write_atomically

TEXTS_PER_PART = 1024
DAMAGES = (
    ValueError, OSError, KeyError, EOFError, SyntaxError, RuntimeError, MemoryError, TokenError, struct.error,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What zipfile and numpy raise on bytes that are no archive of arrays."""


class FolderEncoder:
    """A pretrained encoder in a folder: config.json, model.safetensors and the tokenizer's files.

    Parameters
    ----------
    folder : as `save_pretrained` of model and tokenizer wrote it
    pooling : cls: the hidden state of the first token; mean: the mean over the text's tokens
    max_tokens : what is longer is cut
    batch_size : texts at once. 1: a text's vector has the same bits whatever is encoded beside it; more is faster,
        and equal to about 1e-6

    Raises
    ------
    ImportError if transformers or torch is not installed; ValueError if the folder holds no such model
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        pooling: Literal["cls", "mean"] = "cls",
        max_tokens: int = 512,
        batch_size: int = 1,
    ) -> None:
        if pooling not in ("cls", "mean"):
            raise ValueError(f"pooling must be cls or mean, got {pooling!r}")
        for name, value in (("max_tokens", max_tokens), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        folder = Path(folder)
        digest = encoder_digest(folder)
        self._torch, transformers = _import_transformers()
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._model = transformers.AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            ).eval()
        except OSError as error:
            raise ValueError(f"{folder}: cannot be opened as an encoder ({str(error).splitlines()[0]})") from error
        self.pooling, self.max_tokens, self.batch_size = pooling, max_tokens, batch_size
        self.dimensions: int = self._model.config.hidden_size
        self.identity = f"encoder-{digest}-{pooling}-{max_tokens}"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (num_texts, dimensions) float32."""
        parts = [
            self._encode_together(texts[first : first + self.batch_size])
            for first in range(0, len(texts), self.batch_size)
        ]
        return np.concatenate([np.empty((0, self.dimensions), dtype=np.float32), *parts])

    def _encode_together(self, texts: Sequence[str]) -> NDArray[np.float32]:
        inputs = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        with self._torch.inference_mode():
            hidden = self._model(**inputs).last_hidden_state.float()
        if self.pooling == "cls":
            return hidden[:, 0].numpy()
        present = inputs["attention_mask"].unsqueeze(-1).float()
        return ((hidden * present).sum(dim=1) / present.sum(dim=1)).numpy()


class CachedEncoder:
    """An encoder whose vectors are kept in a folder, keyed by sha256 of (encoder, text).

    Vectors are written in parts as they are made, each atomically: a killed run goes on where it was. One folder may
    serve several encoders.
    """

    def __init__(self, encoder: TextEncoder, folder: str | Path) -> None:
        self._encoder, self._folder = encoder, Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._vectors: dict[bytes, NDArray[np.float32]] = {}
        for path in sorted(self._folder.glob("part_*.npz")):
            self._vectors.update(_read_part(path))

    @property
    def identity(self) -> str:
        """Return the identity of the encoder behind the cache."""
        return self._encoder.identity

    @property
    def dimensions(self) -> int:
        """Return the length of a vector."""
        return self._encoder.dimensions

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (num_texts, dimensions) float32; only texts that are not in the cache are encoded."""
        keys = [self._key(text) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._vectors}
        for first in range(0, len(missing), TEXTS_PER_PART):
            part = list(missing.items())[first : first + TEXTS_PER_PART]
            self._add([key for key, _ in part], self._encoder.encode([text for _, text in part]))
        found = [self._vectors[key] for key in keys]
        return np.array(found, dtype=np.float32).reshape(len(texts), self.dimensions)

    def _key(self, text: str) -> bytes:
        identity = self.identity.encode()
        return hashlib.sha256(
            len(identity).to_bytes(8, "big") + identity + text.encode("utf-8", "surrogatepass")
        ).digest()

    def _add(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        joined = b"".join(keys)
        path = self._folder / f"part_{hashlib.sha256(joined).hexdigest()}.npz"
        write_atomically(path, partial(_write_part, keys=joined, vectors=vectors))
        self._vectors.update(zip(keys, vectors, strict=True))


def _write_part(file: IO[bytes], keys: bytes, vectors: NDArray[np.float32]) -> None:
    known = np.frombuffer(keys, dtype=np.uint8).reshape(-1, 32)
    digest = np.frombuffer(_digest(known, vectors), dtype=np.uint8)
    np.savez(file, keys=known, vectors=vectors, sha256=digest)


def _read_part(path: Path) -> dict[bytes, NDArray[np.float32]]:
    """Return vectors by key; ValueError naming a file that is not what was written."""
    advice = "is no part of a vector cache; remove it"
    if not path.is_file():  # a pipe would be waited on
        raise ValueError(f"{path}: {advice} (it is no file)")
    try:
        with zipfile.ZipFile(path) as opened:  # np.load would take other files too
            keys, vectors, digest = (_array(opened, name) for name in ("keys", "vectors", "sha256"))
    except DAMAGES as error:
        raise ValueError(f"{path}: {advice} ({error})") from error
    if digest.tobytes() != _digest(keys, vectors):
        raise ValueError(f"{path}: {advice} (its vectors are not those that were written)")
    return {key.tobytes(): vector for key, vector in zip(keys, vectors, strict=True)}


def _array(opened: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with opened.open(f"{name}.npy") as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _digest(keys: NDArray[np.uint8], vectors: NDArray[np.float32]) -> bytes:
    """Return the sha256 of a part: a zip file vouches for bytes, not for who wrote them."""
    digest = hashlib.sha256()
    for array in (keys, vectors):
        digest.update(repr((array.dtype.str, array.shape)).encode() + np.ascontiguousarray(array).tobytes())
    return digest.digest()


def _import_transformers() -> tuple[Any, Any]:
    try:
        import torch
        import transformers
    except ImportError as error:
        raise ImportError(
            f"an encoder folder needs {error.name}, which is not installed: pip install 'factor-data[encoder]'"
        ) from error
    return torch, transformers


def encoder_digest(folder: str | Path) -> str:
    """Return the sha256 over names and contents: other weights or another tokenizer are another encoder.

    ValueError if the folder holds no encoder.
    """
    folder, digest = Path(folder), hashlib.sha256()
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder}: holds no encoder: config.json is missing")
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors", ".txt", ".model"):
            if not path.is_file():
                raise ValueError(f"{path}: is no file, which an encoder's folder holds under such a name")
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
