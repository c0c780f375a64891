"""summary.json: the few numbers that experiments are compared by, written by DVCLive."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from dvclive.live import Live

from stages.judging.pages import StackedLabel

MOST_LABELS = 3
"""Labels in the summary, the first ones: `dvc exp show` has a column per number."""


def write_summary(
    folder: Path,
    metrics: Mapping[str, Mapping[str, float | None]],
    labels: Sequence[StackedLabel],
    promoted: bool,
) -> Path:
    """Write at most 12 numbers to a file in `folder`, and return it.

    Per label the rank IC of the stack with its lower bound and that of the best model, what the stack attained of the
    attainable at the first label, and whether it is promoted; what is undefined is left out.
    """
    live = Live(str(folder), save_dvc_exp=False, dvcyaml=None, report=None)
    for one in labels[:MOST_LABELS]:
        stack = one.subject.judged.scores()
        defined = [value for judged in one.models.values() if math.isfinite(value := judged.scores().rank_ic)]
        best = max(defined, default=math.nan)
        numbers = {"stack": stack.rank_ic, "low": stack.ci_low, "model": best}
        live.summary[one.subject.label] = {name: value for name, value in numbers.items() if math.isfinite(value)}
    attained = metrics[labels[0].subject.label].get("attained")
    if attained is not None:
        live.summary["attained"] = attained
    live.summary["promoted"] = int(promoted)
    live.make_summary()
    return Path(live.metrics_file)
