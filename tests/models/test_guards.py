"""What the loop does when a step fails: with an engine of ten lines, and with DeepSpeed's on networks made to fail."""

from __future__ import annotations

import math
import platform
import resource
import shutil
import statistics
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Never

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from factor_models import (
    EngineConfig,
    GuardConfig,
    MemoryExhaustedError,
    Rules,
    StepRecord,
    ZeroConfig,
    fit,
    get_loss,
    set_seed,
)
from factor_models.training import optimizers
from factor_models.training.engine import Engine
from factor_models.training.guards import NonFiniteError, less_memory
from factor_models.training.loop import FitResult
from factor_models.training.optimizers import build_optimizer, parameter_groups, refuse_impossible

DATES, SYMBOLS, FEATURES = 4, 6, 3


class Failing:
    """Weight = sum of rates; steps fail as told, once each."""

    def __init__(self, failures: list[Any]) -> None:
        self.step, self.weight, self.lr_factor, self.failures = 0, 0.0, 1.0, list(failures)
        self.measures = 0

    @property
    def lr(self) -> float:
        return self.lr_factor

    def train_step(self, batch: int) -> StepRecord:
        if self.failures and self.failures[0][0] == self.step + 1:
            raise self.failures.pop(0)[1]
        self.step += 1
        self.weight += self.lr
        return StepRecord(loss=1.0, terms={"one": 1.0})

    def votes(self, vote: bool) -> int:
        return int(vote)

    def shrink(self, most_pieces: int) -> str | None:
        self.measures += 1
        return f"measure {self.measures} of {most_pieces}" if self.measures < 3 else None

    def state(self) -> tuple[int, float, float]:
        return (self.step, self.weight, self.lr_factor)

    def restore(self, state: tuple[int, float, float]) -> None:
        self.step, self.weight, self.lr_factor = state

    def current_model(self) -> None:
        return None

    def full_state_dict(self) -> dict[str, Any]:
        return {"weight": torch.tensor(self.weight)}


def run(engine: Any, rollbacks: int = 2, **more: Any) -> tuple[Any, list[str]]:
    notes = []
    rules = Rules(epochs=2, patience=2, guard=GuardConfig(rollbacks=rollbacks, lr_factor=0.5), most_pieces=8)
    result = fit(
        engine,
        lambda epoch, first: range(4)[first:],
        lambda model: float(engine.step),
        rules,
        on_note=notes.append,
        **more,
    )
    return result, notes


def test_a_failing_step_goes_back_to_the_start_of_its_epoch_with_a_lower_rate() -> None:
    engine = Failing([(7, NonFiniteError("step 7: the loss is nan"))])
    result, notes = run(engine)
    assert engine.step == 8
    assert engine.weight == 4 * 1.0 + 4 * 0.5
    assert notes == ["step 7: the loss is nan: back to the start of epoch 2, learning rate times 0.5 (rollback 1 of 2)"]
    assert result.notes == tuple(notes)


def test_failures_beyond_the_budget_stop_the_run() -> None:
    failures = [(3, NonFiniteError("step 3: the loss is inf"))] * 3
    with pytest.raises(
        ValueError, match=r"step 3: the loss is inf; failure 3 of this run, which may roll back 2 times"
    ):
        run(Failing(failures))
    with pytest.raises(
        ValueError, match=r"failure 1 of this run, which may roll back 0 times: lower the learning rate"
    ):
        run(Failing(failures), rollbacks=0)


def test_a_lack_of_memory_changes_no_rate_and_ends_when_nothing_is_left() -> None:
    engine = Failing([(2, MemoryExhaustedError("step 2 has no memory"))])
    _, notes = run(engine)
    assert (engine.weight, engine.lr_factor) == (8.0, 1.0)
    assert notes == ["step 2 has no memory: measure 1 of 8; back to the start of epoch 1"]
    with pytest.raises(MemoryError, match=r"has no memory. Nothing is left that saves memory at the same result"):
        run(Failing([(2, MemoryExhaustedError("step 2 has no memory"))] * 3))


class OneOfTwo(Failing):
    """The first of two processes; the other one has a batch less an epoch."""

    def votes(self, vote: bool) -> int:
        self.asked = getattr(self, "asked", 0) + 1
        # Asked: alone? how many? then before each step who has a batch.
        return 2 if self.asked < 5 else 1


class OneOfMany(Failing):
    """One of several processes, which all have the same batches."""

    def votes(self, vote: bool) -> int:
        return 2 * int(vote)


def test_one_of_several_processes_asks_for_a_new_start_while_a_measure_is_left() -> None:
    shortage = [(2, MemoryExhaustedError("step 2 has no memory"))]
    with pytest.raises(MemoryExhaustedError, match="step 2 has no memory"):
        run(OneOfMany(list(shortage)))
    engine = OneOfMany(list(shortage))
    while engine.shrink(8) is not None:
        pass
    with pytest.raises(MemoryError, match="Nothing is left that saves memory at the same result"):
        run(engine)


def test_processes_with_different_numbers_of_batches_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match="epoch 0: after 2 steps 1 of 2 processes have another batch: each must have the same",
    ):
        run(OneOfTwo([]))


def test_random_numbers_are_those_of_the_first_time() -> None:
    drawn = []
    engine = Failing([(3, NonFiniteError("x"))])
    set_seed(1)
    run(engine, on_step=[lambda step, state: drawn.append((state.next_step, float(torch.rand(1))))])
    assert drawn[:2] == drawn[2:4]


def test_the_ladder_halves_batches_then_recomputes_then_offloads() -> None:
    config, steps = EngineConfig(), []
    while (measure := less_memory(config, most_pieces=5, on_gpu=True)) is not None:
        config, what = measure
        steps.append((config.accumulation, config.recompute, config.zero.offload_optimizer))
        assert what
    assert steps == [
        (2, False, False),
        (4, False, False),
        (5, False, False),
        (5, True, False),
        (5, True, True),
    ]
    assert less_memory(config, 5, on_gpu=True) is None


# With DeepSpeed, in this process.


class Small(nn.Module):
    """Two layers; `poison` makes the named one fail at a window whose first value is 99."""

    def __init__(self, poison: str | None = None) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(FEATURES, 5), nn.Linear(5, 1)
        self.norm, self.table = nn.LayerNorm(5), nn.Embedding(3, 5)
        self.poison = poison

    def forward(self, x_BLF: Tensor) -> Tensor:
        hidden = self.norm(self.first(x_BLF[:, -1])) + self.table.weight.mean(0)
        marked = (x_BLF[:, -1, :1] == 99.0).any()
        if self.poison == "gradient" and marked:
            hidden = hidden + 0.0 * hidden.abs().sum().sub(hidden.abs().sum()).sqrt()
        if self.poison == "output" and marked:
            return self.second(hidden * math.inf)
        return self.second(hidden)


def batch_of(mark: bool = False) -> Any:
    generator = np.random.default_rng(0)
    windows = generator.standard_normal((DATES * SYMBOLS, 2, FEATURES)).astype(np.float32)
    if mark:
        windows[3, -1, 0] = 99.0
    return SimpleNamespace(
        windows=windows,
        targets=windows[:, -1, :1].copy(),
        groups=np.repeat(np.arange(DATES), SYMBOLS),
        rows=np.arange(DATES * SYMBOLS),
    )


def engine_of(model: nn.Module, stage: int = 2, **settings: Any) -> Engine:
    config = EngineConfig(lr=1e-2, zero=ZeroConfig(stage=stage), **settings)
    return Engine(model, get_loss("mse"), config, total_steps=10, describe=lambda batch: "dates of 2020")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_the_memory_of_a_step_is_kept_for_the_next_one() -> None:
    """By default each tensor of over 32 MiB is new pages from the system, which are counted as faults."""
    engine_of(Small()).close()
    counts = []
    for _ in range(9):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(12 << 20)
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    assert statistics.median(counts) < 1000, "48 MiB are 12,288 pages"


@pytest.mark.parametrize("stage", [0, 2, 3])
@pytest.mark.parametrize(
    ("poison", "message"),
    [
        (
            "output",
            r"step 2: the loss is \w+, not finite first in the output of model.second \(process 0, dates of",
        ),
        ("gradient", r"step 2: the gradient is not finite, first in model\.\S+ \(process 0, dates of 2020\)"),
    ],
)
def test_a_step_that_is_not_finite_names_step_layer_and_dates_and_changes_no_weight(
    stage: int, poison: str, message: str
) -> None:
    set_seed(0)
    engine = engine_of(Small(poison), stage)
    engine.train_step(batch_of())
    state, before = engine.state(), engine.full_state_dict()
    with pytest.raises(NonFiniteError, match=message):
        engine.train_step(batch_of(mark=True))
    assert all(torch.equal(before[name], value) for name, value in engine.full_state_dict().items())
    engine.restore(state)
    engine.train_step(batch_of())
    again = engine_of(Small(poison), stage)
    again.restore(state)
    again.train_step(batch_of())
    expected = again.full_state_dict()
    assert all(torch.equal(expected[name], value) for name, value in engine.full_state_dict().items())


class Large(Small):
    """Has no memory for more than a date at once."""

    def forward(self, x_BLF: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled() and len(x_BLF) > SYMBOLS:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().forward(x_BLF)


def test_out_of_memory_halves_the_micro_batches_and_gives_the_same_weights() -> None:
    def train(model: nn.Module, **settings: Any) -> FitResult:
        set_seed(0)
        engine = engine_of(model, **settings)
        rules = Rules(epochs=2, patience=2, most_pieces=DATES)
        return fit(engine, lambda epoch, first: [batch_of()][first:], lambda network: float(engine.step), rules)

    set_seed(5)
    small = Small()
    large = Large()
    large.load_state_dict(small.state_dict())
    expected, result = train(small), train(large)
    assert [note.split(": ")[-1].split(";")[0] for note in result.notes] == [
        "accumulation 2",
        "accumulation 4",
    ]
    for name, value in expected.state_dict.items():
        torch.testing.assert_close(result.state_dict[name], value, rtol=0, atol=1e-6)
    same = train(small, accumulation=4)
    assert all(torch.equal(same.state_dict[name], value) for name, value in result.state_dict.items())


def test_norms_biases_and_embeddings_are_not_decayed() -> None:
    model = Small()
    model.position = nn.Parameter(torch.zeros(2, 5))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, spared = ({names[id(one)] for one in group["params"]} for group in parameter_groups(model, 0.1))
    assert decayed == {"first.weight", "second.weight"}
    assert {"norm.weight", "table.weight", "position", "first.bias"} <= spared
    assert [group["weight_decay"] for group in parameter_groups(model, 0.1)] == [0.1, 0.0]


def test_the_moving_average_is_what_is_scored_and_kept() -> None:
    set_seed(0)
    engine = engine_of(Small(), ema_decay=0.5)
    weights = []
    for _ in range(3):
        engine.train_step(batch_of())
        weights.append(engine.state().tensors["weights/model.second.weight"])
    average = weights[0]
    for step, weight in enumerate(weights[1:], start=2):
        decay = min(0.5, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
    torch.testing.assert_close(engine.full_state_dict()["second.weight"], average)
    torch.testing.assert_close(engine.current_model().second.weight.data, average)


class Deep(nn.Module):
    """Ten wide layers."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(FEATURES, 64)
        self.layers = nn.Sequential(*(nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Dropout(0.1)) for _ in range(10)))
        self.head = nn.Linear(64, 1)

    def forward(self, x_BLF: Tensor) -> Tensor:
        return self.head(self.layers(self.read(x_BLF)))[:, -1]


def saved_bytes(recompute: bool, stage: int) -> tuple[int, dict[str, Any]]:
    """What the forward pass keeps for the way back, and the weights after two steps."""
    set_seed(0)
    kept = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    engine = engine_of(Deep(), stage, recompute=recompute)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        engine.train_step(batch_of())
    engine.train_step(batch_of())
    return sum(kept.values()), engine.full_state_dict()


@pytest.mark.parametrize("stage", [0, 3])
def test_recomputing_keeps_less_and_gives_the_same_weights(stage: int) -> None:
    (much, expected), (little, weights) = saved_bytes(False, stage), saved_bytes(True, stage)
    assert little < 0.7 * much
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-6)


def test_what_this_machine_cannot_do_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"compile = True: needs zero\.stage <= 2"):
        EngineConfig(compile=True, zero=ZeroConfig(stage=3))
    with pytest.raises(ValueError, match="offload_parameters = True: needs stage 3, stage is 2"):
        ZeroConfig(stage=2, offload_optimizer=True, offload_parameters=True)
    with pytest.raises(ValueError, match=r"nvme_path = 'x': needs stage 3 and offload_optimizer"):
        ZeroConfig(stage=2, nvme_path="x")
    if not torch.cuda.is_available():
        zero = ZeroConfig(stage=3, offload_optimizer=True, offload_parameters=True)
        with pytest.raises(ValueError, match="offload_parameters = True: needs a GPU"):
            Engine(Small(), get_loss("mse"), EngineConfig(zero=zero), total_steps=1)


class Builder:
    """In the place of DeepSpeed's builder of an operator: counts how often it is asked, fails where told."""

    name, error_log = "cpu_adam", None

    def __init__(self, error: Any = None, compatible: bool = True) -> None:
        self.error, self.compatible, self.built = error, compatible, 0

    def is_compatible(self, verbose: bool) -> bool:
        return self.compatible

    def load(self, verbose: bool) -> None:
        self.built += 1
        if self.error is not None:
            raise self.error


def adam_of(builder: Any, *, on_gpu: bool = False) -> Any:
    """The optimizer that `adam: cpu` gives with this builder."""
    made = SimpleNamespace(DeepSpeedCPUAdam=lambda groups, **settings: "the compiled one")
    builders = SimpleNamespace(CPUAdamBuilder=lambda: builder, AsyncIOBuilder=lambda: builder)
    fake = SimpleNamespace(ops=SimpleNamespace(adam=made, op_builder=builders))
    config = EngineConfig(adam="cpu")
    refuse_impossible(config, fake)
    return build_optimizer(parameter_groups(Small(), 0.0), config, fake)


@pytest.fixture
def extensions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch keeps what it has compiled of the operator."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda tool: f"/usr/bin/{tool}")
    return tmp_path / "cpu_adam"


def test_the_adam_of_the_host_says_that_it_is_compiled_and_only_then(
    extensions: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert adam_of(Builder()) == "the compiled one"
    assert f"is compiled now, once on this machine, which takes minutes; it is kept in {extensions}" in caplog.text
    caplog.clear()
    (extensions / "cpu_adam.so").write_bytes(b"")
    assert adam_of(Builder()) == "the compiled one"
    assert caplog.text == ""


@pytest.mark.parametrize("why", ["tool", "machine", "compiler", "lock"])
def test_torchs_adam_takes_the_place_of_one_that_cannot_be_compiled(
    why: str, extensions: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder, reason = Builder(), ""
    if why == "tool":
        monkeypatch.setattr(shutil, "which", lambda tool: None)
        reason = "ninja is not installed"
    elif why == "machine":
        builder, reason = Builder(compatible=False), "DeepSpeed says that it does not fit this machine"
    elif why == "compiler":
        builder = Builder(RuntimeError("Error building extension 'cpu_adam'\nwith a long log"))
        reason = "it cannot be compiled: Error building extension 'cpu_adam')"
    else:  # torch would wait for it for ever
        extensions.mkdir(parents=True)
        (extensions / "lock").write_bytes(b"")
        reason = f"{extensions / 'lock'} is left of a build that was ended"
    assert type(adam_of(builder)) is torch.optim.AdamW
    assert f"adam: cpu: DeepSpeed's Adam is not available ({reason}" in caplog.text
    assert "torch's takes its place" in caplog.text
    assert builder.built == (why == "compiler")


def test_other_adams_ask_for_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: Any) -> Never:
        raise AssertionError("asked for a compiler")

    monkeypatch.setattr(optimizers, "why_not_cpu_adam", never)
    for adam in ("torch", "fused"):
        groups = parameter_groups(Small(), 0.0)
        assert type(build_optimizer(groups, EngineConfig(adam=adam), None)) is torch.optim.AdamW


def test_the_adam_of_the_host_needs_offloading_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ValueError, match=r"adam = 'cpu': on a GPU it needs zero\.offload_optimizer"):
        adam_of(Builder())


def test_a_disk_for_offloading_is_refused_without_asynchronous_input_and_output(tmp_path: Path) -> None:
    zero = ZeroConfig(stage=3, offload_optimizer=True, nvme_path=str(tmp_path))
    fake = SimpleNamespace(ops=SimpleNamespace(op_builder=SimpleNamespace()))
    fake.ops.op_builder.AsyncIOBuilder = lambda: Builder(compatible=False)
    with pytest.raises(ValueError, match=rf"nvme_path = '{tmp_path}': .* \(is libaio installed\?\)"):
        refuse_impossible(EngineConfig(zero=zero), fake)
    fake.ops.op_builder.AsyncIOBuilder = Builder
    refuse_impossible(EngineConfig(zero=zero), fake)


@pytest.mark.slow
def test_a_compiled_network_gives_the_weights_of_one_that_is_not() -> None:
    def train(**settings: Any) -> Any:
        set_seed(0)
        engine = engine_of(Small(), **settings)
        for _ in range(3):
            engine.train_step(batch_of())
        return engine

    plain, compiled = train(), train(compile=True)
    assert compiled._engine.module.model._compiled_call_impl is not None
    assert plain._engine.module.model._compiled_call_impl is None
    expected = plain.full_state_dict()
    for name, value in compiled.full_state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6)
    assert compiled.current_model()(torch.zeros(2, 3, FEATURES)).shape == (2, 1)
