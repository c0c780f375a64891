"""What forecasts are made of, by what the bars say of symbols and market at the close of each date."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from factor_data import FeatureStore, Panel
from factor_metrics import Anatomy, OrderedMatrix, anatomy, exposures, regimes
from stages.judging.books import bars_of, benchmark_returns, sectors_of
from stages.judging.time_series import Ordered, is_over_time
from stages.params.evaluate import EvaluateParams
from stages.universe import UNIVERSE


def anatomies(
    forecasts: Mapping[str, tuple[NDArray[np.datetime64], NDArray]],
    store: FeatureStore,
    panel: Panel,
    config: EvaluateParams,
    ordered: Mapping[str, Ordered],
) -> dict[str, Anatomy]:
    """Return each label's forecast taken apart; without prices by calendar alone.

    Nothing of no forecast, nor where forecasts are compared over time. `ordered` has each forecast and its label.
    """
    given = {label: one for label, one in forecasts.items() if np.isfinite(one[1]).any()}
    if not given or is_over_time(config):
        return {}
    bars = bars_of(panel, "close")
    scored = np.isin(panel.dates, np.concatenate([dates for dates, _ in given.values()]))
    known: dict[str, NDArray[np.float64]] = {}
    in_regime: dict[str, NDArray[np.bool_]] = {}
    if np.isfinite(bars.price).any():
        market = benchmark_returns(bars.price, bars.universe, panel.symbols, UNIVERSE)
        known = exposures(bars.price, bars.traded, market)
        in_regime = regimes(market, scored)
    sectors = sectors_of(panel, config)
    loadings: dict[bytes, dict[str, OrderedMatrix]] = {}
    found = {}
    for label, (dates, _) in given.items():
        place = np.searchsorted(panel.dates, dates)
        if place.tobytes() not in loadings:
            loadings[place.tobytes()] = {name: OrderedMatrix(values[place], name) for name, values in known.items()}
        found[label] = anatomy(
            *ordered[label],
            dates,
            loadings[place.tobytes()],
            {name: on[place] for name, on in in_regime.items()},
            overlap=store.overlap(label),
            sector=None if sectors is None else sectors[place],
            config=config,
        )
    return found
