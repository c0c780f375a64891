"""split: bars in; a clean panel, a quality report and folds of dates out.

It comes first so that everything that is fitted later is fitted on the training dates of its fold only.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from factor_data import (
    QualityReport,
    SavedPanel,
    Workers,
    check_tested_once,
    clean_to_folder,
    fold_picture,
    iter_bar_tables,
    make_folds,
    open_panel,
    read_news,
    sort_bars,
    write_folds,
)
from stages.params import Params, read_params
from stages.run import StageError, run, stage_output, write_json
from stages.workers import local_workers

DATA = Path("data")
READ_BYTES = 128  # of a row while it is read, about


def main() -> None:
    params = read_params()
    dataset = read_dataset(DATA)
    with stage_output("split") as folder, local_workers() as workers:
        panel, quality = clean_panel(folder, params, workers)
        folds = make_folds(
            panel.dates,
            params.split.folds,
            horizons=params.tokenize.horizons,
            delay=params.tokenize.delay,
        )
        check_tested_once(folds)
        universe = str(dataset["universe"])
        page = quality.to_html(universe=universe, fold_picture=fold_picture(folds, panel.dates))
        write_folds(folder / "folds.json", folds)
        write_json(folder / "quality.json", quality.to_dict(universe))
        (folder / "quality.html").write_text(page, encoding="utf-8")
        write_json(folder / "dataset.json", dataset)
        carry_over(panel, folder)
    print(
        f"{panel.num_rows:,} bars, {len(panel.symbols):,} symbols, {len(panel.dates):,} dates, {len(folds)} folds"
    )


def clean_panel(folder: Path, params: Params, workers: Workers) -> tuple[SavedPanel, QualityReport]:
    """Sort the bars on disk beside the result, then clean them symbol by symbol into folder/panel."""
    with TemporaryDirectory(prefix=".sorting-", dir=folder) as scratch:
        tables = iter_bar_tables(DATA / "bars", batch_rows=workers.rows(READ_BYTES))
        bars = sort_bars(tables, Path(scratch), workers)
        params.check_universe(len(bars.symbols))
        quality = clean_to_folder(bars, folder / "panel", params.split.clean, workers)
    return open_panel(folder / "panel"), quality


def read_dataset(data: Path) -> dict[str, Any]:
    """What dataset.yaml says of the data: name, frequency, time zone, adjustment, how the universe was picked."""
    if not data.is_dir():
        raise StageError(
            f"{data}/ does not exist: 'dvc repro' makes the simulated one, 'make use-data SRC=...' yours"
        )
    path = data / "dataset.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict) or "name" not in document or "universe" not in document:
        raise StageError(
            f"{path}: needs at least the keys 'name' and 'universe' (how the symbols were picked)"
        )
    return document


def carry_over(panel: SavedPanel, folder: Path) -> None:
    """News (checked) and the truth of a simulated market travel with the panel."""
    if (DATA / "news").is_dir():
        read_news(DATA / "news", calendar=panel.dates).to_parquet(folder / "news.parquet", index=False)
    if (DATA / "truth.parquet").exists():
        shutil.copyfile(DATA / "truth.parquet", folder / "truth.parquet")


if __name__ == "__main__":
    run("split", main)
