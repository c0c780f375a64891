"""Documents name what exists: paths, make targets, modules, variables; the README's tree is whole."""

from __future__ import annotations

import re
from collections import Counter
from fnmatch import fnmatch
from itertools import chain
from pathlib import Path

import pytest
import yaml

from stages import ROOT
from stages.planning.closure import file_of, home
from stages.planning.plots import PLOTS_FILE
from stages.running.environment import VARIABLES

PAGES = [path for pattern in ("*.md", "flows/*.md") for path in sorted((ROOT / "docs").glob(pattern))]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
LIBRARIES = sorted(ROOT.glob("packages/*/src/factor_*"))
MADE = ("results", "data", ".live", ".checkpoints", "~", "..", "s3:", "https:", ".venv")
"""What documents name and no checkout has: made by a run or lying elsewhere. `results` is held against dvc.yaml."""
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
MAX_LENGTH = 120

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])


def spans(text: str) -> list[str]:
    """What stands between single backticks, outside of blocks of code."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def code(text: str) -> list[str]:
    """Spans and the lines of blocks, without comments."""
    lines = chain.from_iterable(block.splitlines() for block in FENCE.findall(text))
    return [line.partition(" #")[0] for line in (*spans(text), *lines)]


def is_path(span: str) -> bool:
    """Whether a span is a path with a folder in it, which a checkout should have."""
    looks = re.fullmatch(r"[\w.<>*-]+(/[\w.<>*-]+)+/?", span) is not None
    first = span.partition("/")[0]
    known = {path.name for path in (*ROOT.iterdir(), *chain.from_iterable(map(Path.iterdir, LIBRARIES)))}
    return looks and first in known and first not in MADE


def exists(path: str) -> bool:
    """In the root or in a package; `<name>` stands for anything that is there, for a new file its folder."""
    pattern = re.sub(r"<\w+>", "*", path).rstrip("/")
    return any(any(folder.glob(pattern)) for folder in (ROOT, *LIBRARIES))


def targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def outs() -> list[str]:
    """Patterns of all that the DAG writes."""
    found = [str(PLOTS_FILE)]
    for file in ("dvc.yaml", "simulated/dvc.yaml", "refit/map.yaml"):
        if not (ROOT / file).is_file():
            continue
        for stage in yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["stages"].values():
            for out in chain.from_iterable(stage.get(kind, []) for kind in ("outs", "metrics", "plots")):
                name = out if isinstance(out, str) else next(iter(out))
                found.append(name.replace("${item.model}", "*"))
    return found


def is_written(path: str) -> bool:
    """Whether a path under results/ is an out, lies in one, or holds some."""
    parts = re.sub(r"<\w+>", "*", path).rstrip("/").split("/")
    for out in outs():
        pairs = zip(parts, out.split("/"), strict=False)
        if all(fnmatch(part, other) or fnmatch(other, part) for part, other in pairs):
            return True
    return False


@every_document
def test_every_path_in_backticks_exists(document: Path) -> None:
    named = [span for span in spans(document.read_text(encoding="utf-8")) if is_path(span)]
    assert not [span for span in named if not exists(span) and not is_written(f"results/{span}")]


@every_document
def test_every_result_that_is_named_is_written_by_a_stage(document: Path) -> None:
    named = re.findall(r"\bresults/[\w.<>*/-]*[\w>/]", document.read_text(encoding="utf-8"))
    results = [one for one in named if not (ROOT / "docs" / one).exists() and not is_of_benchmarks(one)]
    assert not [one for one in results if not is_written(one)]


def is_of_benchmarks(path: str) -> bool:
    return (ROOT / "benchmarks" / path).exists()


@every_document
def test_every_python_file_that_is_named_exists(document: Path) -> None:
    known = {path.name for folder in ("stages", "packages", "tests", "studies", "benchmarks")
             for path in (ROOT / folder).rglob("*.py")}  # fmt: skip
    named = re.findall(r"(?<![\w/<>*])(\w+\.py)\b", document.read_text(encoding="utf-8"))
    assert set(named) <= known


@every_document
def test_every_test_that_is_named_exists(document: Path) -> None:
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", document.read_text(encoding="utf-8")):
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{name}"


@every_document
def test_every_make_target_exists(document: Path) -> None:
    named: set[str] = set()
    for line in code(document.read_text(encoding="utf-8")):
        for words in re.findall(r"(?:^|; |&& )make((?: [a-z][a-z0-9-]*\b(?!=))+)", line):
            named |= set(words.split())
    assert named <= targets()


@every_document
def test_every_module_that_is_named_exists(document: Path) -> None:
    lines = code(document.read_text(encoding="utf-8"))
    run = {name for line in lines for name in re.findall(r"(?:-m|--module) ((?:stages|studies)[\w.]*)", line)}
    for name in run:
        path = ROOT.joinpath(*name.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), name
    dotted = re.compile(r"(?:stages|factor_data|factor_metrics|factor_models)(?:\.\w+)+")
    for name in (line for line in lines if dotted.fullmatch(line)):
        module = home(name)
        assert module is not None, name
        path, rest = file_of(module), name.removeprefix(module).rpartition(".")[2]
        assert path is not None
        faces = [file for file in (path, path.with_suffix(".pyi")) if file.is_file()]
        assert module == name or any(re.search(rf"\b{rest}\b", file.read_text()) for file in faces), name


@every_document
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = document.parent / name if name else document
        assert path.exists(), target
        headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        slugs = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
        assert not anchor or anchor in slugs, target


@every_document
def test_prose_is_wrapped(document: Path) -> None:
    lines = document.read_text(encoding="utf-8").splitlines()
    long = [number for number, line in enumerate(lines, 1) if len(line) > MAX_LENGTH and line[:1] != "|"]
    assert not long


def test_the_tree_of_the_readme_is_whole() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = next(block for block in FENCE.findall(text) if "stages/ " in block)
    heads = re.split(r"^(\S+/)(?=\n| )", tree, flags=re.MULTILINE)
    parts = dict(zip(heads[1::2], heads[2::2], strict=True))
    stages = {path.name + "/" * path.is_dir() for path in entries(ROOT / "stages")}
    assert named_in(parts["stages/"]) >= stages
    for library in LIBRARIES:
        own = named_in(parts[f"{library.relative_to(ROOT)}/"])
        assert own >= {f"{path.name}/" for path in entries(library) if path.is_dir()}
        assert {one for one in own if not (library / one).exists()} == set()
    assert {one for one in named_in(parts["stages/"]) if not (ROOT / "stages" / one).exists()} == set()


def entries(folder: Path) -> list[Path]:
    """Python files, and folders of them."""
    return [path for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]


def named_in(part: str) -> set[str]:
    """Files and folders at the head of the lines of a part of the tree."""
    found: set[str] = set()
    for line in part.splitlines()[1:]:
        head = re.match(r" {2}((?:[\w.]+(?:\.py|/)(?:, )?)+)", line)
        found |= set(head.group(1).strip(", ").split(", ")) if head else set()
    return found


def test_one_table_has_every_variable() -> None:
    table = re.findall(
        r"^\| `(FACTORCAST_\w+)` \| (.+) \|$",
        (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert dict(table) == VARIABLES
    assert len(table) == len(VARIABLES)


def test_no_other_variable_is_read() -> None:
    sources = [*(ROOT / "stages").rglob("*.py"), *(ROOT / "packages").glob("*/src/**/*.py"), *DOCUMENTS]
    named = {name for path in sources for name in re.findall(r"\bFACTORCAST_[A-Z_]*[A-Z]\b", path.read_text())}
    assert named == set(VARIABLES)


def test_the_glossary_defines_a_word_once() -> None:
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    words = Counter(word.strip() for row in rows for word in row.split(","))
    assert [word for word, count in words.items() if count > 1] == []


def test_every_version_of_the_changelog_has_a_date() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    dated = [re.fullmatch(r"(?:Unreleased|\d+\.\d+\.\d+), (\d{4}-\d\d-\d\d)", heading) for heading in headings]
    assert all(dated)
    dates = [match.group(1) for match in dated if match is not None]
    assert dates == sorted(dates, reverse=True)


def test_the_log_is_in_order_newest_first() -> None:
    text = (ROOT / "docs" / "log.md").read_text(encoding="utf-8")
    dates = re.findall(r"^## (\d{4}-\d\d-\d\d)", text, re.MULTILINE)
    assert dates == sorted(dates, reverse=True)
    assert dates
