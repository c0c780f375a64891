"""Notebooks run as scripts, cell by cell, without Jupyter: `python tests/run_notebooks.py` writes their outputs.

A cell's last expression is what it shows: its `_repr_html_`, where it has one, and its text. Stamps, numbers of
executions and whatever else changes from run to run are left out, so the same code gives the same bytes.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
MOST_HTML = 60_000
"""Longest HTML that is kept in a notebook: a whole page is said to be shown, and is there when it is run."""


def run(path: Path) -> dict[str, Any]:
    """Return the notebook with the outputs of its cells, run in an empty folder; the first error ends it."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    names: dict[str, Any] = {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for number, cell in enumerate(notebook["cells"]):
            if cell["cell_type"] == "code":
                cell["outputs"] = outputs_of("".join(cell["source"]), names, f"{path.name}, cell {number + 1}")
                cell["execution_count"] = None
    return notebook


def outputs_of(source: str, names: dict[str, Any], place: str) -> list[dict[str, Any]]:
    tree = ast.parse(source, place)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(tree, place, "exec"), names)
        shown = eval(compile(ast.Expression(last.value), place, "eval"), names) if isinstance(last, ast.Expr) else None
    outputs: list[dict[str, Any]] = []
    if said.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": lines(said.getvalue())})
    if shown is not None:
        data = {"text/plain": lines(repr(shown))}
        if hasattr(shown, "_repr_html_") and len(page := shown._repr_html_()) < MOST_HTML:
            data["text/html"] = lines(page)
        outputs.append({"output_type": "execute_result", "execution_count": None, "metadata": {}, "data": data})
    return outputs


def lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def written(notebook: dict[str, Any]) -> str:
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for found in sorted(FOLDER.glob("*.ipynb")):
        found.write_text(written(run(found)), encoding="utf-8")
        print(found.name, file=sys.stderr)
