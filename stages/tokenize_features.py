"""tokenize: features, labels, and per fold what is fitted on its training dates: news tone, normaliser, tokens.

The module is not called tokenize because a script of that name would shadow the standard library's.
"""

import numpy as np
import pandas as pd
from factor_data import (
    NEWS_COLUMNS,
    Fold,
    FoldInputs,
    NewsScorer,
    Panel,
    QuantileTokenizer,
    check_labels,
    compute_features,
    fit_normaliser,
    forward_return,
    read_folds,
    write_fold,
    write_shared,
)
from numpy.typing import NDArray

from stages.params import TokenizeParams, read_params
from stages.run import RESULTS, run, stage_output


def main() -> None:
    params = read_params()
    source = RESULTS / "split"
    panel = Panel.load(source / "panel")
    folds = read_folds(source / "folds.json")
    news = pd.read_parquet(source / "news.parquet") if (source / "news.parquet").exists() else None
    horizons = params.tokenize.horizons
    labels = np.column_stack([forward_return(panel, horizon, params.tokenize.delay) for horizon in horizons])
    train_rows = [np.isin(panel.dates, fold.train)[panel.date_code] for fold in folds]
    check_labels(labels, horizons, train_rows)
    matrix = compute_features(panel, params.tokenize.features or None)
    with stage_output("tokenize", min_free_bytes=4 * matrix.values.nbytes) as folder:
        write_shared(folder, panel, matrix, labels, horizons, params.tokenize.delay)
        for fold, rows in zip(folds, train_rows, strict=True):
            inputs = fit_fold(panel, matrix.values, matrix.names, labels[:, 0], rows, news, params.tokenize)
            write_fold(folder, fold.index, inputs)
    print(f"{matrix.values.shape[1]} features, horizons {list(horizons)}, {len(folds)} folds")
