"""Meta learners: functions (moments of the dates that teach, settings) -> a weight per model.

A regression of the standardised label y on the standardised forecasts z, each date with the same weight, depends on the
data through the mean moments alone: c = E[z y] and G = E[z z']. With alpha the penalty,

    ridge          w = (G + alpha I)^-1 c
    non_negative   the same under w >= 0
    shrunk         w = (G + alpha I)^-1 (c + alpha b), b = the best equal weights: ridge towards them, not towards 0
    elastic_net    minimises w'Gw / 2 - c'w + alpha |w|^2 / 2 + l1 max(|c|) |w|_1
    exponential    ridge on moments in which a date counts 2^(-age / half_life)
    icir           w = mean / standard deviation of a model's ICs, which takes models as unlike

Wolpert (1992), "Stacked Generalization"; Breiman (1996), "Stacked regressions", who found non-negative weights; Zou and
Hastie (2005), "Regularization and Variable Selection via the Elastic Net". Equal weights, which all are
shrunk to, are hard to beat where errors are alike and histories short: Clemen (1989), "Combining forecasts".
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.linalg
import scipy.optimize

from factor_models.stacking.config import StackConfig
from factor_models.stacking.moments import Moments, definite

_SWEEPS, _CLOSE = 1000, 1e-12

Learner = Callable[[Moments, StackConfig], np.ndarray]


def equal(moments: Moments, config: StackConfig) -> np.ndarray:
    """Return the same weight for every model: nothing is learned."""
    num_models = moments.ics.shape[1]
    return np.full(num_models, 1.0 / num_models)


def shrunk(moments: Moments, config: StackConfig) -> np.ndarray:
    """Return ridge weights drawn to equal ones, of the size that fits best and is not negative."""
    moment, gram = moments.mean()
    slope = max(moment.sum() / gram.sum(), 0.0) if gram.sum() > _CLOSE else 0.0
    return _solve(moments.definite_gram, moment + config.alpha * slope, config.alpha)


def icir(moments: Moments, config: StackConfig) -> np.ndarray:
    """Return each model's mean IC over its standard deviation (ddof 1); 0 for fewer than two dates."""
    counts = np.isfinite(moments.ics).sum(axis=0)
    mean, _ = moments.mean()
    squares = np.nansum(np.square(moments.ics - mean), axis=0) / np.maximum(counts - 1, 1)
    known = (counts > 1) & (squares > _CLOSE**2)
    return np.where(known, mean / np.sqrt(np.where(known, squares, 1.0)), 0.0)


def non_negative(moments: Moments, config: StackConfig) -> np.ndarray:
    """Return the weights of ridge under w >= 0."""
    moment, gram = moments.mean()[0], moments.definite_gram
    upper = scipy.linalg.cholesky(gram + config.alpha * np.eye(len(moment)))
    return scipy.optimize.nnls(upper, scipy.linalg.solve_triangular(upper, moment, trans="T"))[0]


def ridge(moments: Moments, config: StackConfig) -> np.ndarray:
    """Return the weights of ridge."""
    return _solve(moments.definite_gram, moments.mean()[0], config.alpha)


def elastic_net(moments: Moments, config: StackConfig) -> np.ndarray:
    """Return the weights of the elastic net, by coordinate descent until none moves by 1e-12."""
    mean, gram = moments.mean()[0], moments.definite_gram
    threshold = config.l1 * float(np.abs(mean).max(initial=0.0))
    weights, known = np.zeros(len(mean)), [0.0] * len(mean)  # the same numbers twice: Python's are quicker one by one
    rows = list(zip(gram, mean.tolist(), np.diag(gram).tolist(), strict=True))
    for _ in range(_SWEEPS):
        moved = 0.0
        for place, (row, moment, own) in enumerate(rows):
            rest = moment - float(row @ weights) + own * known[place]
            size = max(abs(rest) - threshold, 0.0) / (own + config.alpha)
            new = math.copysign(size, rest)
            moved = max(moved, abs(new - known[place]))
            weights[place] = known[place] = new
        if moved <= _CLOSE:
            break
    return weights


def exponential(moments: Moments, config: StackConfig) -> np.ndarray:
    """Return the weights of ridge where a date counts half after `half_life` dates of the calendar."""
    age = moments.dates.max(initial=0) - moments.dates
    moment, gram = moments.mean(np.exp2(-age / config.half_life))
    return _solve(definite(gram), moment, config.alpha)


LEARNERS: dict[str, Learner] = {
    "equal": equal,
    "shrunk": shrunk,
    "icir": icir,
    "non_negative": non_negative,
    "ridge": ridge,
    "elastic_net": elastic_net,
    "exponential": exponential,
}
"""Meta learners by name, those nearest to equal weights first: the order in which `auto` prefers them."""


def _solve(gram: np.ndarray, moment: np.ndarray, alpha: float) -> np.ndarray:
    return scipy.linalg.solve(gram + alpha * np.eye(len(moment)), moment, assume_a="pos")
