"""Success thresholds: what passes, what fails, what was never measured, and the status a command ends with."""

from __future__ import annotations

import math
from typing import Any

import pytest

from factor_metrics import Threshold, check_thresholds, exit_status, format_gates

METRICS = {
    "h1": {"rank_ic": 0.03, "t_stat": None},
    "h5": {"rank_ic": 0.01, "gap": 0.06},
    "num_rows": 24_492,
    "a.b": 1.0,
}


def test_each_end_is_a_gate_of_its_own() -> None:
    gates = check_thresholds(
        METRICS,
        {
            "h1.rank_ic": Threshold(minimum=0.02, maximum=0.05),
            "h5.rank_ic": Threshold(minimum=0.02),
            "h5.gap": Threshold(maximum=0.05),
            "num_rows": Threshold(minimum=10_000),
            "a.b": Threshold(minimum=1.0),
        },
    )
    assert [gate.passed for gate in gates] == [True, True, False, False, True, True]
    assert gates[3].rule == "h5.gap must be at most 0.05"
    assert exit_status(gates) == 1
    assert exit_status(gates[:2]) == 0


@pytest.mark.parametrize("name", ["h1.t_stat", "h1.missing", "h9.rank_ic", "h1", "", "h1.rank_ic.deep"])
def test_what_was_not_measured_has_failed(name: str) -> None:
    (gate,) = check_thresholds(METRICS, {name: Threshold(maximum=1e9)})
    assert not gate.passed
    assert math.isnan(gate.value)
    assert gate.rule.endswith("(not measured)")


def test_the_table_shows_every_gate_and_the_verdict() -> None:
    gates = check_thresholds(METRICS, {"h1.rank_ic": Threshold(minimum=0.02), "h5.rank_ic": Threshold(minimum=0.02)})
    lines = format_gates(gates).splitlines()
    assert lines[0].startswith("pass  h1.rank_ic")
    assert lines[1].startswith("FAIL  h5.rank_ic")
    assert lines[2] == "1 of 2 failed"
    assert format_gates(gates[:1]).endswith("all 1 passed")


def test_no_threshold_is_no_success() -> None:
    assert exit_status(check_thresholds(METRICS, {})) == 1
    assert format_gates(()) == "nothing was held against a threshold"


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ({}, "needs a finite minimum or maximum, got None and None"),
        ({"minimum": math.nan}, "needs a finite minimum or maximum, got nan"),
        ({"minimum": 2.0, "maximum": 1.0}, "minimum must be at most maximum, got 2.0 and 1.0"),
    ],
)
def test_impossible_thresholds_are_refused(ends: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Threshold(**ends)
