"""Tables of the page, and those of what is not a score of a forecast: gates, data quality, rows, facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from factor_metrics.judging.gates import Gate
from factor_metrics.report.data import QualityRule, RowCounts, finite
from factor_metrics.report.text import esc, percent, plain


def table(head: Sequence[str], body: Sequence[str], *, text: Sequence[int] = (0,), kind: str = "") -> str:
    """Return a table in its own scroll container.

    Parameters
    ----------
    head
        Column headings, not yet escaped.
    body
        Ready `<tr>` rows.
    text
        Positions of the columns that hold text; all others are aligned as numbers.
    kind
        A further class of the table.
    """
    heads = "".join(
        f'<th scope="col"{"" if position in text else " class=num"}>{esc(label)}</th>' if label else "<td></td>"
        for position, label in enumerate(head)
    )
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def tr(name: str, cells: Sequence[str], kind: str = "") -> str:
    """Return one row: a ready heading cell and ready further cells."""
    return f'<tr class="{kind}"><th scope="row">{name}</th>{"".join(cells)}</tr>'


def num(value: str) -> str:
    """Return a right-aligned cell."""
    return f'<td class="num">{value}</td>'


def pill(label: str, tone: str) -> str:
    """Return a small coloured label."""
    return f'<span class="pill {tone}">{esc(label)}</span>'


def gates_html(gates: Sequence[Gate]) -> str:
    """Return the table of promotion gates: target beside actual, and how many were met."""
    body = [
        tr(
            esc(gate.full_name),
            [
                f"<td>{pill('passed', 'pass') if gate.passed else pill('FAILED', 'fail')}</td>",
                num(plain(gate.value)),
                num(plain(gate.threshold)),
                f'<td class="wrap">{esc(gate.rule)}{esc("; " + gate.shortfall) if gate.shortfall else ""}</td>',
            ],
        )
        for gate in gates
    ]
    if not body:
        return ""
    passed, measured = (
        sum(gate.passed for gate in gates),
        sum(finite(gate.value) is not None for gate in gates),
    )
    note = f"{passed} of {len(gates)} targets met, {len(gates) - passed} missed"
    if measured < len(gates):
        note += f", of these {len(gates) - measured} because nothing could be measured"
    return f'<p class="note">{note}.</p>' + table(["Gate", "Status", "Actual", "Target", "Rule"], body, text=(0, 1, 4))


def quality_html(quality: Sequence[QualityRule]) -> str:
    """Return the table of data quality rules."""
    body = [
        tr(
            esc(item.rule),
            [
                f'<td class="wrap">{esc(item.description)}</td>',
                f"<td>{esc(item.action)}</td>",
                num(f"{item.count:,}"),
                num(percent(item.share, 2)),
            ],
            "" if item.count else "floor",
        )
        for item in quality
    ]
    return table(["Rule", "Description", "Action", "Count", "Share"], body, text=(0, 1, 2)) if body else ""


def facts_html(facts: Mapping[str, str]) -> str:
    """Return the facts of the run as a grid; a long text takes a whole line."""
    items = "".join(
        f"<div{' class=wide' if len(str(value)) > 60 else ''}><dt>{esc(key)}</dt><dd>{esc(value)}</dd></div>"
        for key, value in facts.items()
    )
    return f'<dl class="facts">{items}</dl>' if items else ""


def origin_html(origin: Mapping[str, str], parameters: Mapping[str, str]) -> str:
    """Return the digests as a list and, folded, every parameter, by which a page that was sent can be traced."""
    lines = "\n".join(f"{name}: {value}" for name, value in parameters.items())
    listed = f"<details><summary>Parameters</summary><pre>{esc(lines)}</pre></details>" if parameters else ""
    return facts_html(origin) + listed


def conditions_html(universe: str, counts: Sequence[RowCounts]) -> str:
    """Return how the universe was picked and what the label rule leaves out, with the number of rows."""
    if not universe and not counts:
        return ""
    parts = []
    if universe:
        parts.append(
            '<p class="note">How the symbols were picked, in the words of the data set. A universe that was picked '
            f"with knowledge of the future makes every number too good.</p><blockquote>{esc(universe)}</blockquote>"
        )
    if counts:
        parts.append(
            '<p class="note">A label needs a price at entry and at exit. A symbol that is suspended or missing then is '
            "forecast but not scored. Of one that stops in between the rule of the label decides: where it drops "
            "such rows, every number on this page is conditional on survival to the exit.</p>"
        )
        head = [
            "Label",
            "Bars on these dates",
            "Outside the universe",
            "No forecast",
            "No label",
        ]
        body = [
            tr(
                esc(item.label),
                [
                    num(f"{item.bars:,}"),
                    num(_counted(item.bars - item.in_universe, item.bars)),
                    num(_counted(item.without_prediction, item.in_universe)),
                    num(_counted(item.without_price, item.in_universe)),
                    num(_counted(item.delisted, item.in_universe)),
                    num(_counted(item.after_the_end, item.in_universe)),
                    num(_counted(item.scored, item.in_universe)),
                    f'<td class="wrap">{esc(item.rule)}</td>',
                ],
            )
            for item in counts
        ]
        parts.append(
            table([*head, "Decided by delisting", "After the data ends", "Scored", "The label"], body, text=(0, 8))
        )
    return "".join(parts)


def _counted(count: int, total: int) -> str:
    """Return a count with its share of the total."""
    return f"{count:,} ({percent(count / total if total else None)})"
