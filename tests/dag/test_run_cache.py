"""DVC's run cache and the last good results: what was computed once is not computed again, and nothing is lost."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from checkout import Checkout, run_queue

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]


def trainings(output: str) -> list[str]:
    return re.findall(r"> python -m stages.train (\w+)", output)


@pytest.fixture(scope="module")
def one_model(finished_run: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A finished run of the linear model alone, with a penalty of 10."""
    path = tmp_path_factory.mktemp("cache") / "factorcast"
    shutil.copytree(finished_run.path, path, symlinks=True)
    checkout = Checkout(path)
    checkout.change_params(lambda params: params.update(models=["linear"]))
    set_alpha(checkout, 10.0)
    checkout.run("dvc", "repro")
    checkout.commit("one model")
    return checkout


def set_alpha(checkout: Checkout, alpha: float) -> None:
    checkout.change_params(lambda params: params["zoo"]["linear"].update(alpha=alpha))


def test_a_sweep_that_goes_back_trains_each_value_once(one_model: Checkout) -> None:
    ran = []
    for alpha in (3.0, 30.0, 3.0, 10.0):
        set_alpha(one_model, alpha)
        ran += trainings(one_model.run("dvc", "repro").stdout)
    assert ran == ["linear", "linear"], "3 and 30; 3 again and the 10 of the first run come from the cache"
    assert one_model.run("git", "status", "--porcelain", "--", "results").stdout == ""


def test_two_queued_experiments_that_share_a_model_train_it_once(one_model: Checkout) -> None:
    """Both change the evaluation of a model of alpha 7."""
    for bootstrap in (150, 160):
        changes = ["-S", "zoo.linear.alpha=7.0", "-S", f"evaluate.bootstrap={bootstrap}"]
        one_model.run("dvc", "exp", "run", *changes, "--queue")
    run_queue(one_model, tasks=2)
    logs = "".join(path.read_text() for path in Path(one_model.path, ".dvc").rglob("*.out"))
    assert trainings(logs) == ["linear"]


def results(checkout: Checkout) -> dict[str, bytes]:
    folder = checkout.path / "results"
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "plan" not in path.parts
    }


def test_a_refused_run_has_deleted_nothing(one_model: Checkout) -> None:
    before = results(one_model)
    one_model.change_params(lambda params: params["train"].update(learning_rate=0.1))
    try:
        refused = one_model.run("dvc", "repro", check=False)
        assert refused.returncode != 0
        assert "train.learning_rate: unknown key" in refused.stderr
        assert "Nothing was changed." in refused.stderr
        assert results(one_model) == before
    finally:
        one_model.run("git", "checkout", "--quiet", "params.yaml")


def test_what_a_failed_and_a_killed_run_took_away_comes_back(one_model: Checkout) -> None:
    before = results(one_model)
    stage = one_model.path / "stages" / "fitting" / "tabular.py"
    source = stage.read_text()
    fit = "        set_seed(self.params.seed)\n        model = build_model"
    assert fit in source
    for death in (
        'raise ValueError("failed half way")',
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    ):
        stage.write_text(source.replace(fit, f"        {death}\n{fit}"))
        failed = one_model.run("dvc", "repro", check=False)
        assert failed.returncode != 0
        assert not (one_model.path / "results" / "train" / "linear" / "predictions.parquet").exists()
        stage.write_text(source)
        one_model.run("python", "-m", "stages.commands.restore")
        assert results(one_model) == before
    assert not trainings(one_model.run("dvc", "repro").stdout)
    assert one_model.run("git", "status", "--porcelain").stdout == ""


def test_a_clone_that_pulls_is_up_to_date_after_models_were_narrowed(one_model: Checkout, tmp_path: Path) -> None:
    remote, clone = tmp_path / "remote", tmp_path / "clone"
    one_model.run("dvc", "remote", "add", "--local", "--force", "--default", "store", str(remote))
    one_model.run("dvc", "push")
    one_model.run("git", "clone", "--quiet", ".", str(clone))
    other = Checkout(clone)
    other.run("dvc", "remote", "add", "--local", "--default", "store", str(remote))
    other.run("dvc", "pull")
    assert "up to date" in other.run("dvc", "status").stdout
    assert not re.findall(r"Running stage", other.run("dvc", "repro").stdout)
