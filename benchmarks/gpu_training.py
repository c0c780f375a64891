"""Training on a GPU: windows per second, memory and utilisation at ZeRO 0 to 3 in fp32 and bf16, beside a plain loop.

    PYTHONPATH=packages/data/src:packages/metrics/src:packages/models/src python benchmarks/gpu_training.py

Batches come from a `WindowDataset` with prefetching, as in the train stage, so that what is measured includes the data.
Without a GPU it runs the same code on the CPU with small sizes (--small): that shows that it runs, and no more.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Iterator

import numpy as np
import torch

from factor_data import Batch, WindowDataset
from factor_metrics.system import gpu_figures
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

FEATURES, HORIZONS, LOOKBACK = 158, 3, 60
SIZES = {"tcn_attention": {"channels": 128}, "lstm": {"hidden": 256, "layers": 2}}


class Sampler:
    """Utilisation of the first GPU ten times a second, while it is open."""

    def __enter__(self) -> Sampler:
        self.values: list[float] = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._sample, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def _sample(self) -> None:
        while not self.ended.wait(0.1):
            gpus, _ = gpu_figures()
            if gpus and gpus[0]["percent"] is not None:
                self.values.append(float(gpus[0]["percent"]))

    def mean(self) -> str:
        return f"{statistics.mean(self.values):.0f} %" if self.values else "-"


def make_dataset(num_symbols: int, num_dates: int) -> WindowDataset:
    generator = np.random.default_rng(0)
    rows = num_symbols * num_dates
    return WindowDataset(
        generator.standard_normal((rows, FEATURES), dtype=np.float32),
        generator.standard_normal((rows, HORIZONS), dtype=np.float32),
        LOOKBACK,
        symbol_code=np.repeat(np.arange(num_symbols), num_dates),
        date_code=np.tile(np.arange(num_dates), num_symbols),
    )


def endless(dataset: WindowDataset, dates: int) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from dataset.batches(dates, seed=0, epoch=epoch, prefetch_bytes=2**30)
        epoch += 1


def measure(trainer: Engine | PlainTrainer, batches: Iterator[Batch], seconds: float) -> tuple[float, float, str]:
    """Windows per second, milliseconds a step, utilisation."""
    for _ in range(3):
        trainer.train_step(next(batches))
    with Sampler() as sampler:
        began, steps, windows = time.monotonic(), 0, 0
        while time.monotonic() - began < seconds or steps < 3:
            batch = next(batches)
            trainer.train_step(batch)
            steps, windows = steps + 1, windows + len(batch.rows)
        took = time.monotonic() - began
    return windows / took, 1e3 * took / steps, sampler.mean()


def memory() -> str:
    return f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB" if torch.cuda.is_available() else "-"


def ways(name: str) -> Iterator[tuple[str, Engine | PlainTrainer]]:
    def network() -> torch.nn.Module:
        set_seed(0)
        model = build_model(name, num_features=FEATURES, num_horizons=HORIZONS, lookback=LOOKBACK, **SIZES[name])
        return model.cuda() if torch.cuda.is_available() else model

    yield "plain loop, fp32", PlainTrainer(network(), get_loss("mse_ic"), EngineConfig(), 100_000)
    for precision in ("fp32", "bf16"):
        for stage in range(4):
            config = EngineConfig(precision=precision, zero=ZeroConfig(stage=stage), adam="fused")
            yield f"ZeRO {stage}, {precision}", Engine(network().cpu(), get_loss("mse_ic"), config, 100_000)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    dataset = make_dataset(*((8, 80) if options.small else (500, 400)))
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU: these figures say nothing"
    print(f"# Training on a GPU\n\n{where}, torch {torch.__version__}\n")
    print("| network | way | windows/s | ms a step | microseconds a window | peak memory | utilisation |")
    print("|---|---|---|---|---|---|---|")
    for name in SIZES:
        for way, trainer in ways(name):
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            rate, step, busy = measure(trainer, endless(dataset, 8), 0.1 if options.small else options.seconds)
            print(
                f"| {name} | {way} | {rate:,.0f} | {step:.1f} | {1e6 / rate:.1f} | {memory()} | {busy} |",
                flush=True,
            )
            if isinstance(trainer, Engine):
                trainer.close()
    finish_distributed()


if __name__ == "__main__":
    main()
