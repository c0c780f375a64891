"""A folder in which a study runs the stages with params of its own; the checkout is not touched.

The stages read params.yaml, data/ and results/ of the folder they are run in, so the code needs no copy. What is there
already is not run again: a study that was interrupted goes on where it stopped.
"""

import copy
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from stages import ROOT
from stages.params import Yaml12Loader
from stages.run import read_json, write_json

STUDIES = ROOT / ".studies"


def base_params() -> dict[str, Any]:
    """The default params.yaml."""
    return yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"), Loader=Yaml12Loader)


def changed(params: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The params with keys replaced, named as DVC names them: {"train.epochs": 5}."""
    result = copy.deepcopy(dict(params))
    for name, value in changes.items():
        *sections, key = name.split(".")
        section = result
        for part in sections:
            section = section[part]
        if key not in section and sections != ["zoo"]:
            raise ValueError(f"{name}: params.yaml has no such key")
        section[key] = value
    return result


class Workspace:
    """The folder of one set of params, under .studies/<study>/<name>.

    All params but the list of models and the zoo decide which folder it is; a model is trained again when its section
    of the zoo has changed.
    """

    def __init__(self, study: str, name: str, params: Mapping[str, Any]) -> None:
        self.params = dict(params)
        shared = {key: value for key, value in self.params.items() if key not in ("models", "zoo")}
        self.folder = STUDIES / study / f"{name}-{digest(shared)[:10]}"
        self.folder.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(self.params, sort_keys=False)
        (self.folder / "params.yaml").write_text(text, encoding="utf-8")

    def run(self, module: str, model: str | None = None) -> None:
        """Run a stage, for one model or for all, once. One that fails stops the study with its message."""
        key = digest(self.params["zoo"][model]) if model else ""
        done = self.folder / ".done" / f"{module}{f'@{model}' if model else ''}.json"
        if done.exists() and read_json(done)["params"] == key:
            return
        started = time.monotonic()
        code = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        finished = subprocess.run(
            [sys.executable, "-m", f"stages.{module}", *([model] if model else [])],
            cwd=self.folder, env={**os.environ, "PYTHONPATH": code}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if finished.returncode:
            raise RuntimeError(f"{module} {model or ''} failed in {self.folder}:\n{finished.stderr}")
        seconds = time.monotonic() - started
        write_json(done, {"seconds": seconds, "params": key})
        print(f"{self.folder.name}: {module} {model or ''} {seconds:.0f} s", flush=True)

    def results(self, name: str) -> Path:
        """A file of the results."""
        return self.folder / "results" / name


def digest(params: Any) -> str:
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()
