"""Numbers and names as text for a page."""

from __future__ import annotations

import html
import math

DASH = "–"
MINUS = "−"


def esc(value: object) -> str:
    """Return a value as text that is safe inside HTML and inside a quoted attribute."""
    return html.escape(str(value), quote=True)


def number(value: float | None, digits: int = 4, *, sign: bool = True) -> str:
    """Return a number with fixed digits and its sign; an en dash when it is missing or not finite."""
    if value is None or not math.isfinite(value):
        return DASH
    rounded = round(float(value), digits) + 0.0
    return format(rounded, f"{'+' if sign else ''}.{digits}f").replace("-", MINUS)


def percent(value: float | None, digits: int = 1, *, sign: bool = False) -> str:
    """Return a share as percent; an en dash when it is missing or not finite."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{number(100.0 * value, digits, sign=sign)} %"


def plain(value: float | None) -> str:
    """Return a number in four significant digits, large ones in full; an en dash when missing or not finite."""
    if value is None or not math.isfinite(value):
        return DASH
    return format(float(value), ".4g" if abs(value) < 1e4 else ",.0f").replace("-", MINUS)


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """Return `[low, high]`; one en dash when both are missing."""
    text = f"[{number(low, digits)}, {number(high, digits)}]"
    return DASH if text.count(DASH) == 2 else text
