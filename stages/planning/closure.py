"""The project modules that a module can load, and a digest of each that comments and formatting do not change.

The closure follows every import statement, also those inside functions, but not those under `if TYPE_CHECKING`. A name
imported from a package whose face is lazy (`__init__.pyi` beside `__init__.py`) leads to the one module that defines
it. What is imported by a string, as the models of the zoo are, has to be named by the caller; a stage that loads a
module which its plan does not name fails (`stages.running.planned`).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path

from stages import ROOT
from stages.planning.read_code import ReadCode, digest

READ = ReadCode()

DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "xgboost": "xgboost" if sys.platform == "darwin" else "xgboost-cpu",
    "lazy_loader": "lazy-loader",
}
"""Names of distributions that are not the name they are imported by."""


@dataclass(frozen=True, kw_only=True)
class Module:
    """Imports and digest of one file."""

    name: str
    digest: str
    """Digest of its code."""
    project: frozenset[str]
    """Project modules that it imports, the packages they lie in included."""
    others: frozenset[str]
    """Top-level names of what else it imports, without the standard library."""


@dataclass(frozen=True, kw_only=True)
class Closure:
    """Every project module that a set of roots can load."""

    modules: Mapping[str, Module]
    tables: Mapping[str, Collection[str]] = field(default_factory=dict)
    """By module: the keys of its literal tables that are used; None of the others' entries counts."""

    def digests(self, without: Collection[str] = ()) -> dict[str, str]:
        """Digest of each module, sorted by name; modules and rooms in `without` are left out."""
        return {
            name: digest(parse(name), self.tables[name]) if name in self.tables else module.digest
            for name, module in sorted(self.modules.items())
            if not is_in(name, without)
        }

    def distributions(self, without: Collection[str] = ()) -> dict[str, str]:
        """Version of every third-party distribution that the modules import; "absent" where it is not installed."""
        names = {other for name, module in self.modules.items() if not is_in(name, without) for other in module.others}
        return {name: version(name) for name in sorted({DISTRIBUTIONS.get(name, name) for name in names})}


def closure(
    roots: Iterable[str], tables: Mapping[str, Collection[str]] | None = None, files: Iterable[str] = ()
) -> Closure:
    """Everything that the modules `roots` can load. ValueError if a root is no module of the project.

    `files` are Python files of the user's, which may import project modules; they are named by their paths.
    """
    found: dict[str, Module] = {path: describe(path, Path(path)) for path in files}
    waiting = [name for root in roots for name in with_packages(root)]
    waiting += [name for module in found.values() for name in module.project]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = read_module(name)
        waiting += found[name].project - set(found)
    return Closure(modules=found, tables=tables or {})


def is_in(name: str, rooms: Collection[str]) -> bool:
    """Return True if a module is one of `rooms` or lies in one."""
    return any(name == room or name.startswith(room + ".") for room in rooms)


@cache
def packages() -> dict[str, Path]:
    """The project's top-level packages and their folders."""
    libraries = {path.name: path for path in sorted(ROOT.glob("packages/*/src/factor_*"))}
    return {"stages": ROOT / "stages", **libraries}


@cache
def file_of(name: str) -> Path | None:
    """The file of a project module; None if there is none of that name."""
    top, *rest = name.split(".")
    if top not in packages():
        return None
    path = packages()[top].joinpath(*rest)
    if (path / "__init__.py").is_file():
        return path / "__init__.py"
    file = path.with_suffix(".py") if rest else None
    return file if file is not None and file.is_file() else None


def with_packages(name: str) -> list[str]:
    """A module and the packages it lies in, whose `__init__.py` run before it."""
    parts = name.split(".")
    names = [".".join(parts[: number + 1]) for number in range(len(parts))]
    return [name for name in names if file_of(name) is not None]


def parse(name: str) -> ast.Module:
    """The syntax tree of a project module. ValueError if there is none of that name."""
    path = file_of(name)
    if path is None:
        raise ValueError(f"{name} is no module of the project")
    return ast.parse(path.read_bytes(), filename=str(path))


@cache
def read_module(name: str) -> Module:
    """Return a project module with what it imports; ValueError if there is none of that name."""
    path = file_of(name)
    if path is None:
        raise ValueError(f"{name} is no module of the project")
    return describe(name, path)


def describe(name: str, path: Path) -> Module:
    """A Python file with what it imports."""
    code, imported = READ.get(name, path)
    targets = [(one, home(one)) for one in imported]
    project = {package for _, target in targets if target is not None for package in with_packages(target)}
    tops = {one.partition(".")[0] for one, target in targets if target is None}
    return Module(
        name=name,
        digest=code,
        project=frozenset(project),
        others=frozenset(top for top in tops if top not in sys.stdlib_module_names and top not in packages()),
    )


def home(imported: str) -> str | None:
    """The project module behind a dotted name: itself, the module that a lazy face takes it from, or its package."""
    if file_of(imported) is not None:
        return imported
    parent, _, name = imported.rpartition(".")
    path = file_of(parent) if parent else None
    if path is None:
        return None
    if path.name == "__init__.py" and path.with_suffix(".pyi").is_file():
        return lazy_names(parent).get(name, parent)
    return parent


@cache
def lazy_names(package: str) -> dict[str, str]:
    """Return the module that defines each public name of a package whose face is lazy."""
    path = file_of(package)
    assert path is not None
    tree = ast.parse(path.with_suffix(".pyi").read_bytes())
    names: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            module = f"{package}.{node.module}" if node.module else package
            for alias in node.names:
                inner = home(f"{module}.{alias.name}")
                names[alias.asname or alias.name] = inner or module
    return names


@cache
def version(distribution: str) -> str:
    """Installed version without the local part, such as +cpu, which says where a wheel came from."""
    try:
        return metadata.version(distribution).partition("+")[0]
    except metadata.PackageNotFoundError:
        return "absent"
