"""A lack of memory is said as such, by the file that was read and in one line; it is no damage of a file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import factor_data.cli
import factor_experiments.cli
import factor_metrics.cli
import factor_serve.cli
from factor_data import read_bars
from factor_data.parquet import read_parquet
from factor_experiments.series import read_series
from layout_samples import long_frame

LACK = "malloc of size 64 failed"


def fails(*_: object, **__: object) -> None:
    raise pa.ArrowMemoryError(LACK)


def test_a_csv_file_that_memory_does_not_suffice_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long_frame().to_csv(tmp_path / "bars.csv", index=False)
    monkeypatch.setattr(pyarrow.csv, "open_csv", fails)
    with pytest.raises(MemoryError, match=rf"bars\.csv: {LACK}"):
        read_bars(tmp_path / "bars.csv")


def test_a_parquet_file_that_memory_does_not_suffice_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pd.DataFrame({"a": [1.0]}).to_parquet(tmp_path / "a.parquet")
    monkeypatch.setattr(pd, "read_parquet", fails)
    with pytest.raises(MemoryError, match=rf"a\.parquet: {LACK}"):
        read_parquet(tmp_path / "a.parquet")


def test_a_table_of_a_commit_that_memory_does_not_suffice_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pq, "read_table", fails)
    with pytest.raises(MemoryError, match=rf"ic\.parquet of HEAD: {LACK}"):
        read_series(b"", "ic.parquet of HEAD")


def test_commands_say_it_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long_frame().to_csv(tmp_path / "bars.csv", index=False)
    monkeypatch.setattr(pyarrow.csv, "open_csv", fails)
    assert factor_data.cli.main(["import", str(tmp_path / "bars.csv"), str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said == f"factor-data import: out of memory ({tmp_path / 'bars.csv'}: {LACK})\n"
    assert not (tmp_path / "out").exists()


def test_the_other_commands_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(factor_serve.cli.COMMANDS, "check", factor_serve.cli.COMMANDS["check"]._replace(run=fails))
    monkeypatch.setattr(factor_metrics.cli, "_report", fails)
    monkeypatch.setattr(factor_experiments.cli, "_trials", fails)
    assert factor_serve.cli.main(["check", "bundle"]) == 2
    assert factor_metrics.cli.main(["report", "results"]) == 2
    assert factor_experiments.cli.main(["trials"]) == 2
    said = f"out of memory ({LACK})"
    lines = [f"factor-serve check: {said}", f"factor-metrics: {said}", f"factor-exp: {said}"]
    assert capsys.readouterr().err.splitlines() == lines
