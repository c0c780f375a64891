"""Memory of a training: batches made ahead within their budget, alarms that act once, advice in order."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from factor_data import WindowDataset
from factor_data.sums import SUMS
from stages.fitting.memory import made_ahead, smaller
from stages.kline.memory import shorter
from stages.processes.memory import SECONDS, MemoryWatch, share_of_group, shares_in_use
from stages.running.environment import memory_alarms, prefetch_budget
from stages.running.stage import StageError
from workplace import Workplace

NUM_SYMBOLS, NUM_DATES, NUM_FEATURES, LOOKBACK, DATES_PER_BATCH = 200, 1000, 100, 10, 4
MATRIX_BYTES = NUM_SYMBOLS * NUM_DATES * NUM_FEATURES * 4


def test_batches_are_made_while_a_step_is_under_way_and_no_further_than_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []
    third = threading.Event()

    def batches() -> Iterator[np.ndarray]:
        for number in range(8):
            made.append(number)
            if number == 3:
                third.set()
            yield np.full(2**18, number, dtype=np.float32)  # a MiB

    monkeypatch.setenv("FACTORCAST_PREFETCH_MB", "2")
    stream = iter(made_ahead(batches(), attrgetter("nbytes"), largest=2**20))
    assert next(stream)[0] == 0
    assert third.wait(10), "two wait in the budget, one is in the making"
    assert made == [0, 1, 2, 3]
    assert [int(batch[0]) for batch in stream] == list(range(1, 8))

    # Batches of which two do not fit, and a budget of 0: none is made before it is asked for.
    for budget in ("1", "0"):
        monkeypatch.setenv("FACTORCAST_PREFETCH_MB", budget)
        made.clear()
        third.clear()
        assert next(iter(made_ahead(batches(), attrgetter("nbytes"), largest=2**20)))[0] == 0
        assert made == [0]


def test_an_epoch_over_a_matrix_on_disk_holds_a_few_batches_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """80 MB of features, 8 MiB ahead: under 25 MB at any time, and every window once."""
    matrix = np.lib.format.open_memmap(
        tmp_path / "inputs.npy", "w+", np.float32, (NUM_SYMBOLS * NUM_DATES, NUM_FEATURES)
    )
    matrix[:] = np.arange(len(matrix), dtype=np.float32)[:, None]
    matrix.flush()
    symbol_code, date_code = (np.ravel(one) for one in np.indices((NUM_SYMBOLS, NUM_DATES)))
    inputs = np.load(tmp_path / "inputs.npy", mmap_mode="r")
    windows = WindowDataset(inputs, None, LOOKBACK, symbol_code=symbol_code, date_code=date_code)
    largest = DATES_PER_BATCH * NUM_SYMBOLS * LOOKBACK * NUM_FEATURES * 4
    monkeypatch.setenv("FACTORCAST_PREFETCH_MB", "8")
    seen = np.zeros(len(matrix), dtype=int)
    next(windows.batches(DATES_PER_BATCH))  # kernels are compiled
    tracemalloc.start()
    for batch in made_ahead(windows.batches(DATES_PER_BATCH, seed=1), attrgetter("num_bytes"), largest):
        assert (batch.windows[:, -1, 0] == batch.rows).all()
        seen[batch.rows] += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (seen[np.isin(date_code, range(LOOKBACK - 1, NUM_DATES))] == 1).all()
    assert peak < 25e6 < MATRIX_BYTES / 3


def watch_of(shares: list[float], thresholds: str, monkeypatch: pytest.MonkeyPatch) -> tuple[MemoryWatch, list[str]]:
    """A watch that sees these shares one after the other, a second look (after an act) the same one."""
    monkeypatch.setenv("FACTORCAST_MEMORY_ALARMS", thresholds)
    clock, said = iter(np.arange(len(shares)) * (SECONDS + 0.1)), list[str]()
    now = iter(shares)
    current = [0.0]

    def time() -> float:
        current[0] = next(now)
        return float(next(clock))

    return MemoryWatch(said.append, lambda: {"memory": current[0], "other": 0.0}, time), said


def test_alarms_act_once_past_each_threshold_and_again_after_use_has_fallen(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = [0.5, 0.951, 0.96, 0.951, 0.985, 0.99, 0.97, 0.93, 0.96, 0.89, 0.96, 0.99]
    watch, said = watch_of(shares, "95,98", monkeypatch)
    counts, urgent = [], []
    for _ in shares:
        watch.look()
        counts.append(len(said))
        urgent.append(watch.urgent())
    assert counts == [0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 4]
    assert [number for number, due in enumerate(urgent) if due] == [4, 11], "a checkpoint at the second threshold"
    assert said[0].startswith("95% of the memory are in use: garbage and caches were given back, now 95%")
    assert "a checkpoint is written" in said[1]


def test_a_look_soon_after_another_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    times = iter([0.0, SECONDS / 2, SECONDS])
    watch = MemoryWatch(lambda text: None, lambda: looks.append(1) or {"memory": 0.1}, lambda: next(times))
    for _ in range(3):
        watch.look()
    assert len(looks) == 2


def test_the_limit_of_a_control_group_counts_without_files_that_can_be_dropped(tmp_path: Path) -> None:
    assert share_of_group(tmp_path) is None, "no control groups of the second version"
    for name, text in (("memory.max", "1000\n"), ("memory.current", "900\n"), ("memory.stat", "inactive_file 300\n")):
        (tmp_path / name).write_text(text)
    assert share_of_group(tmp_path) == pytest.approx(0.6)
    (tmp_path / "memory.max").write_text("max\n")
    assert share_of_group(tmp_path) is None
    assert all(0 < share < 1.5 for share in shares_in_use().values())


@pytest.mark.parametrize("text", ["95", "98,95", "0,50", "95,101", "a,b", "1,2,3", ""])
def test_alarms_that_are_no_two_rising_percentages_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORCAST_MEMORY_ALARMS", text)
    with pytest.raises(StageError, match="must be two rising numbers of percent, as 95,98"):
        memory_alarms()


def test_a_budget_that_is_no_whole_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert prefetch_budget() == 64 * 2**20
    monkeypatch.setenv("FACTORCAST_PREFETCH_MB", "-1")
    with pytest.raises(StageError, match=r"FACTORCAST_PREFETCH_MB is '-1': must be a whole number >= 1"):
        prefetch_budget()


def test_the_advice_goes_from_dates_to_lookback_to_context() -> None:
    assert smaller(("train.batch_dates", 8, 2), ("zoo.lstm.lookback", 10, 1)) == (
        "lower, in this order, train.batch_dates from 8 to 4, zoo.lstm.lookback from 10 to 5, "
        "or make the network smaller"
    )
    assert shorter("zoo.kronos", 4, 256, 1, max_context=512) == (
        "lower, in this order, zoo.kronos.train.batch_dates from 4 to 2, tokenize_kline.lookback from 256 to 128, "
        "zoo.kronos.max_context from 512 to 256, or make the network smaller"
    )
    assert "zoo.kronos.max_context from 130 to 129" in shorter("zoo.kronos", 1, 256, 1, max_context=130)
    assert shorter("tokenize_kline", 1, 2, 1) == "make the network smaller"


@pytest.mark.end_to_end
def test_a_budget_of_a_mebibyte_changes_no_byte_of_split_and_tokenize(
    tokenized: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTORCAST_MEMORY_MB", "1")
    place = tokenized.copy(tmp_path / "copy")
    for stage in ("split", "tokenize_features"):
        place.run(stage)
    for stage in ("split", "tokenize"):
        assert (place.results / stage / SUMS).read_bytes() == (tokenized.results / stage / SUMS).read_bytes()


@pytest.mark.slow
def test_a_training_acts_at_its_alarms_once_and_gives_the_same_weights_with_and_without_batches_ahead(
    tokenized: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any machine has more than 2% of its memory in use."""
    weights = []
    for budget, alarms in (("0", "95,98"), ("64", "1,2")):
        copy = tokenized.copy(tmp_path / budget)
        monkeypatch.setenv("FACTORCAST_PREFETCH_MB", budget)
        monkeypatch.setenv("FACTORCAST_MEMORY_ALARMS", alarms)
        copy.change_params(lambda params: params.update(models=["lstm"]))
        copy.run("plan")
        copy.run("train", "lstm")
        said = capsys.readouterr().err
        assert said.count("are in use: garbage and caches were given back") == (2 if budget == "64" else 0), said
        weights.append(load_file(copy.results / "train" / "lstm" / "folds" / "fold_00" / "model.safetensors"))
    for name, values in weights[0].items():
        np.testing.assert_array_equal(weights[1][name], values)
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]
