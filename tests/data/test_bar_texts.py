"""Columns of text beside the bars are news of their bars where they are named: `texts`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from factor_data import ReadConfig, import_data, read_bars, read_news
from factor_data.cli import main
from layout_samples import DAYS, long_frame, write_csmd, write_days

HEADLINES = ["beats, by far", "", "  ", "NA", None]
NOTES = [None, "late", None, None, "split 2:1"]


def with_texts() -> pd.DataFrame:
    return long_frame().assign(headline=HEADLINES, note=NOTES)


def long_csv(folder: Path) -> None:
    with_texts().to_csv(folder / "bars.csv", index=False)


def long_parquet(folder: Path) -> None:
    with_texts().to_parquet(folder / "bars.parquet", index=False)


def file_per_symbol(folder: Path) -> None:
    for symbol, bars in with_texts().groupby("symbol"):
        bars.drop(columns="symbol").to_csv(folder / f"{symbol}.csv", index=False)


def file_per_day(folder: Path) -> None:
    write_days(folder)
    known = with_texts().set_index(["timestamp", "symbol"])
    for path, day in zip(sorted(folder.iterdir(), key=lambda path: path.stem.replace("-", "")), DAYS, strict=True):
        bars = pd.read_parquet(path)
        own = known.loc[pd.Timestamp(day)].reindex(bars["sid"])
        bars.assign(headline=own["headline"].to_numpy(), note=own["note"].to_numpy()).to_parquet(path)


@pytest.mark.parametrize("write", [long_csv, long_parquet, file_per_symbol, file_per_day])
def test_each_value_is_a_document_with_stamp_and_symbol_of_its_bar(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write(source)
    told = import_data(source, tmp_path / "data", config=ReadConfig(texts=("headline", "note")))
    long = with_texts().melt(["timestamp", "symbol"], ["headline", "note"], value_name="text").dropna(subset="text")
    long = long[long["text"].str.strip() != ""].sort_values(["timestamp", "symbol", "text"])
    found = read_news(tmp_path / "data").sort_values(["timestamp", "symbol", "text"])
    expected = long[["timestamp", "symbol", "text"]].astype(str)
    assert found.astype(str).to_numpy().tolist() == expected.to_numpy().tolist()
    assert told.num_documents == len(long) == 4
    assert "headline" not in str(told.left_out)
    assert "texts" in (tmp_path / "data" / "dataset.yaml").read_text()
    plain = import_data(source, tmp_path / "plain", config=ReadConfig())
    assert plain.num_documents == 0
    pd.testing.assert_frame_equal(read_bars(tmp_path / "data").to_pandas(), read_bars(tmp_path / "plain").to_pandas())


def test_the_command_takes_them_and_what_they_cannot_be_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, other = tmp_path / "source", tmp_path / "csmd"
    for folder, write in ((source, long_parquet), (other, write_csmd)):
        folder.mkdir()
        write(folder)
    for path, texts, said in (
        (source, "headlines", "texts: there is no column 'headlines'; found"),
        (source, "volume", "column 'volume' is missing"),
        (other, "headline", "texts: the layout 'csmd' has no columns of text beside its bars"),
    ):
        assert main(["import", str(path), str(tmp_path / "data"), "--texts", texts]) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "data").exists()
    numbers = with_texts().assign(headline=1.5)
    numbers.to_parquet(source / "bars.parquet", index=False)
    assert main(["import", str(source), str(tmp_path / "data"), "--texts", "headline"]) == 2
    assert "texts: column 'headline' has type double; it must be text" in capsys.readouterr().err
    (source / "bars.parquet").unlink()
    long_csv(source)
    (source / "import.yaml").write_text("texts: [headline]\n")
    assert main(["import", str(source), str(tmp_path / "data")]) == 0
    assert "2 news documents" in capsys.readouterr().out
