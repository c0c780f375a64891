from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from experiments_samples import draws, make_repository, table
from factor_experiments.cli import main
from factor_metrics import mean_test


def test_trials_become_runs_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    made = make_repository(tmp_path / "here")
    for values in draws(2, mean=0.01):
        made.results({"linear": table({"h1": values})})
        made.commit("a trial")
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
