"""What a Python file imports, and a digest of its code that comments, docstrings and formatting do not change.

Parsing the whole project takes seconds, so what was read is kept outside the checkout by the content of the file.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from factor_data.whole_file import write_bytes

DIGITS = 12
"""Hexadecimal digits of a digest in a plan."""
VERSION = 1
"""Version of the cache; files of another version are read anew."""
MOST_KEPT = 5000


class ReadCode:
    """Digest and imports of files, each parsed once per content. A cache that cannot be used is ignored."""

    def __init__(self, path: Path | None = None) -> None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self.path = path or cache / "factorcast" / f"code-{VERSION}.json"
        self.known: dict[str, tuple[str, list[str]]] | None = None
        self.is_new = False

    def get(self, name: str, path: Path) -> tuple[str, list[str]]:
        """(digest, dotted names that it imports) of the module `name` in a file."""
        if self.known is None:
            self.known = self._load()
        content = path.read_bytes()
        key = hashlib.sha256(f"{name}\n{path.name}\n".encode() + content).hexdigest()
        if key not in self.known:
            tree = ast.parse(content, filename=str(path))
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            self.known[key] = (digest(tree), sorted(set(imports(tree, package))))
            self.is_new = True
        code, imported = self.known[key]
        return code, imported

    def save(self) -> None:
        """Keep what was read, the latest entries; whole or not at all."""
        if not self.is_new or self.known is None:
            return
        kept = dict(list(self.known.items())[-MOST_KEPT:])
        with suppress(OSError):  # the next run parses again
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(self.path, json.dumps(kept).encode())

    def _load(self) -> dict[str, tuple[str, list[str]]]:
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}


def imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Dotted names that are imported: `a.b` of `import a.b`, `a.b.c` of `from a.b import c`."""
    for node in walk_runtime(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def walk_runtime(node: ast.AST) -> Iterator[ast.AST]:
    """Like `ast.walk`, without what only type checkers read."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and is_type_checking(child.test):
            for otherwise in child.orelse:
                yield from walk_runtime(otherwise)
            continue
        yield from walk_runtime(child)


def is_type_checking(test: ast.expr) -> bool:
    """Whether a condition is `TYPE_CHECKING` or `typing.TYPE_CHECKING`, and no more than that."""
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return name == "TYPE_CHECKING"


def digest(tree: ast.Module, keys: Collection[str] | None = None) -> str:
    """Digest of a syntax tree without comments, docstrings and formatting, the same for every Python version.

    With `keys`, dictionaries with literal keys that are assigned at the top of the module count only by their entries
    of these keys: a table of models by name does not change for those who use other models.
    """
    hashed = hashlib.sha256()
    for statement in without_docstring(tree.body):
        _feed(hashed, _of_keys(statement, keys) if keys is not None else statement)
    return hashed.hexdigest()[:DIGITS]


def _of_keys(statement: ast.stmt, keys: Collection[str]) -> ast.stmt:
    if not isinstance(statement, ast.Assign | ast.AnnAssign) or not isinstance(statement.value, ast.Dict):
        return statement
    table = statement.value
    if not table.keys or not all(isinstance(key, ast.Constant) for key in table.keys):
        return statement
    pairs = [
        (key, value)
        for key, value in zip(table.keys, table.values, strict=True)
        if isinstance(key, ast.Constant) and key.value in keys
    ]
    chosen = ast.Dict(keys=[key for key, _ in pairs], values=[value for _, value in pairs])
    if isinstance(statement, ast.Assign):
        return ast.Assign(targets=statement.targets, value=chosen)
    return ast.AnnAssign(
        target=statement.target, annotation=statement.annotation, value=chosen, simple=statement.simple
    )


def without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    """Statements that do something: strings on their own, such as docstrings and those under fields, do not."""
    return [
        one
        for one in body
        if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) and isinstance(one.value.value, str))
    ]


def _feed(hashed: hashlib._Hash, value: object) -> None:
    """Feed a tree to a hash; empty fields, which differ between versions of Python, are left out."""
    if isinstance(value, ast.AST):
        hashed.update(f"({type(value).__name__}".encode())
        for name in value._fields:
            part = getattr(value, name, None)
            if isinstance(part, list) and name == "body" and part and isinstance(part[0], ast.stmt):
                part = without_docstring(part)
            if part is None or part == [] or name in ("ctx", "type_comment", "kind"):
                continue
            hashed.update(f" {name}=".encode())
            _feed(hashed, part)
        hashed.update(b")")
    elif isinstance(value, list):
        hashed.update(b"[")
        for one in value:
            _feed(hashed, one)
            hashed.update(b",")
        hashed.update(b"]")
    else:
        hashed.update(f"{type(value).__name__}:{value!r}".encode())
