"""The champion in git tags and DVC: promoted, rolled back, listed; on a serving machine a clone and `dvc pull`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from checkout import Checkout
from factor_data import write_sums
from serve.bundle_samples import change_manifest, last_test_dates

pytestmark = pytest.mark.end_to_end
COMMAND = ("python", "-m", "stages.commands.registry")


@pytest.fixture
def checkout(copy_of_run: Checkout, tmp_path: Path) -> Checkout:
    """A finished run with a DVC remote and a bare git remote."""
    copy_of_run.run("git", "init", "--quiet", "--bare", "--initial-branch", "main", str(tmp_path / "origin.git"))
    copy_of_run.run("git", "remote", "add", "origin", str(tmp_path / "origin.git"))
    copy_of_run.run("dvc", "remote", "add", "--quiet", "--default", "store", str(tmp_path / "store"))
    copy_of_run.commit("a remote")
    return copy_of_run


def refused(checkout: Checkout, *arguments: str) -> str:
    done = checkout.run(*COMMAND, *arguments, check=False)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    return done.stderr


def listed(checkout: Checkout) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(checkout.run(*COMMAND, "list", "--json").stdout)
    return rows


def other_bundle(checkout: Checkout) -> Path:
    """A bundle with another hash."""
    folder = checkout.path / "build" / "other"
    shutil.copytree(checkout.path / "results" / "stack" / "bundle", folder)
    change_manifest(folder, lambda manifest: manifest.update(why="another"))
    (folder / "sums.json").unlink()
    write_sums(folder)
    return folder


def test_a_clone_and_dvc_pull_serve_the_champion_and_a_rollback_reaches_them(
    checkout: Checkout, tmp_path: Path
) -> None:
    assert "Nothing was promoted yet" in checkout.run(*COMMAND, "list").stdout
    assert "has not passed the gates (" in refused(checkout, "promote", "default")
    assert "must be small letters" in refused(checkout, "promote", "../other", "--unpromoted")
    assert "is no bundle" in refused(checkout, "promote", "default", "--bundle", "results/stack")
    assert "nothing of that name was promoted yet" in refused(checkout, "rollback", "default")
    said = checkout.run(*COMMAND, "promote", "default", "--unpromoted").stdout
    assert "models/default v1 is the champion. It is in the DVC remote." in said
    assert "is the only champion there was" in refused(checkout, "rollback", "default")
    assert "is the champion of default already" in refused(checkout, "promote", "default", "--unpromoted")
    checkout.run(*COMMAND, "promote", "default", "--unpromoted", "--bundle", str(other_bundle(checkout)))
    checkout.run("git", "push", "--quiet", "--follow-tags", "origin", "main")

    clone = Checkout(tmp_path / "serving")
    checkout.run("git", "clone", "--quiet", str(tmp_path / "origin.git"), str(clone.path))
    clone.run("dvc", "pull", "--quiet", "models/default")
    manifest = json.loads((clone.path / "models" / "default" / "manifest.json").read_text())
    assert manifest["why"] == "another"
    code = os.pathsep.join(str(path) for path in clone.path.glob("packages/*/src"))  # that of its commit
    clone.run("python", "-m", "factor_serve", "check", "models/default", "--unpromoted", PYTHONPATH=code)
    data, out = checkout.path / "data", clone.path / "out.parquet"
    predict = ("predict", "models/default", str(data), "--news", str(data / "news"), "--unpromoted", "--model", "all")
    date = str(last_test_dates(checkout.path / "results", "linear")[-1])[:10]
    clone.run("python", "-m", "factor_serve", *predict, "--at", date, "--out", str(out), PYTHONPATH=code)
    assert_same_bits_of_common_dates(pd.read_parquet(out), checkout.path / "results")

    said = checkout.run(*COMMAND, "rollback", "default").stdout
    assert "models/default v1 is the champion again, in the place of v2" in said
    checkout.run("git", "push", "--quiet", "--follow-tags", "origin", "main")
    clone.run("git", "pull", "--quiet")
    clone.run("dvc", "pull", "--quiet", "--force", "models/default")
    manifest = json.loads((clone.path / "models" / "default" / "manifest.json").read_text())
    assert "why" not in manifest
    assert [(row["version"], row["by"].partition(",")[0]) for row in listed(clone)] == [
        ("v1", "rollback"), ("v2", "promote"), ("v1", "promote"),
    ]  # fmt: skip
    rows = listed(checkout)
    assert [row["until"] for row in rows] == [None, rows[0]["since"], rows[1]["since"]]
    assert all(row["gates"].startswith("NOT passed: out-of-fold rows") for row in rows)
    assert "v1 is the champion already" in refused(checkout, "rollback", "default", "--to", "v1")
    assert "must be one of v1, v2" in refused(checkout, "rollback", "default", "--to", "v9")


def test_what_no_commit_has_made_is_not_promoted(checkout: Checkout) -> None:
    checkout.change_params(lambda document: document["evaluate"].update(quantiles=4))
    assert "params.yaml has changes that are not committed" in refused(checkout, "promote", "default", "--unpromoted")
    checkout.run("python", "-m", "stages.plan")
    checkout.commit("other params, whose results nobody has made")
    assert "was made by another plan than" in refused(checkout, "promote", "default", "--unpromoted")
    checkout.run("git", "revert", "--no-edit", "HEAD")
    card = next((checkout.path / "results" / "stack" / "bundle" / "models").rglob("model_card.md"))
    card.chmod(0o644)
    card.write_text("edited")
    assert "damaged, or changed after it was written" in refused(checkout, "promote", "default", "--unpromoted")
    assert not (checkout.path / "models").exists()


def assert_same_bits_of_common_dates(forecasts: pd.DataFrame, results: Path) -> None:
    """The forecasts that the DAG has made too; every model has some."""
    for model in ("linear", "lstm", "stack"):
        mine = forecasts[forecasts["model"] == model]
        path = results / "stack" if model == "stack" else results / "train" / model
        then = pd.read_parquet(path / "predictions.parquet")
        then = then[(then["segment"] == "test") & then["timestamp"].isin(mine["timestamp"].unique())]
        both = mine.merge(then.astype({"symbol": str, "label": str}), on=["timestamp", "symbol", "label"])
        assert len(both) == len(then) > 0, model
        assert (both["prediction_x"] == both["prediction_y"]).all(), model
