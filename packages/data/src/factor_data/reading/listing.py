"""Every entry of a folder and its sub-folders: read, refused, or named with the reason why it is not read."""

from __future__ import annotations

import os
import re
from collections.abc import Container
from dataclasses import dataclass, field
from urllib.parse import unquote

from factor_data.reading.notes import Notes
from factor_data.reading.sources import ENDINGS, TEXT_ENDINGS, File

DEEPEST = 12  # folders within folders
# what describes data and is no data; read elsewhere or by people
ABOUT = re.compile(
    r"(readme|license|licence|copying|changelog)(\..*)?|dataset\.yaml|import\.yaml|sums\.json|_success", re.IGNORECASE
)
PARTITION = re.compile(r"([A-Za-z_][\w.]*)=(.+)")


@dataclass(frozen=True)
class Listed:
    """A table and the partitions (`symbol=AAPL/`) whose folders it lies in."""

    file: File
    partitions: dict[str, str] = field(default_factory=dict)


def list_tables(root: File, notes: Notes, *, text: bool = False, skip: Container[str] = ()) -> list[Listed]:
    """Return the tables of a folder and its sub-folders, sorted by path; none where there are none.

    Parameters
    ----------
    text : whether .txt and .tsv are tables too
    skip : names in the folder itself that another reader takes care of

    Raises
    ------
    ValueError for what has a table's ending and is no file: a link to nothing or in a circle, a pipe, an empty folder
    """
    return _list(root, notes, text, skip, {}, ())


def _list(
    folder: File, notes: Notes, text: bool, skip: Container[str], partitions: dict[str, str], above: tuple[str, ...]
) -> list[Listed]:
    own = os.path.realpath(folder.location) if folder.is_local else folder.location
    if own in above or len(above) > DEEPEST:
        raise ValueError(f"{folder}: folders lie in folders more than {DEEPEST} deep, or lead back to themselves")
    found: list[Listed] = []
    for entry in (one for one in folder.children() if one.name not in skip):
        trouble = entry.trouble()
        is_table = entry.suffix in ENDINGS or (text and entry.suffix in TEXT_ENDINGS)
        if trouble is not None and is_table:
            raise ValueError(f"{entry}: cannot be read: {trouble}")
        if trouble is not None:
            notes.leave_out(entry.path, trouble)
        elif entry.is_folder():
            part = PARTITION.fullmatch(entry.name)
            named = {part[1]: unquote(part[2])} if part else {}
            inside = _list(entry, notes, text, (), partitions | named, (*above, own))
            found += _not_empty(entry, inside, notes, is_table=is_table)
        elif is_table:
            found.append(Listed(entry, partitions))
        elif not ABOUT.fullmatch(entry.name):
            notes.leave_out(entry.path, f"ending {entry.suffix!r} is not read; {', '.join(ENDINGS)} are")
    return found


def _not_empty(folder: File, inside: list[Listed], notes: Notes, *, is_table: bool) -> list[Listed]:
    if not inside and is_table:
        raise ValueError(f"{folder}: is a folder with the name of a file, and no table is in it")
    if not inside:
        notes.leave_out(folder.path, "a folder without a table")
    return inside
