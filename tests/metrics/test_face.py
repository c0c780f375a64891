"""The face of the package: what a name loads, that each is there and documented, and which folder may use which."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import subprocess
import sys
import types
from itertools import pairwise
from pathlib import Path

import pytest

import factor_metrics
import factor_metrics.portfolio.performance
import factor_metrics.report

ROOT = Path(factor_metrics.__file__).parent

# A module uses its own folder and those further down; folders in one line know nothing of each other.
FLOORS = (
    ("inline", "json_document", "json_safe", "kernel_cache", "matrices", "system", "whole_file"),
    ("writing",),
    ("checks", "labels"),
    ("dispersion", "trailing"),
    ("ordering",),
    ("information_coefficient",),
    ("significance",),
    ("scores", "portfolio", "floors", "frames", "live"),
    ("judging",),
    ("report",),
    ("cli", "warm"),
)

LOADING = """
import importlib, json, sys
loaded = {}
for name, statement in json.loads(sys.argv[1]).items():
    for module in [key for key in sys.modules if key.split(".")[0] == "factor_metrics"]:
        del sys.modules[module]
    exec(statement, {})
    own = [key for key in sys.modules if key.startswith("factor_metrics.")]
    loaded[name] = [sorted(own), "numpy" in sys.modules]
print(json.dumps(loaded))
"""

# What is not to be loaded by a statement. The first one runs before numpy was ever needed.
MUST_NOT_LOAD = {
    "import factor_metrics": ("",),
    "from factor_metrics import rank_ic": (
        "report",
        "portfolio",
        "judging",
        "significance",
        "scores",
        "floors",
    ),
    "from factor_metrics import to_json_safe": ("report", "portfolio", "judging", "ordering"),
    "from factor_metrics import LiveICReporter, Sample": (
        "report",
        "portfolio",
        "judging",
        "scores",
        "floors",
    ),
    "from factor_metrics import record_system_figures": ("report", "portfolio", "judging", "ordering"),
    "from factor_metrics import to_matrix": ("report", "portfolio", "judging", "ordering"),
    "from factor_metrics import EvaluationConfig, GateConfig, Scores": (
        "report",
        "portfolio",
        "judging.gates",
        "ordering",
        "significance",
        "scores",
        "floors",
    ),
    "from factor_metrics import evaluate_predictions": ("report", "portfolio", "judging.gates"),
    "from factor_metrics.report import ReportData, Subject": ("report.page", "report.charts", "portfolio"),
    "from factor_metrics import backtest": ("report", "judging", "scores", "floors"),
}


@pytest.fixture(scope="module")
def loaded() -> dict[str, tuple[list[str], bool]]:
    """By statement: the modules of the package that it loads, and whether numpy is there."""
    environment = os.environ | {"PYTHONPATH": str(ROOT.parent)}
    statements = json.dumps({statement: statement for statement in MUST_NOT_LOAD})
    found = subprocess.run(
        [sys.executable, "-c", LOADING, statements],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return json.loads(found.stdout)


def test_importing_the_package_loads_no_module_of_it_and_no_numpy(
    loaded: dict[str, tuple[list[str], bool]],
) -> None:
    assert loaded["import factor_metrics"] == [[], False]


@pytest.mark.parametrize("statement", list(MUST_NOT_LOAD)[1:])
def test_a_name_loads_only_what_it_needs(statement: str, loaded: dict[str, tuple[list[str], bool]]) -> None:
    modules, _ = loaded[statement]
    assert modules
    for folder in MUST_NOT_LOAD[statement]:
        name = f"factor_metrics.{folder}"
        assert [module for module in modules if module == name or module.startswith(name + ".")] == []


@pytest.mark.parametrize("face", [factor_metrics, factor_metrics.report], ids=lambda face: face.__name__)
def test_every_public_name_resolves_and_is_documented(face: types.ModuleType) -> None:
    assert face.__all__ == sorted(set(face.__all__))
    assert set(face.__all__) <= set(dir(face))
    for name in face.__all__:
        value = getattr(face, name)
        assert not inspect.ismodule(value), name
        if inspect.isfunction(value) or inspect.isclass(value):
            assert value.__doc__, name
            assert value.__module__.startswith("factor_metrics."), name
        else:
            assert name in documented_values(face, name), name


def documented_values(face: types.ModuleType, name: str) -> set[str]:
    """Names that are assigned in the module of `name` and have a string below."""
    stub = ast.parse(Path(face.__file__ or "").with_suffix(".pyi").read_text(encoding="utf-8"))
    modules = [
        node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]
    ]
    source = inspect.getsource(importlib.import_module(f"{face.__name__}.{modules[0]}"))
    body = ast.parse(source).body
    return {
        target.id
        for node, below in pairwise(body)
        if isinstance(node, ast.Assign) and isinstance(below, ast.Expr)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(below.value, ast.Constant)
    }


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="rank_icc"):
        factor_metrics.rank_icc  # noqa: B018


def test_no_folder_or_module_hides_a_public_name() -> None:
    inside = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert inside.isdisjoint(factor_metrics.__all__)
    assert isinstance(factor_metrics.portfolio.performance, types.ModuleType)
    assert inspect.isfunction(factor_metrics.performance)


def test_the_face_is_typed() -> None:
    assert (ROOT / "py.typed").is_file()
    assert (ROOT / "__init__.pyi").is_file()


def imported(path: Path) -> set[str]:
    """The folders, or modules of the root, of this package that a file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("factor_metrics.")}


def test_folders_lie_in_layers() -> None:
    place = {folder: layer for layer, folders in enumerate(FLOORS) for folder in folders}
    found = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in ROOT.rglob("*.py")}
    assert found - {"__init__"} == set(place)
    for path in ROOT.rglob("*.py"):
        own = path.relative_to(ROOT).parts[0].removesuffix(".py")
        others = imported(path) - {own}
        assert {other for other in others if place[other] >= place.get(own, 0)} == set(), path
