"""Forecasts of a tokenizer and a predictor for the symbols of one date: what their paths say of each label.

A date is forecast by itself and all its symbols share their random numbers, which its stamp decides. So a forecast
depends neither on which other dates are forecast nor on which symbols are: a batch of years and a single new date give
the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from factor_models.checkpoints import METADATA_FILE, METADATA_HASH, content_hash
from factor_models.kline.calendar import stamps_ahead, stamps_of
from factor_models.kline.draws import date_seed
from factor_models.kline.factors import PathFactors, path_factors
from factor_models.kline.generation import Sampling, generate
from factor_models.kline.predictor import Kronos
from factor_models.kline.tokenizer import KronosTokenizer
from factor_models.kline.windows import SERIES_AT_ONCE, KlineBars, normalise
from factor_models.writing import read_json

COLUMN_OF_PRICE = {"open": 0, "close": 3}
TOKENIZER_FOLDER = "tokenizer"
NEEDED = ("kline_tokenizer_sha256", "window", "max_context", "sampling", "seed")


class PathLabel(Protocol):
    """What is read of a label: entry after `delay` bars, exit `horizon` bars later, at which price, what is measured.

    A label without a horizon is none that paths can say anything of.
    """

    @property
    def delay(self) -> int:
        """Return the bars from the close of t to entry."""

    @property
    def horizon(self) -> int | None:
        """Return the bars from entry to exit."""

    @property
    def price(self) -> str:
        """Return open or close."""

    @property
    def measure(self) -> Literal["return", "volatility"]:
        """Return what is forecast."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PathForecaster:
    """A pair of tokenizer and predictor with all that decides their forecasts besides the bars."""

    model: Kronos
    tokenizer: KronosTokenizer
    lookback: int
    """Bars of a window."""
    num_ahead: int
    """Bars that are generated."""
    clip: float
    """Bound of normalised values."""
    max_context: int
    """Bars that the predictor can look back on."""
    temperature: float
    """Sampling temperature."""
    top_p: float
    """Share of probability that is drawn from."""
    samples: int
    """Paths of each window."""
    seed: int
    """Seed of the draws, together with the stamp of the date."""

    def of_date(
        self,
        bars: KlineBars,
        dates: NDArray[np.datetime64],
        rows: NDArray[np.int64],
        date: np.datetime64,
        known: NDArray[np.datetime64],
        labels: Sequence[PathLabel],
    ) -> NDArray[np.float32]:
        """Return what the paths of some rows of one date say, (num_rows, num_labels, 4 + quantiles).

        The last axis is mean, median, the quantiles of `QUANTILES`, share of rises and volatility.

        Parameters
        ----------
        bars : complete bars of a panel with the calendar `dates`
        rows : rows of the panel, each with `lookback` complete bars up to it (`KlineBars.ends`)
        date : the rows' date
        known : stamps that future ones are told by (`future_stamps`), those of the training dates
        """
        ahead, seed = stamps_ahead(date, known, self.num_ahead), date_seed(self.seed, date)
        pieces = (rows[start : start + SERIES_AT_ONCE] for start in range(0, len(rows), SERIES_AT_ONCE))
        found = []
        for piece in pieces:
            ends = bars.position_of_row[piece]
            past = stamps_of(bars.dates(ends, self.lookback), dates)
            found.append(self.of_windows(bars.read(ends, self.lookback), past, ahead, seed, labels)[0])
        return np.concatenate(found)

    def of_windows(
        self,
        values: NDArray[np.float32],
        past: NDArray[np.int64],
        ahead: NDArray[np.int64],
        seed: int,
        labels: Sequence[PathLabel],
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return what the paths of some windows say, as `of_date`, and their tokens (W, S, num_ahead, 2).

        Parameters
        ----------
        values : bars (W, lookback, 6) as they are
        past : the five numbers of their stamps (W, lookback, 5)
        ahead : those of the bars ahead (num_ahead, 5), the same for all windows
        seed : of the draws
        """
        device = next(self.model.parameters()).device
        x, center, scale = normalise(values, self.lookback, self.clip)
        every = np.broadcast_to(ahead, (len(values), *ahead.shape)).copy()
        inputs, before, after = (torch.from_numpy(one).to(device) for one in (x, past, every))
        sampling = Sampling(
            temperature=self.temperature, top_p=self.top_p, sample_count=self.samples, seed=seed, coupled=True
        )
        tokenizer, context = self.tokenizer.to(device), self.max_context
        paths = generate(tokenizer, self.model, inputs, before, after, context, sampling)
        generated, last = paths.bars.float().cpu().numpy(), values[:, -1, 3]

        def prices(column: int) -> NDArray[np.float32]:
            return generated[..., column] * scale[:, :, column][:, None, :] + center[:, :, column][:, None, :]

        columns = []
        for label in labels:
            if label.horizon is None:
                raise ValueError("a K-line model has nothing to say of a label that is a ready-made column")
            made = prices(COLUMN_OF_PRICE[label.price])
            columns.append(statistic_columns(path_factors(made, last, label.delay, label.horizon)))
        return np.stack(columns, axis=1), torch.stack([paths.s1, paths.s2], dim=-1).cpu().numpy()


def statistic_columns(factors: PathFactors) -> NDArray[np.float32]:
    """Return the statistics of the paths side by side, (W, 4 + quantiles); see `PathForecaster.of_date`."""
    return np.column_stack(
        [factors.mean, factors.median, factors.quantiles, factors.up_probability, factors.volatility]
    ).astype(np.float32)


def point_forecasts(values: NDArray[np.float32], labels: Iterable[PathLabel]) -> NDArray[np.float32]:
    """Return (num_rows, num_labels) forecasts that are ranked: the mean return, or the volatility of the paths.

    `values` are those of `PathForecaster.of_date`.
    """
    place = {"return": 0, "volatility": values.shape[2] - 1}
    return np.stack([values[:, head, place[label.measure]] for head, label in enumerate(labels)], axis=1)


def load_path_forecaster(directory: Path) -> tuple[PathForecaster, dict[str, Any]]:
    """Return the pair of a folder, ready to forecast, and its metadata.

    The folder holds the predictor in its published form, its tokenizer in `tokenizer` and `metadata.json` with the
    window, the sampling and the tokenizer's hash. ValueError where a file is missing, damaged or of another pair.
    """
    directory = Path(directory)
    metadata = read_json(directory / METADATA_FILE)
    own = {key: value for key, value in metadata.items() if key != METADATA_HASH}
    if metadata.get(METADATA_HASH) != content_hash(own):
        raise ValueError(f"{directory / METADATA_FILE}: was changed after it was written: it does not match its hash")
    if missing := [key for key in NEEDED if key not in metadata]:
        raise ValueError(f"{directory / METADATA_FILE}: lacks {missing[0]}, which forecasts are made with")
    tokenizer = KronosTokenizer.from_pretrained(directory / TOKENIZER_FOLDER)
    if tokenizer.content_hash != metadata["kline_tokenizer_sha256"]:
        raise ValueError(
            f"{directory / TOKENIZER_FOLDER}: is not the tokenizer that {METADATA_FILE} names: the predictor was "
            "trained with another one"
        )
    forecaster = PathForecaster(
        model=Kronos.from_pretrained(directory),
        tokenizer=tokenizer,
        **metadata["window"],
        **metadata["sampling"],
        max_context=metadata["max_context"],
        seed=metadata["seed"],
    )
    return forecaster, metadata
