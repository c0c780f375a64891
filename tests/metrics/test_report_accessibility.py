"""The page for those who do not see it as its maker does: order of headings, names, table heads, contrast."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise

import pytest

from factor_metrics.report import build_report
from metrics.report_example import example

LEAST_CONTRAST = 4.5
"""What text that is not large needs: WCAG 2.2, criterion 1.4.3."""
INK_ON_PAPER = (
    ("text", "bg"), ("soft", "bg"), ("soft", "panel"), ("text", "panel"), ("link", "bg"), ("pass", "pass-bg"),
    ("fail", "fail-bg"), ("warn", "warn-bg"), ("bg", "text"), ("stack-text", "bg"),
)  # fmt: skip


class Outline(HTMLParser):
    """What a screen reader goes by."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.nameless: list[str] = []
        self.heads_without_scope = 0
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.open: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if "id" in given:
            self.ids.append(given["id"] or "")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "a" and (given.get("href") or "").startswith("#"):
            self.anchors.append((given["href"] or "")[1:])
        if tag == "svg" and given.get("aria-hidden") != "true":
            named = given.get("role") == "img" and given.get("aria-label")
            self.nameless += [] if named else [str(self.get_starttag_text())[:90]]
        if tag == "th" and given.get("scope") not in ("col", "row"):
            self.heads_without_scope += 1
        if tag in ("button", "summary", "a", "th"):
            self.open.append((tag, ""))

    def handle_data(self, data: str) -> None:
        if self.open:
            tag, text = self.open.pop()
            self.open.append((tag, text + data.strip()))

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1][0] == tag:
            name, text = self.open.pop()
            if not text:
                self.nameless.append(name)


@pytest.fixture(scope="module")
def page() -> str:
    fold_picture = '<svg viewBox="0 0 10 10" role="img" aria-label="Folds"><rect width="5" height="5"/></svg>'
    return build_report(example(fold_picture=fold_picture))


def test_headings_come_in_order_and_what_is_pressed_or_drawn_has_a_name(page: str) -> None:
    outline = Outline(page)
    assert outline.headings[0] == 1
    assert outline.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(outline.headings)), "no level is skipped"
    assert outline.nameless == []
    assert outline.heads_without_scope == 0
    assert len(set(outline.ids)) == len(outline.ids)
    assert set(outline.anchors) <= set(outline.ids)
    assert '<html lang="en">' in page
    assert all(f"<{landmark}" in page for landmark in ("header", "nav aria-label", "main"))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_its_ground(theme: str) -> None:
    colours = palette(theme)
    found = {f"{ink} on {paper}": contrast(colours[ink], colours[paper]) for ink, paper in INK_ON_PAPER}
    css = style()
    for name, ground in re.findall(r"\.verdict\.(\w+) \{ background: (#\w+) \}", css):
        found[f"white on {name}"] = contrast("#ffffff", ground)
    assert {pair: round(value, 2) for pair, value in found.items() if value < LEAST_CONTRAST} == {}
    assert len(found) == len(INK_ON_PAPER) + 3


def style() -> str:
    return (files("factor_metrics.report") / "page.css").read_text(encoding="utf-8")


def palette(theme: str) -> dict[str, str]:
    """The variables of the style sheet; those that the dark theme does not set are as in the light one."""
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", style(), re.S)
    )
    return light if theme == "light" else light | dark


def contrast(ink: str, paper: str) -> float:
    """The ratio of relative luminances, 1 to 21."""
    bright, dim = sorted((luminance(ink), luminance(paper)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    shares = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
