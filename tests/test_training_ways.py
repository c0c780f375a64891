"""How the train stage may be run: folds that inherit weights, folds in parallel."""

import hashlib

import pytest
from safetensors.numpy import load_file

from checkout import Checkout, make_checkout

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Two folds of a small network, with what the stage reads."""
    checkout = make_checkout(tmp_path_factory.mktemp("ways") / "factorcast")

    def change(params: dict) -> None:
        params["models"] = ["lstm"]
        params["split"]["folds"] |= {"train": 140, "step": 40}
        params["train"] |= {"epochs": 1, "patience": 1, "lr": 1e-9}
        params["train"]["live_ic"] = {"every_steps": None, "every_minutes": None}

    checkout.change_params(change)
    checkout.commit("two folds")
    checkout.run("dvc", "repro", "tokenize")
    return checkout


def set_start(checkout: Checkout, how: str) -> None:
    checkout.change_params(lambda params: params["train"].update(start=how))


def train(checkout: Checkout, **environment: str) -> dict[str, str]:
    done = checkout.stage("train", "lstm", **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    folder = checkout.path / "results" / "train" / "lstm"
    paths = [*sorted(folder.glob("folds/*/model.safetensors")), folder / "predictions.parquet"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def distance_of_folds(checkout: Checkout) -> float:
    """Largest difference between a weight of the first fold and the same weight of the second."""
    folds = sorted((checkout.path / "results" / "train" / "lstm" / "folds").iterdir())
    assert len(folds) >= 2
    first, second = (load_file(fold / "model.safetensors") for fold in folds[:2])
    return max(float(abs(first[name] - second[name]).max()) for name in first)


def test_folds_in_parallel_give_the_bytes_of_one_after_another(prepared: Checkout) -> None:
    set_start(prepared, "cold")
    one_after_another = train(prepared)
    assert len(one_after_another) >= 3
    assert train(prepared, FACTORCAST_PARALLEL_FOLDS="2") == one_after_another


@pytest.mark.parametrize("how", ["previous", "best_previous"])
def test_a_fold_begins_with_the_weights_of_an_earlier_one(prepared: Checkout, how: str) -> None:
    """Before the second fold the first one's trained weights are shifted in the copy: it must begin with these."""
    stage = prepared.path / "stages" / "train.py"
    source = stage.read_text()
    marked = source.replace(
        "    return chosen.result.state_dict",
        "    return {name: value + 0.25 for name, value in chosen.result.state_dict.items()}",
    )
    assert marked != source
    stage.write_text(marked)
    set_start(prepared, how)
    try:
        train(prepared)
        assert distance_of_folds(prepared) == pytest.approx(0.25, abs=1e-5)
        refused = prepared.stage("train", "lstm", FACTORCAST_PARALLEL_FOLDS="2")
        assert refused.returncode == 2
        assert f"(train.start: {how}) are trained one after another" in refused.stderr
    finally:
        stage.write_text(source)
