"""A network that was trained from several seeds: how far its seeds agree, and what each would be worth alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from factor_data import FeatureStore, read_parquet
from factor_metrics import rank_ic
from factor_metrics.report import Subject
from stages.judging.judge import mean_of_known
from stages.judging.time_series import View
from stages.predictions import SEEDS_FILE, OutOfFold


def read_seeds(folds: Path, store: FeatureStore) -> dict[int, OutOfFold]:
    """Return the forecasts of the test dates by seed, from the folders of a model's folds; none of one seed alone."""
    paths = sorted(folds.glob(f"*/{SEEDS_FILE}"))
    if not paths:
        return {}
    frame = pd.concat([read_parquet(path) for path in paths], ignore_index=True)
    seeds = sorted(frame["seed"].unique())
    return {int(seed): OutOfFold.of(frame[frame["seed"] == seed], store) for seed in seeds}


def seed_scores(
    seeds: Mapping[int, OutOfFold], subjects: Sequence[Subject], store: FeatureStore, view: View, min_symbols: int
) -> dict[str, dict[str, float]]:
    """Return by label what the seeds are worth one by one on the test dates; nothing of one seed alone.

    seeds : how many
    seed_rank_ic : mean over the seeds of their mean rank IC over the dates
    seed_rank_ic_std : the spread of these, with one degree of freedom less than seeds
    seed_correlation : mean over pairs of seeds and dates of the rank correlation of their forecasts
    """
    if not seeds:
        return {}
    dates, found = next(iter(seeds.values())).dates("test"), {}
    for one in subjects:
        outcome = view(store.matrix(store.label(one.label), dates))
        said = [view(seed.matrix(one.label, "test")) for seed in seeds.values()]
        alone = [mean_of_known(rank_ic(forecast, outcome, min_symbols)) for forecast in said]
        agreement = [mean_of_known(rank_ic(*pair, min_symbols)) for pair in combinations(said, 2)]
        found[one.label] = {
            "seeds": float(len(seeds)),
            "seed_rank_ic": float(np.mean(alone)),
            "seed_rank_ic_std": float(np.std(alone, ddof=1)),
            "seed_correlation": float(np.mean(agreement)),
        }
    return found


def seeds_in_words(scores: Mapping[str, float | None]) -> str:
    """The numbers of `seed_scores` as a sentence; what is undefined says so."""
    alone, spread, correlation = (
        "undefined" if (value := scores[key]) is None else f"{value:{form}}"
        for key, form in (("seed_rank_ic", "+.4f"), ("seed_rank_ic_std", ".4f"), ("seed_correlation", ".2f"))
    )
    count = f"{scores['seeds']:.0f}"
    return f"of {count} seeds each alone {alone} +- {spread}, correlation of their forecasts {correlation}"
