"""The members of a label's stack: forecasts on the test dates of all folds, and on dates before that teach weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from factor_data import FeatureStore
from factor_metrics import EvaluationConfig, constant_dates
from factor_models import Members
from stages.judging.time_series import View, is_over_time, outcomes_of, scoring_view
from stages.params.stack import StackParams
from stages.predictions import OutOfFold


def members_of(
    view: View,
    dates: NDArray[np.datetime64],
    forecasts: Iterable[NDArray],
    outcome: NDArray,
    direction: NDArray | None,
    store: FeatureStore,
    before: Members | None = None,
) -> Members:
    """Return what models forecast on `dates`, as `view` scores it; a block belongs to its last date.

    `forecasts` of each model, `outcome` and `direction`, None where no AUC is learned, are (num_dates, num_symbols).
    """
    points, known = np.stack([view(one) for one in forecasts]), view(outcome)
    last = np.searchsorted(store.dates, dates[view.last_places(len(dates))])
    num_cells = known.shape[1]
    return Members(
        points.reshape(len(points), -1),
        known.reshape(-1),
        np.repeat(last, num_cells),
        np.repeat(view.fold, num_cells),
        None if direction is None else view(direction).reshape(-1),
        before,
    )


def lessons_before(
    label: str,
    models: Mapping[str, OutOfFold],
    fold: int,
    store: FeatureStore,
    stack: StackParams,
    config: EvaluationConfig,
) -> Members | None:
    """Return what the models of the first fold forecast on its valid dates; None where nothing is learned of them.

    No weight of a model was fitted on these dates. What they chose, such as an epoch, is in the forecasts of the test
    dates as well.
    """
    dates = np.unique(np.concatenate([model.dates("valid", fold) for model in models.values()]))
    if stack.first_fold == "equal" or not len(dates):
        return None
    forecasts = [model.matrix(label, "valid", fold, dates) for model in models.values()]
    if not is_over_time(config):
        forecasts = [without_constant_dates(one) for one in forecasts]
    direction = outcomes_of(label, dates, store)[0] if stack.learn_by == "auc" else None
    view = scoring_view(config, dates, np.full(len(dates), fold))
    return members_of(view, dates, forecasts, store.matrix(store.label(label), dates), direction, store)


def without_constant_dates(forecast: NDArray[np.floating]) -> NDArray[np.float64]:
    """Leave out the dates on which a model tells no symbols apart: its ranks there are an order of rounding."""
    return np.where(constant_dates(forecast, np.float32)[:, None], np.nan, forecast.astype(np.float64))
