"""Put features on one scale, with numbers fitted on training rows only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from factor_data.atomic import canonical_json
from factor_data.chunks.selection import ColumnParts, medians, standard_deviations
from factor_data.cross_section import group_order, group_ranks

NormaliserKind = Literal["robust_zscore", "rank"]
MAD_TO_STD = 1.4826  # median absolute deviation of a normal distribution, in standard deviations


@dataclass(frozen=True, kw_only=True)
class Normaliser:
    """A fitted normaliser; made by ``fit_normaliser``.

    robust_zscore: ``clip((x - center) / scale, -clip, clip)`` with the train median and 1.4826 * MAD.
    rank: average rank within the date, scaled so that the lowest is -1 and the highest +1; a single value is
        0.
    """

    names: tuple[str, ...]
    kind: NormaliserKind
    clip: float
    center: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    constant: tuple[str, ...] = field(default=())
    # names of the features that are constant or missing on the training rows; their scale is 1

    def transform(
        self, values: NDArray, date_code: NDArray[np.integer], names: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        """Normalise (num_rows, num_features) values; NaN stays NaN.

        ``date_code`` (num_rows,) is the date of each row. ``names``, if given, must equal the fitted names.
        """
        if values.ndim != 2 or values.shape[1] != len(self.names):
            raise ValueError(
                f"values must have the {len(self.names)} fitted columns, got shape {values.shape}"
            )
        if names is not None and tuple(names) != self.names:
            different = [(a, b) for a, b in zip(self.names, names, strict=False) if a != b][:3]
            raise ValueError(f"names differ from the fitted ones, first (fitted, given): {different}")
        result = np.empty(values.shape, dtype=np.float32)
        order = group_order(date_code) if self.kind == "rank" else None
        for column in range(values.shape[1]):
            if self.kind == "rank":
                result[:, column] = _rank_scaled(values[:, column], date_code, order)
            else:
                scaled = (values[:, column].astype(np.float64) - self.center[column]) / self.scale[column]
                result[:, column] = np.clip(scaled, -self.clip, self.clip)
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "kind": self.kind,
            "clip": self.clip,
            "names": list(self.names),
            "center": list(self.center),
            "scale": list(self.scale),
            "constant": list(self.constant),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Normaliser:
        """Rebuild what ``to_dict`` gave, exactly."""
        lists = {name: tuple(content[name]) for name in ("names", "center", "scale", "constant")}
        return cls(kind=content["kind"], clip=content["clip"], **lists)

    @property
    def hash(self) -> str:
        """sha256 of the canonical JSON: equal for equal normalisers, in any process."""
        return hashlib.sha256(canonical_json(self.to_dict()).encode()).hexdigest()


def fit_normaliser(
    values: NDArray,
    train_rows: NDArray[np.bool_],
    names: Sequence[str],
    kind: NormaliserKind = "robust_zscore",
    clip: float = 3.0,
) -> Normaliser:
    """Fit on the rows of the mask ``train_rows``; other rows are not looked at.

    Parameters
    ----------
    values : (num_rows, num_features) float, NaN = missing
    train_rows : (num_rows,) bool
    names : num_features names
    kind : see ``Normaliser``
    clip : bound of robust_zscore, in scales

    Notes
    -----
    Where the MAD is 0 the standard deviation is the scale; where that is 0 too, or nothing is known, the
    scale is 1 and the name is listed in ``constant``.
    """
    if kind not in get_args(NormaliserKind):
        raise ValueError(f"kind must be one of {get_args(NormaliserKind)}, got {kind!r}")
    if not clip > 0:
        raise ValueError(f"clip must be positive, got {clip}")
    if values.ndim != 2 or values.shape[1] != len(names):
        raise ValueError(f"values must have one column per name ({len(names)}), got shape {values.shape}")
    if not train_rows.any():
        raise ValueError("train_rows selects no row")
    if kind == "rank":
        return Normaliser(names=tuple(names), kind=kind, clip=clip)
    return fit_normaliser_parts(ColumnParts.of(values[train_rows]), names, kind, clip)


def fit_normaliser_parts(
    train: ColumnParts, names: Sequence[str], kind: NormaliserKind = "robust_zscore", clip: float = 3.0
) -> Normaliser:
    """Fit as ``fit_normaliser`` does, on training values that are read in parts: the same numbers."""
    if kind == "rank":
        return Normaliser(names=tuple(names), kind=kind, clip=clip)
    fitted = _centers_and_scales(train)
    return Normaliser(
        names=tuple(names),
        kind=kind,
        clip=clip,
        center=tuple(center for center, _ in fitted),
        scale=tuple(scale or 1.0 for _, scale in fitted),
        constant=tuple(name for name, (_, scale) in zip(names, fitted, strict=True) if scale == 0.0),
    )


def _centers_and_scales(train: ColumnParts) -> list[tuple[float, float]]:
    centers = [center if center is not None else 0.0 for center in medians(train)]
    deviations = replace(train, load=partial(_deviations, train.load, np.array(centers)))
    scales = [MAD_TO_STD * (deviation or 0.0) for deviation in medians(deviations)]
    if 0.0 in scales:
        spread = standard_deviations(train)
        scales = [scale or spread[column] for column, scale in enumerate(scales)]
    return list(zip(centers, scales, strict=True))


def _deviations(
    load: Callable[[Any], NDArray], centers: NDArray[np.float64], task: Any
) -> NDArray[np.float64]:
    return np.abs(load(task).astype(np.float64) - centers)


def _rank_scaled(
    column: NDArray, date_code: NDArray[np.integer], order: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    rank, count = group_ranks(column, date_code, order)
    return 2.0 * (rank - 1.0) / np.maximum(count - 1, 1) - np.where(count > 1, 1.0, 0.0)
