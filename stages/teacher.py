"""A teacher for networks: a tabular model whose forecasts of training rows come from fits that did not see their dates.

The training dates are cut into blocks. The forecasts of a block are those of a fit on all other training dates, less
those so near that their labels overlap with the block's. So the network learns what the teacher can forecast, not what
it remembers, and nothing outside the training dates is touched.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from factor_data import FeatureStore, Fold
from factor_models import Table, TabularModel, build_model, input_kind, model_config, model_sizes


@dataclass(frozen=True, kw_only=True)
class DistillationParams:
    """Section `train.distillation`: null, or which model teaches the networks."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    # A tabular model.
    teacher: str
    # Its settings, as in its section of zoo; here, so that changing that section does not rerun every network.
    settings: dict[str, Any]
    # Of the loss: the rest is the label's.
    share: float
    # Blocks of training dates, each forecast by a teacher fitted on the others.
    blocks: int = 5
    # Divides the logits of network and teacher (target: direction only).
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if input_kind(self.teacher) != "last_bar":
            raise ValueError(f"teacher: {self.teacher} is a network; a tabular model is needed")
        known = [field.name for field in dataclasses.fields(model_config(self.teacher))]
        if unknown := [key for key in self.settings if key not in known]:
            raise ValueError(f"settings.{unknown[0]}: unknown key; {self.teacher} knows {', '.join(known)}")
        model_config(self.teacher)(**self.settings)
        if not 0 < self.share <= 1:
            raise ValueError(f"share: {self.share} must be in (0, 1]")
        if self.blocks < 2:
            raise ValueError(f"blocks: {self.blocks} must be >= 2")
        if not self.temperature > 0:
            raise ValueError(f"temperature: {self.temperature} must be > 0")


def teach(
    config: DistillationParams,
    store: FeatureStore,
    fold: Fold,
    targets: NDArray[np.float32],
    rows: NDArray[np.integer],
    weights: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """Forecasts of the teacher (num_rows, num_horizons) for the training rows `rows`, NaN elsewhere.

    `targets` (num_rows, num_horizons) is what the network is fitted to; `weights` (num_rows,) of the rows, None: all 1.
    """
    inputs = store.inputs(fold.index)
    symbols = None
    sizes = {"num_features": inputs.shape[1], "num_horizons": targets.shape[1]}
    if "num_symbols" in model_sizes(config.teacher):
        vocabulary = store.vocabulary(fold.index)
        sizes["num_symbols"] = vocabulary.num_ids
        symbols = vocabulary.encode(store.symbols)[store.symbol_code]

    def table(of: NDArray[np.integer]) -> Table:
        return Table(
            features=inputs[of],
            targets=targets[of],
            groups=store.date_code[of],
            symbols=None if symbols is None else symbols[of],
            weights=None if weights is None else weights[of],
        )

    forecasts = np.full(targets.shape, np.nan, dtype=np.float32)
    gap = store.delay + max(store.horizons)
    for fitted, taught in cross_fit_rows(store.date_code[rows], config.blocks, gap):
        teacher = build_model(config.teacher, **sizes, **config.settings)
        assert isinstance(teacher, TabularModel)
        forecasts[rows[taught]] = teacher.fit(table(rows[fitted])).predict(table(rows[taught]))
    return forecasts


def cross_fit_rows(
    date_code: NDArray[np.integer], blocks: int, gap: int
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """(rows to fit on, rows to forecast) of each block of dates.

    `date_code` is the place of each row's date in the calendar. Rows within `gap` dates of a block are in neither mask,
    so a label of up to `gap` dates (delay and horizon) of a fitted row does not overlap with one of the block.
    """
    dates = np.unique(date_code)
    for block in np.array_split(dates, blocks):
        taught = np.isin(date_code, block)
        fitted = (date_code < block[0] - gap) | (date_code > block[-1] + gap) if len(block) else taught
        if not fitted.any():
            raise ValueError(
                f"blocks: {len(dates)} training dates in {blocks} blocks leave none to fit a teacher on, {gap} dates "
                "away from each block"
            )
        yield fitted, taught
