"""Files that lie in several packages, because packages do not import each other, are the same to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages import ROOT

COPIES = {
    "inline.py": ("data", "metrics"),
    "json_document.py": ("data", "metrics", "models"),
    "kernel_cache.py": ("data", "metrics"),
    "whole_file.py": ("data", "metrics", "models"),
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_equal(name: str) -> None:
    first, *others = (path_of(package, name).read_bytes() for package in COPIES[name])
    assert all(other == first for other in others)


@pytest.mark.parametrize("name", COPIES)
def test_every_copy_is_listed(name: str) -> None:
    found = {path.parent for path in (ROOT / "packages").glob(f"*/src/*/**/{name}")}
    assert found == {path_of(package, name).parent for package in COPIES[name]}


def path_of(package: str, name: str) -> Path:
    return ROOT / "packages" / package / "src" / f"factor_{package}" / name
