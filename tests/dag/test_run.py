"""The DAG as users run it: dvc repro, small changes, queued experiments. On the smoke preset, in copies."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import load_file

from checkout import Checkout, make_checkout, run_queue, stages_that_ran
from factor_experiments.git import Git
from factor_experiments.ledger import Ledger
from factor_experiments.lock import lock_outs
from factor_experiments.revision import flattened
from factor_experiments.stored import folder_digest
from stages.params.reading import read_document
from stages.planning.plots import JUDGED

pytestmark = pytest.mark.end_to_end


def test_the_report_and_every_result_is_there(finished_run: Checkout) -> None:
    results = finished_run.path / "results"
    evaluated = sorted((results / "evaluate").iterdir())
    assert evaluated
    for name in ("stack", *(folder.name for folder in evaluated)):
        assert 50_000 < (results / "report" / name / "report.html").stat().st_size < 2_000_000
    for folder in evaluated:
        card = (results / "report" / folder.name / "model_card.md").read_text()
        assert "## Results out of fold" in card
    assert (results / "split" / "quality.html").exists()
    assert json.loads((results / "stack" / "gates.json").read_text())["gates"]
    predictions = pd.read_parquet(results / "train" / "lstm" / "predictions.parquet")
    assert list(predictions.columns) == ["timestamp", "symbol", "fold", "segment", "label", "prediction"]
    assert set(predictions["segment"].unique()) == {"valid", "test"}
    assert predictions["prediction"].notna().all()
    for fold in sorted((results / "train" / "lstm" / "folds").iterdir()):
        assert {path.name for path in fold.iterdir()} >= {"config.json", "model.safetensors", "metadata.json"}
        metadata = json.loads((fold / "metadata.json").read_text())
        scores = metadata["valid_rank_ic"]
        assert set(scores) == set(metadata["labels"])
        assert metadata["heads"] == ["h1", "h5", "h20"]
        assert scores[str(metadata["best_head"])] == max(scores.values()), "the head that did best on valid dates"
        assert len(load_file(fold / "model.safetensors")["head.weight"]) == len(scores), "a head per label"


def test_the_reports_open_offline(finished_run: Checkout) -> None:
    for path in (finished_run.path / "results").rglob("report.html"):
        page = path.read_text()
        assert not re.findall(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["']?(?:https?:)?//""", page)
        assert page.count('<path class="line') > 5


def test_the_ic_in_and_out_of_sample_was_reported_while_networks_trained(finished_run: Checkout) -> None:
    for model in ("lstm", "tcn_attention", "token_transformer"):
        folder = finished_run.path / ".live" / model / "fold_00"
        history = json.loads((folder / "history.json").read_text())
        assert json.loads((folder / "latest.json").read_text()) == history[-1]
        assert [report["reason"] for report in history[-2:]] == ["steps", "epoch"]
        for scores in history[-1]["targets"].values():
            assert scores["in_sample"]["num_dates"] > scores["out_of_sample"]["num_dates"] > 0
        assert len((folder / "system.jsonl").read_text().splitlines()) == len(history)


def test_a_second_repro_runs_nothing_and_leaves_git_clean(finished_run: Checkout) -> None:
    again = finished_run.run("dvc", "repro")
    assert not stages_that_ran(again.stdout)
    assert finished_run.run("git", "status", "--porcelain").stdout == ""


def lock_of_its_stages(run: Checkout) -> str:
    """dvc.lock without what DVC keeps in it of models that the committed run had and this one has not."""
    lock = yaml.safe_load((run.path / "dvc.lock").read_text())
    models = ("", *read_document(run.path / "params.yaml")["models"])
    lock["stages"] = {name: block for name, block in lock["stages"].items() if name.partition("@")[2] in models}
    return yaml.safe_dump(lock, sort_keys=False)


def test_the_lock_has_a_line_per_folder_and_the_ledger_knows_it(finished_run: Checkout) -> None:
    text = lock_of_its_stages(finished_run)
    assert len(text) < 24_000, "six models: a third of what a line per file took"
    outs = lock_outs(text, ("evaluate@", "stack"), "dvc.lock")
    del outs["results/summary.json"]
    assert len(outs) == 7, "a folder per model and the stack's"
    for path, digest in outs.items():
        assert folder_digest(finished_run.path / path) == digest
    assert Ledger(Git(finished_run.path)).tables().keys() == set(outs.values())


def test_every_plot_is_drawn_and_none_of_one_point(finished_run: Checkout) -> None:
    drawn = json.loads(finished_run.run("dvc", "plots", "show", "--json").stdout)
    assert "errors" not in drawn
    plots = {
        path.removeprefix("results/"): plot["content"]["data"]["values"] for path, (plot,) in drawn["data"].items()
    }
    models = read_document(finished_run.path / "params.yaml")["models"]
    assert plots.keys() == {f"evaluate/{model}/{table}" for model in models for table in JUDGED} | {
        "stack/rank_ic.csv",
        "stack/models.csv",
    }
    assert min(map(len, plots.values())) > 1
    bars = [row["name"] for row in plots["evaluate/lstm/windows.csv"]]
    assert len(set(bars)) == len(bars), "a bar per label and fold"


READ_BY_TOOLS = """
import dvc.api, json
shown = dvc.api.exp_show()[0]
print(json.dumps([dvc.api.metrics_show(), dvc.api.params_show(), shown], default=str))
"""


def test_the_api_of_dvc_reads_metrics_and_params_as_they_were_written(finished_run: Checkout) -> None:
    """Studio and the extension take what it takes: every number of the summary under a key of its own."""
    told = finished_run.run("python", "-c", READ_BY_TOOLS).stdout.splitlines()[-1]
    metrics, params, shown = json.loads(told)
    assert metrics == json.loads((finished_run.path / "results" / "summary.json").read_text())
    assert params == read_document(finished_run.path / "params.yaml")
    numbers = flattened(metrics)
    assert {"h1.stack", "net_sharpe", "promoted"} <= numbers.keys()
    assert numbers.keys() <= shown.keys()
    assert {type(value) for value in numbers.values()} <= {int, float}
    assert "zoo.linear.alpha" in shown


def test_another_copy_gives_the_same_bytes(finished_run: Checkout, tmp_path: Path) -> None:
    """Every file that DVC hashes, up to a ridge, trees and a network and what they are judged by.

    What leads to the network is done by processes as users' are, and on another number of threads than the first copy.
    """
    other = make_checkout(tmp_path / "elsewhere", cold=True)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "3")
    other.run("dvc", "repro", "evaluate@lstm", **threads)
    Checkout(other.path).run("dvc", "repro", "evaluate@lightgbm", "train@linear", **threads)
    judged = [f"{stage}@{model}" for stage in ("train", "evaluate") for model in ("lightgbm", "lstm")]
    ran = ["plan", "split", "tokenize", "train@linear", *judged]
    locks = [yaml.safe_load((copy.path / "dvc.lock").read_text())["stages"] for copy in (finished_run, other)]
    for name in ran:
        assert locks[0][name] == locks[1][name], name


def test_queued_experiments_run_their_own_code_and_can_be_shown_compared_and_applied(
    copy_of_run: Checkout,
) -> None:
    # One model alone, and a sweep of it as the README has them.
    copy_of_run.change_params(lambda params: params.update(models=["linear"]))
    copy_of_run.run("dvc", "repro")
    copy_of_run.commit("one model")
    sweep = ["-S", "zoo.linear.alpha=1.0,3.0", "-S", "split.folds.embargo=3"]
    copy_of_run.run("dvc", "exp", "run", *sweep, "--queue")
    run_queue(copy_of_run, tasks=2, jobs=2)
    names = copy_of_run.run("dvc", "exp", "list", "--name-only").stdout.split()
    assert len(names) == 2
    shown = copy_of_run.run("dvc", "exp", "show", "--csv").stdout
    assert all(name in shown for name in names)
    difference = json.loads(copy_of_run.run("dvc", "exp", "diff", names[0], names[1], "--json").stdout)
    assert set(difference["params"]["params.yaml"]) == {"zoo.linear.alpha"}
    changed = json.loads(copy_of_run.run("dvc", "metrics", "diff", *names, "--json").stdout)
    assert changed["results/summary.json"]
    assert all({"old", "new", "diff"} <= number.keys() for number in changed["results/summary.json"].values())
    plotted = json.loads(copy_of_run.run("dvc", "plots", "diff", *names, "--json").stdout)
    curves = plotted["data"]["results/stack/rank_ic.csv"][0]["content"]["data"]["values"]
    assert {row["rev"] for row in curves} == set(names), "both curves in one plot"
    compared = copy_of_run.run("python", "-m", "factor_experiments.cli", "compare", *names, "--json").stdout
    assert {one["status"] for one in json.loads(compared)["forecasts"]} == {"compared"}
    copy_of_run.run("dvc", "exp", "apply", names[0])
    # The ledger of the copy knows the evaluations of experiments, whose own copies are deleted, also without these.
    copy_of_run.run("dvc", "exp", "remove", *names)
    ledger = [(one.experiment, one.name) for one in Ledger(Git(copy_of_run.path)).read()]
    assert {(name, forecast) for name in names for forecast in ("linear", "stack")} <= set(ledger)
    assert "params.yaml" in copy_of_run.run("git", "status", "--porcelain").stdout
    assert not stages_that_ran(copy_of_run.run("dvc", "repro").stdout)


def test_a_stage_imports_the_packages_of_its_own_copy(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "factorcast")
    script = (
        "import stages, factor_data, factor_metrics, factor_models; "
        "print(*(m.__file__ for m in (factor_data, factor_metrics, factor_models)), sep='\\n')"
    )
    files = checkout.run("python", "-c", script).stdout.split()
    assert len(files) == 3
    assert all(Path(file).is_relative_to(checkout.path) for file in files)


def test_a_temporary_experiment_runs_the_code_of_its_workspace(copy_of_run: Checkout) -> None:
    marker = copy_of_run.path / "packages" / "metrics" / "src" / "factor_metrics" / "__init__.py"
    marker.write_text(marker.read_text() + '\nimport sys as _sys\nprint("imported from", __file__, file=_sys.stderr)\n')
    run = copy_of_run.run("dvc", "exp", "run", "--temp", "evaluate@linear")
    places = re.findall(r"imported from (\S+)", run.stderr + run.stdout)
    assert places
    assert all("exps" in place for place in places), "the experiment imported the packages of another copy"


def test_real_data_replace_the_simulated_ones_in_one_command(copy_of_run: Checkout, tmp_path: Path) -> None:
    bars = pd.concat(pd.read_parquet(path) for path in sorted((copy_of_run.path / "data" / "bars").iterdir()))
    source = tmp_path / "mine"
    source.mkdir()
    bars.drop(columns="adj_close").to_parquet(source / "bars.parquet")
    (source / "readme.csv").write_text("a,b\n1,2\n")
    done = copy_of_run.run("python", "-m", "stages.commands.use_data", str(source))
    assert "left out readme.csv" in done.stdout
    assert "survivorship" in (copy_of_run.path / "data" / "dataset.yaml").read_text()
    assert "deps" not in (copy_of_run.path / "data.dvc").read_text()
    copy_of_run.run("dvc", "repro", "split")
    assert not (copy_of_run.path / "simulated").exists(), "own data have no stage that writes a market"
    copy_of_run.commit("my own data")
    copy_of_run.run("python", "-m", "stages.commands.use_data", "--sample")
    shutil.rmtree(source)
    ran = stages_that_ran(copy_of_run.run("dvc", "repro").stdout)
    assert not ran, "the lock came back with the market"


def weights_of(checkout: Checkout, model: str) -> dict[str, np.ndarray]:
    folders = sorted((checkout.path / "results" / "train" / model / "folds").iterdir())
    return {
        f"{folder.name}/{name}": values
        for folder in folders
        for name, values in load_file(folder / "model.safetensors").items()
    }


@pytest.mark.parametrize(
    ("zero_stage", "processes", "tolerance"),
    [(2, 1, 0.0), (0, 1, 2e-5), (3, 2, 2e-5)],
)
def test_processes_and_zero_stage_do_not_change_the_weights(
    zero_stage: int, processes: int, tolerance: float, copy_of_run: Checkout
) -> None:
    """The finished run is ZeRO 2 in one process; the same again is identical, others agree to 2e-5 absolute."""
    before = weights_of(copy_of_run, "lstm")
    copy_of_run.change_params(lambda params: params["train"]["zero"].update(stage=zero_stage))
    done = copy_of_run.stage("train", "lstm", FACTORCAST_PROCESSES=str(processes))
    assert done.returncode == 0, done.stderr[-2000:]
    after = weights_of(copy_of_run, "lstm")
    assert before.keys() == after.keys()
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, rtol=0, atol=tolerance, err_msg=name)


def test_a_batch_that_processes_cannot_share_is_refused(copy_of_run: Checkout) -> None:
    refused = copy_of_run.stage("train", "lstm", FACTORCAST_PROCESSES="3")
    assert refused.returncode == 2
    assert "train.batch_dates: 20 must divide by 3 processes" in refused.stderr


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
