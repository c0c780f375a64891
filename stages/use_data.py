"""Not a stage but a command (make use-data SRC=folder): put your own data in the place of the simulated market.

SRC has any layout that `factor-data import` knows; its options go into ARGS="--layout day". Everything is read and
checked before anything is replaced; tables that are neither bars nor news are named and left out.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from factor_data import import_data
from factor_data.cli import ProgressBar, add_import_arguments, describe, import_config
from stages.run import StageError, check_writable, replace_folder, run

DATA = Path("data")
POINTER = Path("data.dvc")


def main() -> None:
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
            summary = import_data(
                options.source, imported, options.layout, import_config(options), progress=bar.show
            )
        size = sum(path.stat().st_size for path in imported.rglob("*") if path.is_file())
        check_writable(Path(), min_free_bytes=2 * size)  # the cache of DVC takes a copy
        POINTER.unlink(missing_ok=True)
        replace_folder(imported, DATA)
    finally:
        shutil.rmtree(imported, ignore_errors=True)
    subprocess.run(["dvc", "add", "--quiet", str(DATA)], check=True)
    print(f"data/ now holds {describe(summary)}")
    print("Check data/dataset.yaml (how were the symbols picked?), then: dvc repro. Back: make sample-data.")


def use_sample() -> None:
    """Go back to the simulated market as the last commit has it, with the results that the DVC cache still holds."""
    subprocess.run(["git", "checkout", "--quiet", "HEAD", "--", str(POINTER), "dvc.lock"], check=True)
    restored = subprocess.run(["dvc", "checkout", "--force", "--quiet"], check=False, capture_output=True)
    print("data.dvc is the simulated market again.", "" if restored.returncode == 0 else "Run: dvc repro")


if __name__ == "__main__":
    run("use-data", main)
