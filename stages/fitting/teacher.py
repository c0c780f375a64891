"""A teacher for networks: a tabular model whose forecasts of training rows come from fits that did not see their dates.

The training dates are cut into blocks. The forecasts of a block are those of a fit on all other training dates, less
those so near that their labels overlap with the block's. So the network learns what the teacher can forecast, not what
it remembers, and nothing outside the training dates is touched.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factor_data import FeatureStore, Fold
from factor_models import SelectedRows, Table, TabularModel, build_model, cross_fit_rows, model_sizes
from stages.params.train import DistillationParams


def teach(
    config: DistillationParams,
    store: FeatureStore,
    fold: Fold,
    targets: NDArray[np.float32],
    rows: NDArray[np.integer],
    weights: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """Forecasts of the teacher (num_rows, num_labels) for the training rows `rows`, NaN elsewhere.

    `targets` (num_rows, num_labels) is what the network is fitted to; `weights` (num_rows,) of the rows, None: all 1.
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
            features=SelectedRows(inputs, of),
            targets=targets[of],
            groups=store.date_code[of],
            symbols=None if symbols is None else symbols[of],
            weights=None if weights is None else weights[of],
        )

    forecasts = np.full(targets.shape, np.nan, dtype=np.float32)
    for fitted, taught in cross_fit_rows(store.date_code[rows], config.blocks, store.reach):
        teacher = build_model(config.teacher, **sizes, **config.settings)
        assert isinstance(teacher, TabularModel)
        forecasts[rows[taught]] = teacher.fit(table(rows[fitted])).predict(table(rows[taught]))
    return forecasts
