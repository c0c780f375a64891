"""Arrays in files: rows and ranges of rows come back, headers are numpy's, what does not fit is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factor_data import Panel
from factor_data.panel.array_file import ArrayFile, merge_adjacent
from factor_data.panel.panel_writer import PanelWriter


def spans_of(cuts: list[int]) -> np.ndarray:
    return np.array(cuts, dtype=np.int64).reshape(-1, 2)


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(0, 40), max_size=8), shape=st.sampled_from([(40,), (40, 3)]))
def test_gather_takes_and_scatter_puts_the_rows_of_the_spans(
    cuts: list[int], shape: tuple[int, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    spans = spans_of(sorted(cuts[: len(cuts) // 2 * 2]))
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    path = tmp_path_factory.mktemp("array") / "values.npy"
    np.save(path, values)
    rows = np.concatenate([np.arange(first, last) for first, last in spans] or [np.empty(0, dtype=int)])
    file = ArrayFile.open(path)
    np.testing.assert_array_equal(file.gather(spans), values[rows])
    file.scatter(spans, -values[rows])
    values[rows] *= -1
    np.testing.assert_array_equal(np.load(path), values)


def test_a_file_written_by_rows_is_the_one_numpy_saves(tmp_path: Path) -> None:
    values = np.arange(30, dtype=np.uint8).reshape(10, 3)
    np.save(tmp_path / "expected.npy", values)
    file = ArrayFile.create(tmp_path / "actual.npy", values.shape, values.dtype)
    file.write(4, values[4:])
    file.write(0, values[:4])
    assert (tmp_path / "actual.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()


def test_rows_of_another_shape_or_type_are_refused(tmp_path: Path) -> None:
    file = ArrayFile.create(tmp_path / "values.npy", (4, 2), np.float32)
    for wrong in (np.zeros((2, 3), np.float32), np.zeros((2, 2)), np.zeros((3, 2), np.float32)):
        with pytest.raises(ValueError, match=r"values.npy: 2 rows of \(2,\) float32 are due"):
            file.scatter(spans_of([0, 2]), wrong)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "values.npy"
    np.save(path, np.zeros(100))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"values.npy: ends before .* truncated"):
        ArrayFile.open(path).read(0, 100)


def test_touching_spans_are_joined_and_empty_ones_dropped() -> None:
    spans = spans_of([0, 2, 2, 5, 6, 6, 7, 9])
    np.testing.assert_array_equal(merge_adjacent(spans), spans_of([0, 5, 7, 9]))


def parts_of(panel: Panel, num_symbols: int) -> list[Panel]:
    edges = [*panel.starts[::num_symbols].tolist(), panel.num_rows]
    rows = np.arange(panel.num_rows)
    return [panel.select((rows >= a) & (rows < b)) for a, b in pairwise(edges) if b > a]


@pytest.mark.parametrize("num_symbols", [1, 2, 5])
def test_a_panel_written_in_parts_has_the_bytes_of_a_panel_saved_whole(
    num_symbols: int, panel: Panel, tmp_path: Path
) -> None:
    kept = panel.select((panel.symbol_code != 2) & (panel.date_code > 9))
    kept.compact().save(tmp_path / "expected")
    with PanelWriter(tmp_path / "actual", compact=True) as writer:
        for part in parts_of(kept, num_symbols):
            writer.append(part)
    for path in (tmp_path / "expected").iterdir():
        assert (tmp_path / "actual" / path.name).read_bytes() == path.read_bytes(), path.name
    assert len(list((tmp_path / "actual").iterdir())) == len(list((tmp_path / "expected").iterdir()))


def write_twice(panel: Panel, folder: Path) -> None:
    with PanelWriter(folder) as writer:
        writer.append(panel)
        writer.append(panel)


def test_a_panel_that_fails_half_way_leaves_the_old_one(panel: Panel, tmp_path: Path) -> None:
    panel.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="symbol S0 is not after S4"):
        write_twice(panel, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
