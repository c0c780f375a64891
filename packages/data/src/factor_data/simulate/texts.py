"""News of the simulated market: short texts whose words carry a tone."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data.simulate.bars import calendar, symbol_names
from factor_data.simulate.config import MarketConfig


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


POSITIVE = _words(
    "beats upgrade record growth strong surges approval wins expands raises outperform profit "
    "breakthrough robust momentum demand accelerates partnership award buyback gains rebound upbeat "
    "milestone exceeds dividend optimistic improves secures leading"
)
NEGATIVE = _words(
    "misses downgrade lawsuit weak plunges recall loses cuts lowers underperform loss setback fragile "
    "delay shortfall slows breach penalty layoffs declines warning pessimistic default probe falls "
    "disappoints worsens terminates impairment lagging"
)
NEUTRAL = _words(
    "announces conference schedule appoints board presents annual meeting files statement office software "
    "segment update webcast regional plan comments supplier product customers review agreement facility "
    "technology report hosts officer quarter"
)
TEMPLATES = (
    "{name} {a} {b} as {n} {c}",
    "{n} {n2}: {name} {a} {c}, {b} says",
    "analysts on {name}: {a} {n} and {b} {n2}, {c}",
    "{name} {n} {n2} {a}; {b} {c}",
    "morning note {name} {a} {n} {b} {n2} {c}",
)
TONES = np.array([-1, 0, 1])
TONE_SHARES = np.array([0.35, 0.30, 0.35])
CLEAR = 0.8  # chance that a word of a toned text is from its side; else it is neutral


def draw_tones(config: MarketConfig, generator: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return tone in -1, 0, 1 and whether there is a text, each (num_bars, num_symbols); no text has tone 0."""
    shape = (config.bars, config.symbols)
    has_text = generator.random(shape) < config.news_per_bar
    tone = generator.choice(TONES, size=shape, p=TONE_SHARES)
    return np.where(has_text, tone, 0).astype(np.float64), has_text


def write_texts(
    config: MarketConfig,
    tone: NDArray,
    has_text: NDArray[np.bool_],
    listed: NDArray[np.bool_],
    generator: np.random.Generator,
) -> pd.DataFrame:
    """Return DataFrame(timestamp, symbol, text), one text per marked (bar, listed symbol).

    A text about day t is stamped between 06:00 and 15:55 of t, one about a five-minute bar within that bar.
    """
    bar, symbol = np.nonzero(has_text & listed)
    num_texts = len(bar)
    if config.frequency == "day":
        offset = generator.integers(360 * 60, 955 * 60, num_texts)
    else:
        offset = -generator.integers(1, 300, num_texts)
    stamp = calendar(config)[bar] + offset.astype("timedelta64[s]")
    names = symbol_names(config)[symbol]
    vocabulary = (NEGATIVE, NEUTRAL, POSITIVE)
    sides = np.where(generator.random((num_texts, 3)) < CLEAR, tone[bar, symbol].astype(int)[:, None], 0) + 1
    picks = generator.integers(0, 2**31, (num_texts, 6))
    texts = []
    for row in range(num_texts):
        a, b, c = (vocabulary[sides[row, k]][picks[row, k] % len(vocabulary[sides[row, k]])] for k in range(3))
        n, n2 = (NEUTRAL[picks[row, k] % len(NEUTRAL)] for k in (3, 4))
        template = TEMPLATES[picks[row, 5] % len(TEMPLATES)]
        texts.append(template.format(name=names[row], a=a, b=b, c=c, n=n, n2=n2))
    news = pd.DataFrame({"timestamp": stamp, "symbol": names, "text": texts})
    return news.sort_values(["timestamp", "symbol"], kind="stable", ignore_index=True)
