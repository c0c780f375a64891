"""One dialect in all packages, stages and tests: code in docstrings, spelling, texts of parameters."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from stages import ROOT
from test_repository import tracked_files

OURS = ("packages/*/src/**/*.py", "stages/**/*.py")

# Words in -ize, -izer, -ization and the like are spelt with s; so is behaviour with u.
OTHER_SPELLING = re.compile(
    r"[\w.]*(?:(?:[a-rt-z]|emphas|synthes)iz(?:e|ed|er|es|ing|ation|able)\b|analyz|behavior|labeled|modeling|canceled)[\w.]*",
    re.IGNORECASE,
)
# Terms of the field, names of other libraries, and names that users of our packages call.
TERMS = re.compile(
    r"tokeniz|optimizer|mark\.parametrize|np\.digitize|summarize|vectoriz|quantize|factorize|winsorize|minimize|maximize|is_initialized|tz_localize|normalize$"
    r"|cuda\.synchronize|dvc\.utils\.serialize|deepspeed\.initialize|scipy\.optimize|set_materialize_grads|capitalize|serialization|zero_optimization|utilization|authorization|skfolio\.optimization|graph\.initializer|sitecustomize|weakref\.finalize",
    re.IGNORECASE,
)
# Titles of papers, and the name of a program.
TITLES = (
    "Direct Optimization of",
    "Stacked Generalization",
    "Regularization and Variable Selection",
    "Binary Spherical Quantization",
    "for optimization problems with simple constraints",
    "Time Series Modeling",
    "predictable behavior of security returns",
    "systemd-analyze",
)


def sources(*patterns: str) -> list[Path]:
    found = {path for pattern in patterns for path in ROOT.glob(pattern)}
    return sorted(found & set(tracked_files()))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of every string that stands alone: docstrings, and texts below fields and constants."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def test_code_in_docstrings_stands_in_single_backticks() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources("**/*.py")
        for line, text in texts(path)
        if re.search(r"(?<!`)``(?!`)", text)
    ]
    assert not offenders


def other_spellings(text: str) -> list[str]:
    for title in TITLES:
        text = text.replace(title, "")
    return [word for word in OTHER_SPELLING.findall(text) if not TERMS.search(word)]


def test_the_rule_of_spelling_knows_terms_and_titles() -> None:
    text = 'We normalise. The optimizer of a tokenizer, "Stacked Generalization": summarize(pd.factorize(horizons)).'
    assert other_spellings(text) == []
    assert other_spellings("normalized neutralize Standardization optimize") == [
        "normalized", "neutralize", "Standardization", "optimize",
    ]  # fmt: skip


def test_our_own_words_are_spelt_with_ise() -> None:
    this = Path(__file__).resolve()
    offenders = [
        f"{path.relative_to(ROOT)}:{number}: {', '.join(words)}"
        for path in tracked_files()
        if path.suffix in {".py", ".pyi", ".md", ".yaml", ".toml"} and path != this
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (words := other_spellings(line))
    ]
    assert not offenders


def configurations() -> list[tuple[Path, ast.ClassDef]]:
    """Classes with `__pydantic_config__`, of their own or from a base: what params.yaml is checked against."""
    classes = [(path, node) for path in sources(*OURS) for node in tree_of(path).body if isinstance(node, ast.ClassDef)]
    names: set[str] = set()
    while True:
        known = len(names)
        for _, node in classes:
            bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
            if bases & names or "__pydantic_config__" in field_names(node):
                names.add(node.name)
        if len(names) == known:
            return [(path, node) for path, node in classes if node.name in names]


def field_names(node: ast.ClassDef) -> list[str]:
    return [one.target.id for one in fields(node)]  # type: ignore[attr-defined]


def fields(node: ast.ClassDef) -> list[ast.AnnAssign]:
    return [one for one in node.body if isinstance(one, ast.AnnAssign)]


@pytest.mark.parametrize(("path", "node"), configurations(), ids=lambda one: getattr(one, "name", "in"))
def test_every_parameter_has_its_text_below(path: Path, node: ast.ClassDef) -> None:
    below = dict(zip(node.body, node.body[1:], strict=False))
    for field in fields(node):
        name = ast.unparse(field.target)
        if name != "__pydantic_config__" and "ClassVar" not in ast.unparse(field.annotation):
            text = below.get(field)
            assert isinstance(text, ast.Expr), f"{path.relative_to(ROOT)}: {node.name}.{name}"
            assert isinstance(text.value, ast.Constant), f"{path.relative_to(ROOT)}: {node.name}.{name}"


@pytest.mark.parametrize(("path", "node"), configurations(), ids=lambda one: getattr(one, "name", "in"))
def test_no_comment_stands_for_the_text_of_a_parameter(path: Path, node: ast.ClassDef) -> None:
    found = [one for one in fields(node) if ast.unparse(one.target) != "__pydantic_config__"]
    if found:
        with io.StringIO(path.read_text(encoding="utf-8")) as file:
            comments = [
                token.start[0] for token in tokenize.generate_tokens(file.readline) if token.type == tokenize.COMMENT
            ]
        assert not [line for line in comments if found[0].lineno <= line <= (found[-1].end_lineno or 0)]


def test_no_docstring_begins_in_the_middle_of_a_sentence() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources("**/*.py")
        for line, text in texts(path)
        if text.startswith("Of ")
    ]
    assert not offenders
