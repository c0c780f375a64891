"""Success thresholds: numbers of a metrics file held against limits of a thresholds file, as gates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from factor_metrics.judging.config import Threshold
from factor_metrics.judging.gates import Gate, promoted


def check_thresholds(metrics: Mapping[str, Any], thresholds: Mapping[str, Threshold]) -> tuple[Gate, ...]:
    """Return one gate per end of every threshold, in order; all must pass (`promoted`).

    Parameters
    ----------
    metrics
        Nested mappings of numbers, such as a read metrics.json; null and NaN are unmeasured.
    thresholds
        Per metric, its keys joined by dots: `{"h5.rank_ic": Threshold(minimum=0.02)}`. A metric that is not
        there has failed, with value NaN: a renamed key must not open a gate.

    Examples
    --------
    >>> gates = check_thresholds({"h5": {"rank_ic": 0.03}}, {"h5.rank_ic": Threshold(minimum=0.02)})
    >>> gates[0].passed, gates[0].rule
    (True, 'h5.rank_ic must be at least 0.02')
    """
    gates = []
    for name, threshold in thresholds.items():
        value = _measured(metrics, name)
        absent = " (not measured)" if math.isnan(value) else ""
        for limit, passed, words in (
            (threshold.minimum, threshold.minimum is not None and value >= threshold.minimum, "at least"),
            (threshold.maximum, threshold.maximum is not None and value <= threshold.maximum, "at most"),
        ):
            if limit is not None:
                rule = f"{name} must be {words} {limit:g}{absent}"
                gates.append(
                    Gate(
                        name=name,
                        passed=passed,
                        value=value,
                        threshold=float(limit),
                        rule=rule,
                        is_maximum=words == "at most",
                    )
                )
    return tuple(gates)


def format_gates(gates: Sequence[Gate]) -> str:
    """Return the gates as a plain text table, one a line, and the verdict below."""
    width = max((len(gate.full_name) for gate in gates), default=0)
    lines = [
        f"{'pass' if gate.passed else 'FAIL'}  {gate.full_name:<{width}}  {gate.value:>12,.6g}  {gate.rule}"
        + ("" if gate.passed else f"; {gate.shortfall}")
        for gate in gates
    ]
    num_failed = sum(not gate.passed for gate in gates)
    if promoted(gates):
        verdict = f"all {len(gates)} passed"
    else:
        verdict = f"{num_failed} of {len(gates)} failed" if gates else "nothing was held against a threshold"
    return "\n".join([*lines, verdict])


def exit_status(gates: Sequence[Gate]) -> int:
    """Return 0 where every gate passed (and there is one), else 1: the status a command ends with."""
    return 0 if promoted(gates) else 1


def _measured(metrics: Mapping[str, Any], name: str) -> float:
    """Return the number under dotted keys, NaN where there is none. A key may itself hold dots."""
    if name in metrics:
        value = metrics[name]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if is_number else math.nan
    for place, letter in enumerate(name):
        inner = metrics.get(name[:place]) if letter == "." else None
        if isinstance(inner, Mapping):
            value = _measured(inner, name[place + 1 :])
            if not math.isnan(value):
                return value
    return math.nan
