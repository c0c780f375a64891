"""ACL18: the samples of the published next-day movement protocol, their inputs, and the tweets known at each day.

Xu & Cohen (2018), StockNet, published the data; Feng et al. (2019), "Enhancing Stock Movement Prediction with
Adversarial Training", the 11 inputs and the samples that later work counts in. 87 stocks; a sample is a stock and a
day; its label says whether the adjusted close of the next day is at least 0.55 % higher (1) or at least 0.5 % lower
(0), and moves in between are left out. A sample belongs to the segment in which its label's day lies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import (
    CleanRules,
    DocumentVectors,
    NewsVectorConfig,
    Panel,
    WindowDataset,
    clean_bars,
    direction,
    fit_news_vectors,
    forward_return,
    news_coverage,
    read_bars,
    read_news,
)
from factor_data.news import document_rows

LOOKBACK = 5
SEGMENTS = {
    "train": ("2014-01-02", "2015-08-03"),
    "valid": ("2015-08-03", "2015-10-01"),
    "test": ("2015-10-01", "2016-01-01"),
}
PUBLISHED_COUNTS = {"train": 20_315, "valid": 2_555, "test": 3_720}
MEAN_DAYS = (5, 10, 15, 20, 25, 30)
INPUTS = (
    "open", "high", "low", "close_move", "adj_close_move", *(f"mean_{days}" for days in MEAN_DAYS)
)  # fmt: skip
OWN_MOVE = INPUTS.index("adj_close_move")
CLIP = 5.0  # standard deviations
TweetClock = Literal["close", "midnight"]
"""Tweets of a day: until New York's 16:00, when its close is known, or until its end in UTC, as the papers align them.
What comes after the close, and on days without trading, belongs to the next trading day ("close") or the last one
("midnight": so tweets of the hours before the label's day are known)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Protocol:
    """The panel with labels, inputs and segments; rows are those of the panel.

    label : (num_rows,) 1, 0 or NaN
    inputs : (num_rows, 11) float32, standardised with mean and deviation of the training rows
    rows : segment -> (num_rows,) mask of its samples
    days : segment -> (num_rows,) mask of all rows of its days, also those without a label
    """

    panel: Panel
    label: NDArray[np.float64]
    inputs: NDArray[np.float32]
    rows: dict[str, NDArray[np.bool_]]
    days: dict[str, NDArray[np.bool_]]

    def dataset(self, segment: str, texts: DocumentVectors | None = None, whole_days: bool = False) -> WindowDataset:
        """The samples of a segment as windows of 5 days.

        With `whole_days` also the windows without a label, for models that see the stocks of a day together.
        """
        return WindowDataset(
            self.inputs,
            self.label[:, None].astype(np.float32),
            LOOKBACK,
            symbol_code=self.panel.symbol_code,
            date_code=self.panel.date_code,
            rows=(self.days if whole_days else self.rows)[segment],
            texts=texts,
        )


def read_protocol(folder: Path) -> Protocol:
    """Read bars, make labels and inputs, and refuse data whose samples are not those that were published."""
    bars = read_bars(folder / "bars.parquet")
    bars = bars.select(bars.symbol != "GMRE")
    trading = pd.read_csv(folder / "adv_alstm_trading_dates.csv", header=None)[0].to_numpy("datetime64[ns]")
    # The longest mean takes 30 closes at each of the 5 days. Bars without volume count, as they do there.
    rules = CleanRules(min_history=MEAN_DAYS[-1] + LOOKBACK - 1, actions={"suspended": "flag"})
    panel, _ = clean_bars(bars, rules)
    label = direction(forward_return(panel, horizon=1, delay=0), up=0.0055, down=-0.005)
    day_of_label = panel.dates[np.minimum(panel.date_code + 1, panel.num_dates - 1)]
    rows, days = {}, {}
    for segment, (first, end) in SEGMENTS.items():
        dates = trading[(trading >= np.datetime64(first)) & (trading < np.datetime64(end))]
        days[segment] = panel.in_universe & np.isin(day_of_label, dates)
        rows[segment] = days[segment] & np.isfinite(label)
    inputs = standardised(panel, rows["train"])
    protocol = Protocol(panel=panel, label=label, inputs=inputs, rows=rows, days=days)
    found = {segment: len(protocol.dataset(segment)) for segment in SEGMENTS}
    if found != PUBLISHED_COUNTS:
        raise ValueError(f"{folder}: the samples are {found}, published are {PUBLISHED_COUNTS}")
    return protocol


def raw_inputs(panel: Panel) -> NDArray[np.float64]:
    """The 11 inputs of every row from bars up to it, (num_rows, 11); NaN where history is too short."""
    columns = {name: pd.Series(panel.columns[name]) for name in ("open", "high", "low", "close", "adj_close")}
    close, adjusted = columns["close"], columns["adj_close"]

    def by_symbol(values: pd.Series) -> pd.api.typing.SeriesGroupBy:
        return values.groupby(panel.symbol_code)

    moves = [values / by_symbol(values).shift(1) - 1.0 for values in (close, adjusted)]
    shape = [columns[name] / close - 1.0 for name in ("open", "high", "low")]
    gaps = [
        by_symbol(adjusted).rolling(days).mean().reset_index(level=0, drop=True) / adjusted - 1.0 for days in MEAN_DAYS
    ]
    return np.column_stack([*shape, *moves, *gaps])


def standardised(panel: Panel, train: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The inputs minus the mean of the training rows, over their deviation, clipped to 5 of them."""
    values = raw_inputs(panel)
    mean, deviation = np.nanmean(values[train], axis=0), np.nanstd(values[train], axis=0)
    return np.clip((values - mean) / deviation, -CLIP, CLIP).astype(np.float32)


def tweet_config(clock: TweetClock, dimensions: int, per_bar: int) -> NewsVectorConfig:
    """Vectors of a day's own tweets, at most the `per_bar` latest of them."""
    config = NewsVectorConfig(dimensions=dimensions, documents_per_bar=per_bar, min_count=10)
    if clock == "midnight":
        return config
    return replace(config, cutoff_minutes=16 * 60, stamp_zone="UTC", market_zone="America/New_York")


@dataclass(frozen=True, kw_only=True, eq=False)
class Tweets:
    """Tweets as vectors, and what became of them."""

    documents: DocumentVectors
    counts: dict[str, int]


def read_tweets(folder: Path, protocol: Protocol, clock: TweetClock, dimensions: int, per_bar: int) -> Tweets:
    """TF-IDF with truncated SVD, fitted and standardised on the tweets of training samples alone."""
    panel, config = protocol.panel, tweet_config(clock, dimensions, per_bar)
    news = read_news(folder / "news.parquet", calendar=panel.dates)
    if clock == "midnight":
        news = news.assign(timestamp=last_trading_day(news["timestamp"].to_numpy(), panel.dates))
    fitted = fit_news_vectors(news, panel, protocol.rows["train"], config)
    documents = fitted.documents(news, panel)
    row, _, _ = document_rows(news, panel, config)
    in_train = protocol.rows["train"][np.sort(row, kind="stable")]
    coverage = news_coverage(news, panel, config, memory=config.memory)
    mean, deviation = (statistic(documents.vectors[in_train], axis=0) for statistic in (np.mean, np.std))
    scaled = np.clip((documents.vectors - mean) / deviation, -CLIP, CLIP).astype(np.float32)
    has_tweets = np.diff(documents.bounds, axis=1)[:, 0] > 0
    counts = {
        "tweets": coverage.documents,
        "tweets_used": coverage.used,
        "training_tweets": int(in_train.sum()),
        **{f"{name}_days_with_tweets": int(has_tweets[mask].sum()) for name, mask in protocol.rows.items()},
    }
    return Tweets(documents=DocumentVectors(vectors=scaled, bounds=documents.bounds, per_bar=per_bar), counts=counts)


def last_trading_day(stamps: NDArray[np.datetime64], dates: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """The trading day of each stamp's calendar day, or the last one before it; its own day before the first."""
    day = stamps.astype("datetime64[D]").astype("datetime64[ns]")
    position = np.searchsorted(dates, day, side="right") - 1
    return np.where(position >= 0, dates[np.maximum(position, 0)], day)
