"""Any model of the zoo as a binary classifier, up or down."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy.special import expit
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_consistent_length, column_or_1d

from factor_models.estimators.base import FactorEstimator, _is_network
from factor_models.estimators.per_date import check_same_rows
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
    classes_: np.ndarray

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
        return self._learn(X, y, None, sample_weight, dates, symbols, texts)

    @available_if(_is_network)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: Any = None,
        sample_weight: Any = None,
        dates: Any = None,
        symbols: Any = None,
        texts: Any = None,
    ) -> Self:
        """Train on from the weights that there are; see `FactorRegressor.partial_fit`.

        `classes` (2,) are both labels; the first call needs them where its y holds one alone.
        """
        return self._learn(X, y, classes, sample_weight, dates, symbols, texts, go_on=hasattr(self, "model_"))

    def _learn(
        self,
        X: Any,
        y: Any,
        classes: Any,
        sample_weight: Any,
        dates: Any,
        symbols: Any,
        texts: Any,
        go_on: bool = False,
    ) -> Self:
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        check_same_rows(X, y)
        samples = self._samples(X, dates, symbols, texts, reset=not go_on)
        check_consistent_length(samples.rows, y)
        labels = column_or_1d(y, warn=True)
        check_classification_targets(labels)
        if (kind := type_of_target(labels, input_name="y", raise_unknown=True)) != "binary":
            raise ValueError(f"Only binary classification is supported. The type of the target is {kind}.")
        known = self.classes_ if go_on else np.unique(labels if classes is None else classes)
        if len(known) < 2:
            raise ValueError(f"y holds 1 class, {known.tolist()[0]!r}: a classifier needs two")
        if not np.isin(labels, known).all():
            raise ValueError(
                f"y holds {labels[~np.isin(labels, known)].tolist()[0]!r}: the classes are {known.tolist()}"
            )
        self.classes_, code = known, np.searchsorted(known, labels)
        self.target_names_ = np.array([f"log_odds_{known[1]}"])
        targets = (2 * code - 1 if self.model == "linear" else code)[:, None].astype(np.float32)
        weights = self._weights(sample_weight, samples.windows[:, -1])
        return self._fit(Samples(**(vars(samples) | {"targets": targets, "weights": weights})), go_on)

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
