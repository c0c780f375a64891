"""make verify: read every file of data/ and results/ once and say which are not what was written.

`python -m stages.commands.verify FOLDER` does the same with a folder that has digests, as a bundle that was copied.
"""

from __future__ import annotations

import sys
from pathlib import Path

from factor_data import Sums
from factor_data.sums import SUMS
from stages.running.files import RESULTS
from stages.running.stage import UNTOUCHED, StageError, run

ADVICE = (
    "delete what is named and run dvc checkout; where the same file is damaged again, the cache is too: "
    "dvc repro --force STAGE makes it anew"
)


def main() -> None:
    """Hold every file below the folders against its digest; refuse with the list of those that differ."""
    folders = [Path(name) for name in sys.argv[1:]] or [RESULTS, Path("data")]
    found = sorted({sums.parent for folder in folders for sums in folder.rglob(SUMS) if not is_left_over(sums, folder)})
    if not found:
        raise StageError(f"{', '.join(map(str, folders))}: no {SUMS} there, nothing to verify")
    told: list[str] = []
    num_files = 0
    for folder in found:
        sums = Sums(folder)
        told += sums.damages()
        num_files += len(sums.digests)
    if told:
        raise StageError("\n  ".join([f"{len(told)} of {num_files:,} files are not what was written:", *told, ADVICE]))
    print(f"{num_files:,} files in {len(found)} folders are what was written.")


def is_left_over(sums: Path, folder: Path) -> bool:
    """Whether digests below a folder are those of a run that died."""
    return any(part.startswith(".") for part in sums.relative_to(folder).parts)


if __name__ == "__main__":
    run("verify", main, hint=UNTOUCHED)
