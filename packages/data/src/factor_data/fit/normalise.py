"""Put features on one scale, with numbers fitted on training rows only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from factor_data.chunks.selection import ColumnParts, medians, moments, quantiles
from factor_data.fit.fitted import check_columns, content_hash, joined_names, load_fitted, save_fitted
from factor_data.fit.gaussian import normal_quantile
from factor_data.fit.kinds import RANK_KINDS, SCALED_KINDS, NormaliserKind
from factor_data.fit.quantiles import shares_below
from factor_data.fit.ranks import group_blocks, group_order, ranks_of_runs, scaled_rank
from factor_data.json_document import as_written
from factor_data.kernel_cache import kernel

MAD_TO_STD = 1.4826  # median absolute deviation of a normal distribution, in standard deviations
NUM_QUANTILES = 1001  # of quantile_gauss: every 0.1 % of the training values


@dataclass(frozen=True, kw_only=True)
class Normaliser:
    """A fitted normaliser; made by `fit_normaliser`.

    Fitted on training rows:

    - robust_zscore: `clip((x - center) / scale, -clip, clip)` with the median and 1.4826 * MAD.
    - zscore: the same with the mean and the population standard deviation.
    - quantile_gauss: the share of training values below x (linear between 1,001 quantiles, the middle of a run
      of ties), mapped to the normal quantile of that share and clipped. Beyond the training values: -clip, clip.

    Nothing to fit, each date for itself:

    - rank: average rank within the date, scaled so that the lowest is -1 and the highest +1; a single value is 0.
    - rank_gauss: the normal quantile of (average rank - 1/2) / count of the date, clipped. What is the same for
      all symbols of a date (market and calendar features) becomes 0 under both.

    Rows may be transformed in any pieces; pieces of the rank kinds must hold whole dates.
    """

    names: tuple[str, ...]
    kind: NormaliserKind
    clip: float
    center: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    constant: tuple[str, ...] = field(default=())
    """Names of the features that are constant or missing on the training rows; their scale is 1."""
    quantiles: tuple[tuple[float, ...], ...] = ()
    """quantile_gauss: NUM_QUANTILES per feature, none for a feature without a known training value."""

    def __post_init__(self) -> None:
        expected = {
            "center": len(self.names) if self.kind in SCALED_KINDS else 0,
            "scale": len(self.names) if self.kind in SCALED_KINDS else 0,
            "quantiles": len(self.names) if self.kind == "quantile_gauss" else 0,
        }
        for name, length in expected.items():
            if len(getattr(self, name)) != length:
                raise ValueError(
                    f"a {self.kind} normaliser of {len(self.names)} columns needs {length} {name}, "
                    f"got {len(getattr(self, name))}: make it with fit_normaliser"
                )

    def transform(
        self, values: NDArray, date_code: NDArray[np.integer], names: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        """Normalise (num_rows, num_features) values; NaN stays NaN.

        `date_code` (num_rows,) is the date of each row. `names`, if given, must equal the fitted names.
        """
        if values.ndim != 2:
            raise ValueError(f"values must have shape (num_rows, num_features), got {values.shape}")
        check_columns(values.shape[1], self.names, names)
        result = np.empty(values.shape, dtype=np.float32)
        if self.kind in RANK_KINDS:
            _rank_dates(values, date_code, self.kind, self.clip, result)
        elif self.kind == "quantile_gauss":
            for column, quantiles in enumerate(self.quantiles):
                x = values[:, column].astype(np.float64)
                result[:, column] = _gauss_of_quantiles(x, np.array(quantiles), self.clip)
        else:
            _scale_and_clip(values, np.array(self.center), np.array(self.scale), self.clip, result)
        return result

    @classmethod
    def concatenate(cls, parts: Sequence[Normaliser]) -> Normaliser:
        """Join normalisers of the same kind that were fitted on column groups apart: equal to the joint fit."""
        names = joined_names([part.names for part in parts])
        first = parts[0]
        other = [part for part in parts if (part.kind, part.clip) != (first.kind, first.clip)]
        if other:
            raise ValueError(
                f"parts must share kind and clip: ({first.kind}, {first.clip}) and ({other[0].kind}, {other[0].clip})"
            )

        def joined(attribute: str) -> tuple:
            return tuple(value for part in parts for value in getattr(part, attribute))

        lists = {name: joined(name) for name in ("center", "scale", "constant", "quantiles")}
        return cls(names=names, kind=first.kind, clip=first.clip, **lists)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        content: dict[str, Any] = {
            "kind": self.kind,
            "clip": self.clip,
            "names": list(self.names),
            "center": list(self.center),
            "scale": list(self.scale),
            "constant": list(self.constant),
        }
        if self.kind == "quantile_gauss":
            content["quantiles"] = [list(quantiles) for quantiles in self.quantiles]
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Normaliser:
        """Rebuild what `to_dict` gave, exactly."""
        lists = {name: tuple(content[name]) for name in ("names", "center", "scale", "constant")}
        quantiles = tuple(tuple(column) for column in content.get("quantiles", ()))
        return cls(kind=content["kind"], clip=content["clip"], quantiles=quantiles, **lists)

    def save(self, path: str | Path) -> None:
        """Write JSON with the content's hash."""
        save_fitted(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path, expected_hash: str | None = None) -> Normaliser:
        """Read what `save` wrote; ValueError if it was changed, or is not the one with `expected_hash`."""
        with as_written(path):
            return cls.from_dict(load_fitted(path, expected_hash))

    @property
    def hash(self) -> str:
        """sha256 of the canonical JSON: equal for equal normalisers, in any process."""
        return content_hash(self.to_dict())


def fit_normaliser(
    values: NDArray,
    train_rows: NDArray[np.bool_],
    names: Sequence[str],
    kind: NormaliserKind = "robust_zscore",
    clip: float = 3.0,
) -> Normaliser:
    """Fit on the rows of the mask `train_rows`; other rows are not looked at.

    Parameters
    ----------
    values : (num_rows, num_features) float, NaN = missing
    train_rows : (num_rows,) bool
    names : num_features names
    kind : see `Normaliser`
    clip : bound of every kind but rank, in scales

    Notes
    -----
    Where the MAD is 0 the standard deviation is the scale; where that is 0 too, or nothing is known, the
    scale is 1 and the name is listed in `constant`.
    """
    if kind not in get_args(NormaliserKind):
        raise ValueError(f"kind must be one of {get_args(NormaliserKind)}, got {kind!r}")
    if not clip > 0:
        raise ValueError(f"clip must be positive, got {clip}")
    if values.ndim != 2 or values.shape[1] != len(names):
        raise ValueError(f"values must have one column per name ({len(names)}), got shape {values.shape}")
    if not train_rows.any():
        raise ValueError("train_rows selects no row")
    return fit_normaliser_parts(ColumnParts.of(values[train_rows]), names, kind, clip)


def fit_normaliser_parts(
    train: ColumnParts, names: Sequence[str], kind: NormaliserKind = "robust_zscore", clip: float = 3.0
) -> Normaliser:
    """Fit as `fit_normaliser` does, on training values that are read in parts: the same numbers."""
    columns = tuple(names)
    if kind in RANK_KINDS:
        return Normaliser(names=columns, kind=kind, clip=clip)
    if kind == "quantile_gauss":
        return _fit_quantiles(train, columns, clip)
    fitted = (_medians_and_mads if kind == "robust_zscore" else moments)(train)
    return Normaliser(
        names=columns,
        kind=kind,
        clip=clip,
        center=tuple(center for center, _ in fitted),
        scale=tuple(scale or 1.0 for _, scale in fitted),
        constant=tuple(name for name, (_, scale) in zip(columns, fitted, strict=True) if scale == 0.0),
    )


def window_zscore(
    windows: NDArray, clip: float = 5.0, epsilon: float = 1e-6, official_parity: bool = False
) -> tuple[NDArray, NDArray, NDArray]:
    """Scale each window by its own mean and standard deviation: the input form of Kronos (arXiv:2508.02739).

    Parameters
    ----------
    windows : (batch, lookback, num_features) float; all of a window is known at its last bar
    clip : bound, in standard deviations
    epsilon : added to the standard deviation, in units of the feature's mean absolute value in the window: the same
        path is scaled alike at a price of 100 and of 1e-8
    official_parity : add 1e-5 in the feature's own units instead, as the published code does

    Returns
    -------
    scaled : (batch, lookback, num_features), `clip((x - mean) / scale, -clip, clip)` in the dtype given; a feature
        that is missing anywhere in a window is NaN in all of it, one that is constant is 0
    mean, scale : (batch, 1, num_features): `scaled * scale + mean` is the way back
    """
    if windows.ndim != 3:
        raise ValueError(f"windows must have shape (batch, lookback, num_features), got {windows.shape}")
    newest = windows[:, -1:]
    mean = newest + (windows - newest).mean(axis=1, keepdims=True)  # exact for a constant
    size = np.abs(windows).mean(axis=1, keepdims=True)
    unit = np.where(size == 0.0, windows.dtype.type(1.0), size)
    std = ((windows - mean) / unit).std(axis=1, keepdims=True)  # no square of a small price is lost
    scale = unit * std + windows.dtype.type(1e-5) if official_parity else unit * (std + windows.dtype.type(epsilon))
    return np.clip((windows - mean) / scale, -clip, clip), mean, scale


def _medians_and_mads(train: ColumnParts) -> list[tuple[float, float]]:
    centers = [0.0 if center is None else center for center in medians(train)]
    deviations = replace(train, load=partial(_deviations, train.load, np.array(centers)))
    scales = [MAD_TO_STD * (deviation or 0.0) for deviation in medians(deviations)]
    if 0.0 in scales:
        scales = [scale or std for scale, (_, std) in zip(scales, moments(train), strict=True)]
    return list(zip(centers, scales, strict=True))


def _deviations(load: Callable[[Any], NDArray], centers: NDArray[np.float64], task: Any) -> NDArray[np.float64]:
    return np.abs(load(task).astype(np.float64) - centers)


def _fit_quantiles(train: ColumnParts, names: tuple[str, ...], clip: float) -> Normaliser:
    fitted = [tuple(column.tolist()) for column in quantiles(train, np.linspace(0.0, 1.0, NUM_QUANTILES))]
    return Normaliser(
        names=names,
        kind="quantile_gauss",
        clip=clip,
        constant=tuple(name for name, q in zip(names, fitted, strict=True) if not q or q[0] == q[-1]),
        quantiles=tuple(fitted),
    )


def _gauss_of_quantiles(
    values: NDArray[np.float64], quantiles: NDArray[np.float64], clip: float
) -> NDArray[np.float64]:
    """A feature that was never known in training stays missing: there is nothing to compare it with."""
    if len(quantiles) == 0:
        return np.full(len(values), np.nan)
    return _clipped_gauss(shares_below(values, quantiles), clip)


def _clipped_gauss(share: NDArray[np.float64], clip: float) -> NDArray[np.float64]:
    return np.clip(normal_quantile(np.clip(share, 1e-15, 1.0 - 1e-15)), -clip, clip)


@kernel(nogil=True)
def _scale_and_clip(
    values: NDArray, center: NDArray[np.float64], scale: NDArray[np.float64], clip: float, result: NDArray[np.float32]
) -> None:  # fmt: skip
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            scaled = (np.float64(values[row, column]) - center[column]) / scale[column]
            scaled = clip if scaled > clip else scaled
            result[row, column] = -clip if scaled < -clip else scaled


def _rank_dates(
    values: NDArray, date_code: NDArray[np.integer], kind: str, clip: float, result: NDArray[np.float32]
) -> None:
    """Fill `result` with ranks of some dates at a time, so that memory stays bounded."""
    order = group_order(date_code)
    for starts in group_blocks(date_code, order):
        rows = order[starts[0] : starts[-1]]
        block = np.ascontiguousarray(values[rows].T)
        ranked = np.empty(block.shape, dtype=np.float32)
        for column, own in enumerate(block):
            rank, count = ranks_of_runs(own, starts - starts[0])
            if kind == "rank":
                ranked[column] = scaled_rank(rank, count)
            else:
                ranked[column] = _clipped_gauss((rank - 0.5) / np.maximum(count, 1), clip)
        result[rows] = ranked.T
