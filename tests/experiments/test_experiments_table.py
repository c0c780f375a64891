"""`make experiments` on a terminal: every number of the summary and every parameter that differs, whole."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import Any

import pytest

from experiments_samples import Fabricated, make_repository
from stages import ROOT
from warm import path_of_programs

MODELS = [
    "linear", "lightgbm", "xgboost", "lstm", "gru", "tcn_attention", "token_transformer", "lru", "mlp", "adv_alstm",
]  # fmt: skip


def write(repository: Fabricated, models: list[str], shift: float) -> None:
    """Write settings and a summary that differ everywhere for another `shift`."""
    settings: dict[str, Any] = {
        "models": models, "stack": {"learners": models[:-1]},
        "train": {"lr": 0.001 + shift}, "zoo": {"lstm": {"hidden": 48 + int(100 * shift)}},
    }  # fmt: skip
    numbers: dict[str, Any] = {name: {"stack": 0.0512345 + shift, "low": shift - 0.02} for name in ("h1", "h5", "h20")}
    numbers["h1"]["model"] = 0.0412345 + shift
    numbers |= {"attained": 0.73155 + shift, "net_sharpe": shift - 1.60712, "break_even": 23.56209 + 100 * shift}
    (repository.path / "params.yaml").write_text(json.dumps(settings))
    (repository.path / "results" / "summary.json").write_text(json.dumps(numbers | {"promoted": int(shift > 0)}))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Fabricated:
    """A commit with ten models, and two experiments in which all differs, one with six."""
    made = make_repository(tmp_path_factory.mktemp("table") / "factorcast")
    made.environment["PATH"] = path_of_programs()
    (made.path / "results").mkdir()
    (made.path / "dvc.yaml").write_text("metrics: [results/summary.json]\n")
    write(made, MODELS, 0.0)
    made.commit("ten models")
    for name, models, shift in (("alpha-0535ae4f", MODELS[:6], 0.01), ("alpha-233a315a", [*MODELS[1:], "tft"], -0.01)):
        write(made, models, shift)
        made.run("dvc", "exp", "save", "--name", name)
        made.run("git", "checkout", "--quiet", ".")
    return made


def shown(repository: Fabricated, width: int) -> str:
    """What `make experiments` prints on a terminal of this width."""
    make = ["make", "--no-print-directory", "-o", "install", "-f", str(ROOT / "Makefile"), "experiments"]
    done = subprocess.run(
        make, cwd=repository.path, capture_output=True, text=True, check=True,
        env={**os.environ, **repository.environment, "COLUMNS": str(width), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return done.stdout


def read(said: str) -> tuple[dict[str, dict[str, str]], str]:
    """Experiment -> column -> value, over all tables; and what stands below them."""
    found: dict[str, dict[str, str]] = {}
    *tables, lists = re.split(r"\n\n(?=models$| *experiment| +\S+\.\s)", said, flags=re.MULTILINE)
    for one in tables:
        head, rule, body = re.split(r"^(-[- ]*)\n", one, flags=re.MULTILINE)
        columns = [slice(match.start(), match.end()) for match in re.finditer("-+", rule)]
        names = ["".join(line[column].strip() for line in head.splitlines()) for column in columns]
        for line in body.rstrip().splitlines():
            name, *values = (line[column].strip() for column in columns)
            found.setdefault(name, {}).update(zip(names[1:], values, strict=True))
    return found, lists


@pytest.mark.parametrize("width", [120, 80])
def test_experiments_of_ten_models_are_whole_in_the_width_of_a_terminal(repository: Fabricated, width: int) -> None:
    said = shown(repository, width)
    assert max(map(len, said.splitlines())) <= width
    found, lists = read(said)
    assert set(found) == {"workspace", "main", "alpha-0535ae4f", "alpha-233a315a"}
    numbers = ["h1.stack", "h1.low", "h1.model", "h5.stack", "h5.low", "h20.stack", "h20.low"]
    numbers += ["attained", "net_sharpe", "break_even", "promoted"]
    assert all(set(values) == {*numbers, "train.lr", "zoo.lstm.hidden"} for values in found.values())
    assert found["main"]["h1.stack"] == "0.0512"
    own = found["alpha-0535ae4f"]
    assert (own["h1.stack"], own["promoted"], own["train.lr"], own["zoo.lstm.hidden"]) == ("0.0612", "1", "0.011", "49")
    assert re.search(r"^models\n", lists, re.MULTILINE)
    assert re.search(r"alpha-0535ae4f: \['linear', 'lightgbm', [^:]*'tcn_attention'\]$", lists, re.MULTILINE)
    assert "'tft'" in lists
