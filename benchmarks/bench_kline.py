"""K-line model against the published code, on the same random weights, one thread, CPU seconds.

python benchmarks/bench_kline.py --official FOLDER [--sizes mini small] [--rows windows ...] [--repeats 3]. FOLDER
holds the published repository's folders `model` (it needs einops, tqdm and huggingface_hub) and `finetune`. Weights are
random, sizes are the published ones; values are compared before the clock starts. Both sides take turns; a row has the
median of each with lowest and highest, and the ratio of the medians. The published code knows no bf16: there autocast
is put around its step too, and a second row compares with its fp32.
"""

from __future__ import annotations

import argparse
import contextlib
import pickle
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from instruction_set import print_instruction_set

from factor_models.kline import (
    COLUMNS,
    Kronos,
    KronosTokenizer,
    Sampling,
    generate,
    kline_bars,
    normalise,
    stamp_features,
)

DROPOUTS = {"ffn_dropout_p": 0.0, "attn_dropout_p": 0.0, "resid_dropout_p": 0.0}
TOKENIZER = {
    "d_in": 6,
    "d_model": 256,
    "n_heads": 4,
    "ff_dim": 512,
    "n_enc_layers": 4,
    "n_dec_layers": 4,
    "s1_bits": 10,
    "s2_bits": 10,
    "beta": 0.05,
    "gamma0": 1.0,
    "gamma": 1.1,
    "zeta": 0.05,
    "group_size": 4,
    **DROPOUTS,
}
BITS = {"s1_bits": 10, "s2_bits": 10, "learn_te": True, "token_dropout_p": 0.0, **DROPOUTS}
SIZES = {
    "mini": {"n_layers": 4, "d_model": 256, "n_heads": 4, "ff_dim": 512, **BITS},
    "small": {"n_layers": 8, "d_model": 512, "n_heads": 8, "ff_dim": 1024, **BITS},
}
LOOKBACK, AHEAD, SAMPLES, MAX_CONTEXT = 256, 24, 5, 512
ROWS = ("windows", "generation", "encode", "predictor", "tokenizer")


options = argparse.Namespace(repeats=3)


def turns(*functions: Callable[[], Any]) -> list[list[float]]:
    """CPU seconds of each function's calls; they take turns after one call each."""
    times: list[list[float]] = [[] for _ in functions]
    for number in range(options.repeats + 1):
        for function, own in zip(functions, times, strict=True):
            started = time.process_time()
            function()
            if number:
                own.append(time.process_time() - started)
    return times


def report(what: str, ours: list[float], theirs: list[float]) -> None:
    """A row of the table."""
    ratio = statistics.median(theirs) / statistics.median(ours)
    print(f"| {what} | {told(theirs)} | {told(ours)} | {ratio:.2f}x |", flush=True)


def told(times: list[float]) -> str:
    return f"{statistics.median(times):.3f} ({min(times):.3f} .. {max(times):.3f})"


def stamps(num_series: int, num_bars: int) -> torch.Tensor:
    minute = torch.arange(num_bars) * 5
    parts = [minute % 60, minute // 60 % 24, minute // 1440 % 5, 1 + minute // 1440 % 28, minute * 0 + 6]
    return torch.stack(parts, dim=-1).expand(num_series, -1, -1).contiguous()


def load_pair(ours: Any, theirs: Any, config: dict[str, Any], **options: Any) -> tuple[Any, Any]:
    """Both implementations with the same random weights, through the files of a checkpoint."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        ours(**config).save_pretrained(folder)
        return ours.from_pretrained(folder, **options), theirs.from_pretrained(folder).eval()


def bench_generation(official: Any, tokenizers: tuple[Any, Any], size: str) -> None:
    model, peer = load_pair(Kronos, official.Kronos, SIZES[size], official_parity=True)
    torch.manual_seed(1)
    x, x_stamp, all_stamps = (
        torch.randn(1, LOOKBACK, 6).clamp(-5, 5),
        stamps(1, LOOKBACK),
        stamps(1, LOOKBACK + AHEAD),
    )
    y_stamp = all_stamps[:, LOOKBACK:]
    greedy = generate(tokenizers[0], model, x, x_stamp, y_stamp, MAX_CONTEXT, Sampling(top_k=1))

    def theirs(top_k: int, samples: int) -> Any:
        return official.inference(
            tokenizers[1], peer, x, x_stamp, y_stamp, MAX_CONTEXT, AHEAD, 5, 1.0, top_k, 0.9, samples, False
        )

    difference = (greedy.bars[:, 0] - torch.as_tensor(theirs(1, 1))[:, -AHEAD:]).abs().max()
    assert difference < 1e-3, f"greedy generation differs by {difference}"
    drawn = Sampling(sample_count=SAMPLES, seed=0)
    report(
        f"{size} generation, lookback {LOOKBACK}, {AHEAD} bars, {SAMPLES} samples",
        *turns(
            lambda: generate(tokenizers[0], model, x, x_stamp, y_stamp, MAX_CONTEXT, drawn),
            lambda: theirs(0, SAMPLES),
        ),
    )


def bench_encode(tokenizers: tuple[Any, Any]) -> None:
    ours, theirs = tokenizers
    x = torch.randn(32, LOOKBACK, 6).clamp(-5, 5)
    with torch.no_grad():
        same = [torch.equal(a, b) for a, b in zip(ours.encode(x, half=True), theirs.encode(x, half=True), strict=True)]
        assert all(same), "tokens differ"
        report(
            "tokenizer encode 32 x 256",
            *turns(lambda: ours.encode(x, half=True), lambda: theirs.encode(x, half=True)),
        )


def bench_tokenizer_step(tokenizers: tuple[Any, Any]) -> None:
    ours, theirs = tokenizers
    x = torch.randn(32, LOOKBACK, 6).clamp(-5, 5)

    def our_step() -> None:
        ours.zero_grad()
        ours.training_loss(x)[0].backward()

    def their_step() -> None:
        theirs.zero_grad()
        (coarse, fine), quantiser, _, _ = theirs(x)
        mse = torch.nn.functional.mse_loss
        ((mse(coarse, x) + mse(fine, x) + quantiser) / 2).backward()

    bench_step("tokenizer train step 32 x 256", ours, theirs, our_step, their_step)


def bench_step(what: str, ours: Any, theirs: Any, our_step: Callable, their_step: Callable) -> None:
    ours.train(), theirs.train()

    def in_bf16(step: Callable) -> Callable:
        def run() -> None:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                step()

        return run

    times = turns(our_step, their_step, in_bf16(our_step), in_bf16(their_step))
    report(f"{what}, fp32", times[0], times[1])
    report(f"{what}, bf16 both", times[2], times[3])
    report(f"{what}, bf16 against the published fp32", times[2], times[1])
    ours.eval(), theirs.eval()


def bench_predictor_step(official: Any) -> None:
    ours, theirs = load_pair(Kronos, official.Kronos, SIZES["mini"])
    tokens = torch.randint(0, 1024, (2, 8, LOOKBACK + 1))
    stamp = stamps(8, LOOKBACK)
    inputs, targets = tokens[:, :, :-1], tokens[:, :, 1:]

    def our_step() -> None:
        ours.zero_grad()
        logits = ours(inputs[0], inputs[1], stamp)
        ours.loss(*logits, targets[0], targets[1]).loss.backward()

    def their_step() -> None:
        theirs.zero_grad()
        logits = theirs(inputs[0], inputs[1], stamp)
        theirs.head.compute_loss(*logits, targets[0], targets[1])[0].backward()

    bench_step("mini train step 8 x 256, s1 drawn", ours, theirs, our_step, their_step)


def bench_windows(folder: str) -> None:
    """Normalised windows of 90 + 11 bars with their stamps.

    Items of the published dataset, against batches of 50 that are gathered from arrays. Stamps are computed
    beforehand by both.
    """
    num_bars, lookback, ahead, num_windows = 100_000, 90, 11, 2_000
    generator = np.random.default_rng(0)
    index = pd.date_range("2020-01-01", periods=num_bars, freq="5min", name="datetime")
    columns = ["open", "high", "low", "close", "vol", "amt"]
    frame = pd.DataFrame(generator.uniform(5, 50, (num_bars, 6)), index=index, columns=columns)
    dataset = published_dataset(folder, {"S": frame}, lookback, ahead)
    given = {name: frame[column].to_numpy() for name, column in zip(COLUMNS, columns, strict=True)}
    bars = kline_bars(given, np.zeros(num_bars, int), np.arange(num_bars))
    stamps = stamp_features(index)
    draws = random.Random(1)
    starts = np.array([draws.randint(0, len(dataset.indices) - 1) for _ in range(num_windows)])
    ends = starts + lookback - 1

    def per_item() -> list[tuple[torch.Tensor, torch.Tensor]]:
        dataset.py_rng.seed(1)
        return [dataset[0] for _ in range(num_windows)]

    def gathered() -> list[tuple[np.ndarray, np.ndarray]]:
        return [
            (
                normalise(bars.read(part, lookback, ahead), lookback, 5.0)[0],
                stamps[bars.dates(part, lookback, ahead)],
            )
            for part in np.array_split(ends, -(-num_windows // 50))
        ]

    for ours, theirs in zip(zip(*gathered(), strict=True), zip(*per_item(), strict=True), strict=True):
        np.testing.assert_allclose(np.concatenate(ours), torch.stack(theirs).numpy(), atol=1e-4)
    report("2,000 windows of 101 bars", *turns(gathered, per_item))


def published_dataset(folder: str, data: dict[str, pd.DataFrame], lookback: int, ahead: int) -> Any:
    """The published training dataset over `data`, its settings those of its own Config but for the window."""
    sys.path.insert(0, f"{folder}/finetune")
    try:
        import dataset
    except ImportError as error:
        sys.exit(f"{folder}/finetune does not hold the published dataset, or it lacks a dependency: {error}")
    with tempfile.TemporaryDirectory() as scratch:
        with Path(scratch, "train_data.pkl").open("wb") as file:
            pickle.dump(data, file)
        make = dataset.Config

        def config() -> Any:
            one = make()
            one.dataset_path, one.lookback_window, one.predict_window = scratch, lookback, ahead - 1
            return one

        dataset.Config = config
        with contextlib.redirect_stdout(sys.stderr):
            return dataset.QlibDataset("train")


class Official:
    """The published classes."""

    def __init__(self, folder: str) -> None:
        sys.path.insert(0, folder)
        try:
            from model.kronos import Kronos as Predictor
            from model.kronos import KronosTokenizer as Tokenizer
            from model.kronos import auto_regressive_inference
        except ImportError as error:
            sys.exit(f"{folder} does not hold the published `model` package, or it lacks a dependency: {error}")
        self.Kronos, self.KronosTokenizer, self.inference = Predictor, Tokenizer, auto_regressive_inference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--official", required=True)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--repeats", type=int, default=options.repeats)
    arguments = parser.parse_args(namespace=options)
    torch.set_num_threads(1)
    print("| CPU seconds | published | ours | ratio |\n|---|---|---|---|")
    official = Official(arguments.official)
    tokenizers = load_pair(KronosTokenizer, official.KronosTokenizer, TOKENIZER)
    if "windows" in arguments.rows:
        bench_windows(arguments.official)
    if "generation" in arguments.rows:
        for size in arguments.sizes:
            bench_generation(official, tokenizers, size)
    if "encode" in arguments.rows:
        bench_encode(tokenizers)
    if "predictor" in arguments.rows:
        bench_predictor_step(official)
    if "tokenizer" in arguments.rows:
        bench_tokenizer_step(tokenizers)


if __name__ == "__main__":
    print_instruction_set()
    main()
