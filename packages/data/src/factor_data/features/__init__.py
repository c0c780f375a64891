"""Causal features of bars."""

from factor_data.features.matrix import FeatureMatrix, available_features, compute_features
from factor_data.features.table import FEATURES

__all__ = ["FEATURES", "FeatureMatrix", "available_features", "compute_features"]
