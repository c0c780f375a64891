"""The encoder folder, where transformers is installed, and the cache of vectors, with any encoder."""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from factor_data import CachedEncoder, FolderEncoder, encoder_digest
from tiny_bert import save_tiny_bert

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "profit", "loss", "beats", "misses", "record"]


class Counting:
    """An encoder that says what it was asked."""

    dimensions = 2

    def __init__(self, identity: str = "counting", fail_at: str | None = None) -> None:
        self.identity, self.fail_at = identity, fail_at
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        if self.fail_at in texts:
            raise OSError("killed")
        self.asked += texts
        return np.array([[len(text), len(self.identity)] for text in texts], dtype=np.float32).reshape(-1, 2)


def test_a_text_is_encoded_once_also_by_the_next_process(tmp_path: Path) -> None:
    first = Counting()
    cached = CachedEncoder(first, tmp_path)
    expected = cached.encode(["a", "bb", "a"])
    np.testing.assert_array_equal(expected, [[1, 8], [2, 8], [1, 8]])
    cached.encode(["bb", "ccc"])
    assert first.asked == ["a", "bb", "ccc"]
    second = Counting()
    again = CachedEncoder(second, tmp_path)
    np.testing.assert_array_equal(again.encode(["a", "bb", "a"]), expected)
    assert second.asked == []
    assert (again.identity, again.dimensions, again.encode([]).shape) == ("counting", 2, (0, 2))


def test_another_encoder_never_gets_the_vectors_of_this_one(tmp_path: Path) -> None:
    CachedEncoder(Counting(), tmp_path).encode(["a"])
    np.testing.assert_array_equal(CachedEncoder(Counting("other"), tmp_path).encode(["a"]), [[1, 5]])
    # Identity and text are kept apart: "counting" + "a" is not "countin" + "ga".
    np.testing.assert_array_equal(CachedEncoder(Counting("countin"), tmp_path).encode(["ga"]), [[2, 7]])


def test_what_was_encoded_before_a_kill_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factor_data.news.encoder.TEXTS_PER_PART", 2)
    with pytest.raises(OSError, match="killed"):
        CachedEncoder(Counting(fail_at="e"), tmp_path).encode(["a", "b", "c", "d", "e", "f"])
    resumed = Counting()
    CachedEncoder(resumed, tmp_path).encode(["a", "b", "c", "d", "e", "f"])
    assert resumed.asked == ["e", "f"]
    assert not list(tmp_path.glob(".*.tmp"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def of_no_version(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, keys=np.zeros((1, 32), np.uint8), vectors=np.zeros((1, 2), np.float32))


def changed(path: Path) -> None:
    """A zip file in order, of other numbers."""
    with np.load(path) as arrays:
        found = dict(arrays)
    with path.open("wb") as file:
        np.savez(file, **found | {"vectors": found["vectors"] * 3})  # type: ignore[arg-type]


def header_of_terabytes(path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 4)})
    with zipfile.ZipFile(path, "w") as file:
        for name in ("keys", "vectors", "sha256"):
            file.writestr(f"{name}.npy", header.getvalue())


@pytest.mark.parametrize("damage", [cut, a_pipe, one_array, of_no_version, changed, header_of_terabytes])
def test_a_broken_part_of_the_cache_is_named(damage: Callable[[Path], None], tmp_path: Path) -> None:
    """A pipe hung, an array was a traceback, other numbers were believed."""
    CachedEncoder(Counting(), tmp_path).encode(["a"])
    damage(next(tmp_path.glob("part_*.npz")))
    with pytest.raises(ValueError, match=r"part_.*npz: is no part of a vector cache; remove it"):
        CachedEncoder(Counting(), tmp_path)


@pytest.mark.parametrize("name", ["x.json", "model.safetensors", "vocab.txt"])
def test_what_is_no_file_in_the_folder_of_an_encoder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name}: is no file"):
        encoder_digest(tmp_path)


def test_without_transformers_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"needs transformers, which is not installed: pip install 'factor-data"):
        FolderEncoder(tmp_path)


def test_a_folder_without_an_encoder_and_bad_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        FolderEncoder(tmp_path)
    with pytest.raises(ValueError, match="pooling must be cls or mean, got 'max'"):
        FolderEncoder(tmp_path, pooling="max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        FolderEncoder(tmp_path, batch_size=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with random weights, as save_pretrained writes it."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed (make encoder)")
    pytest.importorskip("torch")
    return save_tiny_bert(transformers, tmp_path_factory.mktemp("bert"), WORDS, num_layers=2, max_tokens=16)


TEXTS = ["profit beats record", "loss", "", "misses record loss unheard of " * 20]


def test_cls_and_mean_pooling_equal_the_hidden_states(folder: Path) -> None:
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    cls, mean = (FolderEncoder(folder, pooling=p, max_tokens=16) for p in ("cls", "mean"))  # type: ignore[arg-type]
    for text in TEXTS:
        with torch.no_grad():
            inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=16)
            hidden = model(**inputs).last_hidden_state[0].numpy()
        np.testing.assert_allclose(cls.encode([text])[0], hidden[0], atol=1e-6)
        np.testing.assert_allclose(mean.encode([text])[0], hidden.mean(axis=0), atol=1e-6)


def test_a_text_has_the_same_bits_whatever_is_beside_it_and_nearly_so_in_batches(folder: Path) -> None:
    for pooling in ("cls", "mean"):
        single = FolderEncoder(folder, pooling=pooling, max_tokens=16)  # type: ignore[arg-type]
        expected = single.encode(TEXTS)
        assert expected.shape == (4, 8)
        np.testing.assert_array_equal(single.encode(TEXTS[::-1])[::-1], expected)
        batched = FolderEncoder(folder, pooling=pooling, max_tokens=16, batch_size=4)  # type: ignore[arg-type]
        np.testing.assert_allclose(batched.encode(TEXTS), expected, atol=1e-5)


def test_other_weights_or_pooling_are_another_identity(folder: Path, tmp_path: Path) -> None:
    names = {FolderEncoder(folder).identity, FolderEncoder(folder, pooling="mean").identity}
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert FolderEncoder(tmp_path).identity in names
    weights = bytearray((tmp_path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert FolderEncoder(tmp_path).identity not in names
    assert len(names) == 2


def test_pickled_weights_are_not_read(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"weights")
    with pytest.raises(ValueError, match="cannot be opened as an encoder"):
        FolderEncoder(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["hidden_size"] == 8
