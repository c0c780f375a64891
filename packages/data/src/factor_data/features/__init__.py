"""Causal features of bars."""

from factor_data.features.alpha158 import alpha158
from factor_data.features.alpha158_names import ALPHA158_NAMES
from factor_data.features.alpha360 import ALPHA360_NAMES, alpha360
from factor_data.features.compute import (
    FEATURE_SETS,
    FeaturePlan,
    available_features,
    compute_features,
    expand_features,
    plan_features,
    same_for_all_symbols,
)
from factor_data.features.dates import DATE_FEATURES, DateFeature
from factor_data.features.matrix import FeatureMatrix
from factor_data.features.table import FEATURES

__all__ = [
    "ALPHA158_NAMES",
    "ALPHA360_NAMES",
    "DATE_FEATURES",
    "FEATURES",
    "FEATURE_SETS",
    "DateFeature",
    "FeatureMatrix",
    "FeaturePlan",
    "alpha158",
    "alpha360",
    "available_features",
    "compute_features",
    "expand_features",
    "plan_features",
    "same_for_all_symbols",
]
