"""The K-line model on real five-minute bars of one stock, from random weights, beside forecasts that need no model.

    python -m studies.kline_5min [--data ../shared/data/kline_5min/cn_5min.csv]

2,500 bars; the first 80 % train the tokenizer and then the predictor, the next 8 % choose the epoch, the rest is
predicted once, 24 bars (two hours) at a time. Writes docs/results/kline.md and docs/images/kline_5min.svg.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from factor_models import Engine, EngineConfig, get_loss, set_seed
from factor_models.kline import (
    COLUMNS,
    KlineBars,
    KlineTokenizerConfig,
    Kronos,
    KronosConfig,
    KronosPredictor,
    KronosTokenizer,
    PathForecast,
    Sampling,
    TokenizerQuality,
    date_batches,
    kline_bars,
    kline_batches,
    normalise,
    stamp_features,
    token_windows,
    tokenizer_quality,
)
from factor_models.training.inputs import tensor_batch
from stages import ROOT

PAGE, PICTURE = ROOT / "docs" / "results" / "kline.md", ROOT / "docs" / "images" / "kline_5min.svg"
LOOKBACK, AHEAD, CLIP, SAMPLES, SEED = 96, 24, 5.0, 40, 17
TRAIN_SHARE, VALID_SHARE, EVERY, WINDOWS_PER_STEP, EPOCHS = 0.80, 0.08, 4, 32, 12
TOKENIZER = KlineTokenizerConfig(d_model=32, n_heads=2, ff_dim=64, s1_bits=5, s2_bits=5)
PREDICTOR = KronosConfig(d_model=32, n_heads=2, ff_dim=64, dropout=0.1)


@dataclass(frozen=True, kw_only=True)
class Series:
    """One stock: its frame, and its bars as the windows read them."""

    frame: pd.DataFrame
    bars: KlineBars
    stamps: NDArray[np.int64]

    def ends(self, first: int, stop: int, lookback: int) -> NDArray[np.int64]:
        """Last lookback bars of windows that lie in [first, stop); the lookback may begin before."""
        return np.arange(max(first, lookback) - 1, stop - AHEAD, EVERY)

    def windows(self, ends: NDArray[np.int64]) -> NDArray[np.float32]:
        return normalise(self.bars.read(ends, LOOKBACK, AHEAD), LOOKBACK, CLIP)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=str(ROOT.parent / "shared" / "data" / "kline_5min" / "cn_5min.csv"))
    series = read_series(Path(parser.parse_args().data))
    torch.set_num_threads(1)
    num_bars = len(series.frame)
    bounds = (round(TRAIN_SHARE * num_bars), round((TRAIN_SHARE + VALID_SHARE) * num_bars))
    tokenizer, quality = train_tokenizer(series, bounds)
    predictor, losses = train_predictor(series, tokenizer, bounds)
    model = KronosPredictor(predictor, tokenizer, "cpu", max_context=LOOKBACK + AHEAD, clip=CLIP)
    origins = list(range(num_bars - AHEAD, bounds[1] - 1, -AHEAD))[::-1]
    forecasts = [forecast(model, series, origin) for origin in origins]
    errors = error_table(series, origins, forecasts)
    draw(series, origins[-1], forecasts[-1])
    write_page(series, bounds, quality, losses, errors, len(origins))
    print(errors.to_string())


def read_series(path: Path) -> Series:
    """The vendor's file: timestamps and the six columns, in order."""
    frame = pd.read_csv(path, parse_dates=["timestamps"])
    columns = {name: frame[name].to_numpy(float) for name in COLUMNS}
    bars = kline_bars(columns, np.zeros(len(frame), int), np.arange(len(frame)))
    if len(bars.values) < len(frame):
        raise ValueError(f"{path}: {len(frame) - len(bars.values)} bars are not complete")
    return Series(frame=frame, bars=bars, stamps=stamp_features(pd.DatetimeIndex(frame["timestamps"])))


def train(
    network: nn.Module,
    read: Callable[[NDArray], NDArray],
    num_windows: int,
    lr: float,
    score: Callable[[nn.Module], float],
) -> list[float]:
    """Train through the engine, keep the epoch with the best valid score; the scores."""
    blocks = np.arange(num_windows) // WINDOWS_PER_STEP  # stand for dates: what one step averages over
    order = np.random.default_rng(SEED).permutation(num_windows)
    steps = EPOCHS * (int(blocks[-1]) + 1)
    engine = Engine(network, get_loss("mse"), EngineConfig(lr=lr, weight_decay=0.1, clip_norm=3.0), steps)
    best: dict[str, Any] = {}
    scores: list[float] = []
    for epoch in range(EPOCHS):
        batches = date_batches(blocks, 1, seed=SEED, epoch=epoch)
        for batch in kline_batches(lambda numbers: read(order[numbers]), blocks, batches):
            engine.train_step(batch)
        scores.append(score(engine.current_model()))
        if scores[-1] == max(scores):
            best = {name: value.clone() for name, value in engine.full_state_dict().items()}
    engine.close()
    network.load_state_dict(best)
    network.eval()
    return scores


def train_tokenizer(series: Series, bounds: tuple[int, int]) -> tuple[KronosTokenizer, TokenizerQuality]:
    set_seed(SEED)
    tokenizer = KronosTokenizer(**TOKENIZER.arguments())
    train_windows = series.windows(series.ends(0, bounds[0], LOOKBACK))
    valid_windows = series.windows(series.ends(bounds[0], bounds[1], LOOKBACK))

    def score(model: nn.Module) -> float:
        assert isinstance(model, KronosTokenizer)
        return -tokenizer_quality(model, [valid_windows]).reconstruction_mse

    train(tokenizer, lambda numbers: train_windows[numbers], len(train_windows), 5e-3, score)
    return tokenizer, tokenizer_quality(tokenizer, [valid_windows])


def train_predictor(series: Series, tokenizer: KronosTokenizer, bounds: tuple[int, int]) -> tuple[Kronos, list[float]]:
    """The predictor and its valid cross-entropy (mean of both tokens, nats) after each epoch."""
    set_seed(SEED)
    predictor = Kronos(**PREDICTOR.arguments(tokenizer.s1_bits, tokenizer.s2_bits))
    tokens = {
        name: tokens_of(series, tokenizer, series.ends(first, stop, LOOKBACK))
        for name, first, stop in (("train", 0, bounds[0]), ("valid", bounds[0], bounds[1]))
    }
    valid = tensor_batch(next(kline_batches(
        lambda numbers: tokens["valid"][numbers],
        np.zeros(len(tokens["valid"]), int),
        iter([np.arange(len(tokens["valid"]))]),
    )))  # fmt: skip

    @torch.no_grad()
    def score(model: nn.Module) -> float:
        assert isinstance(model, Kronos)
        return -float(sum(model.training_terms(valid, lambda prediction: {}).values()))

    scores = train(predictor, lambda numbers: tokens["train"][numbers], len(tokens["train"]), 5e-3, score)
    return predictor, [-value for value in scores]


@torch.no_grad()
def tokens_of(series: Series, tokenizer: KronosTokenizer, ends: NDArray[np.int64]) -> NDArray[np.int64]:
    pairs = tokenizer.token_pairs(torch.from_numpy(series.windows(ends))).numpy()
    return token_windows(pairs, series.stamps, series.bars.dates(ends, LOOKBACK, AHEAD))


def forecast(model: KronosPredictor, series: Series, origin: int) -> PathForecast:
    """The AHEAD bars from row `origin` on, from the LOOKBACK before."""
    past, ahead = series.frame.iloc[origin - LOOKBACK : origin], series.frame.iloc[origin : origin + AHEAD]
    sampling = Sampling(top_p=1.0, sample_count=SAMPLES, seed=SEED, coupled=True)
    return model.predict_paths([past[list(COLUMNS)]], [past["timestamps"]], [ahead["timestamps"]], sampling)[0]


def error_table(series: Series, origins: list[int], forecasts: list[PathForecast]) -> pd.DataFrame:
    """Errors of the log close in basis points over all origins and bars; coverage of the inner 90 %."""
    close = np.log(series.frame["close"].to_numpy(float))
    generator = np.random.default_rng(SEED)
    rows: dict[str, list[NDArray]] = {name: [] for name in ("K-line paths", "last close", "drift", "random walk")}
    truth = []
    for origin, one in zip(origins, forecasts, strict=True):
        steps = np.diff(close[origin - LOOKBACK : origin])
        last, bar = close[origin - 1], np.arange(1, AHEAD + 1)
        walk = np.cumsum(generator.normal(0, steps.std(), (SAMPLES, AHEAD)), axis=1)
        truth.append(close[origin : origin + AHEAD])
        rows["K-line paths"].append(np.log(one.samples[:, :, 3]))
        rows["last close"].append(np.full((1, AHEAD), last))
        rows["drift"].append((last + bar * steps.mean())[None])
        rows["random walk"].append(last + walk)
    actual = np.stack(truth)
    table = {}
    for name, samples in rows.items():
        paths = np.stack(samples)
        error = np.abs(paths.mean(axis=1) - actual) * 1e4
        low, high = np.quantile(paths, [0.05, 0.95], axis=1)
        inside = ((actual >= low) & (actual <= high)).mean() if paths.shape[1] > 1 else np.nan
        table[name] = {
            "mean absolute error": error.mean(),
            f"at bar {AHEAD}": error[:, -1].mean(),
            "CRPS": crps(paths, actual).mean() * 1e4,
            "inside 90 %": inside,
        }
    return pd.DataFrame(table).T


def crps(paths_OSP: NDArray[np.float64], actual_OP: NDArray[np.float64]) -> NDArray[np.float64]:
    """Continuous ranked probability score of samples: mean |x - y| - mean |x - x'| / 2 (Gneiting and Raftery, 2007)."""
    apart = np.abs(paths_OSP[:, :, None] - paths_OSP[:, None]).mean(axis=(1, 2))
    return np.abs(paths_OSP - actual_OP[:, None]).mean(axis=1) - apart / 2.0


def draw(series: Series, origin: int, one: PathForecast) -> None:
    """The last lookback, what came, and the paths."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "factorcast"
    from matplotlib import pyplot

    close, past, ahead = series.frame["close"], range(-48, 0), range(AHEAD)
    figure, axes = pyplot.subplots(figsize=(8, 3.6))
    low, high = np.quantile(one.samples[:, :, 3], [0.05, 0.95], axis=0)
    axes.fill_between(ahead, low, high, color="tab:blue", alpha=0.2, label="inner 90 % of the paths")
    axes.plot(ahead, one.samples[:, :, 3].mean(axis=0), color="tab:blue", label="mean path")
    axes.plot(past, close.iloc[origin - 48 : origin], color="black", linewidth=1)
    axes.plot(ahead, close.iloc[origin : origin + AHEAD], color="black", linewidth=1.5, label="what came")
    axes.plot(ahead, [close.iloc[origin - 1]] * AHEAD, color="tab:orange", linestyle="--", label="last close")
    axes.set(xlabel="five-minute bars from the forecast", ylabel="close")
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, metadata={"Date": None})


def write_page(
    series: Series,
    bounds: tuple[int, int],
    quality: TokenizerQuality,
    losses: list[float],
    errors: pd.DataFrame,
    num_origins: int,
) -> None:
    best = min(losses)
    score = errors["CRPS"]
    beaten = [name for name in ("last close", "random walk") if score["K-line paths"] < score[name]]
    first, last = (f"{stamp:%Y-%m-%d}" for stamp in series.frame["timestamps"].iloc[[0, -1]])
    uniform = np.log(2) * (TOKENIZER.s1_bits + TOKENIZER.s2_bits) / 2
    text = f"""# The K-line model on real five-minute bars

One Chinese stock, {len(series.frame):,} bars ({first} to {last}). Tokenizer and predictor start from random weights (no
published weights are used): {TOKENIZER.s1_bits} + {TOKENIZER.s2_bits} bits, width {PREDICTOR.d_model},
{PREDICTOR.n_layers} blocks, lookback {LOOKBACK}. The first {bounds[0]:,} bars train, the next {bounds[1] - bounds[0]}
choose the epoch, the rest is predicted once: {num_origins} forecasts of {AHEAD} bars, {SAMPLES} paths each. One seed.
Made by `python -m studies.kline_5min`.

Tokenizer, valid windows: reconstruction MSE {quality.reconstruction_mse:.3f} where the lookback has variance 1,
{quality.used_s1:.0%} of the coarse and {quality.used_s2:.0%} of the fine codes in use, perplexity
{quality.perplexity_s1:.1f} and {quality.perplexity_s2:.1f}. Predictor, valid: cross-entropy {losses[0]:.3f} nats after
the first epoch, {best:.3f} at best (uniform over codes: {uniform:.3f}).

Errors of the log close in basis points:

| forecast | mean absolute error | at bar {AHEAD} | CRPS | inside 90 % |
|---|---|---|---|---|
"""
    for name, row in errors.iterrows():
        inside = "" if np.isnan(row["inside 90 %"]) else f"{row['inside 90 %']:.0%}"
        numbers = [row["mean absolute error"], row[f"at bar {AHEAD}"], row["CRPS"]]
        text += f"| {name} | {' | '.join(f'{number:.1f}' for number in numbers)} | {inside} |\n"
    verdict = f"better than {' and '.join(beaten)} by CRPS" if beaten else "no better than last close or random walk"
    text += f"""
The paths are {verdict} on these {num_origins} forecasts. {num_origins} two-hour
stretches of one stock decide nothing about skill; the table is here because a picture of one forecast (the last
{AHEAD} bars) would say even less.

![Last forecast](../images/kline_5min.svg)
"""
    write_section(PAGE, "# The K-line model on real five-minute bars", text)


def write_section(page: Path, heading: str, text: str) -> None:
    """Put `text`, which begins with its heading, in the place of that section of the page, or at its end."""
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    sections = [part for part in re.split(r"(?m)^(?=#{1,2} )", old) if part.strip()]
    known = [number for number, part in enumerate(sections) if part.startswith(heading + "\n")]
    sections[known[0] if known else len(sections) :] = [text] + (sections[known[0] + 1 :] if known else [])
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(part.strip() + "\n" for part in sections), encoding="utf-8")


if __name__ == "__main__":
    main()
