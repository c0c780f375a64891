"""All forecasts of one revision on the same dates, in order, and which of their ranks are not to be told apart."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_experiments.layout import SERIES, STACK
from factor_experiments.revision import Revision, flattened
from factor_experiments.series import Series, read_series
from factor_experiments.stored import Stored
from factor_metrics import (
    ICSummary,
    adjusted_p_values,
    deflated_sharpe_ratio,
    moments,
    paired_difference,
    summarize,
    to_json_safe,
)

LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Place:
    """One forecast of one label on the board. NaN = undefined."""

    name: str
    """Name of the model, or "stack"."""
    label: str
    first: int
    """Best rank that it may have: 1 + the number of forecasts that are better beyond chance."""
    last: int
    """Worst rank that it may have: the number of all less that of those it is better than beyond chance."""
    summary: ICSummary
    """Its rank IC on the dates of the board."""
    spread: float
    """Mean spread (top less bottom quantile, before costs)."""
    floor: str
    """Name of the best floor; empty where the table has none."""
    beside_floor: ICSummary | None
    """Rank IC less that of the floor, paired by date; None without a floor."""
    net_return: float
    """Mean daily return of the book after costs."""
    beside_equal: ICSummary | None
    """Rank IC of a stack less that of its models with equal weights, paired by date; None of a model."""
    deflated_sharpe: float
    """Probability that its mean rank IC is above what the best of as many forecasts as the board has shows by luck."""
    cpu_seconds: float
    """CPU seconds of its training; NaN where the ledger does not know them."""
    features: str
    """Sets of features in the plan of tokenize."""
    settings: Mapping[str, Any]
    """Settings of its own that are in its plan."""

    @property
    def rank(self) -> str:
        """Return the ranks that it may have: "1" or "1-3"."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """The board of a revision."""

    places: tuple[Place, ...]
    """Per label in its order, highest mean rank IC first."""
    num_dates: Mapping[str, int]
    """Per label: dates that all forecasts have."""
    data: str | None
    """md5 of the data."""
    results: str
    """Digest of the tables that the board is made of."""

    @property
    def labels(self) -> list[str]:
        """Return the labels in their order."""
        return list(self.num_dates)

    def to_dict(self) -> dict[str, Any]:
        """Return the board as plain values for JSON."""
        places = [{**to_json_safe(vars(place)), "rank": place.rank} for place in self.places]
        return {"places": places, "num_dates": dict(self.num_dates), "data": self.data, "results": self.results}


def leaderboard(
    revision: Revision, stored: Stored, *, costs: Mapping[tuple[str, str], float] | None = None, seed: int = 0
) -> Leaderboard:
    """Return the board of a revision: of the working tree, or of a commit.

    Every number of a label is on the dates on which all its forecasts have a rank IC. Two forecasts are told apart
    where the mean of their daily difference has a p of at most .05, after Holm over all pairs of the label; ranks
    follow from that (Mogstad, Romano, Shaikh and Wilhelm, 2024, "Inference for ranks", by pairs). `costs` are CPU
    seconds by the name of a model and the md5 of its table, as the ledger has them; a stack costs what its models do.
    ValueError naming a forecast whose table is neither in DVC's cache nor in its remote, and a label whose forecasts
    share no date.
    """
    known = costs or {}
    seconds: dict[str, float] = {}
    tables: dict[str, dict[str, Series]] = {}
    digests: list[str] = []
    for name, out in revision.tables.items():
        content = stored.file(out, SERIES)
        if content is None:
            why = stored.unreachable or "dvc fetch"
            raise ValueError(f"the table of {name} is neither in DVC's cache nor in its remote: {why}")
        tables[name] = read_series(content, name)
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        digests.append(f"{name} {md5}")
        seconds[name] = known.get((name, md5), math.nan)
    if STACK in seconds:
        seconds[STACK] = math.fsum(value for name, value in seconds.items() if name != STACK)
    places: list[Place] = []
    num_dates = {}
    for label in dict.fromkeys(label for found in tables.values() for label in found):
        series = {name: found[label] for name, found in tables.items() if label in found}
        dates = _common_dates(series, label)
        num_dates[label] = len(dates)
        places += _places(label, series, dates, revision, seconds, seed)
    digest = hashlib.sha256("\n".join(sorted(digests)).encode())
    return Leaderboard(places=tuple(places), num_dates=num_dates, data=revision.data, results=digest.hexdigest()[:16])


def _common_dates(series: Mapping[str, Series], label: str) -> NDArray[np.datetime64]:
    defined = [one.dates[np.isfinite(one.rank_ic)] for one in series.values()]
    dates: NDArray[np.datetime64] = reduce(np.intersect1d, defined)
    if not len(dates):
        raise ValueError(f"the forecasts of {label} ({', '.join(series)}) share no date with a rank IC")
    return dates


def _places(
    label: str,
    series: Mapping[str, Series],
    dates: NDArray[np.datetime64],
    revision: Revision,
    seconds: Mapping[str, float],
    seed: int,
) -> list[Place]:
    values = {name: one.on(dates) for name, one in series.items()}
    overlap = next(iter(series.values())).overlap
    better = better_than(values, overlap)
    deflated = _deflated(values, overlap)
    order = sorted(values, key=lambda name: (-float(values[name].mean()), name))
    places = []
    for name in order:
        one, floor, equal = series[name], series[name].floor_on(dates), series[name].equal_on(dates)
        places.append(
            Place(
                name=name,
                label=label,
                first=1 + sum(name in beaten for beaten in better.values()),
                last=len(values) - len(better[name]),
                summary=summarize(values[name], overlap, seed=seed),
                spread=_mean_on(one, dates),
                floor=one.floor or "",
                beside_floor=None if floor is None else paired_difference(values[name], floor, overlap, seed=seed),
                net_return=_mean(one.net_on(dates)),
                beside_equal=None if equal is None else paired_difference(values[name], equal, overlap, seed=seed),
                deflated_sharpe=deflated[name],
                cpu_seconds=seconds[name],
                features=_features(revision),
                settings=_own_settings(revision, name),
            )
        )
    return places


def _deflated(values: Mapping[str, NDArray[np.float64]], overlap: int) -> dict[str, float]:
    """Return the deflated Sharpe ratio of each daily rank IC, with the forecasts of the board as trials.

    Bailey and Lopez de Prado (2014), "The deflated Sharpe ratio". NaN of a series that does not vary.
    """
    sharpes = {name: float(one.mean() / one.std(ddof=1)) if np.ptp(one) > 0.0 else math.nan
               for name, one in values.items() if len(one) > 1}  # fmt: skip
    known = [sharpe for sharpe in sharpes.values() if math.isfinite(sharpe)]
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    return {
        name: deflated_sharpe_ratio(sharpe, max(len(one) // overlap, 2), len(values), spread, *moments(one))
        if math.isfinite(sharpe := sharpes.get(name, math.nan))
        else math.nan
        for name, one in values.items()
    }


def _features(revision: Revision) -> str:
    tokenize = revision.plans.get("tokenize", {}).get("settings", {}).get("tokenize", {})
    found = tokenize.get("features") or ["bars"]
    return ", ".join(map(str, found)) if isinstance(found, list) else str(found)


def better_than(values: Mapping[str, NDArray[np.float64]], overlap: int) -> dict[str, set[str]]:
    """Return per forecast those that it is better than beyond chance: p at most .05 after Holm over all pairs."""
    pairs = list(combinations(values, 2))
    found = [paired_difference(values[a], values[b], overlap, num_bootstrap=1) for a, b in pairs]
    p_values = [one.p_value for one in found]
    adjusted = adjusted_p_values(p_values, method="holm").tolist() if pairs else []
    better: dict[str, set[str]] = {name: set() for name in values}
    for (a, b), difference, p_value in zip(pairs, found, adjusted, strict=True):
        if math.isfinite(p_value) and p_value <= LEVEL:
            winner, loser = (a, b) if difference.mean > 0.0 else (b, a)
            better[winner].add(loser)
    return better


def _mean_on(series: Series, dates: NDArray[np.datetime64]) -> float:
    if series.spread is None:
        return math.nan
    return _mean(series.spread[np.isin(series.dates, dates)])


def _mean(values: NDArray[np.float64] | None) -> float:
    """Return the mean of what is known; NaN where nothing is."""
    known = np.empty(0) if values is None else values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _own_settings(revision: Revision, name: str) -> Mapping[str, Any]:
    """Return the settings of a model in the plan of its training, or of the stack in its own."""
    plan = revision.plans.get(f"train_{name}") or revision.plans.get(name) or {}
    settings = plan.get("settings", {})
    own = settings.get("zoo", {}).get(name) or settings.get(name) or {}
    return flattened(own)


def ties(places: Sequence[Place]) -> list[str]:
    """Return a sentence for each forecast whose rank is not to be told from others'."""
    return [f"{place.name}: rank {place.rank}" for place in places if place.first != place.last]
