"""Not a stage but a command (make use-data SRC=folder): put your own data in the place of the simulated market.

Everything is read and checked before anything is replaced. Files with the columns of bars go to data/bars,
Parquet files with a `text` column to data/news; what is neither is named and left out.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml

from factor_data import REQUIRED_COLUMNS, read_bars, read_news
from stages.run import StageError, check_writable, replace_folder, run

DATA = Path("data")
POINTER = Path("data.dvc")
BAR_COLUMNS = {"timestamp", "symbol", *REQUIRED_COLUMNS}
NEWS_COLUMNS = {"timestamp", "symbol", "text"}


def main() -> None:
    if sys.argv[1:] == ["--sample"]:
        return use_sample()
    if len(sys.argv) != 2 or not sys.argv[1]:
        raise StageError("say where the data are: make use-data SRC=folder")
    source = Path(sys.argv[1])
    if not source.is_dir():
        raise StageError(f"{source} is not a folder")
    size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    check_writable(Path(), min_free_bytes=4 * size)
    partial = Path(".data.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        copy_tables(source, partial)
        panel = read_bars(partial / "bars")
        if (partial / "news").exists():
            read_news(partial / "news")
        describe(source, partial, panel.dates)
        POINTER.unlink(missing_ok=True)
        replace_folder(partial, DATA)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    subprocess.run(["dvc", "add", "--quiet", str(DATA)], check=True)
    print(
        f"data/ now holds {panel.num_rows:,} bars of {panel.num_symbols:,} symbols, "
        f"{panel.dates[0]!s:.10} to {panel.dates[-1]!s:.10}."
    )
    print("Check data/dataset.yaml (how were the symbols picked?), then: dvc repro. Back: make sample-data.")


def copy_tables(source: Path, target: Path) -> None:
    """Copy each table to bars/ or news/ by its columns."""
    folders = [source, *(source / name for name in ("bars", "news") if (source / name).is_dir())]
    counts = {"bars": 0, "news": 0}
    for path in sorted(path for folder in folders for path in folder.iterdir() if path.is_file()):
        columns = columns_of(path)
        kind = "bars" if columns >= BAR_COLUMNS else "news" if columns >= NEWS_COLUMNS else None
        if kind is None:
            if path.suffix in (".parquet", ".csv"):
                print(
                    f"left out {path.name}: neither bars {sorted(BAR_COLUMNS)} nor news {sorted(NEWS_COLUMNS)}"
                )
            continue
        (target / kind).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / kind / path.name)
        counts[kind] += 1
    if not counts["bars"]:
        raise StageError(f"{source} holds no Parquet or CSV file with the columns {sorted(BAR_COLUMNS)}")
    if (source / "dataset.yaml").exists():
        shutil.copyfile(source / "dataset.yaml", target / "dataset.yaml")


def columns_of(path: Path) -> set[str]:
    """The column names of a table; an unreadable file is refused, not left out."""
    try:
        if path.suffix == ".parquet":
            return set(pq.read_schema(path).names)
        if path.suffix == ".csv":
            return set(pd.read_csv(path, nrows=0).columns)
    except (OSError, ValueError) as error:
        raise StageError(f"{path} cannot be read as a table: {error}") from None
    return set()


def describe(source: Path, target: Path, dates: Any) -> None:
    """Write dataset.yaml where the source brings none, and say in it what is not known."""
    path = target / "dataset.yaml"
    if path.exists():
        return
    step = pd.Timedelta(np.median(np.diff(dates)))
    document = {
        "name": source.resolve().name,
        "frequency": "day" if step >= pd.Timedelta(hours=20) else f"{step / pd.Timedelta(minutes=1):g}min",
        "time_zone": "unknown",
        "adjustment": "unknown",
        "universe": "not stated: treat results as if the symbols were picked with hindsight (survivorship bias)",
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def use_sample() -> None:
    """Go back to the simulated market as the last commit has it, with the results that the DVC cache still holds."""
    subprocess.run(["git", "checkout", "--quiet", "HEAD", "--", str(POINTER), "dvc.lock"], check=True)
    restored = subprocess.run(["dvc", "checkout", "--force", "--quiet"], check=False, capture_output=True)
    print("data.dvc is the simulated market again.", "" if restored.returncode == 0 else "Run: dvc repro")


if __name__ == "__main__":
    run("use-data", main)
