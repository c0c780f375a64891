"""A folder in which a study runs the stages with params of its own; the checkout is not touched.

The stages read params.yaml, data/ and results/ of the folder they are run in, so the code needs no copy. What is there
already is not run again: a study that was interrupted goes on where it stopped.
"""

from __future__ import annotations

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

from factor_models import KLINE_MODELS
from stages import ROOT
from stages.json_files import read_json, write_json
from stages.params.reading import read_document

STUDIES = ROOT / ".studies"


def base_params() -> dict[str, Any]:
    """The default params.yaml."""
    return read_document(ROOT / "params.yaml")


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
    of the zoo has changed. Every model of the zoo that a study can ask for is listed, so that each has a plan and none
    of the results is thrown away; K-line models have studies of their own.
    """

    def __init__(self, study: str, name: str, params: Mapping[str, Any]) -> None:
        models = [name for name in params["zoo"] if name not in KLINE_MODELS]
        self.params = {**params, "models": models}
        self.is_planned = False
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
        if not self.is_planned:
            self._start("plan")  # the settings and the code may be others than those of an earlier run
            self.is_planned = True
        started = time.monotonic()
        self._start(module, *([model] if model else []))
        seconds = time.monotonic() - started
        write_json(done, {"seconds": seconds, "params": key})
        print(f"{self.folder.name}: {module} {model or ''} {seconds:.0f} s", flush=True)

    def use_sample(self) -> None:
        """Take the simulated market that the stage sample writes as the data; `plan` wants to see them there."""
        self.results("sample").mkdir(parents=True, exist_ok=True)
        link = self.folder / "data"
        if not link.exists():
            link.symlink_to(Path("results") / "sample")

    def _start(self, *command: str) -> None:
        module, *arguments = command
        code = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        finished = subprocess.run(
            [sys.executable, "-m", f"stages.{module}", *arguments],
            cwd=self.folder, env={**os.environ, "PYTHONPATH": code}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if finished.returncode:
            raise RuntimeError(f"{' '.join(command)} failed in {self.folder}:\n{finished.stderr}")

    def results(self, name: str) -> Path:
        """A file of the results."""
        return self.folder / "results" / name


def digest(params: Any) -> str:
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()
