"""Small copies of this repository in which the tests run commands as users do."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import yaml

from stages import ROOT
from stages.params.overlays import overlay
from stages.params.reading import read_document
from stages.running.planned import MADE_OF, made_of
from warm import path_of_programs


@dataclass(frozen=True)
class Checkout:
    """A copy of the repository under a temporary folder, with commands run in it as a user would."""

    path: Path
    cold: bool = False
    """Every process imports its libraries itself, as a user's does; else they are forked (warm.py)."""

    def run(
        self, *command: str, check: bool = True, timeout: float = 1200, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command with this interpreter's environment first on the PATH; output is captured."""
        result = subprocess.run(
            command,
            cwd=self.path,
            env={**os.environ, "PATH": path_of_programs(self.cold), **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and result.returncode:
            raise AssertionError(f"{' '.join(command)} failed ({result.returncode}):\n{result.stdout}\n{result.stderr}")
        return result

    def stage(self, name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one stage or command by itself, without DVC; a refusal is for the test to look at.

        Where params.yaml has changed since the plan was made, the plan is made first.
        """
        if "." not in name and name != "plan" and not self._is_planned():
            planned = self.run("python", "-m", "stages.plan", check=False)
            if planned.returncode:
                return planned
        return self.run("python", "-m", f"stages.{name}", *arguments, check=False, **environment)

    def _is_planned(self) -> bool:
        made = self.path / MADE_OF
        return made.is_file() and json.loads(made.read_text()) == made_of(self.path / "params.yaml", self.path)

    def change_params(self, change: Callable[[dict[str, Any]], None]) -> None:
        file = self.path / "params.yaml"
        document = read_document(file)
        change(document)
        file.write_text(yaml.safe_dump(document, sort_keys=False))

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)


def stages_that_ran(output: str) -> set[str]:
    """Those that DVC ran, without the plan and without what it took from its run cache."""
    ran = set(re.findall(r"Running stage '([^']+)'", output))
    return {stage.removeprefix("simulated/dvc.yaml:") for stage in ran} - {"plan"}


def make_checkout(path: Path, cold: bool = False) -> Checkout:
    """Copy the working tree (what git tracks or would track) and make the smoke preset its configuration."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
            copy_bytecode(Path(name), path)
    checkout = Checkout(path, cold=cold)
    smoke = read_document(path / "presets" / "smoke.yaml")
    checkout.change_params(lambda params: params.update(overlay(params, smoke)))
    checkout.run("git", "init", "--quiet", "--initial-branch", "main")
    checkout.run("git", "config", "user.email", "tests@factorcast.invalid")
    checkout.run("git", "config", "user.name", "tests")
    checkout.commit("a copy")
    return checkout


def copy_bytecode(name: Path, path: Path) -> None:
    """Copy what Python has compiled of a source, if it has: the copy of the source has the time that makes it valid."""
    if name.suffix == ".py":
        compiled = Path(cache_from_source(str(name)))
        if (ROOT / compiled).is_file():
            (path / compiled).parent.mkdir(exist_ok=True)
            shutil.copy2(ROOT / compiled, path / compiled)


def preset_checkout(
    path: Path, preset: str, smaller: Callable[[dict[str, Any]], None], *size: str
) -> tuple[Checkout, str]:
    """A copy with a preset and its files, simulated in build/<preset> and imported; and what the import said."""
    checkout = make_checkout(path)
    checkout.run("python", "-m", "stages.commands.preset", preset)
    checkout.change_params(smaller)
    source = f"build/{preset}"
    checkout.run("python", "-m", "factor_data", "simulate", preset, source, *size)
    imported = checkout.run("python", "-m", "stages.commands.use_data", source)
    checkout.commit(preset)
    return checkout, imported.stdout


def run_queue(checkout: Checkout, tasks: int, jobs: int = 1, seconds: float = 400) -> None:
    """Run all tasks of the queue and demand that none failed; its workers, which wait for more, are stopped."""
    # A worker holds the output of the command, and may outlive its tasks by a minute, or for ever.
    checkout.run("sh", "-c", f"dvc queue start --jobs {jobs} > ../queue.log 2>&1")
    try:
        wait_for_queue(checkout, tasks, seconds)
    finally:
        checkout.run("dvc", "queue", "stop")


def wait_for_queue(checkout: Checkout, tasks: int, seconds: float) -> None:
    """Return when every task has ended; none may have failed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        wait_until_ended(checkout, tasks)
        # DVC fails where it reads a task's file that is being written just then.
        asked = checkout.run("dvc", "queue", "status", check=False)
        status = asked.stdout + asked.stderr
        if asked.returncode:
            continue
        if "Failed" in status:
            logs = "\n".join(path.read_text()[-3000:] for path in Path(checkout.path, ".dvc").rglob("*.out"))
            raise AssertionError(f"a queued experiment failed:\n{status}\n{logs}")
        if status.count("Success") == tasks:
            return
        time.sleep(1)
    raise AssertionError(f"the queue did not finish in {seconds} s:\n{status}")


def wait_until_ended(checkout: Checkout, tasks: int, seconds: float = 20) -> None:
    """Return when so many files of tasks say that they have ended, or after some time: `dvc queue status` is dear."""
    deadline, failed_or_later = time.monotonic() + seconds, 4
    while time.monotonic() < deadline:
        ended = 0
        for path in (checkout.path / ".dvc" / "tmp" / "exps" / "run").glob("*/*.run"):
            with suppress(FileNotFoundError, json.JSONDecodeError):  # it is being written
                ended += json.loads(path.read_text())["status"] >= failed_or_later
        if ended >= tasks:
            return
        time.sleep(0.1)
