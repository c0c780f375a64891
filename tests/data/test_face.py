"""The face of factor_data: every name is there, and one name loads only what it needs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import factor_data

SOURCE = Path(factor_data.__file__).parent

# What a name does without. Heavy libraries first: a compiler, a learner, readers of remote files.
UNRELATED = {
    "": ["numpy", "pandas", "pyarrow", "numba", "sklearn", "fsspec", "factor_data."],
    "read_folds": ["pandas", "pyarrow", "numba", "sklearn", "fsspec", "factor_data.panel", "factor_data.store"],
    "make_folds": ["pandas", "pyarrow", "numba", "sklearn", "fsspec", "factor_data.panel"],
    "FeatureStore": [
        "numba", "sklearn", "fsspec", "pyarrow.dataset", "factor_data.panel", "factor_data.reading",
        "factor_data.features", "factor_data.fit", "factor_data.windows", "factor_data.news", "factor_data.chunks",
    ],
    "Panel": [
        "numba", "sklearn", "fsspec", "pyarrow.dataset", "factor_data.reading", "factor_data.features",
        "factor_data.chunks", "factor_data.fit", "factor_data.folds",
    ],
    "forward_return": ["numba", "sklearn", "fsspec", "factor_data.reading", "factor_data.features", "factor_data.fit"],
    "simulate_market": [
        "sklearn", "fsspec", "pyarrow.dataset", "factor_data.reading", "factor_data.features", "factor_data.news",
        "factor_data.chunks", "factor_data.windows", "factor_data.cleaning", "factor_data.folds",
    ],
    "clean_bars": ["numba", "sklearn", "fsspec", "factor_data.reading", "factor_data.features.kernels"],
    "read_bars": ["numba", "sklearn", "factor_data.features", "factor_data.fit", "factor_data.windows"],
    "WindowDataset": ["pandas", "sklearn", "fsspec", "factor_data.reading", "factor_data.features", "factor_data.news"],
    "CleanRules, NewsConfig, NewsVectorConfig, Augmentation, MarketConfig, ReadConfig, FoldConfig, WeightParams, "
    "DirectionRule, TargetKind, NormaliserKind, RANK_KINDS": ["numba", "sklearn", "fsspec", "factor_data.store"],
}  # fmt: skip

HEAVY = ("numpy", "pandas", "numba")
"""Those that take most of the time."""

# Each import in a child of one process, which loads first what the name, and all that come after it, may load.
MEASURE = """
import importlib, json, os, sys
loaded = {}
for names, first in json.loads(sys.argv[1]).items():
    for library in first:
        importlib.import_module(library)
    receive, send = os.pipe()
    if os.fork() == 0:
        exec("import factor_data" + (f"\\nfrom factor_data import {names}" if names else ""))
        os.write(send, "\\n".join(sys.modules).encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as pipe:
        loaded[names] = pipe.read().split()
    assert os.wait()[1] == 0
print(json.dumps(loaded))
"""


def loaded_first() -> dict[str, list[str]]:
    """Those of the heavy libraries that neither a name nor any after it must do without, by name: free ones last."""
    order = sorted(UNRELATED, key=lambda names: [library not in UNRELATED[names] for library in HEAVY])
    return {
        names: [one for one in HEAVY if all(one not in UNRELATED[later] for later in order[place:])]
        for place, names in enumerate(order)
    }


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """Names asked for -> modules that are loaded then."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(loaded_first())],
        env={"PYTHONPATH": str(SOURCE.parent)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.parametrize("names", UNRELATED)
def test_a_name_loads_nothing_unrelated(names: str, loaded: dict[str, list[str]]) -> None:
    assert "factor_data" in loaded[names]
    needless = [
        module
        for module in loaded[names]
        for other in UNRELATED[names]
        if module == other or module.startswith(other.rstrip(".") + ".")
    ]
    assert not needless


def stubs() -> list[Path]:
    return sorted(SOURCE.rglob("__init__.pyi"))


@pytest.mark.parametrize("stub", stubs(), ids=lambda path: path.parent.name)
def test_every_name_of_a_face_is_the_one_of_its_module(stub: Path) -> None:
    package = ".".join(("factor_data", *stub.parent.relative_to(SOURCE).parts))
    face = __import__(package, fromlist=["__all__"])
    named = {
        alias.name: f"{package}.{node.module}"
        for node in ast.parse(stub.read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == alias.asname
    }
    assert set(face.__all__) == set(named)
    assert set(named) <= set(dir(face))
    for name, module in named.items():
        assert getattr(face, name) is getattr(__import__(module, fromlist=[name]), name)


def test_no_module_has_the_name_of_something_public() -> None:
    """`import factor_data.features.alpha158` would put the module in the place of the function."""
    for stub in stubs():
        modules = {path.stem for path in stub.parent.iterdir() if path.suffix == ".py" or path.is_dir()}
        face = __import__(".".join(("factor_data", *stub.parent.relative_to(SOURCE).parts)), fromlist=["x"])
        assert not modules & set(face.__all__)


def test_the_package_itself_imports_from_where_names_are_defined() -> None:
    faces = {".".join(("factor_data", *stub.parent.relative_to(SOURCE).parts)) for stub in stubs()}
    offenders = [
        f"{path.relative_to(SOURCE)}: from {node.module} import {alias.name}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module in faces
        for alias in node.names
        if not (SOURCE.parent / node.module.replace(".", "/") / f"{alias.name}.py").exists()
    ]
    assert not offenders


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nowhere"):
        factor_data.nowhere  # type: ignore[attr-defined]  # noqa: B018
