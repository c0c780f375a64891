"""Layout "wide": a row per stamp with two names a column, price and ticker, as `yf.download(...)` gives it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from factor_data.reading.columns import PRICE_COLUMNS, find_columns
from factor_data.reading.config import ReadConfig
from factor_data.reading.header import Header, shown
from factor_data.reading.keyed_file import KeyedFile
from factor_data.reading.notes import Notes
from factor_data.reading.place import Place
from factor_data.reading.raw import Raw
from factor_data.reading.table import Table, frame_of, to_numbers
from factor_data.reading.tabular import format_of
from factor_data.reading.vendors import plain_name
from factor_data.reading.zones import OneZone


@dataclass(frozen=True, kw_only=True)
class WideFile(KeyedFile):
    """A table of many symbols side by side; where a symbol has no value in a row it has no bar."""

    of_symbols: Mapping[str, Mapping[str, str]]
    """Symbol -> our name -> column."""
    only_keys: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of the numbers, those of the first symbol."""
        return () if self.only_keys else (*next(iter(self.of_symbols.values())), *self.absent)

    def keys_only(self) -> WideFile:
        """Return the same source, of which only keys are given; a bar is known by its numbers, so they are read."""
        return replace(self, only_keys=True)

    def tables(self, zone: OneZone, batch_rows: int) -> Iterator[Table]:
        """Yield a table per symbol and batch, none where the symbol has no bar in it."""
        is_empty = True
        for raw in self.batches(max(batch_rows // len(self.of_symbols), 1)):
            for table in self._tables(raw, zone):
                is_empty = False
                yield table
        if is_empty:
            raise ValueError(f"{self.path}: holds no row")

    def _tables(self, raw: Raw, zone: OneZone) -> Iterator[Table]:
        place = Place(self.path, raw.first_row)
        stamps = self.stamps(place, raw.rows)
        known = zone.add(place, stamps)
        for symbol, numbers in self.of_symbols.items():
            values = {name: to_numbers(place, raw.rows[column], name, self.dialect) for name, column in numbers.items()}
            has_bar = ~np.all([np.isnan(column) for column in values.values()], axis=0)
            frame = {"timestamp": stamps.values, "symbol": np.full(raw.rows.num_rows, symbol, dtype=object)}
            if not self.only_keys:
                frame |= values | {name: np.full(raw.rows.num_rows, np.nan) for name in self.absent}
            if has_bar.any():
                yield Table(self.path, frame_of(frame)[has_bar], known, raw.first_row, raw.share)


def wide_bars(headers: Sequence[Header], config: ReadConfig, notes: Notes) -> list[WideFile]:
    """The files in the order given; every symbol of a file has the same fields."""
    return [_wide_file(header, config, notes) for header in headers]


def _wide_file(header: Header, config: ReadConfig, notes: Notes) -> WideFile:
    of_symbols: dict[str, dict[str, str]] = {}
    for column, (symbol, name) in header.pairs.items():
        of_symbols.setdefault(symbol or header.file.stem, {})[plain_name(name)] = column
    fields = {symbol: frozenset(columns) for symbol, columns in of_symbols.items()}
    first = next(iter(fields))
    for symbol, own in fields.items():
        lacking = [name for name in PRICE_COLUMNS if name not in own]
        if lacking or own != fields[first]:
            raise ValueError(
                f"{header.file}: {symbol} has {sorted(own)}, {first} has {sorted(fields[first])}; every ticker needs "
                f"{list(PRICE_COLUMNS)} and the same fields"
            )
    rest = [name for name in header.names if name not in header.pairs]
    times = find_columns(replace(header, names=rest), config).roles.get("timestamp") or (
        rest[0] if len(rest) == 1 else ""
    )
    if not times:
        raise ValueError(f"{header.file}: needs one time column beside prices by ticker, found {shown(rest)}")
    notes.guess("two names a column, price and ticker", f"{first!r} from {header.file.name}")
    return WideFile(
        **format_of(header, config),
        numbers={column: column for column in header.pairs},
        absent=() if "volume" in fields[first] else ("volume",),
        time_column=times,
        of_symbols={symbol: of_symbols[symbol] for symbol in sorted(of_symbols)},
    )
