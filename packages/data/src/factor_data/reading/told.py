"""Settings that fit nothing: what a user says of a source must be true of something in it, or it is refused.

A pattern with a letter wrong would otherwise read the column that it was to leave out, without a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from factor_data.reading.config import ReadConfig
from factor_data.reading.header import shown
from factor_data.reading.notes import Notes
from factor_data.reading.vendors import VENDORS

TABLES = ("long", "symbol", "kronos", "csmd", "acl18", "dataset")
# setting -> the layouts that read it; those that are not named here are read by all
READ_BY = {
    "factors": ("day",),
    "targets": ("day",),
    "frequency": ("qlib",),
    "symbol_pattern": ("symbol", "kronos", "csmd"),
    "texts": ("long", "symbol", "kronos", "day"),
    "leave_out": TABLES,
    "absent": TABLES,
    "columns": (*TABLES, "wide"),
    "vendor": (*TABLES, "wide"),
    "time_format": (*TABLES, "wide"),
    "time_unit": (*TABLES, "wide"),
    "sort": (*TABLES, "wide", "day"),
}
OF_CSV = ("separator", "decimal", "thousands", "skip_lines", "names")


def check_told(root: object, layout: str, config: ReadConfig, sources: Iterable[object], notes: Notes) -> None:
    """Refuse settings that the layout does not read, or that fit nothing of what was found.

    Parameters
    ----------
    root : what messages name
    sources : of bars and news; those of CSV have a dialect
    notes : what the layout has said of columns
    """
    said = config.changed_fields()
    for name in said:
        layouts = READ_BY.get(name)
        if layouts is not None and layout not in layouts:
            raise ValueError(f"{root}: {name} is not read in layout {layout!r}, in {', '.join(layouts)} it is")
    of_csv = [name for name in OF_CSV if name in said]
    if of_csv and all(getattr(source, "dialect", None) is None for source in sources):
        raise ValueError(f"{root}: {of_csv[0]} is said of CSV, and no file here is one")
    if config.vendor and notes.names:
        wanted = {name for names in VENDORS[config.vendor].columns.values() for name in names}
        if not wanted.intersection(name.lower().strip() for name in notes.names):
            raise ValueError(f"{root}: vendor: {config.vendor} calls no column so; found {shown(list(notes.names))}")
    for pattern in config.leave_out:
        if not any(fnmatchcase(name, pattern) for name in notes.names):
            names = list(notes.names)
            raise ValueError(
                f"{root}: leave_out: {pattern!r} fits no column besides stamp and symbol; {near(pattern, names)}"
            )
    for name in config.absent:
        if name not in notes.lacking:
            raise ValueError(
                f"{root}: absent: every table has a column for {name!r}, and it would be read; leave_out: [...] leaves "
                f"one out, found {shown(list(notes.names))}"
            )


def near(name: str, known: Sequence[str]) -> str:
    """What may be meant by a name that fits nothing, and what there is."""
    lower = {one.lower(): one for one in known}
    close = get_close_matches(name.lower().strip("*?"), lower, n=1)
    meant = f"did you mean {lower[close[0]]!r}? " if close else ""
    return f"{meant}found {shown(list(known))}"
