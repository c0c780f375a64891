"""Other data in the place of data/, data.dvc and simulated/: the old state or the new one, whatever ends the command.

What comes in is made ready in a folder aside: data/, which DVC's cache has by then, and the data.dvc that goes with it.
One rename decides; what follows can be done again from any point, and the next `make use-data` does so. Until then
`plan` refuses, so no run sees one half of each.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from stages.running.files import CACHE, DECIDED

DATA = Path("data")
POINTER = Path("data.dvc")
MARKET = Path("simulated")
"""Where DVC finds the stage that writes the simulated market: there while that market is the data."""
INCOMING = Path(".data.incoming")
REPLACED = "dataset.yaml"
KEPT = Path("dataset.previous.yaml")


@contextmanager
def incoming() -> Iterator[Path]:
    """A fresh folder aside, which goes when the block ends; one that a killed run has left goes before."""
    shutil.rmtree(INCOMING, ignore_errors=True)
    INCOMING.mkdir()
    try:
        yield INCOMING
    finally:
        shutil.rmtree(INCOMING, ignore_errors=True)


def switch(folder: Path) -> None:
    """Decide that the data/ and data.dvc of a folder take the place of those that are there, and do it."""
    folder.rename(DECIDED)
    finish()


def finish() -> bool:
    """Do what is left of a switch that was decided; False where none was."""
    if not DECIDED.is_dir():
        return False
    new, old = DECIDED / DATA, DECIDED / "old"
    if new.exists():
        if DATA.exists() or DATA.is_symlink():
            shutil.rmtree(old, ignore_errors=True)  # `dvc checkout` came in between and has brought it back
            DATA.rename(old)
        new.rename(DATA)
    pointer = DECIDED / POINTER
    if pointer.exists():
        pointer.replace(POINTER)
    shutil.rmtree(MARKET, ignore_errors=True)
    shutil.rmtree(DECIDED)
    return True


def keep_description() -> Path | None:
    """Copy a dataset.yaml that was edited since DVC took it, and so is in no cache; where to, or None."""
    path = DATA / REPLACED
    if not path.is_file() or hashlib.md5(path.read_bytes()).hexdigest() == recorded_hash():
        return None
    shutil.copyfile(path, KEPT)
    return KEPT


def recorded_hash() -> str | None:
    """The MD5 of dataset.yaml in the folder that data.dvc names, as the cache lists it."""
    if not POINTER.is_file():
        return None
    digest = yaml.safe_load(POINTER.read_text(encoding="utf-8"))["outs"][0].get("md5", "")
    listing = CACHE / "files" / "md5" / digest[:2] / digest[2:]
    if not digest or not listing.is_file():
        return None
    entries = json.loads(listing.read_text(encoding="utf-8"))
    return next((entry["md5"] for entry in entries if entry["relpath"] == REPLACED), None)
