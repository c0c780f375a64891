"""Not a stage but a command (make use-data SRC=folder): put your own data in the place of the simulated market.

SRC has any layout that `factor-data import` knows; its options go into ARGS="--layout day". Everything is read and
checked before anything is replaced; tables that are neither bars nor news are named and left out.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from factor_data import import_data
from factor_data.cli import ProgressBar, add_import_arguments, describe, import_config
from stages.running.files import check_writable, replace_folder
from stages.running.stage import UNTOUCHED, StageError, run

DATA = Path("data")
POINTER = Path("data.dvc")
MARKET = Path("simulated")
"""Where DVC finds the stage that writes the simulated market: there while that market is the data."""


def main() -> None:
    """Import a folder, file or URL as data/, or put the simulated sample back."""
    if sys.argv[1:] == ["--sample"]:
        return use_sample()
    if not any(sys.argv[1:]):
        raise StageError("say where the data are: make use-data SRC=folder")
    parser = argparse.ArgumentParser(prog="use_data")
    add_import_arguments(parser)
    options = parser.parse_args()
    imported = Path(".data.imported")
    shutil.rmtree(imported, ignore_errors=True)
    try:
        with ProgressBar() as bar:
            summary = import_data(options.source, imported, options.layout, import_config(options), progress=bar.show)
        size = sum(path.stat().st_size for path in imported.rglob("*") if path.is_file())
        check_writable(Path(), min_free_bytes=2 * size)  # the cache of DVC takes a copy
        POINTER.unlink(missing_ok=True)
        shutil.rmtree(MARKET, ignore_errors=True)
        replace_folder(imported, DATA)
    finally:
        shutil.rmtree(imported, ignore_errors=True)
    subprocess.run(["dvc", "add", "--quiet", str(DATA)], check=True)
    print(f"data/ now holds {describe(summary)}")
    print("Check data/dataset.yaml (how were the symbols picked?), then: dvc repro. Back: make sample-data.")


def use_sample() -> None:
    """Go back to the simulated market as the last commit that used it had it, with what the DVC cache still holds."""
    commit = next((one for one in commits() if b"results/sample" in content(one)), None)
    if commit is None:
        raise StageError(f"no commit of this branch has {POINTER} as an import of the simulated market")
    files = [str(POINTER), "dvc.lock", str(MARKET)]
    subprocess.run(["git", "checkout", "--quiet", commit, "--", *files], check=True)
    restored = subprocess.run(["dvc", "checkout", "--force", "--quiet"], check=False, capture_output=True)
    print("data.dvc is the simulated market again.", "" if restored.returncode == 0 else "Run: dvc repro")


def commits() -> list[str]:
    """HEAD, then the commits that changed data.dvc, newest first."""
    log = ["git", "log", "--format=%H", "--", str(POINTER)]
    found = subprocess.run(log, check=True, capture_output=True, text=True).stdout.split()
    return ["HEAD", *found]


def content(commit: str) -> bytes:
    """data.dvc as a commit has it; nothing where it has none."""
    return subprocess.run(["git", "show", f"{commit}:{POINTER}"], check=False, capture_output=True).stdout


if __name__ == "__main__":
    run("use-data", main, hint=UNTOUCHED)
