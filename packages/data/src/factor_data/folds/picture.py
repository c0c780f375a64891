"""A picture of the folds: one row each, over the calendar, as inline SVG for light and dark pages and for paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from factor_data.folds.cut import Mask, as_calendar
from factor_data.folds.fold import Dates, Fold, iso

WIDTH, LEFT, RIGHT, LEGEND, AXIS = 900, 64, 8, 34, 30
NUM_TICKS = 6
# what is drawn, in the order of the legend: name of the dates and fill. Purge and embargo are hatched, so that they
# stand apart in print too; a page can set the variables to its own colours
PARTS = (
    ("train", "var(--fold-train, #5b8fd1)"),
    ("purge", "url(#fold-purge)"),
    ("valid", "var(--fold-valid, #e0a030)"),
    ("test", "var(--fold-test, #2f9e77)"),
    ("embargo", "url(#fold-embargo)"),
)
PATTERNS = (
    '<defs><pattern id="fold-purge" width="4" height="4" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><rect width="1.4" height="4" fill="currentColor" opacity=".7"/></pattern>'
    '<pattern id="fold-embargo" width="4" height="4" patternUnits="userSpaceOnUse">'
    '<circle cx="2" cy="2" r="1" fill="currentColor" opacity=".7"/></pattern></defs>'
)


def fold_picture(folds: Sequence[Fold], calendar: Dates) -> str:
    """Return an `<svg>` element that shows when each fold trains, validates and tests, and what is left out.

    Parameters
    ----------
    folds : at least one
    calendar : (num_dates,) datetime64, the dates that the folds were cut from, at least one

    Returns
    -------
    str, self-contained: no script, no link. Text is in the colour of the page's text. Hovering a range names its dates.
    """
    dates = as_calendar(calendar)
    if not folds or not len(dates):
        raise ValueError(f"a picture needs folds and dates, got {len(folds)} and {len(dates)}")
    row = min(20.0, max(5.0, 700 / len(folds)))
    height = LEGEND + row * len(folds) + AXIS
    body = "".join(_fold_row(fold, dates, LEGEND + row * place, row) for place, fold in enumerate(folds))
    label = f"{len(folds)} folds over {len(dates)} dates, {iso(dates[0])} to {iso(dates[-1])}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{label}" font-size="12" '
        f'font-family="system-ui, sans-serif" fill="currentColor" style="width:100%;height:auto">'
        f"<title>{label}</title>{PATTERNS}{_legend()}{body}{_axis(dates, LEGEND + row * len(folds))}</svg>"
    )


def _legend() -> str:
    items = "".join(
        f'<rect x="{LEFT + 96 * place}" y="6" width="16" height="12" fill="{fill}" stroke="currentColor" '
        f'stroke-width=".5"/><text x="{LEFT + 96 * place + 22}" y="16">{name}</text>'
        for place, (name, fill) in enumerate(PARTS)
    )
    return f"<g>{items}</g>"


def _fold_row(fold: Fold, dates: Dates, top: float, row: float) -> str:
    bar = row * 0.72
    ranges = "".join(
        f'<rect x="{_x(first, dates):.2f}" y="{top:.2f}" width="{_x(end, dates) - _x(first, dates):.2f}" '
        f'height="{bar:.2f}" fill="{fill}"><title>fold {fold.index} {name}: {iso(dates[first])} .. '
        f"{iso(dates[end - 1])} ({end - first} dates)</title></rect>"
        for name, fill in PARTS
        for first, end in _ranges(np.isin(dates, getattr(fold, name)))
    )
    every = max(1, round(14 / row))
    text = f'<text x="{LEFT - 8}" y="{top + bar / 2 + 4:.2f}" text-anchor="end">fold {fold.index}</text>'
    return f"<g>{text if fold.index % every == 0 else ''}{ranges}</g>"


def _axis(dates: Dates, top: float) -> str:
    ticks = sorted({round(place) for place in np.linspace(0, len(dates) - 1, NUM_TICKS)})
    line = f'<path d="M{LEFT} {top:g}H{WIDTH - RIGHT}" stroke="currentColor" stroke-width=".8" fill="none"/>'
    marks = "".join(
        f'<path d="M{_x(tick + 0.5, dates):.2f} {top:g}v4" stroke="currentColor" stroke-width=".8"/>'
        f'<text x="{_x(tick + 0.5, dates):.2f}" y="{top + 17:g}" text-anchor="{_anchor(tick, len(dates))}">'
        f"{iso(dates[tick].astype('datetime64[D]'))}</text>"
        for tick in ticks
    )
    return f"<g>{line}{marks}</g>"


def _anchor(tick: int, length: int) -> str:
    """Labels at the ends of the axis stay inside the picture."""
    return "start" if tick == 0 else "end" if tick == length - 1 else "middle"


def _x(position: float, dates: Dates) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * position / len(dates)


def _ranges(mask: Mask) -> Iterator[tuple[int, int]]:
    """First position and end of every run of True."""
    edges = np.flatnonzero(np.diff(np.r_[0, mask.astype(np.int8), 0]))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
