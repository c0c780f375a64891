"""scikit-learn's face of the zoo: `FactorRegressor` and `FactorClassifier` over any model of the table."""

from factor_models.estimators.classifier import FactorClassifier
from factor_models.estimators.regressor import FactorRegressor

__all__ = ["FactorClassifier", "FactorRegressor"]
