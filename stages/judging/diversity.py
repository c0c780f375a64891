"""What each model adds to the stack of a label: the same stack without it, nested in time as the whole one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from factor_metrics import Evaluation, EvaluationConfig, OrderedMatrix, paired_difference, rank_ic
from factor_metrics.report import Contribution
from factor_models import Members, StackConfig, StackResult, stack_members


def rank_ics_without(
    members: Members, stack: StackConfig, purge: int, outcome: OrderedMatrix, min_symbols: int
) -> NDArray[np.float64]:
    """Return (num_models, num_dates) rank IC of the stack without each model; NaN where there is no other.

    `outcome` (num_dates, num_symbols) is that of the rows of `members`. Weights are learned again without the model.
    """
    if members.num_models == 1:
        return np.full((1, len(outcome)), np.nan)
    others = (stack_members(members, stack, purge, without=place).prediction for place in range(members.num_models))
    return np.stack([rank_ic(one.reshape(outcome.shape), outcome, min_symbols) for one in others])


def contributions(
    stack: Evaluation,
    models: Mapping[str, Evaluation],
    without: NDArray[np.float64],
    weights: StackResult,
    present: Sequence[float],
    overlap: int,
    config: EvaluationConfig,
) -> tuple[Contribution, ...]:
    """Return per model the stack less the stack without it, paired by date, with its interval."""
    result = []
    for place, (name, judged) in enumerate(models.items()):
        gained = paired_difference(
            stack.rank_ic, without[place], overlap, config.confidence, config.bootstrap, config.seed
        )
        known = without[place][np.isfinite(without[place])]
        result.append(
            Contribution(
                name=name,
                weight=float(weights.weights[:, place].mean()),
                present=present[place],
                rank_ic=judged.rank_ic_summary.mean,
                without=float(known.mean()) if len(known) else float("nan"),
                difference=gained.mean,
                low=gained.ci_low,
                high=gained.ci_high,
            )
        )
    return tuple(result)
