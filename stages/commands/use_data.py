"""Not a stage but a command (make use-data SRC=folder): put your own data in the place of the simulated market.

SRC has any layout that `factor-data import` knows; its options go into ARGS="--layout day". Everything is read, checked
and added to DVC's cache in a folder aside before anything is replaced (`stages.commands.switch`): whatever ends it, the
data are the old ones or the new ones. Tables that are neither bars nor news are named and left out.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from factor_data import import_data
from factor_data.cli import ProgressBar, add_import_arguments, describe, import_config
from stages.commands.switch import DATA, MARKET, POINTER, REPLACED, finish, incoming, keep_description, switch
from stages.running.files import LOCKS, check_writable
from stages.running.lock import exclusive
from stages.running.rwlock import remove_broken_rwlock
from stages.running.stage import UNTOUCHED, StageError, run


def main() -> None:
    """Import a folder, file or URL as data/, or put the simulated sample back."""
    check_git()
    with exclusive(LOCKS / "use-data"):
        remove_broken_rwlock()
        finished = finish()
        if finished:
            print(f"{DATA}/ is now what the last run of this command, which was ended, had imported.")
        if sys.argv[1:] == ["--sample"]:
            use_sample()
        elif any(sys.argv[1:]):
            use_own()
        elif not finished:
            raise StageError("say where the data are: make use-data SRC=folder")


def use_own() -> None:
    """Import what the arguments name, aside, then put it in the place of the data."""
    parser = argparse.ArgumentParser(prog="use_data")
    add_import_arguments(parser)
    options = parser.parse_args()
    with incoming() as folder:
        imported = folder / DATA
        with ProgressBar() as bar:
            summary = import_data(
                options.source, imported, options.layout, import_config(options), bar.show, options.map
            )
        size = sum(path.stat().st_size for path in imported.rglob("*") if path.is_file())
        check_writable(Path(), min_free_bytes=2 * size)  # the cache of DVC takes a copy
        run_quietly("dvc", "add", "--quiet", str(imported))
        tell_kept(keep_description())
        switch(folder)
    print(f"data/ now holds {describe(summary)}")
    print("Check data/dataset.yaml (how were the symbols picked?), then: dvc repro. Back: make sample-data.")


def use_sample() -> None:
    """Go back to the simulated market as the last commit that used it had it, with what the DVC cache still holds."""
    commit = next((one for one in commits() if b"results/sample" in content(one)), None)
    if commit is None:
        raise StageError(f"no commit of this branch has {POINTER} as an import of the simulated market")
    tell_kept(keep_description())
    run_quietly("git", "checkout", "--quiet", commit, "--", str(POINTER), "dvc.lock", str(MARKET))
    restored = subprocess.run(["dvc", "checkout", "--force", "--quiet"], check=False, capture_output=True)
    print("data.dvc is the simulated market again.", "" if restored.returncode == 0 else "Run: dvc repro")


def tell_kept(kept: Path | None) -> None:
    """Say where the description of the data before is."""
    if kept is not None:
        print(f"{DATA}/{REPLACED} had been edited: the edited text is in {kept}")


def check_git() -> None:
    """Refuse where there is no git repository: DVC would, half way through."""
    if not shutil.which("git"):
        raise StageError("git is not installed, or not on the PATH: DVC and this command work in a git repository")
    inside = subprocess.run(["git", "rev-parse", "--git-dir"], check=False, capture_output=True)
    if inside.returncode:
        raise StageError("this folder is no git repository, which DVC needs: run 'git init' first")


def commits() -> list[str]:
    """HEAD, then the commits that changed data.dvc, newest first."""
    found = run_quietly("git", "log", "--format=%H", "--", str(POINTER)).split()
    return ["HEAD", *found]


def content(commit: str) -> bytes:
    """data.dvc as a commit has it; nothing where it has none."""
    return subprocess.run(["git", "show", f"{commit}:{POINTER}"], check=False, capture_output=True).stdout


def run_quietly(*command: str) -> str:
    """Return what a command prints; StageError with what it says if it fails."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        raise StageError(f"{command[0]} is not installed, or not on the PATH") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise StageError(f"{' '.join(command[:2])} failed ({done.returncode}): {said}")
    return done.stdout


if __name__ == "__main__":
    run("use-data", main, hint=UNTOUCHED)
