"""The closure of a stage's code: what it can load, and a digest that only code changes."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from factor_models import MODELS
from stages.planning import closure as closures
from stages.planning.closure import closure
from stages.planning.read_code import ReadCode, digest

CODE = '''"""What the module is for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What is set."""

    size: int = 3
    """How large."""


def total(values, scale=1.0):
    """The sum."""
    if not values:
        return 0.0
    return scale * sum(values)
'''

WITHOUT_EFFECT: dict[str, Callable[[str], str]] = {
    "a comment": lambda code: code.replace("    return scale", "    # so it is\n    return scale"),
    "the docstring of the module": lambda code: code.replace("What the module is for.", "Other words."),
    "the docstring of a function": lambda code: code.replace("The sum.", "The sum of `values`, scaled."),
    "the docstring of a class": lambda code: code.replace("What is set.", "Settings."),
    "the string under a field": lambda code: code.replace("How large.", "In bytes."),
    "no docstrings at all": lambda code: "\n".join(
        line for line in code.splitlines() if not line.strip().startswith('"""')
    ),
    "blank lines": lambda code: code.replace("\n\n\n", "\n\n"),
    "line breaks": lambda code: code.replace("values, scale=1.0", "\n    values,\n    scale=1.0,\n"),
    "parentheses": lambda code: code.replace("scale * sum(values)", "(scale * (sum(values)))"),
    "how a number is written": lambda code: code.replace("scale=1.0", "scale=1.00"),
}

WITH_EFFECT: dict[str, Callable[[str], str]] = {
    "a default": lambda code: code.replace("scale=1.0", "scale=2.0"),
    "the type of a number": lambda code: code.replace("scale=1.0", "scale=1"),
    "an operator": lambda code: code.replace("scale * sum", "scale + sum"),
    "a condition": lambda code: code.replace("if not values", "if values"),
    "the value of a field": lambda code: code.replace("size: int = 3", "size: int = 4"),
    "the type of a field": lambda code: code.replace("size: int", "size: float"),
    "a decorator's argument": lambda code: code.replace("frozen=True", "frozen=False"),
    "no decorator": lambda code: code.replace("@dataclass(frozen=True)\n", ""),
    "a name": lambda code: code.replace("total", "sum_of"),
    "an import": lambda code: code.replace("import dataclass\n", "import dataclass, field\n"),
    "a statement more": lambda code: code.replace("    if not", "    values = list(values)\n    if not"),
    "a statement less": lambda code: code.replace("    if not values:\n        return 0.0\n", ""),
    "a string that is returned": lambda code: code.replace("return 0.0", 'return "nothing"'),
    "nothing in the place of a number": lambda code: code.replace("return 0.0", "return None"),
    "the order of arguments": lambda code: code.replace("values, scale=1.0", "scale, values=1.0"),
}


def digest_of(code: str, keys: list[str] | None = None) -> str:
    return digest(ast.parse(code), keys)


@pytest.mark.parametrize("edit", WITHOUT_EFFECT)
def test_a_digest_does_not_change_with_what_the_code_does_not_do(edit: str) -> None:
    edited = WITHOUT_EFFECT[edit](CODE)
    assert edited != CODE
    assert digest_of(edited) == digest_of(CODE)


@pytest.mark.parametrize("edit", WITH_EFFECT)
def test_a_digest_changes_with_the_code(edit: str) -> None:
    edited = WITH_EFFECT[edit](CODE)
    assert edited != CODE
    assert digest_of(edited) != digest_of(CODE)


def test_edits_of_code_have_digests_of_their_own() -> None:
    digests = [digest_of(edit(CODE)) for edit in WITH_EFFECT.values()]
    assert len(set(digests)) == len(digests)


TABLE = """
TABLE = {
    "one": Entry("a.one", 1),
    "two": Entry("a.two", 2),
}
LIMIT = 3
"""


def test_a_table_counts_by_the_entries_that_are_used() -> None:
    more = TABLE.replace("}", '    "three": Entry("a.three", 3),\n}')
    assert digest_of(more, ["one"]) == digest_of(TABLE, ["one"])
    assert digest_of(more, ["three"]) != digest_of(TABLE, ["three"])
    assert digest_of(TABLE.replace("a.two", "a.other"), ["one"]) == digest_of(TABLE, ["one"])
    assert digest_of(TABLE.replace("a.one", "a.other"), ["one"]) != digest_of(TABLE, ["one"])
    assert digest_of(TABLE.replace("LIMIT = 3", "LIMIT = 4"), ["one"]) != digest_of(TABLE, ["one"])
    assert digest_of(more) != digest_of(TABLE), "where no keys are named, the whole table counts"


def test_a_table_that_is_no_literal_counts_as_a_whole() -> None:
    computed = 'TABLE = {**other, "one": Entry("a.one", 1), "two": Entry("a.two", 2)}'
    assert digest_of(computed.replace("a.two", "a.other"), ["one"]) != digest_of(computed, ["one"])


def test_a_new_model_in_the_zoo_changes_the_digest_of_no_other_model() -> None:
    path = closures.file_of("factor_models.zoo_table")
    assert path is not None
    table = path.read_text()
    entry = '    "new": ModelEntry("factor_models.networks.new", "NewConfig", "New", "features"),\n'
    first = next(line for line in table.splitlines(keepends=True) if line.startswith('    "linear"'))
    longer = table.replace(first, entry + first)
    assert longer != table
    for name in MODELS:
        assert digest_of(longer, [name]) == digest_of(table, [name])
        own = table.replace(f'"{MODELS[name].module}"', '"factor_models.networks.new"')
        assert digest_of(own, [name]) != digest_of(table, [name])
    assert digest_of(longer, ["new"]) != digest_of(table, ["new"])


class Tree:
    """A small source tree in the place of the project's."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, **files: str) -> None:
        """Write modules by name, `__` for a dot; the packages that they lie in appear with them."""
        for name, text in files.items():
            path = self.root.joinpath(*name.split("__")).with_suffix(".py")
            self.write_file(path, text)

    def write_face(self, package: str, stub: str) -> None:
        """Make a package's face a lazy one."""
        folder = self.root / package
        self.write_file(folder / "__init__.py", "import lazy_loader\n")
        self.write_file(folder / "__init__.pyi", stub)

    def write_file(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in path.relative_to(self.root).parents:
            face = self.root / folder / "__init__.py"
            if folder != Path() and not face.exists():
                face.write_text("")
        path.write_text(text)
        forget()


def forget() -> None:
    for kept in (closures.read_module, closures.lazy_names, closures.file_of):
        kept.cache_clear()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tree]:
    root = tmp_path / "tree"
    monkeypatch.setattr(closures, "packages", lambda: {name: root / name for name in ("app", "lib")})
    monkeypatch.setattr(closures, "READ", ReadCode(tmp_path / "code.json"))
    forget()
    yield Tree(root)
    forget()


def names(*roots: str) -> set[str]:
    return set(closure(roots).modules)


def test_imports_of_every_form_are_followed(tree: Tree) -> None:
    tree.write(
        app__main="import app.one\nimport app.two as second\nfrom app import three\nfrom app.four import name\n",
        app__one="",
        app__two="from app.five import *\n",
        app__three="",
        app__four="name = 1\n",
        app__five="",
        app__other="",
    )
    modules = {f"app.{name}" for name in ("main", "one", "two", "three", "four", "five")}
    assert names("app.main") == {"app", *modules}


def test_relative_imports_are_followed(tree: Tree) -> None:
    tree.write(
        app__room__main="from . import near\nfrom .beside import name\nfrom ..far import name\n",
        app__room__near="",
        app__room__beside="",
        app__far="from .room import near\n",
    )
    assert names("app.room.main") >= {"app.room.near", "app.room.beside", "app.far"}


def test_imports_inside_functions_and_conditions_are_followed(tree: Tree) -> None:
    tree.write(
        app__main="def work():\n    from app.late import name\n\nif True:\n    import app.choice\nelse:\n"
        "    import app.otherwise\ntry:\n    import app.tried\nexcept ImportError:\n    import app.instead\n",
        app__late="",
        app__choice="",
        app__otherwise="",
        app__tried="",
        app__instead="",
    )
    late = {f"app.{name}" for name in ("late", "choice", "otherwise", "tried", "instead")}
    assert names("app.main") == {"app", "app.main", *late}


@pytest.mark.parametrize("condition", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
def test_imports_for_type_checkers_are_left_out(condition: str, tree: Tree) -> None:
    tree.write(
        app__main=f"import typing\nfrom typing import TYPE_CHECKING\nif {condition}:\n    import app.types\nelse:\n"
        "    import app.real\n",
        app__types="",
        app__real="",
    )
    assert names("app.main") == {"app", "app.main", "app.real"}


def test_imports_under_the_opposite_of_type_checking_are_followed(tree: Tree) -> None:
    tree.write(
        app__main="from typing import TYPE_CHECKING\nif not TYPE_CHECKING:\n    import app.real\n",
        app__real="",
    )
    assert "app.real" in names("app.main")


def test_a_lazy_face_leads_to_the_module_that_defines_a_name(tree: Tree) -> None:
    tree.write(lib__one="", lib__two="import lib.three\n", lib__three="", lib__part__inner="")
    tree.write_face("lib/part", "from .inner import Deep as Deep\nfrom .inner import Deep as Renamed\n")
    tree.write_face(
        "lib",
        "from .one import One as One\nfrom .two import Two as Two\nfrom .part import Renamed as Deepest\n",
    )
    tree.write(app__first="from lib import One\n", app__second="from lib import Two\n")
    tree.write(app__third="from lib import Deepest\n", app__whole="import lib\n")
    assert names("app.first") == {"app", "app.first", "lib", "lib.one"}
    assert names("app.second") == {"app", "app.second", "lib", "lib.two", "lib.three"}
    assert names("app.third") == {"app", "app.third", "lib", "lib.part", "lib.part.inner"}
    assert names("app.whole") == {"app", "app.whole", "lib"}


def test_a_name_of_a_plain_face_leads_to_all_that_the_face_imports(tree: Tree) -> None:
    tree.write(lib__one="", lib__two="")
    tree.write_file(tree.root / "lib" / "__init__.py", "from lib.one import One\nfrom lib.two import Two\n")
    tree.write(app__main="from lib import One\n")
    assert names("app.main") == {"app", "app.main", "lib", "lib.one", "lib.two"}


def test_a_module_that_does_not_exist_is_refused(tree: Tree) -> None:
    with pytest.raises(ValueError, match=r"app\.nowhere is no module of the project"):
        closures.read_module("app.nowhere")


def test_a_change_reaches_the_digests_of_exactly_the_module_that_changed(tree: Tree) -> None:
    tree.write(app__main="import app.one\nimport app.two\n", app__one="x = 1\n", app__two="y = 1\n")
    before = closure(["app.main"]).digests()
    assert set(before) == {"app", "app.main", "app.one", "app.two"}
    tree.write(app__one="x = 1  # the same\n")
    assert closure(["app.main"]).digests() == before
    tree.write(app__one="x = 2\n")
    after = closure(["app.main"]).digests()
    assert {name for name in before if before[name] != after[name]} == {"app.one"}


def test_a_table_module_counts_by_used_keys_in_a_closure(tree: Tree) -> None:
    tree.write(app__main="from lib.table import TABLE\n", lib__table='TABLE = {"a": 1, "b": 2}\n')
    used = {"lib.table": ["a"]}
    before = closure(["app.main"], used).digests()
    tree.write(lib__table='TABLE = {"a": 1, "b": 3, "c": 4}\n')
    assert closure(["app.main"], used).digests() == before
    tree.write(lib__table='TABLE = {"a": 5, "b": 2}\n')
    assert closure(["app.main"], used).digests() != before


def test_rooms_that_decide_nothing_are_left_out_but_their_imports_count(tree: Tree) -> None:
    tree.write(app__main="import app.room.show\n", app__room__show="import app.decides\n", app__decides="")
    assert set(closure(["app.main"]).digests(without=["app.room"])) == {"app", "app.decides", "app.main"}


def test_distributions_are_those_of_modules_that_count(tree: Tree) -> None:
    tree.write(
        app__main="import json\nimport numpy as np\nfrom sklearn import svm\nimport app.room.show\nimport nowhere\n",
        app__room__show="import rich\n",
    )
    found = closure(["app.main"]).distributions(without=["app.room"])
    assert set(found) == {"numpy", "scikit-learn", "nowhere"}
    assert found["nowhere"] == "absent"
    assert "+" not in "".join(found.values())


def parses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which texts are parsed from now on."""
    seen: list[str] = []
    parse = ast.parse
    monkeypatch.setattr(
        "stages.planning.read_code.ast.parse",
        lambda text, **options: (seen.append(str(text)), parse(text, **options))[1],
    )
    return seen


def test_a_file_is_parsed_once_per_content_also_by_later_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, kept = tmp_path / "one.py", tmp_path / "cache" / "code.json"
    file.write_text("import app.two\n")
    parsed = parses(monkeypatch)
    first = ReadCode(kept)
    found = first.get("app.one", file)
    assert found[1] == ["app.two"]
    assert first.get("app.one", file) == found
    first.save()
    later = ReadCode(kept)
    assert later.get("app.one", file) == found
    assert len(parsed) == 1
    file.write_text("import app.three\n")
    assert later.get("app.one", file)[1] == ["app.three"]
    assert len(parsed) == 2
    file.write_text("import app.two\n")
    assert later.get("app.one", file) == found
    assert len(parsed) == 2, "an earlier content is known still"


def test_the_same_content_elsewhere_may_import_something_else(tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text("from . import near\n")
    read = ReadCode(tmp_path / "code.json")
    assert read.get("app.one", file)[1] == ["app.near"]
    assert read.get("lib.room.one", file)[1] == ["lib.room.near"]


@pytest.mark.parametrize("content", ["", "{", "[1, 2]"])
def test_a_broken_store_of_what_was_read_is_done_without(content: str, tmp_path: Path) -> None:
    file, kept = tmp_path / "one.py", tmp_path / "code.json"
    file.write_text("x = 1\n")
    kept.write_text(content)
    read = ReadCode(kept)
    assert read.get("app.one", file) == (digest_of("x = 1"), [])
    read.save()
    assert ReadCode(kept).get("app.one", file) == (digest_of("x = 1"), [])


def test_a_store_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder is needed")
    read = ReadCode(tmp_path / "taken" / "code.json")
    file = tmp_path / "one.py"
    file.write_text("x = 1\n")
    assert read.get("app.one", file)[0] == digest_of("x = 1")
    read.save()


def test_every_module_of_the_project_can_be_read() -> None:
    """Nothing in the project uses a form of import that the closure does not know."""
    for package, folder in closures.packages().items():
        for path in sorted(folder.rglob("*.py")):
            relative = path.relative_to(folder).with_suffix("")
            parts = [part for part in relative.parts if part != "__init__"]
            module = closures.read_module(".".join([package, *parts]))
            assert all(closures.file_of(name) is not None for name in module.project)
