"""Not a stage but a command (make lr-find MODEL=lstm): a learning rate range test on the first fold's training dates.

It trains for a moment with the settings of params.yaml at rates from 1e-6 to 1 and writes .live/<model>/lr_find.svg and
lr_find.csv; nothing else is touched.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import count, islice
from pathlib import Path

from factor_data.whole_file import write_atomically, write_bytes
from factor_models import Batch, Engine, finish_distributed
from factor_models.training.lr_range import RangeTest, range_test, rising_rates
from stages.fitting.families import family_of
from stages.fitting.network import FAMILY, NetworkFold
from stages.params.reading import read_params
from stages.planning.stages import plan_of
from stages.processes.live_ic import LIVE
from stages.running.stage import UNTOUCHED, StageError, run

LOW, HIGH, STEPS = 1e-6, 1.0, 120


def main() -> None:
    """Try rising learning rates on the first fold of a network; write and draw the losses."""
    params = read_params()
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    networks = [one for one in params.zoo if family_of(one) == "network"]
    if name not in networks:
        raise StageError(f"say which network: make lr-find MODEL=<one of {', '.join(networks)}>")
    fold = FAMILY.prepare(name, plan_of("train", name, params), rank=0, world_size=1)[0]
    assert isinstance(fold, NetworkFold)
    config = replace(fold.params, schedule="constant", warmup_share=0.0)
    engine = Engine(fold.new_network(), fold.loss, config, total_steps=STEPS)
    found = range_test(engine, islice(endless(fold), STEPS), rising_rates(LOW, HIGH, STEPS), config)
    engine.close()
    finish_distributed()
    folder = LIVE / name
    folder.mkdir(parents=True, exist_ok=True)
    write(found, folder)
    plot(found, name, fold.params.lr, folder / "lr_find.svg")
    print(f"{name}: the loss falls fastest at {found.steepest:.1e} and is lowest at {found.lowest:.1e}")
    print(f"train.lr is {fold.params.lr:.1e}; the picture is {folder / 'lr_find.svg'}")


def endless(fold: NetworkFold) -> Iterator[Batch]:
    """One epoch after another."""
    for epoch in count():
        yield from fold.train_batches(epoch, 0)


def write(found: RangeTest, folder: Path) -> None:
    """Write the losses by learning rate to lr_find.csv."""
    rows = zip(found.rates, found.losses, found.smoothed, strict=True)
    lines = ["lr,loss,smoothed", *(f"{rate:.6e},{loss:.6f},{mean:.6f}" for rate, loss, mean in rows)]
    write_bytes(folder / "lr_find.csv", ("\n".join(lines) + "\n").encode())


def plot(found: RangeTest, name: str, current: float, path: Path) -> None:
    """Draw the losses over the learning rate, with the steepest fall, the lowest loss and the current setting."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, color="0.8", label="loss of a step")
    axes.plot(found.rates, found.smoothed, color="C0", label="smoothed")
    for rate, label, style in ((found.steepest, "steepest", "--"), (found.lowest, "lowest", ":")):
        axes.axvline(rate, color="C1", linestyle=style, label=f"{label}: {rate:.1e}")
    axes.axvline(current, color="C2", label=f"train.lr: {current:.1e}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss", title=f"Range test of {name}")
    axes.legend()
    write_atomically(path, partial(figure.savefig, format=path.suffix.removeprefix(".")))


if __name__ == "__main__":
    run("lr-find", main, hint=UNTOUCHED)
