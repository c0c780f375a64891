"""The short form of tests/fuzz_readers.py: sources of every layout and vendor, spoilt from a fixed seed."""

from __future__ import annotations

from pathlib import Path

import pytest

import fuzz_readers
from factor_data import read_bars
from layout_samples import write_vendor


def test_no_spoilt_source_ends_in_a_traceback_a_hang_or_a_symbol_lost_without_a_word() -> None:
    found, faults, longest = fuzz_readers.fuzz(rounds=2 * len(fuzz_readers.SOURCES), seed=1)
    assert faults == []
    assert longest < fuzz_readers.MOST_SECONDS
    total = sum(found.values(), start=fuzz_readers.Counter())
    assert total["read"] > 10
    assert total["refused"] > 20


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(RuntimeError("x"), "TRACEBACK"), (ValueError("wrong"), "UNNAMED"), (TimeoutError(), "HANG")],
)
def test_the_fuzzer_sees_what_it_looks_for(
    answer: Exception, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        raise answer

    monkeypatch.setattr(fuzz_readers, "read_bars", fail)
    assert fuzz_readers.outcome(tmp_path, fuzz_readers.Spoilt("", ["a.csv"]), set(), True)[0] == expected


def test_the_fuzzer_misses_a_symbol_that_is_gone(tmp_path: Path) -> None:
    write_vendor(tmp_path)
    (tmp_path / "NASDAQ_BB_30Y.csv").unlink()
    assert read_bars(tmp_path).symbols.tolist() == ["AA"]
    spoilt = fuzz_readers.Spoilt("other_ending", ["NASDAQ_BB_30Y.csv"])
    assert fuzz_readers.outcome(tmp_path, spoilt, {"AA", "BB"}, True)[0] == "LOST"
