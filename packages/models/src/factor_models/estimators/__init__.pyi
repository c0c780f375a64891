from .classifier import FactorClassifier as FactorClassifier
from .regressor import FactorRegressor as FactorRegressor
