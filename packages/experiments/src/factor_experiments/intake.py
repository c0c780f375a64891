"""What a ledger must be before it is taken in: remotes bring it, and each later command reads all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_experiments.documents import all_series, list_id, parsed, trial_document, trial_id, verdict_document
from factor_experiments.git import is_path

Dates = dict[str, NDArray[np.datetime64]]
Contents = Mapping[str, bytes | None]
"""Path -> what is in the file."""


def damaged_files(files: Contents, known: Contents) -> dict[str, str]:
    """Return the files that no command could read, or whose names are not those of what is in them, each with the rule.

    Parameters
    ----------
    files : what is to be taken in
    known : lists that are in the ledger already, which trials among `files` may lead to

    A list under another list's name would put other dates under trials that are written later, so names are held
    against contents too. Files of folders that this version does not know are left as they are.
    """
    found: dict[str, str] = {}
    lists: dict[str, Any] = {}
    dates: Dates = {}
    for path, content in (*known.items(), *files.items()):
        if path.startswith("lists/"):
            try:
                lists[_stem(path)] = _list(path, content)
            except ValueError as error:
                found[path] = str(error)
    for path, content in files.items():
        if path in found or path.startswith("lists/"):
            continue
        try:
            _check(path, content, lists, dates)
        except ValueError as error:
            found[path] = str(error)
    return {path: rule for path, rule in found.items() if path in files}


def _list(path: str, content: bytes | None) -> Any:
    document = parsed(content)
    if list_id(content or b"") != _stem(path):
        raise ValueError("is named by the digest of another content")
    return document


def _check(path: str, content: bytes | None, lists: Mapping[str, Any], dates: Dates) -> None:
    if not is_path(path):
        raise ValueError("is no file of a ledger")
    folder = path.partition("/")[0]
    if folder == "trials":
        document = trial_document(content)
        if trial_id(document["name"], document["table"]) != _stem(path):
            raise ValueError("is named as another trial")
        all_series(document, lists, dates)
    elif folder == "verdicts":
        verdict_document(content)
    elif folder == "folders" and not isinstance(parsed(content), str):
        raise ValueError("must be the md5 of a table")


def _stem(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".json")
