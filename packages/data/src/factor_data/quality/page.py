"""The quality report as one self-contained page, readable in light and dark, on paper and without network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from factor_data.quality.heat_map import heat_map_svg

STYLE = """
:root { --ink: #1c2430; --soft: #5d6b7e; --line: #dde3ea; --paper: #fff; --tint: #f5f7fa; --hot: #b45309;
  color-scheme: light dark }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --soft: #9aa7b8; --line: #313b48; --paper: #151a21; --tint: #1d242d;
    --hot: #f0a64b }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1000px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 0 .2rem }
h2 { font-size: 1.1rem; margin: 2rem 0 .3rem }
p { color: var(--soft); margin: .2rem 0 1.2rem }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: .7rem;
  margin: 0 0 1.6rem }
dl div { background: var(--tint); border-radius: 8px; padding: .6rem .8rem }
dt { font-size: .78rem; color: var(--soft) }
dd { margin: 0; font-weight: 600 }
section { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .45rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top }
th { font-size: .78rem; color: var(--soft); font-weight: 600 }
tr { break-inside: avoid }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.hit { color: var(--hot); font-weight: 600 }
small { color: var(--soft) }
code { font-size: .85em }
"""
RULES_NOTE = (
    "Rules are looked at from top to bottom; a rule sees what the rules before it have left. drop: the bar goes. mask: "
    "the value becomes missing, or the bar leaves the universe of its date and keeps its prices. flag: counted and "
    "kept. Nothing is filled or invented. Two bars of one symbol at one time are refused when bars are read. Shares "
    "are of the bars read (of the symbols, where symbols are counted)."
)
HEAT_NOTE = (
    "Share of the dates from the first to the last bar read of each symbol that have no bar left. Symbols in "
    "alphabetical order, each row named after its first. Blank: before listing or after delisting."
)
UNIVERSE_NOTE = (
    "A universe that was picked with hindsight, such as symbols that still trade today, flatters every result on it."
)


def quality_page(report: dict[str, Any], title: str, fold_picture: str) -> str:
    """Return the page of a report given as plain data (`QualityReport.to_dict`), and an SVG of the folds."""
    sections = [
        _section("How the universe was picked", _universe(report["universe"]), ""),
        _section("Rules", _rules(report["rules"]), RULES_NOTE),
        _section("Missing bars", heat_map_svg(report["missing_bars"]), HEAT_NOTE),
        _section("Missing values", _missing_values(report["missing_values"]), ""),
        _section(
            "Labels",
            _labels(report["labels"]),
            "Rows of the universe. A score is conditional on what is used.",
        ),
        _section("Folds", fold_picture, "Hatched and dotted dates are left out so that labels stay apart."),
    ]
    settings = ", ".join(f"{escape(name)} = {escape(str(v))}" for name, v in report["settings"].items())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"{_facts(report['summary'])}{''.join(sections)}<h2>Settings</h2><p>{settings}</p></body></html>\n"
    )


def _section(heading: str, content: str, note: str) -> str:
    if not content:
        return ""
    return f"<section><h2>{heading}</h2>{f'<p>{note}</p>' if note else ''}{content}</section>"


def _facts(summary: dict[str, int | str]) -> str:
    items = "".join(
        f"<div><dt>{escape(name.replace('_', ' '))}</dt><dd>{_number(value)}</dd></div>"
        for name, value in summary.items()
    )
    return f"<dl>{items}</dl>"


def _universe(universe: str | None) -> str:
    said = "Not stated." if universe is None else escape(universe)
    return f"<div>{said}</div><p>{UNIVERSE_NOTE}</p>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: range) -> str:
    """Cells are HTML already; those of the columns `numbers` stand to the right."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=number' if place in numbers else ''}>{cell}</{tag}>" for place, cell in enumerate(cells)
        )

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{line(head, 'th')}</tr></thead><tbody>{body}</tbody></table>"


def _rules(rules: Sequence[dict[str, Any]]) -> str:
    head = ("rule", "action", "count", "share", "first")
    return _table(head, [_rule_row(rule) for rule in rules], range(2, 4))


def _rule_row(rule: dict[str, Any]) -> tuple[str, ...]:
    first = "<br>".join(
        f"<small>{escape(_day(o['timestamp']))} {escape(o['symbol'])} {escape(o['column'])} "
        f"{'missing' if o['value'] is None else format(o['value'], 'g')}</small>"
        for o in rule["offenders"][:3]
    )
    unit = "" if rule["unit"] == "bars" else f"<br><small>{rule['unit']}</small>"
    count = f"<span class=hit>{rule['count']:,}</span>" if rule["count"] else "0"
    return (
        f"<code>{escape(rule['name'])}</code><br><small>{escape(rule['description'])}</small>",
        f"{escape(rule['action'])}<br><small>{escape(rule['effect'])}</small>",
        count + unit,
        f"{rule['share']:.3%}",
        first or "–",
    )


def _missing_values(missing: dict[str, dict[str, int]]) -> str:
    rows = [(escape(name), f"{n['read']:,}", f"{n['left']:,}") for name, n in missing.items()]
    return _table(("column", "missing as read", "missing after cleaning"), rows, range(1, 3))


def _labels(labels: Sequence[dict[str, Any]]) -> str:
    rows = [
        (
            escape(label["name"]),
            *(f"{label[name]:,}" for name in ("rows", "used", "unknown", "dropped")),
            escape(label["rule"]) or "–",
        )
        for label in labels
    ]
    head = ("label", "rows", "used", "price unknown", "dropped", "dropped are")
    return _table(head, rows, range(1, 5)) if rows else ""


def _day(stamp: str) -> str:
    return stamp.removesuffix("T00:00:00")


def _number(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else escape(_day(value))
