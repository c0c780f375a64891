"""The repository's hygiene: no secrets, hosts or absolute paths, no unsafe loading, no heavy files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from stages import ROOT

FORBIDDEN = {
    "an absolute path": r"(?<![\w.:/<])/(home|root|work|tmp|Users|mnt|opt)/\w",
    "a private key": r"BEGIN [A-Z ]*PRIVATE KEY",
    "a token": r"\b(ghp|gho|hf|sk|xox[bp])[-_][A-Za-z0-9]{20,}",
    "an AWS key": r"\bAKIA[0-9A-Z]{16}\b",
    "an address in a private network": r"\b(10|192\.168)(\.\d{1,3}){2,3}\b",
}
UNSAFE = r"\b(pickle|joblib|dill|cloudpickle)\.(load|loads)\b|allow_pickle=True|weights_only=False|yaml\.unsafe_load"


def tracked_files() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("what", sorted(FORBIDDEN))
def test_no_tracked_file_holds(what: str) -> None:
    this = Path(__file__).resolve()
    offenders = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked_files()
        if path != this and path.suffix not in {".png", ".svg"}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(FORBIDDEN[what], line)
    ]
    assert not offenders


def test_nothing_is_loaded_unsafely() -> None:
    sources = [p for p in tracked_files() if p.suffix == ".py" and p != Path(__file__).resolve()]
    assert sources
    assert not [path for path in sources if re.search(UNSAFE, path.read_text(encoding="utf-8"))]


def test_no_heavy_file_is_tracked() -> None:
    assert not [path for path in tracked_files() if path.stat().st_size > 1_000_000]


def test_git_keeps_the_metrics_and_dvc_the_rest() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    is_cached = {
        path.replace("${item.model}", "lstm"): options.get("cache", True)
        for stage in stages.values()
        for kind in ("outs", "metrics", "plots")
        for entry in stage.get(kind, [])
        for path, options in (entry if isinstance(entry, dict) else {entry: {}}).items()
    }
    assert not all(is_cached.values())
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", *is_cached],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert set(ignored) == {path for path, cached in is_cached.items() if cached}


def test_every_make_target_is_described_by_help() -> None:
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    phony = re.search(r"^\.PHONY: (.+)$", text, re.M)
    assert phony is not None
    described = set(re.findall(r"^([a-z0-9-]+):.*## ", text, re.M))
    assert set(phony.group(1).split()) == described
