"""A stage's plan: the settings it goes by, and the code that it is allowed to load.

`stages.plan` writes one small file per stage and model under results/plan; DVC runs the stage again when it changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from stages import ROOT
from stages.json_files import read_json
from stages.params.checking import validate
from stages.params.overlays import overlay
from stages.params.plain_yaml import parse_yaml
from stages.running.files import RESULTS
from stages.running.stage import StageError

PLANS = RESULTS / "plan"
PARAMS_FILE = Path("params.yaml")
DIGEST = "sha256"
MADE_OF = Path(".live") / "plan.json"
"""Digests of the params.yaml and of the code that the plan on disk was made of; no result."""

ROOMS_IN_NO_PLAN = (
    "stages.params",
    "stages.planning",
    "stages.running",
    "stages.processes",
    "factor_experiments",
    "factor_metrics.live",
    "factor_metrics.system",
)
"""Rooms and modules in no plan: how params.yaml is read, how a stage is started, watched and reported on. What decides
a number must not lie in them. Their imports are followed all the same."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What decides one stage's result, besides its data."""

    stage: str
    """Name as DVC has it: train@lstm."""
    settings: dict[str, Any]
    """Sections of params.yaml, with defaults filled in, and of each no more keys than decide the result."""
    modules: dict[str, str]
    """Project modules and the digests of their code."""
    shared: dict[str, str] = field(default_factory=dict)
    """By module whose numbers several stages share: one digest of all code and of the libraries that decide them."""

    @property
    def code(self) -> str:
        """One digest of all modules."""
        lines = [f"{name} {digest}" for name, digest in sorted(self.modules.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def value(self, key: str) -> Any:
        """The setting of a dotted key, as JSON has it."""
        found: Any = self.settings
        for part in key.split("."):
            found = found[part]
        return found

    def section(self, key: str, schema: type[T]) -> T:
        """The settings under a dotted key as a dataclass."""
        section: T = validate(schema, self.value(key), where=f"{plan_path(self.stage)}: {key}.")
        return section

    def with_untracked(self, section: str) -> dict[str, Any]:
        """A section together with the keys of params.yaml that are in no plan, since they decide nothing.

        A model's own ones, under `zoo`, take the place of those of the section.
        """
        document, model = untracked(), self.stage.partition("@")[2]
        own = (document["zoo"].get(model) or {}).get(section, {})
        return overlay(document.get(section, {}), own) | self.value(section)


def plan_path(stage: str) -> Path:
    """Return the file of a stage's plan."""
    return PLANS / f"{stage.replace('@', '_')}.json"


def read_plan(stage: str, model: str | None = None) -> Plan:
    """The plan of a stage, or of a stage's part for one model.

    Under DVC `plan` has run before. StageError where the stage is started by hand and params.yaml has changed since.
    """
    name = stage if model is None else f"{stage}@{model}"
    path = plan_path(name)
    if not path.is_file():
        raise StageError(f"{path} does not exist: is {name} in params.yaml? 'python -m stages.plan' writes the plan")
    if "DVC_STAGE" not in os.environ and (not MADE_OF.is_file() or read_json(MADE_OF) != made_of()):
        raise StageError(
            f"{PARAMS_FILE} or the code has changed since the plan was made: run 'python -m stages.plan' first"
        )
    document = read_json(path)
    digest = document.pop(DIGEST, None) if isinstance(document, dict) else None
    if digest != digest_of(document):
        raise StageError(f"{path} is not what was written there: run 'python -m stages.plan' again")
    shared = document.get("shared", {})
    return Plan(stage=name, settings=document["settings"], modules=document["modules"], shared=shared)


def digest_of(document: dict[str, Any]) -> str:
    """sha256 of a plan's content, by which a damaged one is known."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def made_of(params: Path = PARAMS_FILE, root: Path = ROOT) -> dict[str, str]:
    """Return digests of the values in params.yaml, whose comments do not count, and of the bytes of all code."""
    values = json.dumps(untracked(params), default=str).encode()
    code = bytes_of_code(root).copy()
    for path in sorted(params.parent.glob("features/*.py")):
        code.update(path.read_bytes())
    return {"params": hashlib.sha256(values).hexdigest(), "code": code.hexdigest()}


def bytes_of_code(root: Path) -> hashlib._Hash:
    """Return the sha256 of all code below a folder, to be carried on."""
    code = hashlib.sha256()
    for path in sorted([*root.glob("stages/**/*.py"), *root.glob("packages/*/src/**/*.py")]):
        code.update(path.read_bytes())
    return code


def untracked(path: Path = PARAMS_FILE) -> dict[str, Any]:
    """params.yaml as it stands, for the few settings that decide nothing and so are in no plan."""
    document: dict[str, Any] = parse_yaml(path.read_text(encoding="utf-8"))
    return document


def check_loaded(plan: Plan) -> None:
    """RuntimeError if this process has loaded project modules that the plan does not name."""
    mine = ("stages.", "factor_data.", "factor_metrics.", "factor_models.")
    loaded = {name for name in sys.modules if name.startswith(mine)}
    if missing := sorted(name for name in loaded - set(plan.modules) if not is_in_no_plan(name)):
        raise RuntimeError(
            f"{plan.stage} has loaded {', '.join(missing[:3])}, which its plan does not name, so a change there would "
            "not run it again: add it to stages/planning/stages.py"
        )


def is_in_no_plan(module: str) -> bool:
    """Return whether a module lies in a room that has no part in the results."""
    return any(module == room or module.startswith(room + ".") for room in ROOMS_IN_NO_PLAN)
