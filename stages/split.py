"""split: bars in; a clean panel, a quality report and walk-forward folds of dates out.

It comes first so that everything that is fitted later is fitted on the training dates of its fold only.
"""

import shutil
from pathlib import Path
from typing import Any

import yaml

from factor_data import Panel, check_folds, clean_bars, read_bars, read_news, walk_forward, write_folds
from stages.params import read_params
from stages.run import StageError, run, stage_output, write_json

DATA = Path("data")


def main() -> None:
    params = read_params()
    dataset = read_dataset(DATA)
    panel = read_bars(DATA / "bars")
    params.check_universe(panel.num_symbols)
    panel, quality = clean_bars(panel, params.split.clean)
    folds = walk_forward(
        panel.dates,
        train=params.split.train,
        valid=params.split.valid,
        test=params.split.test,
        step=params.split.step,
        purge=params.split.purge,
        embargo=params.split.embargo,
        expanding=params.split.expanding,
    )
    check_folds(panel, folds)
    with stage_output("split") as folder:
        panel.save(folder / "panel")
        write_folds(folder / "folds.json", folds)
        write_json(folder / "quality.json", quality.to_dict())
        (folder / "quality.html").write_text(quality.to_html(), encoding="utf-8")
        write_json(folder / "dataset.json", dataset)
        carry_over(panel, folder)
    print(
        f"{panel.num_rows:,} bars, {panel.num_symbols:,} symbols, {panel.num_dates:,} dates, {len(folds)} folds"
    )


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


def carry_over(panel: Panel, folder: Path) -> None:
    """News (checked) and the truth of a simulated market travel with the panel."""
    if (DATA / "news").is_dir():
        read_news(DATA / "news", calendar=panel.dates).to_parquet(folder / "news.parquet", index=False)
    if (DATA / "truth.parquet").exists():
        shutil.copyfile(DATA / "truth.parquet", folder / "truth.parquet")


if __name__ == "__main__":
    run("split", main)
