"""tokenize: features, labels, and per fold what is fitted on its training dates: news tone, normaliser, tokens.

The module is not called tokenize because a script of that name would shadow the standard library's.
"""

import pandas as pd

from factor_data import FitConfig, StoreWriter, open_panel, plan_features, read_folds
from stages.params import read_params
from stages.run import RESULTS, run, stage_output
from stages.workers import local_workers


def main() -> None:
    config = read_params().tokenize
    source = RESULTS / "split"
    panel = open_panel(source / "panel")
    folds = read_folds(source / "folds.json")
    news = pd.read_parquet(source / "news.parquet") if (source / "news.parquet").exists() else None
    plan = plan_features(config.features or None, panel.symbols)
    num_columns = len(plan.names)
    row_bytes = 8 * len(config.horizons) + 4 * num_columns + 5 * (num_columns + 2) * len(folds)
    with (
        stage_output("tokenize", min_free_bytes=row_bytes * panel.num_rows) as folder,
        local_workers() as workers,
    ):
        writer = StoreWriter(
            directory=folder,
            panel=panel,
            workers=workers,
            plan=plan,
            horizons=config.horizons,
            delay=config.delay,
        )
        writer.write_labels()
        for fold in folds:
            writer.check_labels(fold)
        writer.write_features()
        fit = FitConfig(
            normaliser=config.normaliser, clip=config.clip, num_tokens=config.num_tokens, news=config.news
        )
        writer.write_folds(folds, fit, news)
    print(f"{num_columns} features, horizons {list(config.horizons)}, {len(folds)} folds")


if __name__ == "__main__":
    run("tokenize", main)
