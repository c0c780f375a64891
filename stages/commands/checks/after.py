"""After a training: whether all is there, as written, of these settings, and worth looking at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from factor_data import Sums, read_folds
from stages.commands.checks.asked import Asked, NotYet
from stages.commands.checks.during import curves, held_against
from stages.json_files import read_json
from stages.running.files import RESULTS, stored
from stages.running.planned import MADE_OF, made_of
from stages.running.stage import StageError

LEAST_PERPLEXITY = 1.5
"""Perplexity of the pairs of K-line tokens: below it, the tokenizer says the same of every bar."""
LEAST_TOKENS = 2


def same_settings(asked: Asked) -> str:
    """params.yaml and the code against those that the plan was made of."""
    asked.there(MADE_OF)
    if read_json(MADE_OF) != made_of():
        raise StageError("params.yaml or the code has changed since the results were planned: make repro")
    return "params.yaml and the code are those of the last plan"


def artefacts(asked: Asked) -> str:
    """What each stage leaves, and that every file is what was written."""
    folders = [RESULTS / "split", RESULTS / "tokenize", RESULTS / "stack", RESULTS / "report" / "stack"]
    for model in asked.params.models:
        folders += [RESULTS / stage / model for stage in ("train", "evaluate", "report")]
    if missing := [folder for folder in folders if not folder.is_dir()]:
        raise NotYet(f"{', '.join(map(str, missing[:3]))} not there yet ({len(missing)} of {len(folders)} results)")
    num_files = 0
    for folder in folders:
        sums = Sums(folder)
        if told := sums.damages():
            raise StageError(told[0])
        num_files += len(sums.digests)
    folds = len(read_folds(stored("split", "folds.json")))
    for model in asked.params.models:
        found = len(list((RESULTS / "train" / model / "folds").glob("fold_*")))
        if found != folds:
            raise StageError(f"{RESULTS / 'train' / model}: holds {found} folds, split has cut {folds}")
    return f"{num_files:,} files of {len(folders)} results are what was written, {folds} folds a model"


def losses(asked: Asked) -> str:
    """The curves of networks that were trained."""
    return held_against(
        (pair for name in asked.networks for pair in curves(RESULTS / "train", f"{name}/live")), "is trained"
    )


def kline_tokens(asked: Asked) -> str:
    """Use of the codebook by the K-line tokenizer of each fold."""
    if not asked.params.kline_models:
        raise NotYet("no K-line model is listed", never=True)
    path = asked.there(RESULTS / "tokenize_kline" / asked.params.kline_models[0] / "report.json")
    said = []
    for number, fold in enumerate(read_json(path)["folds"]):
        valid = fold["valid"]
        if not valid["perplexity_pairs"] >= LEAST_PERPLEXITY:
            raise StageError(
                f"{path}: fold {number}: the tokens of the valid windows have perplexity "
                f"{valid['perplexity_pairs']:.2f}, must be >= {LEAST_PERPLEXITY}: nearly one token for every bar"
            )
        said.append(f"fold {number}: {valid['used_s1']:.0%} of s1, {valid['used_s2']:.0%} of s2")
    return "; ".join(said)


def feature_tokens(asked: Asked) -> str:
    """Quantile tokens of the inputs in use, besides the one for missing."""
    store, few, used = asked.store, [], []
    for fold in read_folds(stored("split", "folds.json")):
        tokens = store.tokens(fold.index)[np.flatnonzero(store.rows(fold, "train"))]
        for name, column in zip(store.normaliser(fold.index).names, tokens.T, strict=True):
            count = len(np.setdiff1d(np.unique(column), [0]))
            used.append(count)
            if 0 < count < LEAST_TOKENS:
                few.append(f"{name} in fold {fold.index}")
    if few:
        raise StageError(f"one token for every known value of {', '.join(few[:3])} ({len(few)} in all): leave it out")
    known = [count for count in used if count]
    return f"{min(known)} to {max(known)} of {asked.params.tokenize.num_tokens} per input"


def spread(asked: Asked) -> str:
    """Forecasts on the test dates: all finite, and different within the dates."""
    said = []
    for name in asked.params.models:
        frame = asked.forecasts(name).frame
        test = frame[frame["segment"] == "test"]
        if not np.isfinite(test["prediction"]).all():
            raise StageError(f"{name}: {int((~np.isfinite(test['prediction'])).sum())} forecasts are not finite")
        spreads = test.groupby(["label", "timestamp"], observed=True)["prediction"].std(ddof=0)
        shares = (spreads > 0).groupby("label", observed=True).mean()
        if constant := [str(label) for label, share in shares.items() if share == 0]:
            raise StageError(f"{name}: forecasts of {', '.join(constant)} are the same for all symbols of every date")
        said.append(f"{name} on {shares.min():.0%} of the dates")
    return f"differ within the date: {', '.join(said)}"


def coverage(asked: Asked) -> str:
    """Dates that each model has forecast, against the test dates of the folds."""
    tested = np.unique(np.concatenate([fold.test for fold in read_folds(stored("split", "folds.json"))]))
    for name in asked.params.models:
        dates = asked.forecasts(name).dates("test")
        if not len(dates):
            raise StageError(f"{name}: has forecast none of the {len(tested)} test dates")
        if strange := np.setdiff1d(dates, tested.astype(dates.dtype)).tolist():
            raise StageError(f"{name}: {len(strange)} of its dates are tested by no fold")
    return f"{len(tested)} test dates; every forecast is of one of them"


CHECKS: dict[str, Callable[[Asked], str]] = {
    "settings of the results": same_settings,
    "artefacts": artefacts,
    "losses": losses,
    "K-line tokens": kline_tokens,
    "feature tokens": feature_tokens,
    "forecasts": spread,
    "test dates": coverage,
}
