"""split: bars in; a clean panel, a quality report and folds of dates out.

It comes first so that everything that is fitted later is fitted on the training dates of its fold only.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from factor_data import (
    Label,
    Labels,
    QualityReport,
    SavedPanel,
    Workers,
    check_tested_once,
    clean_to_folder,
    fold_picture,
    iter_bar_tables,
    make_folds,
    open_panel,
    parse_description,
    read_news,
    sort_bars,
    write_folds,
    write_parquet,
)
from stages.history import check_history, written_lookbacks
from stages.json_files import write_json
from stages.markets import assign_markets, checked_reach, markets_of, tell_lost_labels
from stages.masks import check_any_left, check_folds_left, check_volume
from stages.params.checking import validate
from stages.params.split import SplitParams
from stages.running.files import check_data, stage_output
from stages.running.planned import check_loaded, read_plan, untracked
from stages.running.stage import StageError, run
from stages.running.workers import part_workers
from stages.universe import check_benchmark, check_label_columns, check_panel, check_sector, check_symbols
from stages.weights import check_weight_values, check_weights

DATA = Path("data")
NEWS = "news"
ONE_FOLD = "note: split.folds makes one fold: no earlier one teaches the stack its weights (stack.first_fold)"
NO_TEST_SHARE = "note: split.folds.ratios has no share for test: the later half of the valid dates is tested"
HOW = "how the symbols were picked"
TRUTH = {
    "truth.parquet": ("horizon", "attainable_rank_ic"),
    "expected.parquet": ("horizon",),
}
"""What a simulated market knows of itself: files and their columns beside `timestamp`."""
READ_BYTES = 128  # of a row while it is read, about


def main() -> None:
    """Run the stage `split`: clean the bars, cut the folds, check the news."""
    plan = read_plan("split")
    params = plan.section("split", SplitParams)
    dataset = read_dataset(DATA)
    use_news = plan.value("tokenize.use_news")
    check_data(DATA, without=None if use_news else NEWS)
    with stage_output("split") as folder, part_workers(folder) as workers:
        document = untracked()
        labels = validate(dict[str, Label], document["tokenize"]["labels"], "params.yaml: tokenize.labels.")
        panel, quality = clean_panel(folder, params, labels, workers)
        check_any_left(quality)
        check_weight_values(document, panel)
        tell_lost_labels(panel, labels)
        reach = checked_reach(panel, params.folds.purge, plan.value("tokenize.reach"))
        folds = make_folds(panel.dates, params.folds, reach=reach)
        check_panel(document["evaluate"], panel, folds, labels)
        check_tested_once(folds)
        check_history(folds, panel.dates, written_lookbacks(document))
        check_folds_left(folds, panel, quality, workers)
        if len(folds) < 2:
            print(ONE_FOLD, file=sys.stderr)
        if params.folds.ratios is not None and params.folds.ratios[2] == 0:
            print(NO_TEST_SHARE, file=sys.stderr)
        universe = str(dataset["universe"])
        page = quality.to_html(universe=universe, fold_picture=fold_picture(folds, panel.dates))
        write_folds(folder / "folds.json", folds)
        write_json(folder / "quality.json", quality.to_dict(universe))
        (folder / "quality.html").write_text(page, encoding="utf-8")
        write_json(folder / "dataset.json", dataset)
        carry_over(panel, folder, use_news)
        check_loaded(plan)
    print(f"{panel.num_rows:,} bars, {len(panel.symbols):,} symbols, {len(panel.dates):,} dates, {len(folds)} folds")


def clean_panel(
    folder: Path, params: SplitParams, labels: Labels, workers: Workers
) -> tuple[SavedPanel, QualityReport]:
    """Sort the bars on disk beside the result, then clean them symbol by symbol into folder/panel."""
    with TemporaryDirectory(prefix=".sorting-", dir=folder) as scratch:
        tables = iter_bar_tables(DATA / "bars", batch_rows=workers.rows(READ_BYTES))
        bars = sort_bars(tables, Path(scratch), workers)
        check_symbols(untracked()["evaluate"], len(bars.symbols))
        check_benchmark(untracked()["evaluate"], bars.symbols)
        check_sector(untracked()["evaluate"], bars.column_names)
        check_label_columns(labels, bars.column_names)
        check_weights(untracked(), bars.column_names)
        check_volume(bars, params)
        markets = markets_of(bars.rows, params.calendars)
        quality = clean_to_folder(bars, folder / "panel", params.clean, workers, markets)
    panel = open_panel(folder / "panel")
    return assign_markets(panel, folder / "panel", params.calendars), quality


def read_dataset(data: Path) -> dict[str, Any]:
    """What dataset.yaml says of the data: name, frequency, time zone, adjustment, how the universe was picked."""
    if not data.is_dir():
        raise StageError(f"{data}/ does not exist: 'dvc repro' makes the simulated one, 'make use-data SRC=...' yours")
    path = data / "dataset.yaml"
    if not path.is_file():
        raise StageError(f"{path}: is missing; write into it name: what the data are called, and universe: {HOW}")
    return parse_description(path.read_bytes(), str(path))


def carry_over(panel: SavedPanel, folder: Path, use_news: bool) -> None:
    """News (checked) and the truth of a simulated market travel with the panel; a file without rows stands for none.

    Without `use_news` no file of news is opened.
    """
    if use_news and (DATA / NEWS).is_dir():
        news = read_news(DATA / NEWS, calendar=panel.dates)
    else:
        news = pd.DataFrame({"timestamp": panel.dates[:0], "symbol": [], "text": []})
    write_parquet(folder / "news.parquet", news)
    for name, columns in TRUTH.items():
        if (DATA / name).exists():
            shutil.copyfile(DATA / name, folder / name)
        else:
            none = pd.DataFrame({"timestamp": panel.dates[:0], **{column: [] for column in columns}})
            write_parquet(folder / name, none)


if __name__ == "__main__":
    run("split", main)
