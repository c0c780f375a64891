"""A training step of GRU and ALSTM: ours through DeepSpeed ZeRO-0 against pyqlib's models and their own train_epoch.

20 features, 60 bars, 800 windows a step, 2 layers of 64 units, mean squared error, Adam, fp32 and bf16 (ours: weights
and activations in bf16; the peer, which has no such setting: autocast around its train_epoch). pyqlib's ALSTM has a GRU
inside; it is measured as it is and with its LSTM.

Ours and the peer run in two processes, since DeepSpeed and pyqlib need not be installed together. They take turns, one
thread each, CPU seconds, median of 7 rounds.

    python benchmarks/bench_train_step.py --peer PYTHON       the interpreter that has pyqlib; default: this one
    python benchmarks/bench_train_step.py --layers            our passes through one layer against torch's, by size
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from instruction_set import print_instruction_set

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
NUM_FEATURES, LOOKBACK, BATCH, HIDDEN, LAYERS = 20, 60, 800, 64, 2
STEPS, ROUNDS = 3, 7  # steps of a turn, turns of each side
LAYER_BARS = 20
MODELS = ("gru", "alstm_gru", "alstm_lstm")
PRECISIONS = ("fp32", "bf16")
Turn = Callable[[], None]


def make_data() -> tuple[np.ndarray, np.ndarray]:
    """Windows (N, L, F) and targets (N, 1) of the steps of one turn."""
    generator = np.random.default_rng(0)
    windows = generator.standard_normal((STEPS * BATCH, LOOKBACK, NUM_FEATURES), np.float32)
    return windows, (windows[:, -1, :1] + generator.standard_normal((STEPS * BATCH, 1), np.float32)).astype("f4")


def make_ours(name: str, precision: str) -> Turn:
    """Steps of our engine; batches are drawn from the windows inside the turn, as the peer does."""
    from factor_models import Engine, EngineConfig, ZeroConfig, build_model, get_loss

    kind, _, cell = name.partition("_")
    settings: dict[str, Any] = {"lookback": LOOKBACK, "hidden": HIDDEN, "layers": LAYERS}
    settings |= {"cell": cell} if cell else {}
    model = build_model(kind, num_features=NUM_FEATURES, num_horizons=1, **settings)
    config = EngineConfig(precision=precision, schedule="constant", zero=ZeroConfig(stage=0))  # type: ignore[arg-type]
    engine = Engine(model, get_loss("mse"), config, total_steps=1_000_000)  # type: ignore[arg-type]
    windows, targets = make_data()
    groups = np.zeros(BATCH, np.int64)

    def turn() -> None:
        order = np.random.permutation(len(windows))  # noqa: NPY002  (as the peer)
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            engine.train_step(SimpleNamespace(windows=windows[rows], targets=targets[rows], groups=groups, rows=rows))

    return turn


def make_peer(name: str, precision: str) -> Turn:
    """Pyqlib's own train_epoch on a table of as many rows as a turn has windows."""
    import pandas as pd
    from qlib.contrib.model.pytorch_alstm import ALSTM, ALSTMModel
    from qlib.contrib.model.pytorch_gru import GRU

    kind, _, cell = name.partition("_")
    model = {"gru": GRU, "alstm": ALSTM}[kind](
        d_feat=NUM_FEATURES, hidden_size=HIDDEN, num_layers=LAYERS, batch_size=BATCH, GPU=-1
    )
    if cell == "lstm":
        model.ALSTM_model = ALSTMModel(NUM_FEATURES, HIDDEN, LAYERS, rnn_type="LSTM")
        model.train_optimizer = torch.optim.Adam(model.ALSTM_model.parameters(), lr=model.lr)
    windows, targets = make_data()
    x = pd.DataFrame(windows.transpose(0, 2, 1).reshape(len(windows), -1))
    y = pd.DataFrame(targets)

    def turn() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            model.train_epoch(x, y)

    return turn


def serve(make: Callable[[str, str], Turn]) -> None:
    """Answer each line [model, precision] on stdin with the CPU seconds of a turn, the first one unmeasured."""
    torch.set_num_threads(1)
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    turns: dict[tuple[str, str], Turn] = {}
    for line in sys.stdin:
        model, precision = json.loads(line)
        if (model, precision) not in turns:
            turns[model, precision] = make(model, precision)
            turns[model, precision]()
        started = time.process_time()
        turns[model, precision]()
        print(time.process_time() - started, file=answers, flush=True)


class Side:
    """A process that is asked for turns."""

    def __init__(self, interpreter: str, side: str) -> None:
        self.process = subprocess.Popen(
            [interpreter, __file__, "--serve", side],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | THREADS,
            text=True,
        )

    def windows_per_second(self, model: str, precision: str) -> float:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([model, precision]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(
                f"{self.process.args} ended: it needs factor_models and deepspeed (ours), pyqlib and torch (--peer)"
            )
        return STEPS * BATCH / float(answer)


def compare_layers() -> None:
    """Our pass through one layer, whatever its size, against torch's: which is chosen depends on it."""
    from torch import nn

    from factor_models.networks import recurrent_layers
    from factor_models.networks.recurrent_layers import GRULayers, LSTMLayers

    torch.set_num_threads(1)
    recurrent_layers.WORTH_TRAINING_LSTM = recurrent_layers.WORTH_PREDICTING_GRU = 0
    print(f"one layer, {LAYER_BARS} bars, {NUM_FEATURES} features: torch's CPU seconds over ours, ours in ms")
    print(f"{'units':<8}{'windows':<10}{'GRU training':>20}{'GRU predicting':>20}{'LSTM training':>20}")
    for units in (32, 64, 128):
        for num_windows in (64, 128, 256, 512, 1024, 2048):
            windows = torch.randn(num_windows, LAYER_BARS, NUM_FEATURES)
            gru = [kind(NUM_FEATURES, units, batch_first=True) for kind in (nn.GRU, GRULayers)]
            lstm = [kind(NUM_FEATURES, units, batch_first=True) for kind in (nn.LSTM, LSTMLayers)]
            cells = [
                ratio_of(gru, windows, True),
                ratio_of(gru, windows, False),
                ratio_of(lstm, windows, True),
            ]
            print(f"{units:<8}{num_windows:<10}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


def ratio_of(layers: list[Any], windows: torch.Tensor, training: bool) -> str:
    """How much faster the second is, and its time."""

    def turn(module: Any) -> float:
        started = time.process_time()
        for _ in range(times):
            with torch.set_grad_enabled(training):
                states = module(windows)[0]
            if training:
                states[:, -1].sum().backward()
        return (time.process_time() - started) / times

    times = max(1, 20_000 // len(windows) // 16)
    seconds = [[turn(module) for module in layers] for _ in range(ROUNDS + 1)][1:]
    theirs, ours = (statistics.median(side) for side in zip(*seconds, strict=True))
    return f"{theirs / ours:.2f}x ({ours * 1e3:.2f})"


def main(peer_interpreter: str) -> None:
    sides = {"ours": Side(sys.executable, "ours"), "pyqlib": Side(peer_interpreter, "peer")}
    print(f"{'model':<12}{'':<6}{'pyqlib':>26}{'ours':>26}{'ratio':>8}   windows a CPU second (lowest .. highest)")
    for precision in PRECISIONS:
        for model in MODELS:
            rates: dict[str, list[float]] = {name: [] for name in sides}
            for _ in range(ROUNDS):
                for name, side in sides.items():
                    rates[name].append(side.windows_per_second(model, precision))
            medians = {name: statistics.median(values) for name, values in rates.items()}
            shown = {
                name: f"{medians[name]:,.0f} ({min(values):,.0f} .. {max(values):,.0f})"
                for name, values in rates.items()
            }
            ratio = f"{medians['ours'] / medians['pyqlib']:.2f}x"
            print(f"{model:<12}{precision:<6}{shown['pyqlib']:>26}{shown['ours']:>26}{ratio:>8}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", default=sys.executable, help="interpreter that has pyqlib")
    parser.add_argument("--layers", action="store_true", help="recurrent layers alone, ours against torch's")
    parser.add_argument("--serve", choices=["ours", "peer"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve({"ours": make_ours, "peer": make_peer}[arguments.serve])
    else:
        print_instruction_set()
        compare_layers() if arguments.layers else main(arguments.peer)
