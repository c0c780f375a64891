"""Folds: which dates a model is fitted on, tuned on and scored on, with the labels of each segment kept apart."""

from factor_data.folds.config import FoldConfig, Scheme, make_folds
from factor_data.folds.cut import check_labels_apart, check_purge, needed_purge
from factor_data.folds.fold import (
    SEGMENTS,
    Fold,
    Segment,
    check_folds,
    check_tested_once,
    read_folds,
    write_folds,
)
from factor_data.folds.picture import fold_picture
from factor_data.folds.purged import combinatorial_purged, cpcv_paths
from factor_data.folds.schemes import fixed_dates, ratio, walk_forward, yearly

__all__ = [
    "SEGMENTS",
    "Fold",
    "FoldConfig",
    "Scheme",
    "Segment",
    "check_folds",
    "check_labels_apart",
    "check_purge",
    "check_tested_once",
    "combinatorial_purged",
    "cpcv_paths",
    "fixed_dates",
    "fold_picture",
    "make_folds",
    "needed_purge",
    "ratio",
    "read_folds",
    "walk_forward",
    "write_folds",
    "yearly",
]
