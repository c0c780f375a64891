"""The card of a model with what it reached out of fold, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from factor_metrics.report.data import FloorRow
from factor_metrics.report.subject import Subject

HEADER = "| label | rank IC | interval | t | eff. dates | ICIR | best floor | its rank IC | difference | interval |"


def evaluated_card(
    card: str,
    num_folds: int,
    subjects: Sequence[Subject],
    metrics: Mapping[str, Mapping[str, Any]],
    floors: Sequence[FloorRow],
) -> str:
    """Return the card with a section of results out of fold, a line per label, beside the best floor.

    Parameters
    ----------
    card
        The card of the last fold's model, in Markdown.
    num_folds
        Models that were fitted, one per fold.
    subjects
        The model for every label.
    metrics
        By label: rank_ic, ci_low, ci_high, t_stat, effective_dates, icir and best_floor_rank_ic; None where undefined.
    floors
        The model beside its floors; among them the best one of every label.
    """
    beside = {(row.label, row.floor): row for row in floors}
    lines = [_line(one, metrics[one.label], beside[one.label, one.best_floor]) for one in subjects]
    first, last = subjects[0].dates[0], subjects[0].dates[-1]
    parts = [
        card.rstrip(),
        "## Results out of fold",
        f"{num_folds} folds, {str(first)[:10]} to {str(last)[:10]}: every date predicted by a model that was fitted "
        "on earlier dates, or on others purged from it; this card shows the last one.",
        "\n".join([HEADER, "|" + "---|" * (HEADER.count("|") - 1), *lines]),
        "A floor is a forecast that needs no model; the best one is that of the highest rank IC on these dates.",
    ]
    return "\n\n".join(parts) + "\n"


def _line(subject: Subject, result: Mapping[str, Any], floor: FloorRow) -> str:
    cells = [
        subject.label,
        _signed(result["rank_ic"]),
        _interval(result["ci_low"], result["ci_high"]),
        _number(result["t_stat"], ".1f"),
        _number(result["effective_dates"], ".0f"),
        _number(result["icir"], ".2f"),
        subject.best_floor,
        _signed(result["best_floor_rank_ic"]),
        _signed(floor.difference),
        _interval(floor.low, floor.high),
    ]
    return "| " + " | ".join(cells) + " |"


def _signed(value: float | None) -> str:
    return _number(value, "+.4f")


def _number(value: float | None, form: str) -> str:
    return "undefined" if value is None else format(value, form)


def _interval(low: float | None, high: float | None) -> str:
    return f"{_signed(low)} to {_signed(high)}"
