"""Which column of a table is what: told by the user, by a vendor's map, or by common names; else it is asked for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from factor_data.bar_columns import PRICE_COLUMNS, REQUIRED_COLUMNS
from factor_data.reading.config import ReadConfig
from factor_data.reading.header import Header, shown
from factor_data.reading.notes import Notes
from factor_data.reading.table import SYMBOL_RULE, composed, is_symbol
from factor_data.reading.vendors import ALIASES, VENDORS, plain_name, vendor_of

KEY = ("timestamp", "symbol")
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # what programs call the folder of rows without a value
NAMELESS = r"\s*|Unnamed: \d+"
OF_TIME = ("year", "month", "week", "day", "hour", "date")  # folders by what the stamps say too


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which column of the file holds what.

    Attributes
    ----------
    roles : our name -> the file's, of stamps, symbol, prices and volume, as far as known
    vendor : whose map was used
    partition : the symbol of the folder that the table lies in
    """

    roles: dict[str, str]
    vendor: str | None = None
    partition: str | None = None
    times: tuple[str, ...] = field(default=())
    """All columns that may be the time, where none is told."""

    @property
    def has_symbol(self) -> bool:
        """Return whether the table itself or its folder says whose bars these are."""
        return "symbol" in self.roles or self.partition is not None

    def interval_of(self, names: Sequence[str]) -> str | None:
        """Return the column of the vendor that says how long a bar is, None where there is none."""
        if self.vendor is None or not VENDORS[self.vendor].interval:
            return None
        return next((name for name in names if name.lower().strip() == VENDORS[self.vendor].interval), None)

    @property
    def has_prices(self) -> bool:
        """Return whether time and all four prices are known."""
        return {"timestamp", *PRICE_COLUMNS} <= set(self.roles)

    @property
    def num_bar_columns(self) -> int:
        """How many of open, high, low, close and volume there are."""
        return len(set(REQUIRED_COLUMNS) & set(self.roles))


def find_columns(header: Header, config: ReadConfig) -> Columns:
    """Find what is known of a table's columns; nothing is refused but what the configuration says of them wrongly."""
    roles: dict[str, str] = {}
    have = set(header.names)
    for ours, written in config.columns.items():
        if written not in have:
            raise ValueError(
                f"{header.file}: columns.{ours}: there is no column {written!r}; found {shown(header.names)}"
            )
        roles[ours] = written
    vendor = config.vendor or vendor_of(header.names)
    lower = {name.lower().strip(): name for name in header.names}
    used = set(roles.values())
    for ours, candidates in VENDORS[vendor].columns.items() if vendor else ():
        found = [lower[name] for name in candidates if name in lower and lower[name] not in used]
        if ours not in roles and found:
            roles[ours] = found[0]
            used.add(found[0])
    plain = {plain_name(name): name for name in header.names}
    times: tuple[str, ...] = ()
    for ours, aliases in ALIASES.items():
        found = [plain[name] for name in aliases if name in plain and plain[name] not in used]
        if ours == "timestamp":
            times = tuple(found)
        if ours not in roles and found and (ours != "timestamp" or len(found) == 1 or ours in plain):
            roles[ours] = found[0]
            used.add(found[0])
    partition = next((v for name, v in header.partitions.items() if plain_name(name) in ALIASES["symbol"]), None)
    if partition == NO_VALUE:
        raise ValueError(f"{header.file}: symbol is missing: it lies in the folder of rows without one, {NO_VALUE}")
    if partition is not None and not is_symbol(partition):
        raise ValueError(f"{header.file}: symbol {partition!r}, the name of its folder, {SYMBOL_RULE}")
    partition = None if partition is None else composed(partition)
    return Columns(roles=roles, vendor=vendor, partition=partition, times=times)


def number_columns(
    header: Header, columns: Columns, config: ReadConfig, notes: Notes, *, is_long: bool
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The columns of numbers: our name -> the file's, and those of a bar that the table may lack.

    What can be no number, or is left out, is named in the notes. A column of bars that is neither there nor said to be
    absent is refused.
    """
    keys = {columns.roles.get(name) for name in (*KEY, "time_of_day")}
    vendor = VENDORS[columns.vendor] if columns.vendor else None
    ours = {written: name for name, written in columns.roles.items()}
    numbers: dict[str, str] = {}
    for written in header.names:
        if written in keys or written in config.texts:
            continue
        notes.names[written] = None
        name = ours.get(written) or (written if is_long else plain_name(written))
        reason = _reason(written, name, header, columns, config)
        if reason is not None:
            notes.leave_out_column(written, header.file.path, reason)
        elif name in numbers:
            raise ValueError(f"{header.file}: columns repeat when case and blanks are ignored: {shown(header.names)}")
        else:
            numbers[name] = written
    for name, value in header.partitions.items():
        if plain_name(name) not in (*ALIASES["symbol"], *OF_TIME) and name not in header.names:
            notes.leave_out_column(name, header.file.path, f"the name of a folder, {name}={value}, and no column")
    told = (*config.absent, *(vendor.absent if vendor else ()))
    missing = [name for name in REQUIRED_COLUMNS if name not in numbers]
    notes.lacking.update(missing)
    refused = [name for name in missing if name not in told]
    if refused:
        raise ValueError(
            f"{header.file}: column {refused[0]!r} is missing; needed are {list(REQUIRED_COLUMNS)}, found "
            f"{shown(header.names)}; {proposal(header, columns, refused)}"
        )
    return numbers, tuple(missing)


def _reason(written: str, name: str, header: Header, columns: Columns, config: ReadConfig) -> str | None:
    """Why a column is no number that is read; None where it is one. `name` is what we call it."""
    if any(fnmatchcase(written, pattern) for pattern in config.leave_out):
        return "left out as told"
    unread = VENDORS[columns.vendor].leave_out if columns.vendor else ()
    if written not in columns.roles.values():
        if re.fullmatch(NAMELESS, written):
            return "no name, as the numbers of rows that pandas writes"
        if written.lower().strip() in {one.lower() for one in unread}:
            return f"no number of a bar in tables of {columns.vendor}"
    return header.unfit.get(written) if name not in REQUIRED_COLUMNS else None


def check_intervals(files: Sequence[tuple[str, str | None]]) -> None:
    """Refuse files (path, how long its bars are) of different lengths of bars: one symbol's would lie side by side."""
    found = {interval: path for path, interval in reversed(files) if interval}
    if len(found) > 1:
        (one, path), (other, other_path) = list(found.items())[:2]
        raise ValueError(f"{path} holds bars of {one!r}, {other_path} of {other!r}: import them apart")


def proposal(header: Header, columns: Columns, missing: Sequence[str]) -> str:
    """What to write where a table says too little: the map as far as it can be guessed, or that columns are absent."""
    free = [name for name in header.names if name not in columns.roles.values()]
    close = {ours: _like(ours, free) for ours in missing}
    said = ", ".join(f"{ours}: {name or '?'}" for ours, name in close.items())
    absent = (
        ""
        if set(missing) & set(KEY) or len(missing) == len(REQUIRED_COLUMNS)
        else f", or absent: [{', '.join(missing)}] where there is none"
    )
    return (
        f"if another column holds it, say so in import.yaml beside the data, columns: {{{said}}} "
        f"(or --column {missing[0]}={close[missing[0]] or 'NAME'}){absent}"
    )


def _like(ours: str, free: Sequence[str]) -> str | None:
    """A column that may be meant: its name contains a common one, or is close to it."""
    words = [alias for alias in ALIASES.get(ours, (ours,)) if len(alias) > 2]
    for name in free:
        if any(word in plain_name(name) for word in words):
            return name
    plain = {plain_name(name): name for name in free}
    close = [match for word in words for match in difflib.get_close_matches(word, plain, n=1, cutoff=0.8)]
    return plain[close[0]] if close else None


def is_called_otherwise(columns: Columns) -> str | None:
    """How roles were read from other names, for a line of the summary; None where the names are ours."""
    other = [f"{written!r} as {ours}" for ours, written in columns.roles.items() if plain_name(written) != ours]
    return ", ".join(other) or None
