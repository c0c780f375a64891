"""To and from skfolio's `AssetPanel` and NeuralForecast's long frame, without losing a digit or a row.

pandas and skfolio are imported where they are used: pandas is an extra of this package, skfolio is the user's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import as_matrix
from factor_metrics.frames.interop import ForecastMatrices
from factor_metrics.frames.matrix import to_matrix

if TYPE_CHECKING:
    import pandas as pd

_KEYS = ("unique_id", "ds", "cutoff", "y")


def to_skfolio(forecast: ForecastMatrices, fields: Mapping[str, ArrayLike] | None = None) -> Any:
    """Return a `skfolio.containers.AssetPanel` with the field `prediction`, one per label and those given.

    What `forecast.present` says is the universe (`active_mask`); None: every cell, so that skfolio sees a missing
    value and no other universe. `fields` are further matrices (num_dates, num_symbols), as returns or volumes,
    NaN outside of the universe, as skfolio demands.

    Raises
    ------
    ModuleNotFoundError
        skfolio is not installed.
    ValueError
        A field of another shape, or named twice; a label whose name skfolio does not take, as "1D" (it wants a
        letter first).
    """
    try:
        from skfolio.containers import AssetPanel
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("to_skfolio needs skfolio: pip install skfolio") from error
    own = {"prediction": forecast.prediction, **forecast.labels}
    given = {name: as_matrix(name, values) for name, values in (fields or {}).items()}
    if twice := sorted(own.keys() & given.keys()):
        raise ValueError(f"field {twice[0]!r} is the forecast's own, give the other another name")
    if forecast.present is not None:
        own = {name: np.where(forecast.present, matrix, np.nan) for name, matrix in own.items()}
    return AssetPanel(
        fields={**own, **given},
        observations=forecast.dates.to_numpy(),
        asset_names=forecast.symbols.to_numpy(dtype=str),
        active_mask=forecast.present,
    )


def from_skfolio(panel: Any, prediction: str = "prediction", labels: Sequence[str] = ()) -> ForecastMatrices:
    """Return the matrices of fields of an `AssetPanel` (or a view of one), its universe as `present`."""
    import pandas as pd

    missing = [name for name in (prediction, *labels) if name not in panel.fields]
    if missing:
        raise ValueError(f"the panel has no field {missing[0]!r}, it has {sorted(panel.fields)}")
    return ForecastMatrices(
        dates=pd.Index(panel.observations),
        symbols=pd.Index(np.asarray(panel.asset_names, dtype=object)),
        prediction=np.array(panel[prediction]),
        labels={name: np.array(panel[name]) for name in labels},
        present=np.array(panel.active_mask),
    )


def to_neuralforecast(values: ArrayLike, dates: ArrayLike, symbols: ArrayLike) -> pd.DataFrame:
    """Return NeuralForecast's long frame (unique_id, ds, y), sorted, without the cells that are NaN.

    `values` is (num_dates, num_symbols): what is to be forecast, for instance returns of one date.
    """
    import pandas as pd

    matrix = as_matrix("values", values)
    stamps, names = pd.DatetimeIndex(np.asarray(dates)), np.asarray(symbols, dtype=object)
    if matrix.shape != (len(stamps), len(names)):
        raise ValueError(f"values must have shape (dates, symbols) = {(len(stamps), len(names))}, got {matrix.shape}")
    symbol, date = np.nonzero(~np.isnan(matrix.T))
    return pd.DataFrame({"unique_id": names[symbol], "ds": stamps[date], "y": matrix.T[symbol, date]})


def from_neuralforecast(forecasts: pd.DataFrame, model: str | None = None, step: int = 1) -> ForecastMatrices:
    """Return the matrices of what `NeuralForecast.cross_validation` made, rows in any order.

    Parameters
    ----------
    forecasts
        Columns unique_id, ds, cutoff, y and one per model.
    model
        The column wanted; None where there is one alone.
    step
        Which forecast after each cutoff: 1 is the date next to it.

    Returns
    -------
    ForecastMatrices
        By cutoff, the date on which the forecast was known: `prediction` and the label "y", of `step` dates later.

    Raises
    ------
    ValueError
        A column is missing, several models and none named, no cutoff with so many steps, or rows that occur twice.
    """
    import pandas as pd

    if absent := [name for name in _KEYS if name not in forecasts.columns]:
        raise ValueError(f"column {absent[0]!r} is missing: cross_validation gives {list(_KEYS)} and one per model")
    models = [name for name in forecasts.columns if name not in (*_KEYS, "index")]
    if model is None and len(models) != 1:
        raise ValueError(f"model must name one of {models}")
    wanted = models[0] if model is None else model
    if wanted not in models:
        raise ValueError(f"model must be one of {models}, got {wanted!r}")
    number = forecasts.groupby(["unique_id", "cutoff"], observed=True)["ds"].rank(method="dense")
    rows = forecasts[number == step]
    if rows.empty:
        raise ValueError(f"step must be from 1 to {int(number.max()) if len(number) else 0}, got {step!r}")
    keys = (rows["cutoff"].to_numpy(), rows["unique_id"].to_numpy())
    prediction, dates, symbols = to_matrix(*keys, rows[wanted].to_numpy(dtype=np.float64))
    label = to_matrix(*keys, rows["y"].to_numpy(dtype=np.float64), dates, symbols)[0]
    present = to_matrix(*keys, np.ones(len(rows)), dates, symbols)[0] == 1.0
    return ForecastMatrices(
        dates=pd.DatetimeIndex(dates),
        symbols=pd.Index(symbols),
        prediction=prediction,
        labels={"y": label},
        present=present,
    )
