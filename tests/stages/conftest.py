"""Shared by the tests of the stages: the smoke preset as it is read, and a small market up to its tokens."""

from __future__ import annotations

import pytest

from stages.params.reading import Params
from workplace import Workplace, make_workplace, smoke_document, smoke_params


@pytest.fixture(scope="session")
def smoke() -> Params:
    """params.yaml with the smoke preset."""
    return smoke_params()


@pytest.fixture(scope="session")
def tokenized(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """The smoke preset with vectors and documents of the news, up to tokenize. Tests must not change it."""
    document = smoke_document()
    document["models"] = ["linear", "kronos"]
    document["tokenize"]["news_vectors"] = {"dimensions": 4, "cutoff_minutes": 960, "documents_per_bar": 3}
    workplace = make_workplace(tmp_path_factory.mktemp("tokenized") / "factorcast", document)
    workplace.run("plan")
    for stage in ("sample", "split", "tokenize_features"):
        workplace.made(stage)
    return workplace
