"""Folders in which stages run as users start them, but in the process of the test: nothing is imported twice."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import runpy
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from filelock import FileLock

from stages import ROOT
from stages.params.overlays import overlay
from stages.params.presets import PRESETS
from stages.params.reading import Params, parse_params, read_document, read_params
from stages.running import planned

BYTES_OF_CODE = cache(planned.bytes_of_code)
KEPT = "WORKPLACES_KEPT"
"""Variable by which a run of pytest names the folder of what `Workplace.made` keeps, for all its workers."""


def smoke_document() -> dict[str, Any]:
    """params.yaml as committed, with the smoke preset laid over it; without live IC, which takes half of a training."""
    document = overlay(read_document(ROOT / "params.yaml"), read_document(ROOT / PRESETS / "smoke.yaml"))
    document["train"]["live_ic"] = {"every_steps": None, "every_minutes": None}
    return document


def smoke_params() -> Params:
    return parse_params(smoke_document(), "smoke")


@dataclass(frozen=True)
class Workplace:
    """A folder with a params.yaml, data/ and results/."""

    path: Path

    @property
    def results(self) -> Path:
        return self.path / "results"

    def params(self) -> Params:
        return read_params(self.path / "params.yaml")

    def change_params(self, change: Callable[[dict[str, Any]], None]) -> None:
        file = self.path / "params.yaml"
        document = yaml.safe_load(file.read_text())
        change(document)
        file.write_text(yaml.safe_dump(document, sort_keys=False))

    def run(self, stage: str, *arguments: str) -> None:
        """Run `python -m stages.<stage>` here; errors reach the test."""
        with chdir(self.path), patch.object(sys, "argv", [stage, *arguments]), in_this_process(stage):
            import_module(f"stages.{stage}").main()

    def made(self, stage: str, *arguments: str) -> None:
        """As `run`, but what another test has made of the same plan and data is taken, as DVC's run cache does.

        For what a test begins with, not for what it looks at: then nothing is printed and no stage is loaded.
        """
        deps, outs = deps_and_outs(stage, *arguments)
        key = digest_of([self.path / dep for dep in deps], " ".join([stage, *arguments]))
        kept = Path(os.environ[KEPT]) / key
        with FileLock(f"{kept}.lock"):
            if not kept.is_dir():
                self.run(stage, *arguments)
                partial = kept.with_suffix(".partial")
                shutil.rmtree(partial, ignore_errors=True)
                for out in outs:
                    copy_over(self.path / out, partial / out)
                partial.rename(kept)
                return
        for out in outs:
            copy_over(kept / out, self.path / out)

    def refused(self, stage: str, *arguments: str) -> str:
        """What a stage says that refuses to run, with exit status 2."""
        said, command = io.StringIO(), [stage, *arguments]
        with (
            redirect_stderr(said),
            pytest.raises(SystemExit) as ended,
            warnings.catch_warnings(action="ignore", category=RuntimeWarning),  # it is in sys.modules
            chdir(self.path),
            patch.object(sys, "argv", command),
            in_this_process(stage),
        ):
            runpy.run_module(f"stages.{stage}", run_name="__main__")
        assert ended.value.code == 2
        assert "Traceback" not in said.getvalue()
        return said.getvalue()

    def copy(self, path: Path) -> Workplace:
        shutil.copytree(self.path, path, symlinks=True)
        return Workplace(path)


def make_workplace(path: Path, document: dict[str, Any]) -> Workplace:
    """A folder whose data are the simulated market of its results, as `data.dvc` has it."""
    (path / "results" / "sample").mkdir(parents=True)
    (path / "data").symlink_to(Path("results") / "sample")
    (path / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return Workplace(path)


@cache
def stages_of_map() -> dict[str, Any]:
    """The stages of the map and of the simulated market, by their commands with `${item.model}` for a model."""
    maps = [yaml.safe_load((ROOT / name).read_text())["stages"] for name in ("dvc.yaml", "simulated/dvc.yaml")]
    return {stage["cmd"]: stage for stages in maps for stage in stages.values()}


def deps_and_outs(stage: str, *models: str) -> tuple[list[str], list[str]]:
    """What a stage depends on and what it writes, as the map has them."""
    command, model = f"python -m stages.{stage}", next(iter(models), "")
    found = stages_of_map()[f"{command} ${{item.model}}" if model else command]
    paths = [[next(iter(one)) if isinstance(one, dict) else one for one in found.get(kind, ())]
             for kind in ("deps", "outs", "metrics")]  # fmt: skip
    deps, outs, metrics = ([path.replace("${item.model}", model) for path in kind] for kind in paths)
    return deps, [*outs, *metrics]


def digest_of(paths: list[Path], name: str) -> str:
    """sha256 of a name and of all bytes in files and folders, those that are missing included."""
    found = hashlib.sha256(name.encode())
    for number, path in enumerate(paths):
        files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        for file in files:
            content = file.read_bytes() if file.is_file() else b"missing"
            found.update(repr((number, str(file.relative_to(path)), len(content))).encode() + content)
    return found.hexdigest()


def copy_over(source: Path, target: Path) -> None:
    """Copy a file or folder to where one of another run may be."""
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


@contextmanager
def in_this_process(stage: str) -> Iterator[None]:
    """What a stage leaves to the end of its process is put back, and what a process can do only once is left out.

    What it loads is not held against its plan, since this process has loaded what all tests before have needed; the
    group of processes, which DeepSpeed joins once, stays. All code is read once: tests change none but in copies of it.
    """
    module = import_module(f"stages.{stage}")
    unchecked = patch.object(module, "check_loaded", lambda plan: None, create=True)
    read_once = patch.object(planned, "bytes_of_code", BYTES_OF_CODE)
    with unchecked, read_once, patch("torch.distributed.destroy_process_group"), loggers_kept():
        yield


@contextmanager
def loggers_kept() -> Iterator[None]:
    """A stage lets the packages log to a file; the tests that come after it look at what they log."""
    loggers = [logging.getLogger(name) for name in ("factor_models", "factorcast")]
    before = [(logger.handlers[:], logger.propagate, logger.level) for logger in loggers]
    try:
        yield
    finally:
        for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
            for handler in logger.handlers:
                if handler not in handlers and handler is not logging.lastResort:
                    handler.close()
            logger.handlers[:], logger.propagate = handlers, propagate
            logger.setLevel(level)
