"""Memory and time of generation against lookback and samples: no quadratic surprise.

python benchmarks/bench_kline_memory.py [--quick]. Each point is a process of its own (its peak resident memory less
what it had with the models built), one thread, CPU seconds, random weights of Kronos-mini. Writes
benchmarks/results/kline_memory.md and .svg.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import torch
from instruction_set import describe_instruction_set, print_instruction_set

from factor_models.kline import Kronos, KronosTokenizer, Sampling, generate

RESULTS = Path(__file__).parent / "results"
DROPOUTS = {"ffn_dropout_p": 0.0, "attn_dropout_p": 0.0, "resid_dropout_p": 0.0}
WIDTH = {"d_model": 256, "n_heads": 4, "ff_dim": 512, "s1_bits": 10, "s2_bits": 10, **DROPOUTS}
LOOKBACKS, SAMPLES, AHEAD = (128, 256, 512, 1024, 2048), (1, 5, 10, 20, 40), 24


def models() -> tuple[KronosTokenizer, Kronos]:
    torch.manual_seed(0)
    loss = {"beta": 0.05, "gamma0": 1.0, "gamma": 1.1, "zeta": 0.05, "group_size": 5}
    tokenizer = KronosTokenizer(d_in=6, n_enc_layers=4, n_dec_layers=4, **WIDTH, **loss)
    return tokenizer.eval(), Kronos(n_layers=4, token_dropout_p=0.0, learn_te=True, **WIDTH).eval()


def measure(lookback: int, samples: int) -> None:
    """Print CPU seconds and peak MiB above the models, as JSON."""
    torch.set_num_threads(1)
    tokenizer, model = models()
    before = peak_mib()
    seconds = 0.0
    if lookback:
        stamp = torch.ones(1, lookback + AHEAD, 5, dtype=torch.long)
        x = torch.randn(1, lookback, 6).clamp(-5, 5)
        started = time.process_time()
        sampling = Sampling(sample_count=samples, seed=0)
        generate(tokenizer, model, x, stamp[:, :lookback], stamp[:, lookback:], lookback + AHEAD, sampling)
        seconds = time.process_time() - started
    print(json.dumps({"seconds": seconds, "mib": peak_mib() - before}))


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def point(lookback: int, samples: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--point", str(lookback), str(samples)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def write(by_lookback: list[dict[str, float]], by_samples: list[dict[str, float]]) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "factorcast"
    from matplotlib import pyplot

    figure, all_axes = pyplot.subplots(1, 2, figsize=(8, 3.2))
    sides = ((LOOKBACKS, by_lookback, "lookback, 5 samples"), (SAMPLES, by_samples, "samples, lookback 512"))
    for axes, (all_sizes, points, label) in zip(all_axes, sides, strict=True):
        sizes = all_sizes[: len(points)]
        axes.plot(sizes, [one["seconds"] for one in points], "o-", color="tab:blue", label="CPU s")
        axes.set(xlabel=label, ylabel="CPU s", ylim=(0, None))
        other = axes.twinx()
        other.plot(sizes, [one["mib"] for one in points], "s--", color="tab:orange")
        other.set(ylabel="peak MiB above the models (dashed)", ylim=(0, None))
    figure.tight_layout()
    figure.savefig(RESULTS / "kline_memory.svg", metadata={"Date": None})
    lines = [
        "# Generation: memory and time",
        "",
        f"Kronos-mini with random weights, one series, {AHEAD} bars ahead, KV cache, one thread of",
        f"{describe_instruction_set()}, {date.today()}.",
        "`python benchmarks/bench_kline_memory.py`. Memory is the peak of a process less what it had with the models",
        "built.",
        "",
        "| lookback | samples | CPU s | peak MiB |",
        "|---|---|---|---|",
    ]
    rows = [*((size, 5, one) for size, one in zip(LOOKBACKS, by_lookback, strict=False))]
    rows += [(512, size, one) for size, one in zip(SAMPLES, by_samples, strict=False)]
    lines += [f"| {size} | {samples} | {one['seconds']:.2f} | {one['mib']:.0f} |" for size, samples, one in rows]
    lines += ["", "![Memory and time](kline_memory.svg)", ""]
    (RESULTS / "kline_memory.md").write_text("\n".join(lines))
    print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--point", nargs=2, type=int)
    parser.add_argument("--quick", action="store_true", help="the smaller half of the sizes")
    arguments = parser.parse_args()
    if arguments.point:
        measure(*arguments.point)
        return
    print_instruction_set()
    last = 3 if arguments.quick else None
    write([point(size, 5) for size in LOOKBACKS[:last]], [point(512, size) for size in SAMPLES[:last]])


if __name__ == "__main__":
    main()
