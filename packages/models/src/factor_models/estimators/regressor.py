"""Any model of the zoo as a scikit-learn regressor."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, check_consistent_length

from factor_models.estimators.base import FactorEstimator, _is_network
from factor_models.estimators.per_date import check_same_rows, keys_of_rows, mean_rank_ic
from factor_models.estimators.samples import Samples
from factor_models.kline.frames import library


class FactorRegressor(RegressorMixin, FactorEstimator):
    """A model of the zoo behind fit and predict, trained in this process with torch alone.

    Features should be normalised: networks read a missing value (NaN) as 0. Targets are centred and scaled inside;
    predictions come back in their unit. Several target columns are several horizons; NaN in y is an unknown target.

    Parameters
    ----------
    model : a name of `factor_models.available_models()`
    settings : fields of the model's configuration (`factor_models.model_config`), without lookback; each is a parameter
        of its own too, settings__alpha in a grid
    lookback : bars of a window. None: the length of 3-D windows, 1 for 2-D rows. With L bars a 2-D row holds L * F
        values, bar after bar, the oldest first. Models of the last bar read that bar alone
    loss : a name of `factor_models.LOSSES`, for networks; None: "mse" ("bce" when classifying)
    epochs : most passes over the samples; all of them without `valid_share`
    batch_dates : whole dates of an optimiser step, when fit is given `dates`
    batch_rows : most rows of a step without dates. Such a block of shuffled rows then counts as one date: per-date
        losses (ic) compare within it, and models of the cross-section see it as one
    lr, weight_decay : of AdamW, with a warm-up and a cosine (`EngineConfig`)
    valid_share : share of the last dates (rows, without dates) that are kept aside: training (of networks and trees)
        stops `patience` epochs (trees by their own setting) after the best loss there. Nothing is purged between them
    num_tokens : quantile tokens of a feature, for models that read tokens; edges are fitted on X
    random_state : decides weights, order and dropout; an int gives the same model each time

    Attributes
    ----------
    model_ : the fitted torch module or `TabularModel`
    n_features_in_ : columns of X; L * F for windows
    lookback_ : bars of a window
    best_epoch_ : the epoch kept (networks)
    target_names_ : what is forecast, also from `get_feature_names_out`

    Examples
    --------
    >>> X, y = np.random.default_rng(0).standard_normal((2, 60, 3))
    >>> FactorRegressor("linear").fit(X, y[:, 0]).predict(X).shape
    (60,)
    """

    default_loss = "mse"
    center_: np.ndarray
    scale_: np.ndarray

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
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
        """Fit on (N, F) rows or (N, L, F) windows and targets (N,) or (N, H).

        Parameters
        ----------
        sample_weight : (N,) weights, >= 0
        dates : (N,) the date of each sample, any sortable values; not called groups, since GridSearchCV keeps
            groups for its splitter
        symbols : (N,) the symbol of each sample, for models that read it
        texts : (N, L, K, D) vectors of up to K documents per bar, NaN = none, for models that read news

        Where X is a pandas frame, dates and symbols that are not given are those of its index: its one level of stamps,
        and a level named symbol, instrument, asset or ticker. So it is in all methods. A y whose index has stamps as
        well must have that of X: rows are paired by place.
        """
        return self._learn(X, y, sample_weight, dates, symbols, texts)

    @available_if(_is_network)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        dates: Any = None,
        symbols: Any = None,
        texts: Any = None,
    ) -> Self:
        """Train on from the weights that there are, `epochs` passes over these samples alone; networks only.

        The first call is `fit`. Later ones keep what was learnt besides weights: centre and scale of the targets,
        symbols (a new one is unknown), edges of tokens. The optimiser starts anew, with its warm-up. What only the old
        samples taught may be forgotten: pass some of them again.
        """
        return self._learn(X, y, sample_weight, dates, symbols, texts, go_on=hasattr(self, "model_"))

    def _learn(
        self,
        X: Any,
        y: Any,
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
        names = [str(name) for name in getattr(y, "column_names" if library(y) == "pyarrow" else "columns", [])]
        targets = check_array(y, ensure_2d=False, dtype=np.float64, ensure_all_finite="allow-nan", input_name="y")
        check_consistent_length(samples.rows, targets)
        is_column = targets.ndim == 1
        targets = targets.reshape(len(targets), -1)
        weights = self._weights(sample_weight, samples.windows[:, -1])
        if go_on and targets.shape[1] != len(self.center_):
            raise ValueError(f"y has {targets.shape[1]} columns: the model was fitted to {len(self.center_)}")
        if not go_on:
            self._is_column = is_column
            self.center_, self.scale_ = _moments(targets, weights)
            self.target_names_ = np.array(names or [f"forecast{number}" for number in range(targets.shape[1])])
        scaled = ((targets - self.center_) / self.scale_).astype(np.float32)
        return self._fit(Samples(**(vars(samples) | {"targets": scaled, "weights": weights})), go_on)

    def predict(self, X: Any, dates: Any = None, symbols: Any = None, texts: Any = None) -> np.ndarray:
        """Forecasts (N,) or (N, H) float64. Without dates a model of the cross-section reads X as one date."""
        outputs = self._outputs(X, dates, symbols, texts) * self.scale_ + self.center_
        return outputs[:, 0] if self._is_column else outputs

    def score(self, X: Any, y: Any, dates: Any = None, symbols: Any = None, texts: Any = None) -> float:
        """Return the mean over dates of the rank correlation of forecast and target; with several targets their mean.

        What a forecast of a cross-section is good for is the order within a date, so this takes the place of R2, which
        the level of a date decides. Without dates all rows are one date. NaN in y is left out; a date with fewer than 3
        known targets does not count. NaN where none counts.
        """
        check_same_rows(X, y)
        forecasts = self.predict(X, dates=dates, symbols=symbols, texts=texts)
        return mean_rank_ic(forecasts, np.asarray(y), keys_of_rows(X)[0] if dates is None else dates)


def _moments(targets: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation of the known values of each column; 1 where nothing varies."""
    mass = np.isfinite(targets) * (1.0 if weights is None else weights.astype(np.float64)[:, None])
    if not (mass.sum(axis=0) > 0).all():
        raise ValueError("y holds a column without a finite value of positive weight: nothing can be learnt from it")
    known = np.nan_to_num(targets, nan=0.0)
    center = np.average(known, axis=0, weights=mass)
    deviation = np.sqrt(np.average(np.square(known - center), axis=0, weights=mass))
    return center, np.where(deviation > 0, deviation, 1.0)
