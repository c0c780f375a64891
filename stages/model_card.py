"""The card of a model with what it reached out of fold: the card that train wrote, and results beside floors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from factor_metrics.report import FloorRow
from stages.report_data import Subject

HEADER = "| horizon | rank IC | interval | t | ICIR | best floor | its rank IC | difference | interval |"


def evaluated_card(
    folds: Path,
    subjects: Sequence[Subject],
    metrics: Mapping[str, Mapping[str, Any]],
    floors: Sequence[FloorRow],
) -> str:
    """The card of the last fold's model, of all in `folds`, with the out-of-fold results of the whole walk."""
    models = sorted(folds.glob("fold_*"))
    beside = {(row.horizon, row.floor): row for row in floors}
    lines = [_line(one, metrics[f"h{one.horizon}"], beside[one.horizon, one.best_floor]) for one in subjects]
    first, last = subjects[0].dates[0], subjects[0].dates[-1]
    parts = [
        (models[-1] / "model_card.md").read_text(encoding="utf-8").rstrip(),
        "## Results out of fold",
        f"{len(models)} folds, {str(first)[:10]} to {str(last)[:10]}: every date predicted by a model that was fitted "
        "on earlier dates, or on others purged from it; this card shows the last one.",
        "\n".join([HEADER, "|" + "---|" * (HEADER.count("|") - 1), *lines]),
        "A floor is a forecast that needs no model; the best one is that of the highest rank IC on these dates.",
    ]
    return "\n\n".join(parts) + "\n"


def _line(subject: Subject, result: Mapping[str, Any], floor: FloorRow) -> str:
    cells = [
        str(subject.horizon),
        signed(result["rank_ic"]),
        interval(result["ci_low"], result["ci_high"]),
        f"{result['t_stat']:.1f}",
        f"{result['icir']:.2f}",
        subject.best_floor,
        signed(result["best_floor_rank_ic"]),
        signed(floor.difference),
        interval(floor.low, floor.high),
    ]
    return "| " + " | ".join(cells) + " |"


def signed(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.4f}"


def interval(low: float | None, high: float | None) -> str:
    return f"{signed(low)} to {signed(high)}"
