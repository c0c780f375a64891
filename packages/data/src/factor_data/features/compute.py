"""Features by name: which exist, which sets they form, and how a list of names becomes a matrix.

There are two kinds. A symbol feature is a function of a panel that uses only the symbol's own bars, so a panel can
be computed in pieces of whole symbols. A date feature (`DateFeature`) is a function of its base symbol features over
all rows of a date, so it can be computed in pieces of whole dates. A name is one of

- a feature of `FEATURES` (symbol) or `DATE_FEATURES` (date), an Alpha158 or an Alpha360 name;
- `<symbol feature>@<symbol>`: that feature of one leading symbol, on all rows of the date, as `return_1@AAPL`;
- `<symbol feature>~<column>`: that feature minus its mean over the date's symbols of one group, as `return_20~sector`;
- a set of `FEATURE_SETS`, which stands for all its names.

What users bring (`OwnFeatures`: ready-made columns, expressions, functions of a file) are symbol features too; they
come after the names, and the feature before `@` or `~` may be one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from factor_data.features.alpha158_features import alpha158
from factor_data.features.alpha158_names import ALPHA158_NAMES
from factor_data.features.alpha360_features import ALPHA360_NAMES, alpha360
from factor_data.features.columns import ColumnFeature
from factor_data.features.dates import DATE_FEATURES, GROUP, DateFeature, neutral_to_group, of_symbol
from factor_data.features.indicators import INDICATORS
from factor_data.features.matrix import FeatureMatrix
from factor_data.features.own import OwnFeatures
from factor_data.features.table import BAR_FEATURES, CALENDAR_FEATURES, FEATURES, MEMORY_FEATURES, Feature
from factor_data.panel.panel import Panel

FEATURE_SETS: dict[str, tuple[str, ...]] = {
    "bars": tuple(BAR_FEATURES),
    "calendar": tuple(CALENDAR_FEATURES),
    "market": tuple(DATE_FEATURES),
    "indicators": tuple(INDICATORS),
    "memory": tuple(MEMORY_FEATURES),
    "alpha158": ALPHA158_NAMES,
    "alpha360": ALPHA360_NAMES,
}
DEFAULT_SET = "bars"
NO_OWN = OwnFeatures()


@dataclass(frozen=True, kw_only=True)
class FeaturePlan:
    """Features to compute for a list of names; made by `plan_features`.

    Attributes
    ----------
    names : the requested columns, in order, sets expanded
    symbol_names : the symbol features to compute first: those requested, then those that are only bases
    date_features : name -> date feature, of the requested date features
    own : name -> function of a panel, of the features that the user brings
    labels : columns of a panel that look ahead: own features are not shown them
    """

    names: tuple[str, ...]
    symbol_names: tuple[str, ...]
    date_features: dict[str, DateFeature]
    own: Mapping[str, Feature] = field(default_factory=dict)
    labels: tuple[str, ...] = ()

    def values(self, panel: Panel, threads: int | None = None) -> NDArray[np.float32]:
        """Return (num_rows, len(names)) float32 of a whole panel."""
        in_universe = panel.in_universe if self.date_features else None
        return self.all_values(self.symbol_values(panel, threads), panel.date_code, panel.symbol_code, in_universe)

    def without_labels(self, panel: Panel) -> Panel:
        """Return the panel with the columns that own features may read."""
        return replace(panel, columns={name: x for name, x in panel.columns.items() if name not in self.labels})

    def symbol_values(self, panel: Panel, threads: int | None = None) -> NDArray[np.float32]:
        """Return (num_rows, len(symbol_names)) float32 of a panel, or of any part of it that keeps whole symbols."""
        values = np.empty((panel.num_rows, len(self.symbol_names)), dtype=np.float32)
        for family, family_names, compute in (
            ("alpha158", ALPHA158_NAMES, alpha158),
            ("alpha360", ALPHA360_NAMES, alpha360),
        ):
            places = [i for i, name in enumerate(self.symbol_names) if _FAMILIES.get(name) == family]
            if places:
                matrix = compute(panel, threads).values
                if self.symbol_names == family_names:
                    return matrix
                columns = [family_names.index(self.symbol_names[place]) for place in places]
                _copy_columns(matrix, columns, values, places)
        known = self.without_labels(panel)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for place, name in enumerate(self.symbol_names):
                if name not in _FAMILIES:
                    column = self.own[name](known) if name in self.own else FEATURES[name](panel)
                    values[:, place] = _finite(column)
        return values

    def all_values(
        self,
        symbol_values: NDArray[np.float32],
        date_code: NDArray[np.integer],
        symbol_code: NDArray[np.integer],
        in_universe: NDArray[np.bool_] | None,
    ) -> NDArray[np.float32]:
        """Return (num_rows, len(names)) float32 from what `symbol_values` gave, for all rows of whole dates.

        Rows stay in panel order. `in_universe` may be None where there is no date feature.
        """
        if self.names == self.symbol_names:
            return symbol_values
        result = np.empty((len(symbol_values), len(self.names)), dtype=np.float32)
        place = {name: i for i, name in enumerate(self.symbol_names)}
        kept = [column for column, name in enumerate(self.names) if name in place]
        _copy_columns(symbol_values, [place[self.names[column]] for column in kept], result, kept)
        for column, name in enumerate(self.names):
            if name in self.date_features:
                feature = self.date_features[name]
                bases = symbol_values[:, [place[base] for base in feature.bases]]
                assert in_universe is not None, "a plan with date features needs in_universe"
                values = feature.function(bases, date_code, symbol_code, in_universe)
                result[:, column] = _finite(values)
        return result


def _finite(values: NDArray) -> NDArray[np.float32]:
    """The values as float32, NaN where that has no number for them: 1e306 is infinite there."""
    with np.errstate(over="ignore"):
        single = np.asarray(values).astype(np.float32)
    return np.where(np.isfinite(single), single, np.float32(np.nan))


def available_features() -> tuple[str, ...]:
    """Return every name of a feature: symbol features, then date features, each once."""
    return tuple(dict.fromkeys((*FEATURES, *DATE_FEATURES, *ALPHA158_NAMES, *ALPHA360_NAMES)))


def expand_features(names: Sequence[str] | None = None, own: Sequence[str] = ()) -> tuple[str, ...]:
    """Replace the names of sets by their features; all of the set "bars" by default.

    Two sets may share names (OPEN0 is in Alpha158 and in Alpha360): the first place counts. ValueError for a name
    given twice, or twice by way of a set, and for unknown names. `own` are names of the user's own features, which may
    stand before `@` and `~`.
    """
    chosen = tuple(FEATURE_SETS[DEFAULT_SET] if names is None else names)
    unknown = [n for n in chosen if n not in FEATURE_SETS and not _is_feature(n, own)]
    if unknown:
        near = get_close_matches(unknown[0], (*FEATURE_SETS, *available_features()), n=3)
        raise ValueError(
            f"unknown features {unknown}; "
            + (f"did you mean {', '.join(near)}? " if near else "")
            + f"Sets are {list(FEATURE_SETS)}, names are listed by available_features(); columns of the bars are named "
            "under columns"
        )
    named = [name for name in chosen if name not in FEATURE_SETS]
    in_sets = {name for part in chosen if part in FEATURE_SETS for name in FEATURE_SETS[part]}
    repeated = {n for n in chosen if chosen.count(n) > 1} | (set(named) & in_sets)
    if repeated:
        raise ValueError(f"features repeat: {sorted(repeated)}")
    return tuple(dict.fromkeys(name for part in chosen for name in FEATURE_SETS.get(part, (part,))))


def same_for_all_symbols(names: Sequence[str] | None = None, own: Sequence[str] = ()) -> tuple[str, ...]:
    """Return those of the names whose value is one for the whole date: a rank within the date says nothing of them."""
    market = [name for name in FEATURE_SETS["market"] if name.startswith("market_")]
    constant = {*FEATURE_SETS["calendar"], *market}
    return tuple(name for name in expand_features(names, own) if name in constant or "@" in name)


def plan_features(
    names: Sequence[str] | None,
    symbols: NDArray[np.str_],
    own: OwnFeatures = NO_OWN,
    columns: Sequence[str] = (),
    labels: Sequence[str] = (),
) -> FeaturePlan:
    """Sort names into symbol and date features.

    Parameters
    ----------
    names : features and sets; None: the set "bars", or, with features of the user's own, those alone
    symbols : the panel's table, for `<feature>@<symbol>`
    own : the features that the user brings; they come after `names`
    columns : columns of the bars, which own features are made of
    labels : those of them that look ahead, so that no feature may read them
    """
    available = [name for name in columns if name not in labels]
    brought = own.features(available)
    if clashing := [name for name in brought.functions if name in FEATURE_SETS or _is_feature(name) or _marks(name)]:
        raise ValueError(f"a feature of your own cannot be called {clashing[0]!r}: that is a feature or set already")
    names = expand_features(() if names is None and brought.names else names, tuple(brought.functions))
    wanted = (*names, *brought.names)
    if repeated := sorted(set(names) & set(brought.names)):
        raise ValueError(f"features repeat: {repeated}")
    functions = dict(brought.functions)
    date_features: dict[str, DateFeature] = {}
    for name in wanted:
        base, group, column = name.partition(GROUP)
        if group:
            date_features[name] = DateFeature(bases=(base, f"{GROUP}{column}"), function=neutral_to_group)
            functions[f"{GROUP}{column}"] = _group_column(name, column, available)
        elif name not in functions and not _is_symbol_feature(name):
            date_features[name] = _date_feature(name, symbols)
    asked = [name for name in wanted if name not in date_features]
    bases = [base for feature in date_features.values() for base in feature.bases]
    return FeaturePlan(
        names=wanted,
        symbol_names=tuple(dict.fromkeys((*asked, *bases))),
        date_features=date_features,
        own=functions,
        labels=tuple(labels),
    )


def compute_features(panel: Panel, names: Sequence[str] | None = None, threads: int | None = None) -> FeatureMatrix:
    """Compute features and sets by name, the set "bars" by default.

    A value that is not finite (a division by zero in uncleaned bars) is missing: NaN. Date features need a cleaned
    panel, because the universe decides who counts. `threads`: see `alpha158`.

    Raises
    ------
    ValueError naming the unknown or repeated features, or the symbol that the panel does not have
    """
    plan = plan_features(names, panel.symbols)
    return FeatureMatrix(values=plan.values(panel, threads), names=plan.names, panel=panel)


def _copy_columns(source: NDArray, columns: list[int], target: NDArray, places: list[int]) -> None:
    """Copy some columns by blocks of rows: no second matrix is made, and memory is read once."""
    for first in range(0, len(source), 8192):
        target[first : first + 8192][:, places] = source[first : first + 8192][:, columns]


_FAMILIES = {
    **dict.fromkeys(ALPHA360_NAMES, "alpha360"),
    **dict.fromkeys(ALPHA158_NAMES, "alpha158"),  # shared names: the same ratio in both
}


def _is_symbol_feature(name: str) -> bool:
    return name in FEATURES or name in _FAMILIES


def _is_feature(name: str, own: Sequence[str] = ()) -> bool:
    if mark := _marks(name):
        base, _, rest = name.partition(mark[0])
        return bool(rest) and len(mark) == 1 and (_is_symbol_feature(base) or base in own)
    return _is_symbol_feature(name) or name in DATE_FEATURES


def _marks(name: str) -> list[str]:
    """The marks `@` and `~` in a name."""
    return [letter for letter in name if letter in f"@{GROUP}"]


def _group_column(name: str, column: str, available: Sequence[str]) -> ColumnFeature:
    if column not in available:
        raise ValueError(f"feature {name!r}: the bars have no column {column!r} of groups; they have {list(available)}")
    return ColumnFeature(column)


def _date_feature(name: str, symbols: NDArray[np.str_]) -> DateFeature:
    base, at, symbol = name.partition("@")
    if not at:
        return DATE_FEATURES[name]
    code = int(np.searchsorted(symbols, symbol))
    if code == len(symbols) or symbols[code] != symbol:
        raise ValueError(
            f"feature {name!r}: the panel has no symbol {symbol!r} ({len(symbols)} symbols, first {symbols[:3]})"
        )
    return of_symbol(base, code)
