"""What the tests of work in parts compare: panels value by value, folders byte by byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from factor_data import Panel


def assert_same_panel(actual: Panel, expected: Panel) -> None:
    """Equal symbols, dates, rows, column order and values, NaN equal to NaN."""
    for name in ("symbols", "dates", "symbol_code", "date_code"):
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name), err_msg=name)
    assert list(actual.columns) == list(expected.columns)
    for name, values in expected.columns.items():
        np.testing.assert_array_equal(actual.columns[name], values, err_msg=name)


def assert_same_files(actual: Path, expected: Path) -> None:
    """The same file names at all depths, and the same bytes in each."""
    assert names_under(actual) == names_under(expected)
    for name in names_under(expected):
        assert (actual / name).read_bytes() == (expected / name).read_bytes(), f"{name} differs"


def names_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
