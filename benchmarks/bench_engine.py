"""What the engine costs over a plain loop: networks of about a million parameters, 512 windows a batch, one process.

    PYTHONPATH=packages/models/src python benchmarks/bench_engine.py > benchmarks/results/engine.md

The plain loop is torch alone: AdamW with two groups, clipping, the same batches. Both run in this process in turn, a
block of steps each, and what is compared is CPU seconds of one thread; the block with the smallest mean is the least
disturbed.
The start is measured in fresh processes, from their first instruction to the end of the first step.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import torch
from instruction_set import print_instruction_set

from factor_models import (
    Engine,
    EngineConfig,
    ZeroConfig,
    build_model,
    finish_distributed,
    get_loss,
    set_seed,
)
from factor_models.training.plain import PlainTrainer

BATCH, DATES, LOOKBACK, FEATURES, HORIZONS = 512, 8, 20, 20, 3
SIZES = {"lstm": {"hidden": 480}, "tcn_attention": {"channels": 224}}
START = """
import time; began = time.monotonic()
import sys; sys.path.insert(0, "benchmarks")
from bench_engine import engine_of, make_batch
engine_of("lstm", int(sys.argv[1])).train_step(make_batch())
print(time.monotonic() - began)
import os; os._exit(0)
"""


def make_batch() -> SimpleNamespace:
    generator = np.random.default_rng(0)
    return SimpleNamespace(
        windows=generator.standard_normal((BATCH, LOOKBACK, FEATURES), dtype=np.float32),
        targets=generator.standard_normal((BATCH, HORIZONS), dtype=np.float32),
        groups=np.repeat(np.arange(DATES), BATCH // DATES),
        rows=np.arange(BATCH),
    )


def network(name: str) -> torch.nn.Module:
    set_seed(0)
    return build_model(name, num_features=FEATURES, num_horizons=HORIZONS, lookback=LOOKBACK, **SIZES[name])


def engine_of(name: str, stage: int) -> Engine:
    config = EngineConfig(zero=ZeroConfig(stage=stage))
    return Engine(network(name), get_loss("mse_ic"), config, total_steps=10_000)


def seconds_a_step(trainer: Engine | PlainTrainer, batch: SimpleNamespace, steps: int) -> float:
    began = time.process_time()
    for _ in range(steps):
        trainer.train_step(batch)
    return (time.process_time() - began) / steps


def compare(name: str, stage: int, blocks: int, steps: int) -> tuple[float, float, float]:
    """Milliseconds a step of the plain loop and of the engine, and the median ratio of blocks side by side."""
    batch = make_batch()
    plain = PlainTrainer(network(name), get_loss("mse_ic"), EngineConfig(), 10_000)
    engine = engine_of(name, stage)
    for trainer in (plain, engine):
        seconds_a_step(trainer, batch, 2)
    pairs = [(seconds_a_step(plain, batch, steps), seconds_a_step(engine, batch, steps)) for _ in range(blocks)]
    engine.close()
    ratio = statistics.median(ours / theirs for theirs, ours in pairs)
    return 1e3 * min(one for one, _ in pairs), 1e3 * min(one for _, one in pairs), ratio


def start_seconds(stage: int, times: int) -> float:
    command = [sys.executable, "-c", START, str(stage)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(times)]
    return min(float(run.stdout.split()[-1]) for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--date", default="")
    parser.add_argument("--hardware", default="")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("# The engine over a plain loop\n")
    print(f"{options.date}, {options.hardware}; one thread, {BATCH} windows of {LOOKBACK} bars x {FEATURES} features a")
    print(f"step, {options.blocks} blocks of {options.steps} steps. `python benchmarks/bench_engine.py`\n")
    print("| network | parameters | ZeRO | plain loop, ms | engine, ms | engine / plain (median of blocks) |")
    print("|---|---|---|---|---|---|")
    for name in SIZES:
        count = sum(parameter.numel() for parameter in network(name).parameters())
        for stage in (0, 2):
            plain, ours, ratio = compare(name, stage, options.blocks, options.steps)
            print(
                f"| {name} | {count / 1e6:.2f} M | {stage} | {plain:.0f} | {ours:.0f} | {ratio:.3f} |",
                flush=True,
            )
    finish_distributed()
    for stage in (0, 2):
        print(
            f"\nFrom the start of a process to the end of its first step, ZeRO {stage}: {start_seconds(stage, 3):.1f} s"
        )


if __name__ == "__main__":
    print_instruction_set()
    main()
