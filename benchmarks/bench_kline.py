"""K-line model against the published code, on the same random weights, one thread, CPU seconds, median of 5.

python benchmarks/bench_kline.py --official FOLDER [--sizes mini small]. FOLDER holds the published repository's `model`
package (it needs einops, tqdm and huggingface_hub). Weights are random, sizes are the published ones; values are
compared before the clock starts.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

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
LOOKBACK, AHEAD, SAMPLES, MAX_CONTEXT, REPEATS = 256, 24, 5, 512, 5


def cpu_seconds(function: Callable[[], Any], repeats: int = REPEATS) -> float:
    function()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return statistics.median(times)


def report(what: str, ours: float, theirs: float, peer: str = "published code") -> None:
    print(f"{what}: ours {ours:.3f} s, {peer} {theirs:.3f} s, ratio {theirs / ours:.2f}x", flush=True)


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

    difference = (greedy.decoded[:, 0] - torch.as_tensor(theirs(1, 1))).abs().max()
    assert difference < 1e-3, f"greedy generation differs by {difference}"
    drawn = Sampling(sample_count=SAMPLES, seed=0)
    report(
        f"{size} generation, lookback {LOOKBACK}, {AHEAD} bars, {SAMPLES} samples",
        cpu_seconds(lambda: generate(tokenizers[0], model, x, x_stamp, y_stamp, MAX_CONTEXT, drawn)),
        cpu_seconds(lambda: theirs(0, SAMPLES), repeats=3),
    )


def bench_tokenizer(tokenizers: tuple[Any, Any]) -> None:
    ours, theirs = tokenizers
    x = torch.randn(32, LOOKBACK, 6).clamp(-5, 5)
    with torch.no_grad():
        same = [
            torch.equal(a, b)
            for a, b in zip(ours.encode(x, half=True), theirs.encode(x, half=True), strict=True)
        ]
        assert all(same), "tokens differ"
        report(
            "tokenizer encode 32 x 256",
            cpu_seconds(lambda: ours.encode(x, half=True)),
            cpu_seconds(lambda: theirs.encode(x, half=True)),
        )

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
    theirs_fp32 = cpu_seconds(their_step)
    report(f"{what}, fp32", cpu_seconds(our_step), theirs_fp32)

    def in_bf16() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            our_step()

    report(f"{what}, bf16 against the published fp32", cpu_seconds(in_bf16), theirs_fp32)
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


def bench_windows() -> None:
    """Normalised windows of 90 + 11 bars with their stamps: one pandas frame per item, as the published training reads
    them, against batches gathered from arrays."""
    num_bars, lookback, ahead, num_windows = 100_000, 90, 11, 2_000
    generator = np.random.default_rng(0)
    index = pd.date_range("2020-01-01", periods=num_bars, freq="5min")
    frame = pd.DataFrame(generator.uniform(5, 50, (num_bars, 6)), columns=list(COLUMNS))
    stamp = pd.DataFrame(stamp_features(index), columns=["minute", "hour", "weekday", "day", "month"])
    frame = pd.concat([frame, stamp], axis=1)
    bars = kline_bars({name: frame[name] for name in COLUMNS}, np.zeros(num_bars, int), np.arange(num_bars))
    stamps = stamp.to_numpy()
    ends = generator.integers(lookback, num_bars - ahead, num_windows)

    def per_item(end: int) -> tuple[np.ndarray, np.ndarray]:
        window = frame.iloc[end - lookback + 1 : end + ahead + 1]
        x = window[list(COLUMNS)].values.astype(np.float32)
        mean, std = x[:lookback].mean(axis=0), x[:lookback].std(axis=0)
        return np.clip((x - mean) / (std + 1e-5), -5, 5), window[list(stamp.columns)].values.astype(
            np.float32
        )

    def gathered() -> list[tuple[np.ndarray, np.ndarray]]:
        return [
            (
                normalise(bars.read(part, lookback, ahead), lookback, 5.0)[0],
                stamps[bars.dates(part, lookback, ahead)],
            )
            for part in np.array_split(ends, -(-num_windows // 50))
        ]

    ours = np.concatenate([x for x, _ in gathered()])
    np.testing.assert_allclose(ours, np.stack([per_item(end)[0] for end in ends]), atol=1e-4)
    report(
        "2,000 windows of 101 bars",
        cpu_seconds(gathered),
        cpu_seconds(lambda: [per_item(e) for e in ends], 3),
    )


class Official:
    """The published classes."""

    def __init__(self, folder: str) -> None:
        sys.path.insert(0, folder)
        try:
            from model.kronos import Kronos as Predictor
            from model.kronos import KronosTokenizer as Tokenizer
            from model.kronos import auto_regressive_inference
        except ImportError as error:
            sys.exit(
                f"{folder} does not hold the published `model` package, or it lacks a dependency: {error}"
            )
        self.Kronos, self.KronosTokenizer, self.inference = Predictor, Tokenizer, auto_regressive_inference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--official", required=True)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bench_windows()
    official = Official(arguments.official)
    tokenizers = load_pair(KronosTokenizer, official.KronosTokenizer, TOKENIZER)
    bench_tokenizer(tokenizers)
    bench_predictor_step(official)
    for size in arguments.sizes:
        bench_generation(official, tokenizers, size)


if __name__ == "__main__":
    main()
