"""Small copies of this repository in which the tests run commands as users do."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stages import ROOT


@dataclass(frozen=True)
class Checkout:
    """A copy of the repository under a temporary folder, with commands run in it as a user would."""

    path: Path

    def run(
        self, *command: str, check: bool = True, timeout: float = 1200, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command with this interpreter's environment first on the PATH; output is captured."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        result = subprocess.run(
            command,
            cwd=self.path,
            env={**os.environ, "PATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and result.returncode:
            raise AssertionError(
                f"{' '.join(command)} failed ({result.returncode}):\n{result.stdout}\n{result.stderr}"
            )
        return result

    def stage(self, name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one stage by itself, without DVC; a refusal is for the test to look at."""
        return self.run(sys.executable, "-m", f"stages.{name}", *arguments, check=False, **environment)

    def change_params(self, change: Callable[[dict[str, Any]], None]) -> None:
        file = self.path / "params.yaml"
        document = yaml.safe_load(file.read_text())
        change(document)
        file.write_text(yaml.safe_dump(document, sort_keys=False))

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)


def make_checkout(path: Path) -> Checkout:
    """Copy the working tree (what git tracks or would track) and make the smoke preset its configuration."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    shutil.copyfile(path / "presets" / "smoke.yaml", path / "params.yaml")
    checkout = Checkout(path)
    checkout.run("git", "init", "--quiet", "--initial-branch", "main")
    checkout.run("git", "config", "user.email", "tests@factorcast.invalid")
    checkout.run("git", "config", "user.name", "tests")
    checkout.commit("a copy")
    return checkout
