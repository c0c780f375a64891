"""Features that users bring, held to the rule that every feature of a symbol keeps: its own bars up to t decide it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factor_data.features.columns import ColumnFeature
from factor_data.features.compute import FeaturePlan
from factor_data.lookahead import OWN_SPREAD, LookAheadError
from factor_data.panel.panel import Panel

SHARES = ((0.2, 1.0), (0.2, 1.0), (0.95, 1.0))  # of a symbol's bars, between which it is cut in each round


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


def check_own_lookahead(plan: FeaturePlan, panel: Panel, seed: int = 0) -> None:
    """Refuse a feature of the user's own that knows later bars of its symbol.

    Since a symbol's own bars decide such a feature, each symbol is cut at a date of its own: so it is held to many
    dates, the last ones among them, and a leak that is there for some symbols or after some date alone is found too.
    What `factor_data.check_features` cuts at two dates is every feature, those of whole dates among them.

    Parameters
    ----------
    plan : made by `plan_features`
    panel : bars of many symbols; their number bounds the time
    seed : of the cuts and of what later bars are multiplied by

    Raises
    ------
    LookAheadError naming the feature, how many values change and the first
    """
    own = {name: feature for name, feature in plan.own.items() if not isinstance(feature, ColumnFeature)}
    if not own or not panel.num_rows:
        return
    known, draw = plan.without_labels(panel), np.random.default_rng(seed)
    expected = {name: np.asarray(feature(known)) for name, feature in own.items()}
    for shares in SHARES:
        later = _later(panel, shares, draw)
        factor = np.exp2(draw.uniform(-1.0, 1.0, panel.num_rows))
        columns = {name: np.where(later, values * factor, values) for name, values in known.columns.items()}
        changed, dropped = known.with_columns(**columns), known.select(~later)
        for name, feature in own.items():
            _compare(name, panel, later, expected[name], np.asarray(feature(changed))[~later], "changed")
            _compare(name, panel, later, expected[name], np.asarray(feature(dropped)), "dropped")


def _later(panel: Panel, shares: tuple[float, float], draw: np.random.Generator) -> NDArray[np.bool_]:
    """Return the rows behind a date that is drawn for each symbol; one with a single bar keeps it."""
    starts = np.flatnonzero(np.r_[True, panel.symbol_code[1:] != panel.symbol_code[:-1]])
    counts = np.diff(np.r_[starts, panel.num_rows])
    kept = np.clip((draw.uniform(*shares, len(starts)) * counts).astype(np.int64), 1, np.maximum(counts - 1, 1))
    return np.arange(panel.num_rows) - np.repeat(starts, counts) >= np.repeat(kept, counts)


def _compare(name: str, panel: Panel, later: NDArray[np.bool_], before: NDArray, now: NDArray, what: str) -> None:
    """Raise LookAheadError where values of rows that are not later are no longer what they were before."""
    held = before[~later]
    finite = before[np.isfinite(before)]
    with np.errstate(invalid="ignore"):  # of two infinities
        near = np.abs(held - now) <= OWN_SPREAD * (float(np.std(finite)) if len(finite) else 0.0)
    wrong = np.flatnonzero(~((held == now) | near | (np.isnan(held) & np.isnan(now))))
    if len(wrong):
        row = int(np.flatnonzero(~later)[wrong[0]])
        raise LookAheadError(
            f"{len(wrong)} values changed when later bars of their symbols were {what}: {panel.symbol[row]} at "
            f"{panel.timestamp[row]}, {name}: {held[wrong[0]]:.9g} became {now[wrong[0]]:.9g}"
        )
