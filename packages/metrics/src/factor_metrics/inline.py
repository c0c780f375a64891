"""What a notebook shows of an object: a small piece of HTML in the colours of the page around it, light or dark.

It sets no colour of its own but greys that suit both, loads nothing, has no script, and escapes every text.

This file lies in more than one package, the same to the byte (a test compares them), since packages do not import each
other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

LINE = "1px solid rgba(128,128,128,.35)"
CELL = f"padding:.2em .8em .2em 0;border:0;border-bottom:{LINE};text-align:left;white-space:nowrap"
NUMBER = CELL.replace("text-align:left", "text-align:right;font-variant-numeric:tabular-nums")
MOST_ROWS = 20
"""Rows of a table that are shown; how many more there are is written below."""


def inline_html(title: str, facts: Mapping[str, Any], *parts: str) -> str:
    """Return a block with a heading and a line of facts, text escaped; `parts` are ready HTML (tables, pictures)."""
    said = " · ".join(f"{escape(name)} <b>{escape(shown(value))}</b>" for name, value in facts.items())
    return (
        '<div class="factorcast" style="font:13px/1.5 system-ui,sans-serif;color:inherit;background:transparent;'
        f'max-width:900px;overflow-x:auto"><div style="font-weight:600">{escape(title)}</div>'
        f'<div style="opacity:.85">{said}</div>{"".join(parts)}</div>'
    )


def inline_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], most: int = MOST_ROWS) -> str:
    """Return a table of escaped text, the first `most` rows of it; numbers stand to the right."""
    rows = list(rows)
    head = "".join(f'<th style="{CELL};font-weight:600;opacity:.7">{escape(str(name))}</th>' for name in columns)
    body = "".join(
        "<tr style='background:transparent'>"
        + "".join(f'<td style="{NUMBER if _is_number(value) else CELL}">{escape(shown(value))}</td>' for value in row)
        + "</tr>"
        for row in rows[:most]
    )
    more = f'<div style="opacity:.7">and {len(rows) - most:,} more</div>' if len(rows) > most else ""
    return f'<table style="border-collapse:collapse;margin:.4em 0;color:inherit"><tr>{head}</tr>{body}</table>{more}'


def shown(value: Any) -> str:
    """Return a value as short text: four digits of a fraction, thousands apart, - for what is missing."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if _is_number(value):
        return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
