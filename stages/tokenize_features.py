"""tokenize: features, labels, and per fold what is fitted on its training dates: news tone, normaliser, tokens.

The module is not called tokenize because a script of that name would shadow the standard library's.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import (
    FeatureMatrix,
    FoldInputs,
    Panel,
    QuantileTokenizer,
    check_labels,
    compute_features,
    fit_news_scorer,
    fit_normaliser,
    forward_return,
    read_folds,
    write_fold,
    write_shared,
)
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
    in_universe = panel.in_universe
    train_rows = [fold.rows(panel, "train") & in_universe for fold in folds]
    check_labels(
        labels,
        horizons,
        {f"fold {fold.index} train": rows for fold, rows in zip(folds, train_rows, strict=True)},
    )
    matrix = compute_features(panel, params.tokenize.features or None)
    with stage_output("tokenize", min_free_bytes=4 * matrix.values.nbytes) as folder:
        write_shared(folder, panel, matrix, labels, horizons, params.tokenize.delay)
        for fold, rows in zip(folds, train_rows, strict=True):
            write_fold(folder, fold.index, fit_fold(panel, matrix, labels, rows, news, params.tokenize))
    print(f"{matrix.values.shape[1]} features, horizons {list(horizons)}, {len(folds)} folds")


def fit_fold(
    panel: Panel,
    matrix: FeatureMatrix,
    labels: NDArray[np.float64],
    train_rows: NDArray[np.bool_],
    news: pd.DataFrame | None,
    config: TokenizeParams,
) -> FoldInputs:
    """Fit news tone, normaliser and token edges on the rows of the mask `train_rows` alone."""
    values, names, scorer = matrix.values, matrix.names, None
    if news is not None:
        # Words are learnt on the horizon over which news is remembered.
        head = int(np.argmin(np.abs(np.array(config.horizons) - config.news.half_life)))
        scorer = fit_news_scorer(news, panel, labels[:, head], train_rows, config.news)
        scores = scorer.transform(news, panel)
        values, names = np.hstack([values, scores.values]), (*names, *scores.names)
    normaliser = fit_normaliser(values, train_rows, names, config.normaliser, config.clip)
    inputs = normaliser.transform(values, panel.date_code)
    tokenizer = QuantileTokenizer.fit(inputs, train_rows, config.num_tokens, names)
    return FoldInputs(
        normaliser=normaliser,
        tokenizer=tokenizer,
        inputs=inputs,
        tokens=tokenizer.transform(inputs),
        news_scorer=scorer,
    )


if __name__ == "__main__":
    run("tokenize", main)
