"""make use-data: any layout takes the place of the simulated market; bad input changes nothing."""

from __future__ import annotations

import shutil
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
