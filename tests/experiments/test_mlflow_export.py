from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from experiments_samples import Fabricated, draws, make_repository, table
from factor_experiments.cli import main
from factor_metrics import mean_test


@pytest.fixture
def made(tmp_path: Path) -> Fabricated:
    made = make_repository(tmp_path / "here")
    for values in draws(2, mean=0.01):
        made.results({"linear": table({"h1": values})})
        made.commit("a trial")
    return made


class Refused(Exception):
    """The error of a store that takes nothing."""


class Client:
    """What is asked of MLflow's client, kept in memory; after `most` batches the store is full."""

    runs: ClassVar[dict[str, dict[str, Any]]] = {}
    most = 1000

    def __init__(self, tracking_uri: str) -> None:
        self.store = tracking_uri

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id=name) if self.runs else None

    def create_experiment(self, name: str) -> str:
        return name

    def search_runs(self, experiments: list[str], wanted: str, max_results: int) -> list[str]:
        key, value = wanted.removeprefix("tags.").split(" = ")
        found = [name for name, run in self.runs.items() if run["tags"].get(key.strip("`")) == value.strip("'")]
        return found[:max_results]

    def create_run(self, experiment: str, start_time: int, tags: dict[str, str]) -> Any:
        name = f"run {len(self.runs)}"
        self.runs[name] = {"tags": dict(tags), "metrics": {}, "params": {}, "ended": None, "begun": start_time}
        return SimpleNamespace(info=SimpleNamespace(run_id=name))

    def log_batch(self, run: str, metrics: Any = (), params: Any = (), tags: Any = ()) -> None:
        if Client.most <= 0:
            raise Refused("the disk is full\nand so on")
        Client.most -= 1
        for name, given in (("metrics", metrics), ("params", params), ("tags", tags)):
            self.runs[run][name] |= {one.key: one.value for one in given}

    def set_terminated(self, run: str, status: str, end_time: int) -> None:
        self.runs[run]["ended"] = status, end_time


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> type[Client]:
    """The modules that the export imports; MLflow itself is in an environment of its own."""
    pair = [lambda key, value, *when: SimpleNamespace(key=key, value=value)] * 3
    modules = {
        "mlflow": {"MlflowClient": Client},
        "mlflow.entities": dict(zip(("Metric", "Param", "RunTag"), pair, strict=True)),
        "mlflow.exceptions": {"MlflowException": Refused},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(Client, "runs", {})
    monkeypatch.setattr(Client, "most", 1000)
    return Client


def test_the_export_asks_a_store_for_what_it_has_and_goes_on_after_it_was_full(
    made: Fabricated, client: type[Client], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["-C", str(made.path), "mlflow", "a store", "--offline"]
    client.most = 3  # the second run has its numbers, and not the tag by which it is found
    assert main(command) == 2
    assert "MLflow's store a store: the disk is full" in capsys.readouterr().err
    client.most = 1000
    assert main(command) == 0
    assert "has 2 trials as runs of factorcast, 1 of them new" in capsys.readouterr().out
    assert [run["ended"] is not None for run in client.runs.values()] == [True, False, True]
    whole = [run for run in client.runs.values() if run["ended"]]
    assert {run["ended"][0] for run in whole} == {"FINISHED"}
    for run, values in zip(whole, draws(2, mean=0.01), strict=True):
        test = mean_test(values)
        expected = dict(zip(("rank_ic", "rank_ic_low", "rank_ic_high", "t"),
                            (test.mean, *test.interval(), test.t_stat), strict=True))  # fmt: skip
        for name, value in expected.items():
            assert run["metrics"][f"h1.{name}"] == pytest.approx(value, abs=2e-3 if name == "t" else 1e-5)
        assert run["tags"]["factorcast.commit"] == made.git.commit("HEAD" if run is whole[1] else "HEAD~1")
        assert run["begun"] == run["ended"][1]
    assert main(command) == 0
    assert "0 of them new" in capsys.readouterr().out
    assert len(client.runs) == 3


def test_trials_become_runs_once_in_mlflow_itself(
    made: Fabricated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    command = ["-C", str(made.path), "mlflow", store, "--offline"]
    assert main(command) == 0
    assert "has 2 trials as runs of factorcast, 2 of them new" in capsys.readouterr().out
    assert main(command) == 0
    assert "0 of them new" in capsys.readouterr().out
    client = mlflow.MlflowClient(tracking_uri=store)
    (experiment,) = [one for one in client.search_experiments() if one.name == "factorcast"]
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    found = sorted(run.data.metrics["h1.rank_ic"] for run in runs)
    np.testing.assert_allclose(found, sorted(values.mean() for values in draws(2, mean=0.01)), atol=1e-5)
    low, _ = mean_test(draws(2, mean=0.01)[0]).interval()
    assert any(abs(run.data.metrics["h1.rank_ic_low"] - low) < 1e-5 for run in runs)
    assert all(run.data.tags["factorcast.commit"] for run in runs)


def test_without_mlflow_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    made = make_repository(tmp_path / "here")
    made.commit("nothing")
    assert main(["-C", str(made.path), "mlflow", "sqlite:///x.db", "--offline"]) == 2
    assert "pip install 'mlflow-skinny>=2.14'" in capsys.readouterr().err
