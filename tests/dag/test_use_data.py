"""make use-data: any layout takes the place of the simulated market; bad input changes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from checkout import Checkout, make_checkout
from factor_data import read_bars
from layout_samples import WRITERS, long_frame


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy with a small data folder in place, for the tests to copy."""
    checkout = make_checkout(tmp_path_factory.mktemp("fresh") / "factorcast")
    (checkout.path / "data" / "bars").mkdir(parents=True)
    long_frame().to_parquet(checkout.path / "data" / "bars" / "old.parquet")
    return checkout


@pytest.mark.parametrize(("layout", "options"), [("symbol", []), ("csmd", []), ("day", ["--factors", "0,2"])])
def test_any_layout_takes_the_place_of_the_data(
    layout: str, options: list[str], fresh: Checkout, tmp_path: Path
) -> None:
    shutil.copytree(fresh.path, tmp_path / "copy", symlinks=True)
    checkout = Checkout(tmp_path / "copy")
    (tmp_path / "mine").mkdir()
    WRITERS[layout](tmp_path / "mine")
    done = checkout.run("python", "-m", "stages.commands.use_data", str(tmp_path / "mine"), *options)
    assert "data/ now holds 5 bars of 2 symbols, 2020-01-02" in done.stdout
    assert "survivorship" in yaml.safe_load((checkout.path / "data" / "dataset.yaml").read_text())["universe"]
    assert "deps" not in (checkout.path / "data.dvc").read_text()
    panel = read_bars(checkout.path / "data")
    assert panel.num_rows == 5
    assert ("2" in panel.columns, "1" in panel.columns) == (layout == "day", False)
    assert not list(checkout.path.glob(".data*"))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (None, "no such file or folder"),
        (pd.concat([long_frame(), long_frame().tail(1)]), "1 duplicate (symbol, timestamp)"),
        (long_frame().drop(columns="volume"), "column 'volume' is missing"),
        (long_frame().assign(close="n/a"), "column 'close' must be numeric"),
    ],
)
def test_bad_input_is_refused_and_the_data_stay(
    frame: pd.DataFrame | None, message: str, fresh: Checkout, tmp_path: Path
) -> None:
    source = tmp_path / "mine"
    if frame is not None:
        source.mkdir()
        frame.to_parquet(source / "a.parquet")
    pointer = (fresh.path / "data.dvc").read_bytes()
    refused = fresh.stage("commands.use_data", str(source))
    assert refused.returncode == 2
    assert refused.stderr.startswith("error in stage 'use-data'")
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
    assert (fresh.path / "data.dvc").read_bytes() == pointer
    assert [path.name for path in (fresh.path / "data" / "bars").iterdir()] == ["old.parquet"]
    assert not list(fresh.path.glob(".data*"))


def test_a_failing_dvc_changes_nothing_and_an_edited_description_is_kept(fresh: Checkout, tmp_path: Path) -> None:
    """First `dvc add` fails; then it works, after an edit of the description, with a source of our own layout."""
    shutil.copytree(fresh.path, tmp_path / "copy", symlinks=True)
    checkout, own = Checkout(tmp_path / "copy"), tmp_path / "own"
    (own / "bars").mkdir(parents=True)
    long_frame().to_parquet(own / "bars" / "new.parquet")
    truth = pd.DataFrame({"timestamp": long_frame()["timestamp"], "horizon": 1, "attainable_rank_ic": 0.1})
    truth.to_parquet(own / "truth.parquet")
    (checkout.path / "data" / "dataset.yaml").write_text("name: edited\nuniverse: by hand\n")
    pointer = (checkout.path / "data.dvc").read_bytes()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "dvc").write_text("#!/bin/sh\necho 'no space left' >&2; exit 1\n")
    (tmp_path / "bin" / "dvc").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    command = [sys.executable, "-m", "stages.commands.use_data", str(own)]
    failed = subprocess.run(
        command, cwd=checkout.path, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert failed.returncode == 2
    assert "dvc add failed (1): no space left" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert (checkout.path / "data.dvc").read_bytes() == pointer
    assert (checkout.path / "data" / "bars" / "old.parquet").is_file()
    assert (checkout.path / "simulated").is_dir()
    done = checkout.run("python", "-m", "stages.commands.use_data", str(own))
    assert "data/dataset.yaml had been edited: the edited text is in dataset.previous.yaml" in done.stdout
    assert (checkout.path / "dataset.previous.yaml").read_text().startswith("name: edited")
    assert "path: data\n" in (checkout.path / "data.dvc").read_text()
    assert not (checkout.path / "simulated").exists()
    assert checkout.run("dvc", "status", "data.dvc").stdout.strip() == "Data and pipelines are up to date."
    assert not list(checkout.path.glob(".data*"))
