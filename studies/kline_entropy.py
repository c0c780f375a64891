"""How near the K-line predictor comes to the entropy that a simulated five-minute market implies.

    python -m studies.kline_entropy

The generator of `factor_data.simulate` is run again with the random numbers of one bar drawn anew and all others kept,
150 times: draws of that bar from its conditional law given all before, hidden volatilities included. Normalised and
tokenised by the same lookback, their frequencies give the conditional entropy of the next pair of tokens (plug-in
estimate with the correction of Miller, 1955) and the predictor's expected cross-entropy on the same draws. Who reads
only bars does not see what the law is conditional on, so the entropy is a lower bound. Writes a section of
docs/results/kline.md; draws are kept in .studies/kline_entropy.

Shapes: P points (a symbol and a bar), D draws of each, K = 2^s1_bits * 2^s2_bits pairs.
"""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from factor_data.simulate.bars import build_bars, calendar
from factor_data.simulate.config import MarketConfig
from factor_data.simulate.returns import Paths, simulate_paths
from factor_data.simulate.texts import draw_tones
from factor_data.simulate.truth import expected_returns
from factor_metrics import rank_ic
from factor_models import set_seed
from factor_models.kline import (
    COLUMNS,
    KlineBars,
    KlineTokenizerConfig,
    Kronos,
    KronosConfig,
    KronosTokenizer,
    Sampling,
    generate,
    kline_bars,
    normalise,
    path_factors,
    stamp_features,
    token_windows,
    tokenizer_quality,
)
from stages import ROOT
from studies.kline_5min import PAGE, SEED, train, write_section

CACHE = ROOT / ".studies" / "kline_entropy"
HEADING = "## Against the entropy of the generator"
HORIZONS = (1, 6)
MARKET = MarketConfig(
    symbols=40,
    bars=600,
    frequency="5min",
    signals="impulses",
    seed=5,
    horizons=HORIZONS,
    changing_share=0.0,
    missing_share=0.0,
)
LOOKBACK, AHEAD, CLIP, EVERY, LAST_TRAIN = 48, 8, 5.0, 6, 450
REDRAWN_BARS, DRAWS = (505, 535, 565), 150
TOKENIZER = KlineTokenizerConfig(d_model=32, n_heads=2, ff_dim=64, s1_bits=4, s2_bits=4)
PREDICTOR = KronosConfig(d_model=32, n_heads=2, ff_dim=64)
LR, SAMPLES, DELAY = 5e-3, 10, 1


class RedrawnNumbers:
    """A generator that repeats the numbers of `seed`, but for those of one bar, which come from another seed.

    Only matrices (num_bars, ...) have bars. The first one, the noise of the common volatility, is kept whole: the
    market divides by its mean square over all bars, so a new number would change the past. It moves little in a bar.
    """

    def __init__(self, seed: int, bar: int | None = None, other_seed: int = 0) -> None:
        self.base, self.bar, self.is_first = np.random.default_rng(seed), bar, True
        self.other = np.random.default_rng([other_seed, 1, 2])

    def standard_normal(self, shape: Any) -> NDArray[np.float64]:
        return self._mixed(shape, self.base.standard_normal(shape), self.other.standard_normal)

    def standard_t(self, tail: float, shape: Any) -> NDArray[np.float64]:
        return self._mixed(shape, self.base.standard_t(tail, shape), lambda size: self.other.standard_t(tail, size))

    def _mixed(self, shape: Any, values: NDArray, draw: Any) -> NDArray[np.float64]:
        if np.ndim(shape) and len(shape) == 2:
            if self.bar is not None and not self.is_first:
                values[self.bar] = draw(values[self.bar].shape)
            self.is_first = False
        return values

    def __getattr__(self, name: str) -> Any:
        return getattr(self.base, name)


def simulate(config: MarketConfig, bar: int | None = None, draw: int = 0) -> tuple[Paths, NDArray[np.float32]]:
    """The market and its adjusted bars (num_bars, num_symbols, 6); with `bar` that one is a new draw."""
    tone = draw_tones(config, np.random.default_rng([config.seed, 0]))[0].astype(float)
    for_paths, for_bars = (RedrawnNumbers(config.seed + n, bar, 2 * draw + n) for n in (0, 1))
    if bar is not None:
        tone[bar] = draw_tones(config, np.random.default_rng([config.seed, 1, bar, draw]))[0][bar]
    paths = simulate_paths(config, tone, for_paths)  # type: ignore[arg-type]
    for_bars.is_first = False
    prices = build_bars(config, paths, for_bars)  # type: ignore[arg-type]
    factor = prices["adj_close"] / prices["close"]
    columns = [prices[name] * factor for name in COLUMNS[:4]] + [prices["volume"] / factor]
    values = np.stack([*columns, columns[4] * np.mean(columns[:4], axis=0)], axis=-1)
    return paths, values.astype(np.float32)


def redrawn(config: MarketConfig, values: NDArray[np.float32], bar: int) -> NDArray[np.float32]:
    """(D, num_symbols, 6): draws of `bar` given all before it. Kept in .studies."""
    key = hashlib.sha256(repr((asdict(config), bar, DRAWS, source_hash())).encode()).hexdigest()[:16]
    path = CACHE / f"{key}.npy"
    if not path.is_file():
        draws = []
        for number in range(DRAWS):
            other = simulate(config, bar, number)[1]
            if not np.array_equal(other[:bar], values[:bar]):
                raise ValueError(f"a new draw of bar {bar} changed the bars before it")
            draws.append(other[bar])
        CACHE.mkdir(parents=True, exist_ok=True)
        np.save(path, np.stack(draws))
    return np.load(path)


def source_hash() -> str:
    """What the draws depend on: the simulated market's code, and how it is run again."""
    folder = ROOT / "packages" / "data" / "src" / "factor_data" / "simulate"
    sources = [path.read_bytes() for path in sorted(folder.glob("*.py"))]
    here = inspect.getsource(RedrawnNumbers) + inspect.getsource(simulate)
    return hashlib.sha256(b"".join([*sources, here.encode()])).hexdigest()


def entropy(counts_PK: NDArray[np.integer]) -> NDArray[np.float64]:
    """Entropy (P,) in nats of the distributions the counts are drawn from: plug-in plus (K seen - 1) / 2n.

    >>> entropy(np.array([[50, 50, 0, 0]])).round(3)
    array([0.698])
    """
    total = counts_PK.sum(axis=1, keepdims=True)
    share = counts_PK / total
    logarithm = np.log(np.where(share > 0, share, 1.0))
    return -(share * logarithm).sum(axis=1) + ((counts_PK > 0).sum(axis=1) - 1) / (2.0 * total[:, 0])


def cross_entropy(counts_PK: NDArray[np.integer], log_probability_PK: NDArray) -> NDArray[np.float64]:
    """(P,) nats: what the draws cost a forecaster."""
    share = counts_PK / counts_PK.sum(axis=1, keepdims=True)
    return -(share * log_probability_PK).sum(axis=1)


class Market:
    """One simulated market and its windows."""

    def __init__(self, config: MarketConfig) -> None:
        self.config = config
        self.paths, self.values = simulate(config)
        num_bars, num_symbols = self.values.shape[:2]
        symbol, date = np.repeat(np.arange(num_symbols), num_bars), np.tile(np.arange(num_bars), num_symbols)
        by_symbol = self.values.transpose(1, 0, 2).reshape(-1, 6)
        columns = {name: by_symbol[:, number] for number, name in enumerate(COLUMNS)}
        self.bars: KlineBars = kline_bars(columns, symbol, date)
        self.stamps = stamp_features(pd.DatetimeIndex(calendar(config)))

    def ends(self, last_bars: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of those bars of every symbol, symbol after symbol."""
        return (np.arange(self.config.symbols)[:, None] * self.config.bars + np.asarray(last_bars)[None]).ravel()

    def windows(self, ends: NDArray[np.int64], ahead: int) -> NDArray[np.float32]:
        return normalise(self.bars.read(ends, LOOKBACK, ahead), LOOKBACK, CLIP)[0]


@torch.no_grad()
def pairs_of(tokenizer: KronosTokenizer, windows: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.concatenate(
        [
            tokenizer.token_pairs(torch.from_numpy(part)).numpy()
            for part in np.array_split(windows, -(-len(windows) // 2000))
        ]
    )


def draw_counts(market: Market, tokenizer: KronosTokenizer) -> NDArray[np.int64]:
    """(P, K): how often each pair is the next one, over the draws of a point; points by bar, then symbol."""
    num_pairs = 2 ** (tokenizer.s1_bits + tokenizer.s2_bits)
    counts = []
    for bar in REDRAWN_BARS:
        draws = redrawn(market.config, market.values, bar)
        past = market.bars.read(market.ends(np.array([bar - 1])), LOOKBACK)
        for symbol in range(market.config.symbols):
            window = np.concatenate(
                [np.broadcast_to(past[symbol], (DRAWS, *past[symbol].shape)), draws[:, symbol, None]], axis=1
            )
            pair = pairs_of(tokenizer, normalise(window, LOOKBACK, CLIP)[0])[:, -1]
            number = pair[:, 0] * 2**tokenizer.s2_bits + pair[:, 1]
            counts.append(np.bincount(number, minlength=num_pairs))
    return np.stack(counts)


@torch.no_grad()
def next_pair(model: Kronos, tokens: torch.Tensor, stamps: torch.Tensor) -> NDArray[np.float64]:
    """(P, K) log-probabilities of the pair after the last bar."""
    s1, s2 = tokens.unbind(-1)
    context = model.contexts(s1, s2, stamps)
    first = model.head.proj_s1(context[:, -1]).double().log_softmax(-1)
    parts = []
    for number in range(2**model.s1_bits):
        sibling = torch.full((len(tokens), 1), number)
        second = model.decode_s2(context, sibling)[:, -1].double().log_softmax(-1)
        parts.append(first[:, number, None] + second)
    return torch.cat(parts, dim=1).numpy()


def measured_ic(market: Market, tokenizer: KronosTokenizer, model: Kronos) -> pd.DataFrame:
    """Mean rank IC of the paths and of the true expectation, per horizon, on every third bar after training."""
    bars = np.arange(LAST_TRAIN + LOOKBACK, market.config.bars - AHEAD - 1, 3)
    expected = expected_returns(market.config, market.paths)
    close = market.values[:, :, 3].astype(float)
    rows: dict[int, list[tuple[float, float]]] = {horizon: [] for horizon in HORIZONS}
    for bar in bars:
        ends = market.ends(np.array([bar]))
        x, center, scale = normalise(market.bars.read(ends, LOOKBACK), LOOKBACK, CLIP)
        past, ahead = (
            torch.from_numpy(np.broadcast_to(market.stamps[part], (len(ends), len(market.stamps[part]), 5)).copy())
            for part in (slice(bar - LOOKBACK + 1, bar + 1), slice(bar + 1, bar + 1 + AHEAD))
        )  # fmt: skip
        sampling = Sampling(top_p=1.0, sample_count=SAMPLES, seed=SEED + int(bar), coupled=True)
        paths = generate(tokenizer, model, torch.from_numpy(x), past, ahead, LOOKBACK + AHEAD, sampling)
        prices = paths.bars[..., 3].numpy() * scale[:, :, 3:4] + center[:, :, 3:4]
        for horizon in HORIZONS:
            mean = path_factors(prices, close[bar], DELAY, horizon).mean
            label = close[bar + DELAY + horizon] / close[bar + DELAY] - 1.0
            truth = expected[horizon][bar]
            rows[horizon].append(tuple(float(rank_ic(one[None], label[None])[0]) for one in (mean, truth)))  # type: ignore[arg-type]
    table = {}
    for horizon, pairs in rows.items():
        values = np.array(pairs)
        error = values[:, 0].std() / np.sqrt(len(values))
        table[horizon] = {
            "attained": values[:, 0].mean(),
            "error": error,
            "attainable": values[:, 1].mean(),
            "num_bars": len(values),
        }
    return pd.DataFrame(table).T


def main() -> None:
    torch.set_num_threads(1)
    market = Market(MARKET)
    train_ends = market.ends(np.arange(LOOKBACK - 1, LAST_TRAIN - AHEAD, EVERY))
    train_windows = market.windows(train_ends, AHEAD)
    valid_windows = market.windows(market.ends(np.array(REDRAWN_BARS) - 1), AHEAD)
    set_seed(SEED)
    tokenizer = KronosTokenizer(**TOKENIZER.arguments())

    def reconstruction(model: nn.Module) -> float:
        assert isinstance(model, KronosTokenizer)
        return -tokenizer_quality(model, [valid_windows]).reconstruction_mse

    train(tokenizer, lambda numbers: train_windows[numbers], len(train_windows), LR, reconstruction)
    quality = tokenizer_quality(tokenizer, [valid_windows])
    counts = draw_counts(market, tokenizer)

    pairs = pairs_of(tokenizer, train_windows)
    tokens = token_windows(pairs, market.stamps, market.bars.dates(train_ends, LOOKBACK, AHEAD))
    ends = np.concatenate([market.ends(np.array([bar - 1])) for bar in REDRAWN_BARS])
    prompt = torch.from_numpy(pairs_of(tokenizer, market.windows(ends, 0)))
    stamps = torch.from_numpy(market.stamps[market.bars.dates(ends, LOOKBACK)])
    set_seed(SEED)
    predictor = Kronos(**PREDICTOR.arguments(tokenizer.s1_bits, tokenizer.s2_bits))

    def cost(model: nn.Module) -> float:
        assert isinstance(model, Kronos)
        return -float(cross_entropy(counts, next_pair(model, prompt, stamps)).mean())

    before = -cost(predictor.eval())
    scores = train(predictor, lambda numbers: tokens[numbers], len(tokens), LR, cost)
    costs = [before, *(-score for score in scores)]
    references = reference_costs(pairs, prompt.numpy(), counts, 2**tokenizer.s2_bits)
    write_page(quality.reconstruction_mse, references, costs, measured_ic(market, tokenizer, predictor))


def reference_costs(
    pairs_WT2: NDArray[np.int64], prompt_PT2: NDArray[np.int64], counts: NDArray[np.int64], num_s2: int
) -> dict[str, float]:
    """Mean nats a pair: the draws' conditional entropy, and what they cost who knows frequencies of training bars."""
    number = pairs_WT2[..., 0] * num_s2 + pairs_WT2[..., 1]
    last = prompt_PT2[:, -1, 0] * num_s2 + prompt_PT2[:, -1, 1]
    num_pairs = counts.shape[1]
    ahead = number[:, LOOKBACK:]
    alone = np.bincount(ahead.ravel(), minlength=num_pairs) + 0.5
    follows = np.zeros((num_pairs, num_pairs))
    np.add.at(follows, (number[:, LOOKBACK - 1 : -1].ravel(), ahead.ravel()), 1.0)
    follows += 2.0 * alone / alone.sum()
    log_alone = np.log(alone / alone.sum())[None].repeat(len(counts), axis=0)
    log_follows = np.log(follows / follows.sum(axis=1, keepdims=True))[last]
    return {
        "uniform": float(np.log(num_pairs)),
        "frequencies of pairs": float(cross_entropy(counts, log_alone).mean()),
        "frequencies after the last pair": float(cross_entropy(counts, log_follows).mean()),
        "entropy of the generator": float(entropy(counts).mean()),
    }


def write_page(mse: float, references: dict[str, float], costs: list[float], ic: pd.DataFrame) -> None:
    bound = references["entropy of the generator"]
    best = min(costs)
    won = (references["frequencies of pairs"] - best) / (references["frequencies of pairs"] - bound)
    lines = [f"| {name} | {value:.3f} |" for name, value in references.items()]
    shown = [number for number in (0, 1, 2, 4, 8, 12) if number < len(costs)]
    lines += [f"| predictor, epoch {number} | {costs[number]:.3f} |" for number in shown]
    rows = [
        f"| {horizon} | {row['attained']:+.3f} (standard error {row['error']:.3f}) | {row['attainable']:+.3f} | "
        f"{row['attained'] / row['attainable']:+.0%} |"
        for horizon, row in ic.iterrows()
    ]
    bits = f"{TOKENIZER.s1_bits} + {TOKENIZER.s2_bits}"
    num_points = len(REDRAWN_BARS) * MARKET.symbols
    text = f"""{HEADING}

`python -m studies.kline_entropy`: the simulated market with five-minute bars, {MARKET.symbols} symbols,
{MARKET.bars} bars, of which the first {LAST_TRAIN} train. Tokens of {bits} bits (reconstruction MSE {mse:.3f}),
lookback {LOOKBACK}. The generator is run again with the random numbers of one bar drawn anew: {DRAWS} draws of the
next bar from its true conditional law, for {len(REDRAWN_BARS)} later bars of all symbols. Nats a pair of tokens, a mean
over these {num_points} points, all on the same draws:

| who | cross-entropy |
|---|---|
{chr(10).join(lines)}

The entropy is that given everything before, hidden volatilities included, so who reads bars alone is not expected to
reach it. Of the way from the frequencies of pairs to it the predictor goes {won:.0%}; {best - bound:.3f} nats are left
at its best epoch, which these points chose. One seed.

Rank IC on {int(ic["num_bars"].iloc[0])} bars after training, entry at t + 1, {SAMPLES} paths; attainable is that of the
true expectation:

| horizon | attained | attainable | share |
|---|---|---|---|
{chr(10).join(rows)}
"""
    write_section(PAGE, HEADING, text)
    print(text)


if __name__ == "__main__":
    main()
