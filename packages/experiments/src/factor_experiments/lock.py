"""dvc.lock and files like it: the digests of what a revision has made, read without parsing the whole of the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import yaml

DIGEST = re.compile(r"[0-9a-f]{32}(\.dir)?")
"""What names a file or folder in DVC's cache; anything else would be a path to elsewhere."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
STAGE = re.compile(r"^  (\S[^\n]*):\n((?:    [^\n]*\n|  - [^\n]*\n|\n)*)", re.MULTILINE)
"""A stage of a lock file: DVC writes its name two blanks in, and what belongs to it further in."""


def lock_outs(text: str, stages: tuple[str, ...], where: str) -> dict[str, str]:
    """Return path -> md5 of every output of the stages whose names begin with one of `stages`.

    Lock files come from every branch that was fetched, so an output whose md5 is none is left out.
    A stage's block is parsed by itself, and one that was seen before not again: of hundreds of revisions most blocks
    are the same. ValueError beginning with `where` for a block that is not YAML.
    """
    found: dict[str, str] = {}
    for match in STAGE.finditer(text):
        name = match[1].strip("'\"")
        if name.startswith(stages):
            try:
                found |= _outs(match[2])
            except ValueError as error:
                raise ValueError(f"{where}: stage {name} {error}") from error
    return found


def out_of(outs: Mapping[str, str], path: str) -> str | None:
    """Return the digest of the output that a file is, else of the folder that it lies in; None where neither is one."""
    return outs.get(path, outs.get(path.rpartition("/")[0]))


@lru_cache(maxsize=4096)
def _outs(block: str) -> Mapping[str, str]:
    document = parse_yaml(block) or {}
    return {out["path"]: out["md5"] for out in document.get("outs", []) if DIGEST.fullmatch(str(out.get("md5")))}


def data_digest(document: Any) -> str | None:
    """Return the md5 that the content of a .dvc file gives its output; None where it has none."""
    return next((out["md5"] for out in document.get("outs", []) if "md5" in out), None)


def parse_yaml(text: str) -> Any:
    """Return the content of a YAML text; ValueError for one that is none."""
    try:
        return yaml.load(text, Loader=LOADER)
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML ({' '.join(str(error).split())})") from error
