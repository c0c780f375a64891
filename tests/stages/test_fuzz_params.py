"""The short form of tests/fuzz_params.py: spoilt settings are planned, or refused in a message with their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz_params import OUTCOMES, fuzz, outcome_of
from workplace import make_workplace, smoke_document


@pytest.mark.slow
def test_spoilt_settings_are_planned_or_refused_in_a_line(tmp_path: Path) -> None:
    work = make_workplace(tmp_path / "factorcast", smoke_document())
    for stage in ("plan", "sample"):
        work.run(stage)
    found, faults = fuzz(work, rounds=30, seed=11)
    assert not faults
    assert sum(found[outcome] for outcome in OUTCOMES[:2]) == 30
    assert found["planned"]


def test_the_fuzzer_would_see_a_traceback_and_a_message_without_its_place() -> None:
    def fail(error: Exception) -> None:
        raise error

    assert outcome_of(lambda: fail(KeyError("lr")))[0] == "TRACEBACK"
    assert outcome_of(lambda: fail(FileNotFoundError(2, "No such file", "elsewhere")))[0] == "UNNAMED"
