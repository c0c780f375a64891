"""inputs: per model a digest of the K-line tokens that it reads, so that the other models do not wait for them.

DVC cannot give one model of a matrix another dependency than its siblings. This file is that dependency: it does not
change for a model that reads no tokens.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from stages.json_files import read_json, write_json
from stages.running.files import stage_output, stored
from stages.running.planned import check_loaded, read_plan
from stages.running.stage import run


def main() -> None:
    """Run the stage `inputs`: the digests of what each model reads beside the store."""
    plan = read_plan("inputs")
    reading = read_json(stored("tokenize_kline", "models.json"))
    with stage_output("inputs") as folder:
        for name in plan.value("models"):
            tokens = digests(stored("tokenize_kline", name)) if name in reading else None
            write_json(folder / f"{name}.json", {"tokens": tokens})
        check_loaded(plan)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path) for path in files}


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    run("inputs", main)
