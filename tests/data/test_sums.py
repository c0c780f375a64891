"""Bits that rot on disk are noticed when a panel, a store or a Parquet file is opened; what is whole is read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factor_data import (
    DamagedError,
    MarketConfig,
    Panel,
    Sums,
    checked,
    open_panel,
    read_bars,
    read_parquet,
    simulate_market,
    write_parquet,
    write_sums,
)
from stages import ROOT


def flip(path: Path, at: int = -9) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    for name in ("a.bin", "inner/b.bin", "inner/c.bin"):
        (tmp_path / name).write_bytes(bytes(100))
    write_sums(tmp_path)
    return tmp_path


def test_what_was_written_is_found_by_file_by_folder_and_in_whole(folder: Path) -> None:
    assert checked(folder, "a.bin") == folder / "a.bin"
    assert checked(folder, "inner") == folder / "inner"
    assert Sums(folder).check_all() == 3


@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda path: path.write_bytes(bytes(99))])
def test_a_damaged_file_is_named_and_only_what_needs_it_is_refused(
    damage: Callable[[Path], None], folder: Path
) -> None:
    damage(folder / "inner/b.bin")
    assert checked(folder, "inner/c.bin").name == "c.bin"
    for look in (lambda: checked(folder, "inner/b.bin"), lambda: checked(folder, "inner"), Sums(folder).check_all):
        with pytest.raises(DamagedError, match=r"inner/b\.bin: .*damaged, or changed"):
            look()


def test_a_file_that_was_not_written_with_the_others_is_refused(folder: Path) -> None:
    (folder / "inner/d.bin").write_bytes(b"new")
    for name in ("inner", "inner/d.bin"):
        with pytest.raises(DamagedError, match=r"inner/d\.bin: .*sums\.json does not know it"):
            checked(folder, name)


def test_digests_that_are_damaged_or_missing_vouch_for_nothing(folder: Path) -> None:
    sums = folder / "sums.json"
    whole = sums.read_bytes()
    for at in range(0, len(whole), 7):
        flip(sums, at)
        with pytest.raises(DamagedError):
            Sums(folder).check_all()
        sums.write_bytes(whole)
    sums.unlink()
    with pytest.raises(ValueError, match=r"has no sums\.json"):
        Sums(folder)


def test_a_folder_with_digests_of_its_own_vouches_for_itself(folder: Path) -> None:
    write_sums(folder / "inner")
    write_sums(folder)
    assert list(Sums(folder).digests) == ["a.bin"]
    assert list(Sums(folder / "inner").digests) == ["b.bin", "c.bin"]


@pytest.mark.parametrize("name", ["symbols", "dates", "date_code", "column_close_3"])
def test_a_saved_panel_with_a_damaged_array_is_refused_and_saved_anew(name: str, tmp_path: Path) -> None:
    panel = Panel.from_frame(simulate_market(MarketConfig(symbols=10, bars=100)).bars)
    panel.save(tmp_path)
    flip(tmp_path / f"{name}.npy")
    for read in (Panel.load, open_panel):
        with pytest.raises(DamagedError, match=rf"{name}\.npy"):
            read(tmp_path)
    panel.save(tmp_path)
    np.testing.assert_array_equal(Panel.load(tmp_path).columns["close"], panel.columns["close"])


def test_a_page_of_parquet_that_changed_is_no_other_price(tmp_path: Path) -> None:
    bars = simulate_market(MarketConfig(symbols=10, bars=100)).bars
    path = tmp_path / "bars.parquet"
    write_parquet(path, bars, compression="none", use_dictionary=False)
    price = path.read_bytes().find(np.float64(bars["close"].iloc[500]).tobytes())
    assert price > 0
    pd.testing.assert_frame_equal(read_parquet(path), bars)
    flip(path, price + 5)
    with pytest.raises(ValueError, match=r"bars\.parquet: cannot be read as Parquet \(.*CRC"):
        read_parquet(path)
    with pytest.raises(ValueError, match=r"bars\.parquet: cannot be read as Parquet"):
        read_bars(path)


def test_all_parquet_is_written_with_page_checksums_and_read_against_them() -> None:
    """The one way is factor_data.parquet; where Arrow is called itself, it gets the same arguments."""
    call = re.compile(r"(to_parquet|pd\.read_parquet|pq\.(write_table|read_table|ParquetWriter|ParquetFile))\(")
    told = re.compile(r"\*\*(CHECKSUMS|VERIFIED)|page_checksum_verification=True")
    for path in [*ROOT.glob("packages/*/src/**/*.py"), *ROOT.glob("stages/**/*.py"), *ROOT.glob("studies/**/*.py")]:
        text = path.read_text()
        for found in call.finditer(text):
            assert told.search(text[found.start() :].split("\n\n")[0]), f"{path}: {found[0]}"
