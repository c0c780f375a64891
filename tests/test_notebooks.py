"""The notebooks run, cell by cell, and what git keeps of them is what they print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from run_notebooks import FOLDER, run

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def kinds(notebook: dict[str, Any]) -> list[list[str]]:
    """The outputs of each cell: of what kinds, not the numbers, whose last digits a CPU decides."""
    return [
        sorted(kind for output in cell.get("outputs", []) for kind in output.get("data", {"stream": ""}))
        for cell in notebook["cells"]
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_runs_and_is_kept_with_its_outputs(path: Path) -> None:
    before = set(Path().iterdir())
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kinds(run(path)) == kinds(kept)
    assert set(Path().iterdir()) == before
    assert path.stat().st_size < 200_000


def test_there_are_three_and_they_are_valid() -> None:
    assert {path.stem for path in NOTEBOOKS} == {"own_data", "custom_feature_and_model", "judge_a_signal"}
    nbformat = pytest.importorskip("nbformat")
    for path in NOTEBOOKS:
        nbformat.validate(nbformat.read(path, as_version=4))
