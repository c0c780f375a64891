"""One revision of the project as the files in git say it: digests of results, plans, data, settings, environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factor_experiments.git import Git
from factor_experiments.layout import DATA, ENVIRONMENT, EVALUATE, LOCK, PARAMS, PLANS, STACK, forecast_of, plan_path
from factor_experiments.lock import data_digest, lock_outs, parse_yaml
from factor_metrics.json_document import parse_document

WORKSPACE = "workspace"
"""Name of the working tree as it is, with what is not committed."""


@dataclass(frozen=True, kw_only=True)
class Revision:
    """What git has of one revision; nothing of it needs DVC's cache."""

    name: str
    """As the user gave it."""
    commit: str
    """Commit; of the workspace the one that it started from."""
    tables: Mapping[str, str]
    """Digest of the output that holds the table of each forecast, by the name of the model or "stack"."""
    plans: Mapping[str, Mapping[str, Any]]
    """Plan of each stage and model: settings, modules, distributions."""
    data: str | None
    """md5 of the data."""
    params: Mapping[str, Any]
    """The settings as the user wrote them, with dotted keys."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Locked version of every library."""

    @property
    def labels(self) -> Mapping[str, Any]:
        """Return the definition of every label, by name; empty where no plan has them."""
        tokenize = self.plans.get("tokenize", {}).get("settings", {}).get("tokenize", {})
        found: Mapping[str, Any] = tokenize.get("labels", {})
        return found

    @property
    def modules(self) -> dict[str, str]:
        """Return the digest of every module in a plan."""
        return {name: digest for plan in self.plans.values() for name, digest in plan.get("modules", {}).items()}

    @property
    def distributions(self) -> dict[str, str]:
        """Return the version of every library that a stage imports."""
        return {
            name: version for plan in self.plans.values() for name, version in plan.get("distributions", {}).items()
        }


def read_revision(git: Git, name: str) -> Revision:
    """Return a revision by its name, or the working tree for "workspace".

    ValueError where there is no such revision, or where it has no results: no lock file, or none of a forecast.
    """
    commit = git.commit("HEAD" if name == WORKSPACE else name)
    texts = _working_tree(git.root) if name == WORKSPACE else _committed(git, commit)
    lock = texts.get(LOCK)
    if lock is None:
        raise ValueError(f"{name} has no {LOCK}: nothing was run there")
    outs = lock_outs(lock, (f"{EVALUATE}@", STACK), f"{LOCK} of {name}")
    plans = {Path(path).stem: _json(path, name, text) for path, text in texts.items() if path.startswith(f"{PLANS}/")}
    # A lock file keeps the stages of models that are no longer listed; their plans are gone.
    tables = {
        found: md5
        for path, md5 in outs.items()
        if (found := forecast_of(path)) is not None and plan_path(found) in texts
    }
    if not tables:
        raise ValueError(f"{name} has no evaluation in its {LOCK}")
    return Revision(
        name=name,
        commit=commit,
        tables=tables,
        plans=plans,
        data=data_digest(_mapping(DATA, name, texts.get(DATA, ""))),
        params=flattened(_mapping(PARAMS, name, texts.get(PARAMS, ""))),
        environment=dict(_pins(texts.get(ENVIRONMENT, ""))),
    )


def _committed(git: Git, commit: str) -> dict[str, str]:
    files = git.files(commit)
    paths = [path for path in files if path in (LOCK, DATA, PARAMS, ENVIRONMENT) or path.startswith(f"{PLANS}/")]
    contents = git.contents([files[path] for path in paths])
    return {path: (content or b"").decode(errors="replace") for path, content in zip(paths, contents, strict=True)}


def _working_tree(root: Path) -> dict[str, str]:
    paths = [root / name for name in (LOCK, DATA, PARAMS, ENVIRONMENT)] + sorted((root / PLANS).glob("*.json"))
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths if path.is_file()}


def _mapping(path: str, revision: str, text: str) -> Mapping[str, Any]:
    """Return the content of a YAML file, {} of an empty one; ValueError naming file and revision."""
    try:
        found = parse_yaml(text) or {}
    except ValueError as error:
        raise ValueError(f"{path} of {revision} {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} of {revision} is no mapping")
    return found


def _json(path: str, revision: str, text: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = parse_document(text.encode(), f"{path} of {revision}")
    if not isinstance(found, dict):
        raise ValueError(f"{path} of {revision} is no mapping")
    return found


def _pins(text: str) -> list[tuple[str, str]]:
    """Return (name, version) of every line `name==version` of a file of requirements."""
    return re.findall(r"^([\w.-]+)==([^\s;#\\]+)", text, flags=re.MULTILINE)


def flattened(document: Any, prefix: str = "") -> dict[str, Any]:
    """Return the values of nested mappings by dotted keys; lists and empty mappings are values."""
    if not isinstance(document, dict) or not document:
        return {prefix: document} if prefix else {}
    found: dict[str, Any] = {}
    for key, value in document.items():
        found |= flattened(value, f"{prefix}.{key}" if prefix else str(key))
    return found
