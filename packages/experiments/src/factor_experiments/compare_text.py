"""A comparison as text: the table for a terminal, and what differs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from factor_experiments.compare import Comparison, Pair
from factor_experiments.differences import Differences
from factor_metrics.report.terminal import aligned
from factor_metrics.report.text import DASH, MINUS, interval, number, percent

HEAD = ("forecast", "label", "A", "B", "B - A", "interval", "t", "p", "p (Holm)", "net B - A", "p", "dates", "")
LEFT = (0, 1, 12)
MOST_LINES = 12
"""Entries of a kind that are listed in a terminal; the page and JSON have all."""


def comparison_text(result: Comparison) -> str:
    """Return the comparison as a plain table, what differs, and the verdict."""
    rows = [cells(pair) for pair in result.pairs]
    parts = [f"A: {result.a.name} ({result.a.commit[:9]})   B: {result.b.name} ({result.b.commit[:9]})"]
    if rows:
        parts.append(aligned([HEAD, *rows], LEFT))
    parts += [f"only in {side.upper()}: {', '.join(names)}" for side, names in result.only.items() if names]
    parts += [line for lines in difference_lines(result.differences, MOST_LINES).values() for line in lines]
    if result.differences.nothing:
        parts.append("No setting, code, data or library differs.")
    text = "\n".join([*parts, result.verdict])
    return text.replace(MINUS, "-").replace(DASH, "-")


def cells(pair: Pair) -> tuple[str, ...]:
    """Return the cells of a pair."""
    if pair.difference is None or pair.a is None or pair.b is None:
        said = f"{pair.status}: {pair.note}" if pair.note and pair.status == "refused" else pair.note or pair.status
        return (pair.name, pair.label, *([DASH] * 10), said)
    found = pair.difference
    return (
        pair.name,
        pair.label,
        number(float(np.nanmean(pair.a))),
        number(float(np.nanmean(pair.b))),
        number(found.mean),
        interval(found.ci_low, found.ci_high, 4),
        number(found.t_stat, 1),
        chance(found.p_value),
        chance(pair.adjusted_p_value),
        DASH if pair.net is None else percent(pair.net.mean, 3, sign=True),
        DASH if pair.net is None else chance(pair.net.p_value),
        str(found.num_dates),
        "; ".join(filter(None, [pair.note, found.undefined])),
    )


def chance(p_value: float) -> str:
    """Return a p-value with three digits, "<0.001" below them."""
    if not math.isfinite(p_value):
        return DASH
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def difference_lines(found: Differences, most: int | None = None) -> dict[str, list[str]]:
    """Return lines that say what differs, by kind; at most `most` of each, the rest counted."""
    kinds: dict[str, Mapping[str, tuple[Any, Any]]] = {
        "Parameters": found.params,
        "Settings of stages": found.settings,
        "Code": found.modules,
        "Environment": found.environment,
    }
    lines = {kind: _listed(kind, pairs, most) for kind, pairs in kinds.items() if pairs}
    if found.data is not None:
        lines["Data"] = [f"Data: {found.data[0]} in A, {found.data[1]} in B"]
    if found.stages:
        lines["Plans"] = [f"Plans that differ: {_some(found.stages, most)}"]
    return lines


def _listed(kind: str, pairs: Mapping[str, tuple[Any, Any]], most: int | None) -> list[str]:
    entries = [f"  {name}: {_short(a)} in A, {_short(b)} in B" for name, (a, b) in pairs.items()]
    kept = entries if most is None else entries[:most]
    more = [f"  ... and {len(entries) - len(kept)} more"] if len(kept) < len(entries) else []
    return [f"{kind}:", *kept, *more]


def _some(names: Sequence[str], most: int | None) -> str:
    kept = names if most is None else names[:most]
    more = f" and {len(names) - len(kept)} more" if len(kept) < len(names) else ""
    return ", ".join(kept) + more


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
