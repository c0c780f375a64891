"""Two revisions on the same dates and symbols, and whether the difference is more than chance would make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from factor_experiments.differences import Differences, differences
from factor_experiments.git import Git
from factor_experiments.layout import SERIES, STACK
from factor_experiments.revision import Revision, read_revision
from factor_experiments.series import Series, read_series
from factor_experiments.stored import Stored
from factor_metrics import ICSummary, adjusted_p_values, paired_difference, to_json_safe
from factor_metrics.inline import inline_html, inline_table

Status = Literal["equal", "compared", "refused"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """One forecast of one label in two revisions."""

    name: str
    """Name of the model, or "stack"."""
    label: str
    status: Status
    """equal: the same to the bit; compared; refused, with the reason in `note`."""
    note: str = ""
    """Why it is refused, or what was left out to have the same dates and symbols."""
    dates: NDArray[np.datetime64] | None = None
    """Dates that both score with the same symbols."""
    a: NDArray[np.float64] | None = None
    """Rank IC of A on these dates."""
    b: NDArray[np.float64] | None = None
    """Rank IC of B on these dates."""
    difference: ICSummary | None = None
    """B less A, paired by date."""
    spread: ICSummary | None = None
    """Difference of the spread (top less bottom quantile, before costs), B less A; None where a table has none."""
    net: ICSummary | None = None
    """Difference of the book's daily return after costs, B less A; None where one has no book."""
    adjusted_p_value: float = float("nan")
    """p of the difference of rank ICs, after Holm over all that is compared here."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Two revisions compared."""

    a: Revision
    b: Revision
    differences: Differences
    pairs: tuple[Pair, ...]
    """The stack first, then models; per forecast in the order of its labels."""
    only: Mapping[str, tuple[str, ...]]
    """Forecasts that one of the revisions has alone, by "a" and "b"."""

    @property
    def verdict(self) -> str:
        """Say in one sentence how B compares with A."""
        compared = [pair for pair in self.pairs if pair.status == "compared"]
        refused = [pair for pair in self.pairs if pair.status == "refused"]
        if not compared:
            if refused:
                rest = "Nothing" if len(refused) == len(self.pairs) else "Nothing that is not equal"
                return f"{rest} can be compared: {refused[0].name}, {refused[0].label}: {refused[0].note}."
            return "The results are equal." if self.pairs else "They have no forecast in common."
        tested = [pair for pair in compared if np.isfinite(pair.adjusted_p_value)]
        if not tested:
            first = compared[0]
            why = first.difference.undefined if first.difference is not None else ""
            return f"Nothing can be tested: {_named(first)}: {why}."
        sure = [pair for pair in tested if pair.adjusted_p_value < 0.05]
        counted = f"{len(tested)} forecast{'s' if len(tested) > 1 else ''}"
        if not sure:
            return f"No difference that chance would not make, in {counted} compared (5 %, Holm)."
        better = [_named(pair) for pair in sure if pair.difference is not None and pair.difference.mean > 0]
        worse = [_named(pair) for pair in sure if pair.difference is not None and pair.difference.mean < 0]
        parts = [f"{words} for {', '.join(names)}" for words, names in (("better", better), ("worse", worse)) if names]
        return f"{self.b.name} is {' and '.join(parts)}; {counted} compared (5 %, Holm)."

    def __repr__(self) -> str:
        return f"Comparison({self.a.name} and {self.b.name}: {self.verdict})"

    def _repr_html_(self) -> str:
        from factor_experiments.compare_text import HEAD, cells

        facts = {"A": self.a.name, "B": self.b.name, "verdict": self.verdict}
        return inline_html("Comparison", facts, inline_table(HEAD, map(cells, self.pairs)))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return to_json_safe(
            {
                "a": {"name": self.a.name, "commit": self.a.commit},
                "b": {"name": self.b.name, "commit": self.b.commit},
                "verdict": self.verdict,
                "forecasts": [_as_dict(pair) for pair in self.pairs],
                "only": self.only,
                "differences": self.differences,
            }
        )


def compare(git: Git, stored: Stored, a: str, b: str, *, any_symbols: bool = False, seed: int = 0) -> Comparison:
    """Return the comparison of two revisions by name.

    Forecasts are paired on the dates that both have. Where the tables say which symbols a date scores, dates with other
    symbols are left out and counted; with `any_symbols` they stay. Labels that are defined otherwise, and forecasts
    that share no such date, are refused by name. Of tables that the cache lacks no other file of their folder is
    fetched.
    """
    first, second = read_revision(git, a), read_revision(git, b)
    names = [name for name in first.tables if name in second.tables]
    pairs = [
        pair
        for name in sorted(names, key=lambda name: (name != STACK, names.index(name)))
        for pair in _pairs_of(name, first, second, stored, any_symbols, seed)
    ]
    return Comparison(
        a=first,
        b=second,
        differences=differences(first, second),
        pairs=tuple(_adjusted(pairs)),
        only={
            "a": tuple(name for name in first.tables if name not in second.tables),
            "b": tuple(name for name in second.tables if name not in first.tables),
        },
    )


def _pairs_of(name: str, a: Revision, b: Revision, stored: Stored, any_symbols: bool, seed: int) -> Iterator[Pair]:
    contents = {revision.name: stored.file(revision.tables[name], SERIES) for revision in (a, b)}
    first, second = contents[a.name], contents[b.name]
    if a.tables[name] == b.tables[name] or (first is not None and first == second):
        for label in ["every label"] if first is None else read_series(first, name):
            yield _equal(name, label, a, b)
        return
    missing = [revision for revision, content in contents.items() if content is None]
    if missing:
        why = f"the table of {', '.join(missing)} is neither in DVC's cache nor in its remote"
        yield Pair(name=name, label="every label", status="refused", note=f"{why}: {stored.unreachable or 'dvc fetch'}")
        return
    tables = [read_series(contents[revision.name] or b"", f"{name} of {revision.name}") for revision in (a, b)]
    for label in dict.fromkeys([*tables[0], *tables[1]]):
        yield _pair(name, label, (a, b), (tables[0].get(label), tables[1].get(label)), any_symbols, seed)


def _equal(name: str, label: str, a: Revision, b: Revision) -> Pair:
    note = _other_label(label, a, b)
    return Pair(name=name, label=label, status="refused" if note else "equal", note=note)


def _other_label(label: str, a: Revision, b: Revision) -> str:
    """Return what is said of a label that is another one in B; empty where it is the same or not known."""
    if label in a.labels and label in b.labels and a.labels[label] != b.labels[label]:
        return f"another label in {a.name}, {a.labels[label]}, than in {b.name}, {b.labels[label]}"
    return ""


def _pair(
    name: str,
    label: str,
    revisions: tuple[Revision, Revision],
    series: tuple[Series | None, Series | None],
    any_symbols: bool,
    seed: int,
) -> Pair:
    a, b = series
    if a is None or b is None:
        return _refused(name, label, f"{revisions[0 if a is None else 1].name} has no such label")
    if other := _other_label(label, *revisions):
        return _refused(name, label, other)
    if a.overlap != b.overlap:
        return _refused(name, label, f"its values overlap over {a.overlap} dates in A and {b.overlap} in B")
    common = _on_common_dates(a, b, revisions, any_symbols)
    if isinstance(common, str):
        return _refused(name, label, common)
    in_a, in_b, notes = common
    values = a.rank_ic[in_a], b.rank_ic[in_b]
    if not (np.isfinite(values[0]) & np.isfinite(values[1])).any():
        return _refused(name, label, f"no rank IC is defined in both on any of {len(in_a)} dates")
    if np.array_equal(values[0], values[1], equal_nan=True):
        return Pair(name=name, label=label, status="equal", note="; ".join([*notes, f"equal on {len(in_a)} dates"]))
    spread = None
    if a.spread is not None and b.spread is not None:
        spread = paired_difference(b.spread[in_b], a.spread[in_a], a.overlap, seed=seed)
    dates = a.dates[in_a]
    earned = a.net_on(dates), b.net_on(dates)
    net = None
    if earned[0] is not None and earned[1] is not None:
        net = paired_difference(earned[1], earned[0], 1, seed=seed)
    return Pair(
        name=name,
        label=label,
        status="compared",
        note="; ".join(notes),
        dates=dates,
        a=values[0],
        b=values[1],
        difference=paired_difference(values[1], values[0], a.overlap, seed=seed),
        spread=spread,
        net=net,
    )


def _on_common_dates(
    a: Series, b: Series, revisions: tuple[Revision, Revision], any_symbols: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp], list[str]] | str:
    """Return the positions of the dates that are paired, in A and in B, with notes; or why none can be."""
    dates, in_a, in_b = np.intersect1d(a.dates, b.dates, assume_unique=True, return_indices=True)
    if not len(dates):
        both = zip(revisions, (a, b), strict=True)
        spans = [f"{one.name} has {series.iso[0]} to {series.iso[-1]}" for one, series in both if len(series.dates)]
        return f"no date in common ({', '.join(spans)})"
    left = len(a.dates) - len(dates), len(b.dates) - len(dates)
    notes = [f"{left[0]} dates of A and {left[1]} of B are left out: the other has none"] if any(left) else []
    if a.symbols is None or b.symbols is None:
        if revisions[0].data != revisions[1].data and not any_symbols:
            return "the data differ, and its table does not say which symbols it scores"
        return in_a, in_b, notes
    same = a.symbols[in_a] == b.symbols[in_b]
    if not same.any() and not any_symbols:
        return f"other symbols are scored on all {len(dates)} dates in common"
    if not same.all():
        kept = "paired all the same" if any_symbols else "left out"
        notes.append(f"{int((~same).sum())} dates score other symbols: {kept}")
    return (in_a, in_b, notes) if any_symbols else (in_a[same], in_b[same], notes)


def _refused(name: str, label: str, note: str) -> Pair:
    return Pair(name=name, label=label, status="refused", note=note)


def _adjusted(pairs: list[Pair]) -> list[Pair]:
    """Give every p its value after Holm over all pairs that have one."""
    p_values = [np.nan if pair.difference is None else pair.difference.p_value for pair in pairs]
    adjusted = adjusted_p_values(p_values, method="holm") if np.isfinite(p_values).any() else p_values
    return [replace(pair, adjusted_p_value=float(p)) for pair, p in zip(pairs, adjusted, strict=True)]


def _named(pair: Pair) -> str:
    return f"{pair.name} at {pair.label}"


def _as_dict(pair: Pair) -> dict[str, Any]:
    means = {}
    if pair.a is not None and pair.b is not None:
        means = {"rank_ic_a": float(np.nanmean(pair.a)), "rank_ic_b": float(np.nanmean(pair.b))}
    return {
        "name": pair.name,
        "label": pair.label,
        "status": pair.status,
        "note": pair.note,
        **means,
        "num_dates": None if pair.dates is None else len(pair.dates),
        "difference": None if pair.difference is None else pair.difference.to_dict(),
        "spread_difference": None if pair.spread is None else pair.spread.to_dict(),
        "net_return_difference": None if pair.net is None else pair.net.to_dict(),
        "adjusted_p_value": pair.adjusted_p_value,
    }
