"""The stack as one graph is the stack of numpy, and an export forecasts what its bundle does where torch is not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from checkout import Checkout
from factor_data import Panel
from factor_serve import BundleError, forecast, load_bundle
from factor_serve.check import check_bundle
from factor_serve.cli import main
from factor_serve.ensemble import stack_of_date, stack_of_levels
from factor_serve.export.bundle import export_bundle
from factor_serve.export.member import TOLERANCE, opened
from factor_serve.export.names import BUNDLE, DOCUMENT
from factor_serve.export.stack import Recipe, ensemble_graph
from serve.bundle_samples import ORDER

pytest.importorskip("onnx", reason="onnx is not installed (factor-serve[onnx])")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (factor-serve[onnx])")

MADE_OF = ["linear", "lightgbm", "lstm", "tcn_attention", "token_transformer", "kronos"]
"""The members of the finished run: floats, trees, windows, tokens and paths."""
MEMBERS, HEADS = ("a", "b", "c", "d"), ("h1", "h5", "h20")
WEIGHTS = {
    "h1": {"a": 0.5, "b": 0.2, "c": 0.3, "d": 0.0},
    "h5": {"a": 0.0, "b": 0.0, "c": 0.0, "d": 1.0},
    "h20": {"a": -0.5, "b": 0.7, "c": 0.3, "d": 0.1},
}
SCALES = {"h1": 0.1, "h5": 0.2, "h20": 0.3}
LEVELS = {
    label: {
        name: (0.1 * place, 0.0 if (label, name) == ("h5", "a") else 1.0 + place) for place, name in enumerate("abcd")
    }
    for label in HEADS
}
WITHOUT_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("torch is not here")

sys.meta_path.insert(0, NoTorch())
from factor_serve.cli import main

sys.exit(main(sys.argv[1:]))
"""


def dates(size: int) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Forecasts of members on a date with few symbols or many, with every kind of hole."""
    generator = np.random.default_rng(size)

    def drawn(missing: float) -> dict[str, NDArray[np.float32]]:
        said = {name: generator.standard_normal((size, len(HEADS))).astype(np.float32) for name in MEMBERS}
        for values in said.values():
            values[generator.random(values.shape) < missing] = np.nan
        return said

    absent, constant = drawn(0.1), drawn(0.0)
    absent["a"][:] = np.nan
    constant["b"][:] = 0.1 + np.float32(1e-9) * np.arange(size)[:, None]
    constant["c"] = np.round(constant["c"])
    constant["d"][:] = np.nan
    return {"whole": drawn(0.0), "holes": drawn(0.3), "few": drawn(0.9), "absent": absent, "constant": constant}


@pytest.mark.numeric
@pytest.mark.parametrize("levels", [None, LEVELS])
def test_the_graph_of_the_ensemble_is_the_ensemble(levels: dict[str, dict[str, tuple[float, float]]] | None) -> None:
    recipe = Recipe(members=MEMBERS, heads=HEADS, weights=WEIGHTS, scales=SCALES, levels=levels)
    session = opened(ensemble_graph(recipe))
    for size in (1, 2, 3, 200):
        for case, said in dates(size).items():
            now = session.run(None, {f"forecasts.{name}": values for name, values in said.items()})[0]
            for head, label in enumerate(HEADS):
                of_date = {name: values[:, head] for name, values in said.items()}
                then = (
                    stack_of_date(of_date, WEIGHTS[label], SCALES[label])
                    if levels is None
                    else stack_of_levels(of_date, WEIGHTS[label], levels[label])
                )
                np.testing.assert_allclose(now[:, head], then, atol=1e-6, err_msg=f"{case} {label} of {size}")


@pytest.fixture(scope="module")
def folder(finished_run: Checkout) -> Path:
    return finished_run.path / "results" / "stack" / "bundle"


@pytest.fixture(scope="module")
def exported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "onnx"
    export_bundle(load_bundle(folder), out)
    return out


@pytest.mark.end_to_end
def test_an_export_forecasts_what_its_bundle_does_where_torch_is_not(
    folder: Path, exported: Path, finished_run: Checkout, panel: Panel, news: pd.DataFrame, tmp_path: Path
) -> None:
    document = json.loads((exported / DOCUMENT).read_text())
    stack = document["stack"]
    assert max(stack["largest_difference"].values()) <= TOLERANCE
    assert stack["inputs"]["windows"]["shape"][0] == stack["outputs"]["forecasts"]["shape"][0] == "batch"
    assert stack["members"] == MADE_OF
    assert {"bars", "stamps", "stamps_ahead", "uniform.kronos", "tokens", "known"} < stack["inputs"].keys()
    assert stack["opsets"] == {"ai.onnx": 18, "ai.onnx.ml": 3}
    out, data = tmp_path / "out.parquet", finished_run.path / "data"
    command = [sys.executable, "-c", WITHOUT_TORCH, "predict", str(exported), str(data / "bars"), "--unpromoted"]
    command += ["--news", str(data / "news"), "--model", "all", "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    now = pd.read_parquet(out).sort_values(ORDER, ignore_index=True)
    then = forecast(load_bundle(folder), panel, news, model="all").sort_values(ORDER, ignore_index=True)
    for key in ORDER:
        assert now[key].astype(str).tolist() == then[key].astype(str).tolist(), key
    assert set(now["model"]) == {*MADE_OF, "stack"}
    np.testing.assert_allclose(now["prediction"], then["prediction"], atol=1e-4)


@pytest.mark.end_to_end
def test_an_export_is_checked_and_refused_like_a_bundle(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = json.loads((exported / DOCUMENT).read_text())["document_sha256"]
    found = {one.name: one for one in check_bundle(exported, unpromoted=True, sha256=identity)}
    assert [one for one in found.values() if not one.passed] == []
    assert "canary stack" in found
    assert "canary kronos" in found
    assert load_bundle(exported, identity).identity == identity
    with pytest.raises(BundleError, match="asked for is 00"):
        load_bundle(exported, "00")
    edits = {
        "lstm.onnx": "lstm.onnx has other bytes",
        f"{BUNDLE}/inputs/normaliser.json": "normaliser.json has other bytes",
        DOCUMENT: "was changed after it was written",
    }
    for number, (name, said) in enumerate(edits.items()):
        copy = tmp_path / str(number)
        shutil.copytree(exported, copy)
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content.replace(b"lstm", b"lsum") if name == DOCUMENT else content[:-2] + b"..")
        with pytest.raises(BundleError, match=said):
            load_bundle(copy)
        assert not check_bundle(copy, unpromoted=True)[0].passed
    assert main(["export", str(exported), "--onnx", "--out", str(tmp_path / "again")]) == 2
    assert "is an export already" in capsys.readouterr().err


@pytest.mark.end_to_end
def test_an_export_without_a_member_forecasts_the_others_and_no_stack(
    exported: Path, panel: Panel, news: pd.DataFrame
) -> None:
    bundle = load_bundle(exported)
    lacking = replace(bundle, members={name: bundle.members[name] for name in ("linear", "lightgbm")})
    assert set(forecast(lacking, panel, news, model="all")["model"]) == {"linear", "lightgbm"}
    with pytest.raises(ValueError, match="no graph of lstm, tcn_attention, token_transformer, kronos, of which"):
        forecast(lacking, panel, news)
