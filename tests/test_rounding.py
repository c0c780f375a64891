"""The line that tells a run on another CPU from a changed one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from stages.commands.rounding import LARGEST_DIFFERENCE, compare_with_commit

PATH = Path("results", "summary.json")
NUMBERS = {"h1": {"stack": 0.08, "t_stat": 12.0, "num_dates": 500, "p_value": None}, "h5": {"stack": 0.1}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with one file of code and one of metrics, both committed."""
    (tmp_path / PATH).parent.mkdir(parents=True)
    (tmp_path / PATH).write_text(json.dumps(NUMBERS))
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "All"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    return tmp_path


def write(folder: Path, horizon: str, **numbers: float | None) -> None:
    changed = NUMBERS | {horizon: NUMBERS[horizon] | numbers}
    (folder / PATH).write_text(json.dumps(changed))


def told(folder: Path) -> str | None:
    compared = compare_with_commit(folder)
    assert compared is not None
    return compared.sentence()


def test_nothing_is_said_of_the_committed_numbers(folder: Path) -> None:
    assert told(folder) is None


def test_a_rounding_is_counted_and_said_to_be_expected(folder: Path) -> None:
    write(folder, "h1", stack=0.0801, t_stat=12.6)
    assert told(folder) == (
        "2 of 5 metrics differ from the committed ones, most results/summary.json: h1.t_stat by 0.6 "
        "(relative 0.05): another CPU rounds differently, this is expected; git shows dvc.lock and results as modified"
    )


def test_a_correlation_beyond_the_bound_is_no_rounding(folder: Path) -> None:
    write(folder, "h5", stack=0.1 - 1.01 * LARGEST_DIFFERENCE)
    assert "more than rounding does to results/summary.json: h5.stack" in str(told(folder))
    write(folder, "h5", stack=None)
    compared = compare_with_commit(folder)
    assert compared is not None
    assert compared.beyond_rounding == ["results/summary.json: h5.stack"]
    write(folder, "h5", stack=0.1 - 0.99 * LARGEST_DIFFERENCE)
    assert "this is expected" in str(told(folder))


def test_other_parameters_are_not_compared_nor_is_a_folder_without_a_repository(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (folder / "params.yaml").write_text("seed: 2\n")
    assert compare_with_commit(folder) is None
    assert compare_with_commit(tmp_path_factory.mktemp("plain")) is None
