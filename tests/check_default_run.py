"""Checks of a finished default run; called by .ci/run with --run-folder (not part of make test)."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> Path:
    folder = request.config.getoption("--run-folder")
    assert folder is not None, "say which run: --run-folder"
    return folder


def metrics_of(folder: Path, stage: str) -> dict[str, Any]:
    return json.loads((folder / "results" / stage / "metrics.json").read_text())


def all_metrics(folder: Path) -> dict[str, dict[str, Any]]:
    models = sorted(path.name for path in (folder / "results" / "evaluate").iterdir())
    return {name: metrics_of(folder, f"evaluate/{name}") for name in models} | {
        "stack": metrics_of(folder, "stack")
    }


def has_signal(folder: Path) -> bool:
    return "signal: 1.0" in (folder / "data" / "dataset.yaml").read_text()


def test_the_stack_attains_most_of_what_is_attainable(folder: Path) -> None:
    if not has_signal(folder):
        pytest.skip("this market has no signal")
    assert metrics_of(folder, "stack")["h1"]["attained"] >= 0.6
    verdict = json.loads((folder / "results" / "stack" / "gates.json").read_text())
    assert verdict["promoted"], [gate["rule"] for gate in verdict["gates"] if not gate["passed"]]


def test_a_market_without_signal_shows_none_and_is_refused(folder: Path) -> None:
    if has_signal(folder):
        pytest.skip("this market has a signal")
    for name, metrics in all_metrics(folder).items():
        for horizon, values in metrics.items():
            assert values["ci_low"] <= 0 <= values["ci_high"], f"{name} {horizon}: {values}"
    assert not json.loads((folder / "results" / "stack" / "gates.json").read_text())["promoted"]


def test_a_second_repro_runs_nothing_in_five_seconds(folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    started = time.monotonic()
    again = subprocess.run(
        ["dvc", "repro"],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Running stage" not in again.stdout
    assert time.monotonic() - started < 5
