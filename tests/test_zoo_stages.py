"""Every model of the zoo goes through the stage train, on a small market with news."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from checkout import Checkout, make_checkout
from factor_models import MODELS, load_model
from stages import ROOT
from stages.params import read_params
from stages.train import train

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The smoke preset with the whole zoo as params.yaml has it, up to tokenize."""
    checkout = make_checkout(tmp_path_factory.mktemp("zoo") / "factorcast")
    zoo = yaml.safe_load((ROOT / "params.yaml").read_text())["zoo"]

    def whole_zoo(params: dict) -> None:
        params["zoo"] = {**zoo, **params["zoo"]}

    checkout.change_params(whole_zoo)
    checkout.run("python", "-m", "stages.sample")
    (checkout.path / "data").symlink_to(Path("results") / "sample")
    for stage in ("split", "tokenize_features"):
        done = checkout.stage(stage)
        assert done.returncode == 0, done.stderr
    return checkout


def test_every_model_has_a_section_in_params() -> None:
    assert set(yaml.safe_load((ROOT / "params.yaml").read_text())["zoo"]) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_trained_predicts_out_of_fold_and_can_be_loaded(
    name: str, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout.path)  # where the stage reads and writes; in this process, to import once
    train(name, read_params(), rank=0, world_size=1)
    folder = Path("results") / "train" / name
    frame = pd.read_parquet(folder / "predictions.parquet")
    assert np.isfinite(frame["prediction"]).all()
    assert set(frame["horizon"]) == {1, 5, 20}
    spread = frame.groupby(["timestamp", "horizon", "fold"])["prediction"].std()
    assert (spread > 0).mean() > 0.99
    _, metadata = load_model(folder / "folds" / "fold_00")
    assert metadata["best_head"] in (1, 5, 20)


def test_a_model_whose_output_is_constant_fails_the_stage(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inputs that do not tell symbols apart: every forecast of a date is the same number."""
    shutil.copytree(checkout.path, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    for path in Path("results", "tokenize").rglob("inputs.npy"):
        np.save(path, np.zeros_like(np.load(path)))
    shutil.rmtree(Path("results", "train"), ignore_errors=True)
    with pytest.raises(ValueError, match="predictions are constant"):
        train("tft", read_params(), rank=0, world_size=1)
    assert not Path("results", "train", "tft").exists(), "nothing is left that could be evaluated"
