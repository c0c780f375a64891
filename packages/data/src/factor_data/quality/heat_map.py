"""The heat map of missing bars as inline SVG: groups of symbols downward, time to the right."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

LEFT, TOP, WIDTH, ROW = 70, 34, 830, 7
NUM_TICKS = 6
# largest share of missing bars of each shade, its name, and its opacity
SHADES = (
    (0.0, "none missing", 0.12),
    (0.01, "up to 1 %", 0.3),
    (0.05, "up to 5 %", 0.48),
    (0.2, "up to 20 %", 0.66),
    (0.5, "up to 50 %", 0.83),
    (1.0, "more", 1.0),
)


def heat_map_svg(heat_map: dict[str, Any]) -> str:
    """Return an `<svg>` of the share of bars missing per group of symbols and range of dates.

    Empty cells are dates before the first and after the last bar of their symbols. Colours follow the page: the shades
    are opacities of `--hot` and the text is in the colour of the page's text.
    """
    symbols, dates = heat_map["symbols"], heat_map["dates"]
    if not symbols or not dates:
        return ""
    row = max(ROW, min(18, 120 // len(symbols)))
    height = TOP + row * len(symbols) + 26
    cells = _cells(heat_map["missing"], heat_map["expected"], WIDTH / len(dates), row)
    label = f"Share of bars missing, {len(symbols)} groups of symbols by {len(dates)} ranges of dates"
    return (
        f'<svg viewBox="0 0 {LEFT + WIDTH} {height}" role="img" aria-label="{label}" font-size="11" '
        f'fill="currentColor" style="width:100%;height:auto"><title>{label}</title>'
        f"{_legend()}{cells}{_rows(symbols, row)}{_dates(dates, TOP + row * len(symbols))}</svg>"
    )


def _cells(missing: Sequence[Sequence[int]], expected: Sequence[Sequence[int]], width: float, row: int) -> str:
    """One path per shade, so that a page with thousands of cells stays small."""
    paths: list[list[str]] = [[] for _ in SHADES]
    for place, (missing_row, expected_row) in enumerate(zip(missing, expected, strict=True)):
        for column, (lost, total) in enumerate(zip(missing_row, expected_row, strict=True)):
            if total:
                level = next(i for i, (limit, _, _) in enumerate(SHADES) if lost / total <= limit)
                paths[level].append(f"M{LEFT + column * width:.1f} {TOP + place * row}h{width:.1f}v{row}h-{width:.1f}z")
    return "".join(
        f'<path fill="var(--hot, #b45309)" fill-opacity="{opacity}" d="{"".join(path)}"/>'
        for path, (_, _, opacity) in zip(paths, SHADES, strict=True)
        if path
    )


def _legend() -> str:
    return "".join(
        f'<rect x="{LEFT + place * 118}" y="6" width="14" height="12" fill="var(--hot, #b45309)" '
        f'fill-opacity="{opacity}"/><text x="{LEFT + place * 118 + 20}" y="16">{name}</text>'
        for place, (_, name, opacity) in enumerate(SHADES)
    )


def _rows(symbols: Sequence[str], row: int) -> str:
    every = max(1, round(14 / row))
    return "".join(
        f'<text x="{LEFT - 6}" y="{TOP + place * row + row / 2 + 4:g}" text-anchor="end">{escape(name[:10])}</text>'
        for place, name in enumerate(symbols)
        if place % every == 0
    )


def _dates(dates: Sequence[str], top: int) -> str:
    ticks = sorted({round(place * (len(dates) - 1) / (NUM_TICKS - 1)) for place in range(NUM_TICKS)})
    return "".join(
        f'<text x="{LEFT + WIDTH * tick / len(dates):.1f}" y="{top + 16}" '
        f'text-anchor="{"end" if tick and tick == len(dates) - 1 else "start"}">{escape(dates[tick][:10])}</text>'
        for tick in ticks
    )
