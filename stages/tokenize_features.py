"""tokenize: features, labels, and per fold what is fitted on its training dates: news tone, normaliser, tokens."""
# A script called tokenize would shadow the standard library's.

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

import pandas as pd

from factor_data import (
    UNIT_DEPENDENT,
    FeaturePlan,
    FitConfig,
    Fold,
    LabelReport,
    LookAheadError,
    SavedPanel,
    ScaleError,
    StoreWriter,
    TextEncoder,
    Workers,
    check_features,
    check_label_reach,
    check_labels_apart,
    check_own_lookahead,
    check_symbols_apart,
    label_values,
    open_panel,
    plan_features,
    read_folds,
    read_parquet,
)
from stages.json_files import write_json
from stages.named import check_named
from stages.params.tokenize import TokenizeParams
from stages.running.files import RESULTS, stage_output, stored
from stages.running.planned import check_loaded, read_plan
from stages.running.stage import StageError, run
from stages.running.workers import part_workers

TEXTS = "stages.texts"  # loaded by name, so that without a pretrained encoder its library is not in the plan
CHECKED_SYMBOLS, CHECKED_DATES = 24, 1000
OWN_SYMBOLS, OWN_DATES = 400, 400
"""Samples of the bars on which all, and the user's own, are held to the look-ahead gate: they bound its time."""


def main() -> None:
    """Run the stage `tokenize`: write features, labels and tokens to the store."""
    stage = read_plan("tokenize")
    config = stage.section("tokenize", TokenizeParams)
    panel = open_panel(RESULTS / "split" / "panel")
    folds = read_folds(stored("split", "folds.json"))
    check_labels_apart(folds, panel.dates, panel.markets.reach(config.reach))
    news = read_split_news() if config.use_news else None
    config, encoder = with_encoder(config, news)
    plan = feature_plan(panel, config)
    check_named(panel, plan.names, config, news is not None)
    check_no_lookahead(panel, plan, config)
    needed = store_bytes(panel.num_rows, len(plan.names), 0 if news is None else len(news), config, len(folds))
    with stage_output("tokenize", min_free_bytes=needed) as folder, part_workers(folder) as workers:
        labels = fill_store(folder, panel, folds, news, config, workers, encoder)
        write_json(folder / "labels.json", [label.to_dict() for label in labels])
        check_loaded(stage)
    print(f"{len(plan.names)} features, {len(labels)} labels, {len(folds)} folds")
    print(*(f"{label} ({label.rule})" for label in labels), sep="\n")


def check_no_lookahead(panel: SavedPanel, plan: FeaturePlan, config: TokenizeParams) -> None:
    """Refuse features and labels that know more than they may: held to the gate on bars of the panel itself.

    After two dates, and for the user's own after a date per symbol, all later bars are changed and dropped, and
    adj_close is multiplied as later splits would: nothing before may change. A label may reach as far as the purge.
    """
    sample = panel.sample(CHECKED_SYMBOLS, CHECKED_DATES, [one.partition("@")[2] for one in plan.names if "@" in one])
    try:
        unknown = check_features(plan.values, sample, plan.names, published=set(UNIT_DEPENDENT))
        check_symbols_apart(plan, sample)
        check_own_lookahead(plan, panel.sample(OWN_SYMBOLS, OWN_DATES))
    except (LookAheadError, ScaleError) as error:
        raise StageError(f"tokenize.features: a feature knows the future: {error}") from None
    if unknown:
        print(f"look-ahead: not checked, since they have no value: {', '.join(unknown[:5])} ({len(unknown)} features)")
    for name, label in config.heads.items():
        if label.column is not None:
            continue  # made by whoever made the data
        reach = panel.markets.reach(label.ahead)
        try:
            # Whether a symbol has stopped or pauses takes all dates to know: the rule for that is left out here.
            values = partial(label_values, label=replace(label, delisting="drop"))
            check_label_reach(values, sample, reach, f"label {name}")
        except LookAheadError as error:
            raise StageError(
                f"tokenize.labels.{name}: the label looks more than {reach} dates ahead: {error}"
            ) from None


def read_split_news() -> pd.DataFrame | None:
    """The news that split has checked; None where the data have none."""
    news = read_parquet(stored("split", "news.parquet"))
    return news if len(news) else None


def with_encoder(config: TokenizeParams, news: pd.DataFrame | None) -> tuple[TokenizeParams, TextEncoder | None]:
    """The pretrained encoder of the texts, where one is named, and the section with the length of its vectors."""
    if news is None or not config.reads_with_transformer:
        return config, None
    return import_module(TEXTS).open_encoder(config, news["text"].tolist())


def fill_store(
    folder: Path,
    panel: SavedPanel,
    folds: Sequence[Fold],
    news: pd.DataFrame | None,
    config: TokenizeParams,
    workers: Workers,
    encoder: TextEncoder | None,
) -> list[LabelReport]:
    """Labels first, since they may be refused; then features, then a fold at a time."""
    writer = StoreWriter(
        directory=folder,
        panel=panel,
        workers=workers,
        plan=feature_plan(panel, config),
        labels=config.heads,
    )
    labels = writer.write_labels()
    for fold in folds:
        writer.check_labels(fold)
    writer.write_features()
    fit = FitConfig(
        strict=config.strict,
        normaliser=config.normaliser,
        clip=config.clip,
        num_tokens=config.num_tokens,
        news=config.news,
        news_vectors=config.news_vectors,
        encoder=encoder,
    )
    for number, names in writer.write_folds(folds, fit, news).items():
        print(
            f"warning: fold {number}: {', '.join(names)} has no known value on the training rows and is left out "
            "of the fold; tokenize.strict: true refuses it",
            file=sys.stderr,
        )
    return labels


def feature_plan(panel: SavedPanel, config: TokenizeParams) -> FeaturePlan:
    """Return the features of the section, those of the user's own among them; none may read what labels are made of."""
    return plan_features(config.features or None, panel.symbols, config.own, tuple(panel.columns), config.ahead_columns)


def store_bytes(num_rows: int, num_features: int, num_documents: int, config: TokenizeParams, num_folds: int) -> int:
    """What the arrays of the store take on disk: float32 features, float64 labels; per fold inputs, tokens, texts."""
    vectors = config.news_vectors if num_documents else None
    num_news = (2 if num_documents else 0) + (vectors.dimensions + 1 if vectors else 0)
    per_fold = num_rows * 5 * (num_features + num_news)
    if vectors and vectors.documents_per_bar:
        per_fold += 4 * num_documents * vectors.dimensions + 16 * num_rows
    return num_rows * (4 * num_features + 8 * len(config.labels)) + num_folds * per_fold


if __name__ == "__main__":
    run("tokenize", main)
