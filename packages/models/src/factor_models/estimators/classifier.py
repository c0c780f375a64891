"""Any model of the zoo as a binary classifier, up or down."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy.special import expit
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_consistent_length, column_or_1d

from factor_models.estimators.base import FactorEstimator
from factor_models.estimators.samples import Samples


class FactorClassifier(ClassifierMixin, FactorEstimator):
    """A model of the zoo that tells two classes apart; its output is read as log odds.

    The parameters are those of `FactorRegressor`; the loss is "bce" unless another of classification is named. The
    ridge regression "linear" is fitted to -1 and 1: its output o stands for a probability of (1 + o) / 2, cut to
    [0, 1].

    Attributes
    ----------
    classes_ : (2,) the labels, sorted; the second is the one that log odds and probabilities are of
    """

    default_loss = "bce"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        dates: Any = None,
        symbols: Any = None,
        texts: Any = None,
    ) -> Self:
        """Fit on (N, F) rows or (N, L, F) windows and labels (N,); see `FactorRegressor.fit`."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        samples = self._samples(X, dates, symbols, texts, reset=True)
        check_consistent_length(samples.rows, y)
        labels = column_or_1d(y, warn=True)
        check_classification_targets(labels)
        if (kind := type_of_target(labels, input_name="y", raise_unknown=True)) != "binary":
            raise ValueError(f"Only binary classification is supported. The type of the target is {kind}.")
        self.classes_, code = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds 1 class, {self.classes_[0]!r}: a classifier needs two")
        targets = (2 * code - 1 if self.model == "linear" else code)[:, None].astype(np.float32)
        weights = self._weights(sample_weight, samples.windows[:, -1])
        return self._fit(Samples(**(vars(samples) | {"targets": targets, "weights": weights})))

    def decision_function(self, X: Any, dates: Any = None, symbols: Any = None, texts: Any = None) -> np.ndarray:
        """(N,) log odds of the second class; the output itself for "linear"."""
        return self._outputs(X, dates, symbols, texts)[:, 0].astype(np.float64)

    def predict_proba(self, X: Any, dates: Any = None, symbols: Any = None, texts: Any = None) -> np.ndarray:
        """(N, 2) probabilities of the classes."""
        decision = self.decision_function(X, dates, symbols, texts)
        second = np.clip((1 + decision) / 2, 0, 1) if self.model == "linear" else expit(decision)
        return np.column_stack([1 - second, second])

    def predict(self, X: Any, dates: Any = None, symbols: Any = None, texts: Any = None) -> np.ndarray:
        """(N,) the likelier class."""
        is_second = self.decision_function(X, dates, symbols, texts) > 0
        return self.classes_[is_second.astype(int)]
