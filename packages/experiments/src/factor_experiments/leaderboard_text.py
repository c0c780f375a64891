"""The board as Markdown for a document, and as a page."""

from __future__ import annotations

from collections.abc import Sequence

from factor_experiments.compare_text import chance
from factor_experiments.leaderboard import Leaderboard, Place
from factor_metrics import ICSummary
from factor_metrics.report.page import page_of
from factor_metrics.report.tables import num, table, tr
from factor_metrics.report.text import DASH, MINUS, esc, interval, number, percent
from factor_metrics.report.views import Section

HEAD = (
    "rank",
    "forecast",
    "rank IC",
    "interval",
    "t",
    "p",
    "spread",
    "net",
    "deflated",
    "floor",
    "less floor",
    "interval",
    "less equal weights",
    "interval",
    "CPU s",
    "features",
    "settings",
)
LEFT = (0, 1, 9, 15, 16)
MOST_SETTINGS = 6


def rule_of(board: Leaderboard, label: str) -> str:
    """Return how the ranks of a label are to be read."""
    return (
        f"{board.num_dates[label]:,} dates that all forecasts have. A range of ranks says that chance would make the "
        "difference: pairs are told apart by the mean of their daily difference, p at most .05 after Holm over all "
        "pairs. Spreads are before costs, net is the mean daily return of the book after them. Deflated is the "
        "probability that the mean is above what the best of as many forecasts shows by luck. CPU seconds are those of "
        "the training, where the ledger knows them; of a stack the sum over its models."
    )


def leaderboard_markdown(board: Leaderboard) -> str:
    """Return the board as a document in Markdown; the same results always give the same bytes."""
    lines = ["# Leaderboard", "", f"Made by `make leaderboard` of the results {board.results}, data {board.data}.", ""]
    for label in board.labels:
        lines += [f"## {label}", "", *_wrapped(rule_of(board, label)), ""]
        lines += ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
        lines += [_row(place) for place in board.places if place.label == label] + [""]
    return "\n".join(lines).replace(MINUS, "-").replace(DASH, "-").rstrip() + "\n"


def _row(place: Place) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells(place)) + " |"


def _wrapped(text: str, width: int = 118) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def cells(place: Place) -> tuple[str, ...]:
    """Return the cells of a place."""
    floor, equal = place.beside_floor, place.beside_equal
    return (
        place.rank,
        place.name,
        number(place.summary.mean),
        interval(place.summary.ci_low, place.summary.ci_high, 4),
        number(place.summary.t_stat, 1),
        chance(place.summary.p_value),
        percent(place.spread, 3, sign=True),
        percent(place.net_return, 3, sign=True),
        number(place.deflated_sharpe, 2, sign=False),
        place.floor or DASH,
        *_beside(floor),
        *_beside(equal),
        number(place.cpu_seconds, 0, sign=False),
        place.features,
        _settings(place),
    )


def _beside(found: ICSummary | None) -> tuple[str, str]:
    """Return a difference with its interval."""
    return (DASH, DASH) if found is None else (number(found.mean), interval(found.ci_low, found.ci_high, 4))


def _settings(place: Place) -> str:
    entries = [f"{key} {value}" for key, value in place.settings.items()]
    more = [f"and {len(entries) - MOST_SETTINGS} more"] if len(entries) > MOST_SETTINGS else []
    return ", ".join([*entries[:MOST_SETTINGS], *more])


def leaderboard_page(board: Leaderboard) -> str:
    """Return the board as one HTML page that opens offline."""
    sections = [
        Section(
            key=f"board-{label}",
            heading=label,
            body=f'<p class="note">{esc(rule_of(board, label))}</p>'
            + table(HEAD, [_html_row(place) for place in board.places if place.label == label], text=LEFT),
        )
        for label in board.labels
    ]
    leaders = [place for place in board.places if place.first == 1 and place.label == board.labels[0]]
    names = " or ".join(place.name for place in leaders)
    return page_of(
        sections,
        title="Leaderboard",
        subtitle=f"results {board.results}, data {board.data}",
        tone="pass" if len(leaders) == 1 else "warn",
        text=f"First at {board.labels[0]}: {names}" + ("" if len(leaders) == 1 else ", not to be told apart"),
        summary="All forecasts of one revision on the same dates.",
    )


def _html_row(place: Place) -> str:
    first, *rest = cells(place)
    ready: Sequence[str] = [
        f"<td{' class=wrap' if position == max(LEFT) else ''}>{esc(cell)}</td>" if position in LEFT else num(esc(cell))
        for position, cell in enumerate(rest, 1)
    ]
    return tr(esc(first), ready)
