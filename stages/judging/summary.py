"""summary.json: the few numbers that experiments are compared by, written by DVCLive."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from dvclive.live import Live

from stages.judging.pages import StackedLabel

MOST_LABELS = 3
"""Labels in the summary, the first ones: `dvc exp show` has a column per number."""


OF_FIRST = ("attained", "net_sharpe", "break_even")
"""Numbers of the first label that stand beside the labels."""


def write_summary(
    folder: Path,
    metrics: Mapping[str, Mapping[str, float | None]],
    labels: Sequence[StackedLabel],
    promoted: bool,
) -> Path:
    """Write at most 12 numbers to a file in `folder`, and return it.

    Per label the rank IC of the stack and its lower bound; at the first label also that of the best model, what the
    stack attained of the attainable, its net Sharpe ratio and its break-even cost; and whether it is promoted. What is
    undefined is left out.
    """
    live = Live(str(folder), save_dvc_exp=False, dvcyaml=None, report=None)
    for one in labels[:MOST_LABELS]:
        stack = one.subject.judged.scores()
        defined = [value for judged in one.models.values() if math.isfinite(value := judged.scores().rank_ic)]
        best = max(defined, default=math.nan)
        numbers = {"stack": stack.rank_ic, "low": stack.ci_low, **({"model": best} if one is labels[0] else {})}
        live.summary[one.subject.label] = {name: value for name, value in numbers.items() if math.isfinite(value)}
    first = metrics[labels[0].subject.label]
    for name in OF_FIRST:
        if (number := first.get(name)) is not None:
            live.summary[name] = number
    live.summary["promoted"] = int(promoted)
    live.make_summary()
    return Path(live.metrics_file)
