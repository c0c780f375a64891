"""How the train stage may be run: folds that inherit weights, folds in parallel, other launchers, lack of memory."""

from __future__ import annotations

import hashlib
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray
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
    return hashes(checkout)


def hashes(checkout: Checkout) -> dict[str, str]:
    """Return the SHA-256 of the weights and of the predictions."""
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
    stage = prepared.path / "stages" / "fitting" / "network.py"
    source = stage.read_text()
    marked = source.replace(
        "weights=chosen.networks[number].result.state_dict,",
        "weights={name: value + 0.25 for name, value in chosen.networks[number].result.state_dict.items()},",
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


def test_every_launcher_gives_the_bytes_of_the_own_one(prepared: Checkout) -> None:
    """As docs/training.md has them: torchrun, DeepSpeed's, and srun's variables, set here by hand."""
    prepared.change_params(lambda params: params["train"].update(start="cold", lr=0.003))
    try:
        own = train(prepared, FACTORCAST_PROCESSES="2")
        results = prepared.path / "results" / "train" / "lstm"
        stage = ["--module", "stages.train", "lstm"]
        for command in (
            ["torchrun", "--standalone", "--nproc-per-node", "2", *stage],
            ["deepspeed", "--hostfile", "none", "--num_gpus", "2", "--no_local_rank", *stage],
            ["bash", "-c", SRUN],
        ):
            shutil.rmtree(results)
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = str(free.getsockname()[1])
            prepared.run(*command, DS_ACCELERATOR="cpu", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
            assert hashes(prepared) == own, command[0]
    finally:
        prepared.change_params(lambda params: params["train"].update(lr=1e-9))


SRUN = """
for task in 0 1; do
    SLURM_PROCID=$task SLURM_NTASKS=2 SLURM_LOCALID=$task bash -c \\
        'RANK=$SLURM_PROCID WORLD_SIZE=$SLURM_NTASKS LOCAL_RANK=$SLURM_LOCALID python -m stages.train lstm' &
    tasks="$tasks $!"
done
for task in $tasks; do wait $task || exit 1; done
"""

SHORTAGE = """
def short_of_memory(step, engine, batch):
    if engine.ranks.rank == 1 and engine.step == 2 and engine.config.accumulation < {enough}:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return step(engine, batch)


from functools import partialmethod
from factor_models import Engine
Engine._step = partialmethod(lambda engine, batch, step=Engine._step: short_of_memory(step, engine, batch))


"""


@contextmanager
def second_process_short_of_memory(checkout: Checkout, enough: int) -> Iterator[None]:
    """In the copy, the third step of a fold needs `enough` micro batches; steps of some size, so that they count."""
    stage = checkout.path / "stages" / "train.py"
    source = stage.read_text()
    stage.write_text(
        source.replace('if __name__ == "__main__":', SHORTAGE.format(enough=enough) + 'if __name__ == "__main__":')
    )
    assert stage.read_text() != source
    checkout.change_params(lambda params: params["train"].update(start="cold", lr=0.003))
    try:
        yield
    finally:
        stage.write_text(source)
        checkout.change_params(lambda params: params["train"].update(lr=1e-9, batch_dates=20))


def weights_of_folds(checkout: Checkout) -> list[dict[str, NDArray]]:
    folds = sorted((checkout.path / "results" / "train" / "lstm" / "folds").iterdir())
    return [load_file(fold / "model.safetensors") for fold in folds]


def test_processes_that_run_out_of_memory_start_again_with_less_and_give_the_same_weights(
    prepared: Checkout,
) -> None:
    said, weights = {}, {}
    for enough in (1, 2):
        with second_process_short_of_memory(prepared, enough):
            done = prepared.stage("train", "lstm", FACTORCAST_PROCESSES="2")
        assert done.returncode == 0, done.stderr[-3000:]
        said[enough], weights[enough] = done.stderr, weights_of_folds(prepared)
    assert "out of memory" not in said[1]
    assert said[2].count("process 1 of 2 is out of memory: all start again\n") == 2, "once for each of two folds"
    assert "step 3 has no memory: CUDA out of memory. Tried to allocate 2.00 GiB: starting again" in said[2]
    assert "lstm fold 2/2: micro batches halved: accumulation 2" in said[2]
    assert "Traceback" not in said[2], "the first process is not at fault"
    for expected, got in zip(weights[1], weights[2], strict=True):
        for name, value in expected.items():
            np.testing.assert_allclose(got[name], value, rtol=0, atol=2e-5, err_msg=name)
    assert not list((prepared.path / ".checkpoints").iterdir())


def test_processes_end_when_every_measure_against_a_lack_of_memory_is_taken(prepared: Checkout) -> None:
    with second_process_short_of_memory(prepared, enough=100):
        prepared.change_params(lambda params: params["train"].update(batch_dates=2))
        done = prepared.stage("train", "lstm", FACTORCAST_PROCESSES="2")
    assert done.returncode == 2
    assert done.stderr.count("is out of memory: all start again\n") == 1, "recompute, and no more"
    assert "process 1 of 2 ended with status 2" in done.stderr
    assert (
        "Nothing is left that saves memory at the same result: lower, in this order, zoo.lstm.lookback from 10 to 5"
        in done.stderr
    )
    assert "Traceback" not in done.stderr
