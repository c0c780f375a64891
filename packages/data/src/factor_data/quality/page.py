"""The quality report as one self-contained page."""

from __future__ import annotations

from html import escape
from typing import Any

STYLE = """
:root { --ink: #1c2430; --soft: #5d6b7e; --line: #dde3ea; --paper: #fff; --tint: #f5f7fa; --warm: #b45309 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --soft: #9aa7b8; --line: #313b48; --paper: #151a21; --tint: #1d242d;
    --warm: #f0a64b }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1000px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 0 .2rem }
p { color: var(--soft); margin: .2rem 0 1.2rem }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: .7rem;
  margin: 0 0 1.6rem }
dl div { background: var(--tint); border-radius: 8px; padding: .6rem .8rem }
dt { font-size: .78rem; color: var(--soft) }
dd { margin: 0; font-weight: 600 }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .45rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top }
th { font-size: .78rem; color: var(--soft); font-weight: 600 }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.hit { color: var(--warm); font-weight: 600 }
small { color: var(--soft) }
code { font-size: .85em }
"""


def quality_page(report: dict[str, Any], title: str) -> str:
    """Return the page of a report given as plain data (``QualityReport.to_dict``)."""
    facts = "".join(
        f"<div><dt>{escape(name.replace('_', ' '))}</dt><dd>{_number(value)}</dd></div>"
        for name, value in report["summary"].items()
    )
    rows = "".join(_rule_row(rule) for rule in report["rules"])
    settings = ", ".join(f"{escape(name)} = {escape(str(v))}" for name, v in report["settings"].items())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1>"
        "<p>Rules are applied from top to bottom. Nothing is filled or invented.</p>"
        f"<dl>{facts}</dl><table><thead><tr><th>rule</th><th>action</th>"
        f'<th class="number">count</th><th class="number">share</th><th>first</th></tr></thead>'
        f"<tbody>{rows}</tbody></table><p>Settings: {settings}</p></body></html>\n"
    )


def _rule_row(rule: dict[str, Any]) -> str:
    first = "<br>".join(
        f"<small>{escape(o['timestamp'].removesuffix('T00:00:00'))} {escape(o['symbol'])} {escape(o['column'])} "
        f"{'missing' if o['value'] is None else format(o['value'], 'g')}</small>"
        for o in rule["offenders"][:3]
    )
    return (
        f"<tr><td><code>{escape(rule['name'])}</code><br><small>{escape(rule['description'])}</small></td>"
        f"<td>{escape(rule['effect'])}</td>"
        f'<td class="number{" hit" if rule["count"] else ""}">{rule["count"]:,}</td>'
        f'<td class="number">{rule["share"]:.3%}</td><td>{first or "–"}</td></tr>'
    )


def _number(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else escape(value.removesuffix("T00:00:00"))
