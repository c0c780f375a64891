"""Features that users bring, held to the rule that every feature of a symbol keeps: its own bars decide it."""

from __future__ import annotations

import numpy as np

from factor_data.features.columns import ColumnFeature
from factor_data.features.compute import FeaturePlan
from factor_data.panel.panel import Panel


def check_symbols_apart(plan: FeaturePlan, panel: Panel) -> None:
    """Refuse a feature of the user's own that changes when other symbols are left out.

    The stage hands a function whole symbols and not all of them, so what it makes of others would depend on memory.

    Parameters
    ----------
    plan : made by `plan_features`
    panel : bars of some symbols

    Raises
    ------
    ValueError naming the feature, how many values change and the first
    """
    known = plan.without_labels(panel)
    half = panel.symbol_code % 2 == panel.symbol_code[0] % 2
    for name, feature in plan.own.items():
        if isinstance(feature, ColumnFeature):
            continue
        whole, alone = feature(known)[half], feature(known.select(half))
        wrong = np.flatnonzero(half)[~((whole == alone) | (np.isnan(whole) & np.isnan(alone)))]
        if len(wrong):
            raise ValueError(
                f"feature {name!r} looks at other symbols: {len(wrong)} values change when some are left out, first "
                f"{panel.symbol[wrong[0]]} at {panel.timestamp[wrong[0]]}; only the symbol's own bars may decide it"
            )
