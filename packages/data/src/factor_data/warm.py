"""`python -m factor_data.warm`: compile the kernels of this package now, once for this machine, on a tiny market.

Otherwise each is compiled by the first call that needs it. They are kept on disk (`kernel_cache`), so that another
call of this finds them all and ends at once.
"""

from __future__ import annotations

import sys
import time
from typing import get_args

import numpy as np

from factor_data.features.compute import FEATURE_SETS, compute_features
from factor_data.fit.cross_section import cross_sectional_rank
from factor_data.fit.kinds import NormaliserKind
from factor_data.fit.normalise import fit_normaliser
from factor_data.fit.tokens import QuantileTokenizer
from factor_data.panel.panel import Panel
from factor_data.simulate.config import MarketConfig
from factor_data.simulate.market import simulate_market
from factor_data.windows.dataset import WindowDataset


def warm() -> None:
    """Call all that is compiled: features of every set, normalisers, ranks, tokens, windows."""
    panel = Panel.from_frame(simulate_market(MarketConfig(symbols=10, bars=250)).bars)
    features = compute_features(panel.with_columns(in_universe=np.ones(panel.num_rows)), list(FEATURE_SETS))
    train = np.ones(panel.num_rows, dtype=bool)
    values, names = features.values[:, :3], features.names[:3]
    for kind in get_args(NormaliserKind):
        fit_normaliser(values, train, names, kind).transform(values, panel.date_code)
    cross_sectional_rank(values[:, 0], panel.date_code)
    QuantileTokenizer.fit(values, train, 4, names).transform(values)
    dataset = WindowDataset(
        features.values, None, 5, symbol_code=panel.symbol_code, date_code=panel.date_code, max_missing=1.0
    )
    dataset.windows(np.arange(4))


def main() -> int:
    """Warm up and say how long it took."""
    started = time.perf_counter()
    warm()
    print(f"factor_data: kernels are ready ({time.perf_counter() - started:.0f} s)", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
