"""To and from the long pandas frames of alphalens and qlib, without losing a digit or a row.

alphalens keeps `factor_data`: index (date, asset), one column of forward returns per period ("1D", "5D"), `factor`,
`factor_quantile` and perhaps `group`. qlib keeps predictions and labels: index (datetime, instrument), columns
`score` and `label`. Here both become matrices (num_dates, num_symbols), NaN = missing.

pandas is an extra of this package (`pip install factor-metrics[frames]`), so it is imported where it is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from factor_metrics.checks import FloatArray
from factor_metrics.frames.matrix import refuse_rows
from factor_metrics.ordering.quantiles import quantile_of

if TYPE_CHECKING:
    import pandas as pd

_QLIB = ("datetime", "instrument")
_PERIOD = re.compile(r"^(\d+([Dhms]|ms|us|ns))+$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, eq=False)
class ForecastMatrices:
    """Predictions and labels on sorted axes; every matrix is (num_dates, num_symbols)."""

    dates: pd.Index
    """Timestamps, sorted, unique; a time zone is kept."""
    symbols: pd.Index
    """Sorted, unique."""
    prediction: FloatArray
    """float32 where the frame's column is float32, else float64."""
    labels: Mapping[str, FloatArray] = field(default_factory=dict)
    """Forward returns by name, in the order of the columns."""
    present: NDArray[np.bool_] | None = None
    """Cells that are a row of the frame. None: where prediction and all labels are present."""
    group: NDArray[np.object_] | None = None
    """Group of each cell, None where there is none; fits `grouped_ic`."""
    quantile: NDArray[np.int64] | None = None
    """Quantile as alphalens counts, 1 = lowest; 0 where there is no row."""

    def __post_init__(self) -> None:
        """Refuse a matrix of another shape than dates by symbols."""
        shape = (len(self.dates), len(self.symbols))
        extras = {"present": self.present, "group": self.group, "quantile": self.quantile}
        for name, matrix in {"prediction": self.prediction, **self.labels, **extras}.items():
            if matrix is not None and np.shape(matrix) != shape:
                raise ValueError(f"{name} must have shape (dates, symbols) = {shape}, got {np.shape(matrix)}")

    @property
    def rows(self) -> NDArray[np.bool_]:
        """Cells that become rows of a frame."""
        if self.present is not None:
            return self.present
        rows = ~np.isnan(self.prediction)
        for label in self.labels.values():
            rows = rows & ~np.isnan(label)
        return rows


def from_alphalens(factor_data: pd.DataFrame) -> ForecastMatrices:
    """Return the matrices of an alphalens `factor_data` frame, rows in any order.

    Raises
    ------
    ValueError
        No MultiIndex (date, asset); a missing key, a row that occurs twice, an infinite value (counted, the
        first three shown); no `factor` column or no column named like a period.
    """
    names = [name for name in factor_data.columns if _PERIOD.match(str(name))]
    if "factor" not in factor_data.columns or not names:
        raise ValueError(
            "factor_data must have a column 'factor' and columns of forward returns named like '1D', "
            f"got {list(factor_data.columns)}"
        )
    cells = _Cells(factor_data.index, "date", "asset")
    return ForecastMatrices(
        dates=cells.dates,
        symbols=cells.symbols,
        prediction=cells.floats(factor_data["factor"]),
        labels={name: cells.floats(factor_data[name]) for name in names},
        present=cells.present,
        group=cells.texts(factor_data["group"]) if "group" in factor_data else None,
        quantile=cells.integers(factor_data["factor_quantile"]) if "factor_quantile" in factor_data else None,
    )


def to_alphalens(forecast: ForecastMatrices, num_quantiles: int = 5) -> pd.DataFrame:
    """Return `factor_data` as alphalens makes it, rows sorted by (date, asset).

    Labels must be named like periods ("1D", "12h"). Where `forecast` has no quantiles they are formed on each
    date by `quantile_of` among its rows, and rows that get none are left out, as alphalens does. Groups come
    back as a categorical of those that occur. `from_alphalens` of the result gives `forecast` again.
    """
    import pandas as pd

    odd = [name for name in forecast.labels if not _PERIOD.match(name)]
    if odd or not forecast.labels:
        raise ValueError(f"labels must be named like '1D' or '12h', got {odd or 'none'}")
    rows, quantile = forecast.rows, forecast.quantile
    if quantile is None:
        quantile = quantile_of(np.where(rows, forecast.prediction, np.nan), num_quantiles) + 1
        rows = rows & (quantile > 0)
    columns: dict[str, object] = {name: label[rows] for name, label in forecast.labels.items()}
    columns["factor"] = forecast.prediction[rows]
    if forecast.group is not None:
        columns["group"] = pd.Categorical(forecast.group[rows])
    columns["factor_quantile"] = quantile[rows]
    return pd.DataFrame(columns, index=_long_index(forecast, rows, "date", "asset"))


def from_qlib(prediction: pd.DataFrame | pd.Series, label: pd.DataFrame | pd.Series | None = None) -> ForecastMatrices:
    """Return the matrices of qlib predictions and labels, rows in any order.

    Parameters
    ----------
    prediction
        A Series, or a frame with a column `score` and perhaps `label`; index (datetime, instrument).
    label
        A Series or a frame of one column with an index of its own, where `prediction` has no label. The axes
        are the union of both. Columns may have two levels, ("label", "LABEL0"), as qlib's `prepare` with a list
        of column sets makes them.

    Raises
    ------
    ValueError
        As in `from_alphalens`; also no such column or several, or a label given twice.
    """
    import pandas as pd

    columns = _one_frame("prediction", prediction, "score")
    if label is not None:
        if "label" in columns:
            raise ValueError("label must be given once, but prediction has a column 'label' as well")
        labels = _one_frame("label", label, "label")
        for frame in (columns, labels):
            _Cells(frame.index, *_QLIB)  # names the row that occurs twice; joining would fail without saying which
        columns = pd.concat([columns, labels[["label"]]], axis=1)
    cells = _Cells(columns.index, *_QLIB)
    return ForecastMatrices(
        dates=cells.dates,
        symbols=cells.symbols,
        prediction=cells.floats(columns["score"]),
        labels={"label": cells.floats(columns["label"])} if "label" in columns else {},
        present=cells.present,
    )


def to_qlib(forecast: ForecastMatrices, label: str | None = None) -> pd.DataFrame:
    """Return a frame with `score` and, if there are labels, `label`, rows sorted by (datetime, instrument).

    `label` names the one wanted where `forecast` has several. `from_qlib` of the result gives it again.
    """
    import pandas as pd

    if label is None and len(forecast.labels) > 1:
        raise ValueError(f"label must name one of {list(forecast.labels)}: qlib's frame holds one")
    if label is not None and label not in forecast.labels:
        raise ValueError(f"label must be one of {list(forecast.labels)}, got {label!r}")
    rows = forecast.rows
    columns = {"score": forecast.prediction[rows]}
    for name, matrix in forecast.labels.items():
        if label is None or name == label:
            columns["label"] = matrix[rows]
    return pd.DataFrame(columns, index=_long_index(forecast, rows, *_QLIB))


class _Cells:
    """Where each row of a long frame lies in the matrices."""

    def __init__(self, index: pd.Index, date_name: str, symbol_name: str) -> None:
        import pandas as pd

        if not isinstance(index, pd.MultiIndex) or set(index.names) != {date_name, symbol_name}:
            raise ValueError(f"index must be a MultiIndex ({date_name}, {symbol_name}), got {list(index.names)}")
        self._times, self._names = index.get_level_values(date_name), index.get_level_values(symbol_name)
        if not isinstance(self._times, pd.DatetimeIndex):
            raise ValueError(f"level {date_name} must hold timestamps, got {self._times.dtype}")
        used = index.remove_unused_levels()
        self.dates, row = _sorted_axis(used, date_name)
        self.symbols, column = _sorted_axis(used, symbol_name)
        self._refuse(f"{date_name} or {symbol_name} is missing", (row < 0) | (column < 0))
        self._cell = row * len(self.symbols) + column
        self.present = self._fill(np.ones(len(index), dtype=bool), False)
        if np.count_nonzero(self.present) < len(index):
            self._refuse("the same row occurs twice", pd.Index(self._cell).duplicated())

    def floats(self, column: pd.Series) -> FloatArray:
        """Return a column as a matrix, NaN where there is no row; float32 stays float32."""
        values = column.to_numpy(dtype=np.float32 if column.dtype == np.float32 else np.float64)
        self._refuse(f"{column.name} must not be infinite", np.isinf(values))
        return self._fill(values, np.nan)

    def integers(self, column: pd.Series) -> NDArray[np.int64]:
        """Return a column of whole numbers as a matrix, 0 where there is no row."""
        values = column.to_numpy(dtype=np.float64)
        self._refuse(f"{column.name} must be a whole number", ~(values == np.floor(values)))
        return self._fill(values.astype(np.int64), 0)

    def texts(self, column: pd.Series) -> NDArray[np.object_]:
        """Return a column as a matrix of objects, None where there is no row or no value."""
        return self._fill(column.astype(object).where(column.notna(), None).to_numpy(), None)

    def _fill(self, values: NDArray, absent: object) -> NDArray:
        matrix = np.full((len(self.dates), len(self.symbols)), absent, dtype=values.dtype)
        matrix.ravel()[self._cell] = values  # of a new array ravel is a view
        return matrix

    def _refuse(self, rule: str, bad: NDArray[np.bool_]) -> None:
        refuse_rows(rule, bad, self._times, self._names)


def _sorted_axis(index: pd.MultiIndex, name: str) -> tuple[pd.Index, NDArray[np.int64]]:
    """Return the sorted values of a level and the place of every row among them, -1 = missing."""
    level = index.names.index(name)
    values, codes = index.levels[level], np.asarray(index.codes[level], dtype=np.int64)
    order = values.argsort()
    place = np.empty(len(order) + 1, dtype=np.int64)
    place[order], place[-1] = np.arange(len(order)), -1
    return values[order], place[codes]


def _one_frame(name: str, values: pd.DataFrame | pd.Series, column: str) -> pd.DataFrame:
    """Return a Series, or the one column of a frame, as a frame that calls it `column`, levels in qlib's order."""
    import pandas as pd

    frame = values.to_frame(column) if isinstance(values, pd.Series) else values
    if frame.columns.nlevels > 1:
        frame = frame.set_axis([_flat_name(tuple(levels)) for levels in frame.columns], axis=1)
    if list(frame.columns).count(column) > 1:
        raise ValueError(f"{name} must have one column {column!r}, got {list(values.columns)}: give one of them")
    if column not in frame.columns:
        if frame.shape[1] != 1:
            raise ValueError(f"{name} must be a Series or have a column {column!r}, got {list(frame.columns)}")
        frame = frame.set_axis([column], axis=1)
    if list(frame.index.names) == list(reversed(_QLIB)):
        frame = frame.swaplevel()
    return frame


def _flat_name(levels: tuple[object, ...]) -> object:
    """Return what a column of several levels is to qlib, "score" or "label", else the name of its last level."""
    return next((name for name in ("score", "label") if name in levels), levels[-1])


def _long_index(forecast: ForecastMatrices, rows: NDArray[np.bool_], date_name: str, symbol_name: str) -> pd.MultiIndex:
    import pandas as pd

    date, symbol = np.nonzero(rows)
    return pd.MultiIndex(
        levels=[forecast.dates, forecast.symbols],  # type: ignore[list-item]
        codes=[date, symbol],  # type: ignore[list-item]
        names=[date_name, symbol_name],
    )
