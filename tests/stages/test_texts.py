"""A pretrained encoder in a folder makes the vectors of texts: held against its hash, kept by content, in the plan."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factor_data import FeatureStore, encoder_digest
from stages.params.reading import Params, parse_params
from stages.planning.stages import make_plan
from tiny_bert import save_tiny_bert
from workplace import Workplace, smoke_document

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "profit", "loss", "beats", "misses", "record", "strong", "weak"]


def vectors_of(place: Path, **changes: Any) -> dict[str, Any]:
    name = f"{place}@{encoder_digest(place)[:12]}"
    return {"kind": "transformer", "folder": name, "cutoff_minutes": 960, "documents_per_bar": 3, **changes}


def with_vectors(params: dict[str, Any], vectors: dict[str, Any]) -> None:
    params["tokenize"]["news_vectors"] = vectors


@pytest.fixture
def transformers() -> types.ModuleType:
    return pytest.importorskip("transformers", reason="transformers is not installed (make encoder)")


@pytest.fixture
def bert(transformers: Any, tmp_path: Path) -> Path:
    """A tiny BERT with random weights, as FinBERT lies in its folder."""
    path = tmp_path / "bert"
    path.mkdir()
    return save_tiny_bert(transformers, path, WORDS, num_layers=1, max_tokens=32)


def test_the_stage_writes_vectors_of_the_folder_and_encodes_no_text_twice(
    bert: Path, tokenized: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    copy = tokenized.copy(tmp_path / "factorcast")
    copy.change_params(lambda params: with_vectors(params, vectors_of(bert, max_tokens=16)))
    copy.run("plan")
    copy.run("tokenize_features")
    store = FeatureStore(copy.results / "tokenize")
    documents = store.documents(0)
    assert documents is not None
    assert (documents.dimensions, documents.per_bar) == (8, 3)
    assert np.isfinite(documents.vectors).all()
    assert len(np.unique(documents.vectors, axis=0)) > 10
    assert [name for name in store.normaliser(0).names if name.startswith("news_vector_")][-1] == "news_vector_007"
    assert store.text_encoder(0).startswith(f"encoder-{encoder_digest(bert)}-cls-16")
    plan = json.loads((copy.results / "plan" / "tokenize.json").read_text())
    assert {"stages.texts", "factor_data.news.encoder"} <= set(plan["modules"])
    assert plan["distributions"]["transformers"]

    # The second run takes all from the cache, and gives the same bytes.
    first = {path.name: path.read_bytes() for path in (copy.results / "tokenize" / "fold_00").iterdir()}
    monkeypatch.setattr(
        "factor_data.news.encoder.FolderEncoder.encode", lambda self, texts: pytest.fail("encoded again")
    )
    copy.run("tokenize_features")
    assert {path.name: path.read_bytes() for path in (copy.results / "tokenize" / "fold_00").iterdir()} == first


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What looks like an encoder as long as nobody opens it."""
    path = tmp_path / "finbert"
    path.mkdir()
    (path / "config.json").write_text('{"model_type": "bert"}')
    (path / "model.safetensors").write_bytes(b"weights")
    return path


def test_a_folder_without_its_hash_or_with_another_is_refused_by_plan(
    folder: Path, tokenized: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tokenized.copy(tmp_path / "factorcast")
    right = f"{folder}@{encoder_digest(folder)[:12]}"
    for value, said in (
        (str(folder), f"{folder} needs the hash of its files: write {right}"),
        (f"{folder}@{'0' * 12}", f"holds another encoder than 000000000000: write {right}"),
        (str(tmp_path / "nowhere@0123456789ab"), "holds no encoder: config.json is missing"),
    ):
        copy.change_params(lambda params, value=value: with_vectors(params, vectors_of(folder, folder=value)))
        assert said in copy.refused("plan")
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setattr("stages.texts.find_spec", lambda name: None)
    copy.change_params(lambda params: with_vectors(params, vectors_of(folder)))
    assert "needs the package transformers, which is not installed: make encoder" in copy.refused("plan")
    copy.change_params(lambda params: params["tokenize"].update(use_news=False))
    copy.run("plan")  # no text is read, so nothing has to read it


def test_without_a_pretrained_encoder_its_library_is_in_no_plan(smoke: Params, folder: Path) -> None:
    plan = make_plan("tokenize", "", smoke)
    assert "stages.texts" not in plan["modules"]
    assert "transformers" not in plan["distributions"]
    document = smoke_document()
    with_vectors(document, vectors_of(folder))
    assert "stages.texts" in make_plan("tokenize", "", parse_params(document, "texts"))["modules"]


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ({"kind": "transformer"}, "transformer has a folder, no other kind"),
        ({"kind": "hashing", "folder": "finbert@0123456789ab"}, "transformer has a folder, no other kind"),
        ({"kind": "encoder"}, "encoder is handed in from Python; use transformer with its folder"),
    ],
)
def test_kinds_and_folders_that_do_not_go_together_are_refused(vectors: dict[str, Any], said: str) -> None:
    document = smoke_document()
    with_vectors(document, vectors)
    with pytest.raises(ValueError, match=said):
        parse_params(document, "texts")
