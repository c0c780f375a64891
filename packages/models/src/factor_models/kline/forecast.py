"""Frames in, frames out: K-line futures of price series in their own units.

A series is normalised by the mean and standard deviation of its lookback alone. Besides the mean path, all paths and
their quantiles can be had; a path whose high is below its low, or whose volume is negative, is repaired and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from factor_models.kline.calendar import stamp_features
from factor_models.kline.factors import MIN_PRICE_SHARE
from factor_models.kline.frames import column_names, like, numbers, stamp_index
from factor_models.kline.generation import BeyondContext, Sampling, generate
from factor_models.kline.predictor import Kronos
from factor_models.kline.tokenizer import KronosTokenizer
from factor_models.kline.windows import COLUMNS, PRICES, normalise

Stamps = Any
"""Stamps as a series or index of pandas, a series of polars, or an array of pyarrow."""
Frame = Any
"""Bars as a frame of pandas, polars or pyarrow."""


@dataclass(frozen=True, kw_only=True)
class PathForecast:
    """Futures of one series in its own units."""

    timestamps: pd.DatetimeIndex
    """(P,) of the bars ahead."""
    samples: NDArray[np.float64]
    """(S, P, 6): open, high, low, close, volume, amount."""
    num_repaired: int
    """Bars of `samples` in which something was repaired."""

    def mean(self) -> pd.DataFrame:
        """Mean over the samples."""
        return self._frame(self.samples.mean(axis=0))

    def quantile(self, level: float) -> pd.DataFrame:
        """Quantile over the samples, each number for itself; level in [0, 1]."""
        return self._frame(np.quantile(self.samples, level, axis=0))

    def path(self, sample: int) -> pd.DataFrame:
        """One future."""
        return self._frame(self.samples[sample])

    def _frame(self, values: NDArray) -> pd.DataFrame:
        return pd.DataFrame(values, columns=list(COLUMNS), index=self.timestamps)


class KronosPredictor:
    """Forecasts by a tokenizer and a predictor that belong together.

    Parameters
    ----------
    max_context : bars the predictor looks back on at most (512 for small and base, 2,048 for mini)
    clip : bound of normalised values
    tokenizer_hash : `content_hash` of the tokenizer the predictor was trained with; another one is refused
    """

    def __init__(
        self,
        model: Kronos,
        tokenizer: KronosTokenizer,
        device: str | None = None,
        max_context: int = 512,
        clip: float = 5,
        tokenizer_hash: str | None = None,
    ) -> None:
        if tokenizer_hash is not None and tokenizer.content_hash != tokenizer_hash:
            raise ValueError(
                f"the predictor was trained with the tokenizer {tokenizer_hash[:12]}..., "
                f"this one is {tokenizer.content_hash[:12]}...: their tokens do not mean the same"
            )
        self.device = device or ("cuda:0" if torch.cuda.is_available() else "cpu")
        self.model, self.tokenizer = model.to(self.device).eval(), tokenizer.to(self.device).eval()
        self.max_context, self.clip = max_context, clip

    def predict(
        self,
        df: Frame,
        x_timestamp: Stamps,
        y_timestamp: Stamps,
        pred_len: int,
        T: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.9,
        sample_count: int = 1,
        verbose: bool = True,
    ) -> Any:
        """Mean path of one series: a frame of the six columns, indexed by `y_timestamp`; see `predict_paths`.

        It is a frame of the library that `df` is of; where that has no index, the stamps are its first column.
        """
        return self.predict_batch([df], [x_timestamp], [y_timestamp], pred_len, T, top_k, top_p, sample_count, verbose)[
            0
        ]

    def predict_batch(
        self,
        df_list: Sequence[Frame],
        x_timestamp_list: Sequence[Stamps],
        y_timestamp_list: Sequence[Stamps],
        pred_len: int,
        T: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.9,
        sample_count: int = 1,
        verbose: bool = True,
    ) -> list[Any]:
        """Mean paths of several series of one length; see `predict` and `predict_paths`."""
        sampling = Sampling(temperature=T, top_k=top_k, top_p=top_p, sample_count=sample_count)
        forecasts = self.predict_paths(
            df_list,
            x_timestamp_list,
            y_timestamp_list,
            sampling,
            repair=False,
            on_bar=_print_progress(pred_len) if verbose else None,
            pred_len=pred_len,
        )
        return [like(df, forecast.mean()) for df, forecast in zip(df_list, forecasts, strict=True)]

    def predict_paths(
        self,
        frames: Sequence[Frame],
        x_timestamps: Sequence[Stamps],
        y_timestamps: Sequence[Stamps],
        sampling: Sampling | None = None,
        beyond_context: BeyondContext = "exact",
        repair: bool = True,
        on_bar: Callable[[int], None] | None = None,
        pred_len: int | None = None,
    ) -> list[PathForecast]:
        """All futures of series that share lookback and number of bars ahead.

        Parameters
        ----------
        frames : columns open, high, low, close; volume and amount if known. Without volume both are 0, without
            amount it is volume times the mean of the prices
        x_timestamps, y_timestamps : stamps of the bars given and of the bars ahead, increasing, y after x
        sampling, beyond_context : see `generate`
        repair : put high and low around open and close, prices at or above a hundredth of the last close (where
            that is above 0) and volume and amount at 0 or above, and count it
        on_bar : called after each bar ahead with its number

        Raises
        ------
        ValueError naming series, column, row and value for missing or infinite numbers, unsorted or repeated stamps,
        unequal lengths, or more bars ahead than max_context
        """
        if not len(frames) == len(x_timestamps) == len(y_timestamps) or not frames:
            raise ValueError(
                f"frames ({len(frames)}), x_timestamps ({len(x_timestamps)}) and y_timestamps "
                f"({len(y_timestamps)}) must be as many, at least one"
            )
        bars = [_bars(number, frame) for number, frame in enumerate(frames)]
        past = [_stamps(number, "x_timestamp", stamps) for number, stamps in enumerate(x_timestamps)]
        ahead = [_stamps(number, "y_timestamp", stamps) for number, stamps in enumerate(y_timestamps)]
        _check_lengths(bars, past, ahead, pred_len)
        values = np.stack(bars).astype(np.float32)
        normalised, center, scale = normalise(values, values.shape[1], self.clip, self.model.official_parity)
        generated = generate(
            self.tokenizer,
            self.model,
            torch.from_numpy(normalised).to(self.device),
            self._stamp_tensor(past),
            self._stamp_tensor(ahead),
            self.max_context,
            sampling or Sampling(),
            beyond_context,
            on_bar,
        )
        paths = generated.bars.float().cpu().numpy() * scale[:, None] + center[:, None]
        last = values[:, -1, PRICES.index("close")].astype(np.float64)
        least = np.where(last > 0.0, MIN_PRICE_SHARE * last, -np.inf)
        return [
            _forecast(stamps, path.astype(np.float64), float(lowest), repair)
            for stamps, path, lowest in zip(ahead, paths, least, strict=True)
        ]

    def _stamp_tensor(self, stamps: Sequence[pd.DatetimeIndex]) -> torch.Tensor:
        return torch.from_numpy(np.stack([stamp_features(one) for one in stamps])).to(self.device)


def repair_bars(bars: NDArray[np.float64], least: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Bars (..., 6) that can be, and which were changed.

    High and low lie around open and close, no price is below `least` nothing traded below 0.
    """
    repaired = bars.copy()
    repaired[..., :4] = np.maximum(bars[..., :4], least)
    body = repaired[..., [0, 3]]
    repaired[..., 1] = np.maximum(repaired[..., 1], body.max(axis=-1))
    repaired[..., 2] = np.minimum(repaired[..., 2], body.min(axis=-1))
    repaired[..., 4:] = np.maximum(bars[..., 4:], 0.0)
    return repaired, (repaired != bars).any(axis=-1)


def _forecast(stamps: pd.DatetimeIndex, paths: NDArray[np.float64], least: float, repair: bool) -> PathForecast:
    repaired, changed = repair_bars(paths, least) if repair else (paths, np.zeros(0, dtype=bool))
    return PathForecast(timestamps=stamps, samples=repaired, num_repaired=int(changed.sum()))


def _bars(series: int, frame: Frame) -> NDArray[np.float64]:
    """(T, 6) of a frame, missing volume and amount completed."""
    found = column_names(frame)
    missing = [name for name in PRICES if name not in found]
    if missing:
        lower = [str(name).lower() for name in found]
        meant = [f"{found[lower.index(name)]!r} to {name!r}" for name in missing if name in lower]
        advice = f"; perhaps rename {', '.join(meant)}" if meant else ""
        raise ValueError(f"series {series}: column {missing[0]!r} is missing; it has {found}{advice}")
    if "amount" in found and "volume" not in found:
        raise ValueError(f"series {series}: amount is given without volume: give both, volume alone, or neither")
    columns = {name: numbers(frame, name) for name in COLUMNS if name in found}
    for name, values in columns.items():
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise ValueError(
                f"series {series}: column {name!r} is missing or infinite in {len(wrong)} rows, "
                f"first row {wrong[0] + 1} ({values[wrong[0]]})"
            )
    volume = columns.setdefault("volume", np.zeros(len(columns["close"])))
    columns.setdefault("amount", volume * np.mean([columns[name] for name in PRICES], axis=0))
    return np.column_stack([columns[name] for name in COLUMNS])


def _stamps(series: int, name: str, stamps: Stamps) -> pd.DatetimeIndex:
    given = stamp_index(stamps)
    if pd.api.types.is_numeric_dtype(given) or "integer" in pd.api.types.infer_dtype(given):
        raise ValueError(
            f"series {series}: {name} are numbers, as {given[0] if len(given) else given.dtype}: numbers are no dates "
            "until it is said what they count, as pd.to_datetime(stamps, unit='ms', utc=True)"
        )
    try:
        index = pd.DatetimeIndex(given)
    except (ValueError, TypeError) as error:
        raise ValueError(f"series {series}: {name} must be stamps of one zone, or of none ({error})") from None
    if index.hasnans:
        raise ValueError(f"series {series}: {name} is missing in row {int(np.flatnonzero(index.isna())[0]) + 1}")
    back = np.flatnonzero(np.diff(index.asi8) <= 0)
    if len(back):
        row = int(back[0]) + 1
        raise ValueError(
            f"series {series}: {name} must increase, row {row + 1} ({index[row]}) does not come after row {row} "
            f"({index[row - 1]})"
        )
    return index


def _check_lengths(
    bars: Sequence[NDArray],
    past: Sequence[pd.DatetimeIndex],
    ahead: Sequence[pd.DatetimeIndex],
    pred_len: int | None,
) -> None:
    lookback, num_ahead = len(bars[0]), len(ahead[0]) if pred_len is None else pred_len
    for number, (values, before, after) in enumerate(zip(bars, past, ahead, strict=True)):
        if len(values) < 1 or len(values) != len(before):
            raise ValueError(f"series {number}: {len(values)} bars and {len(before)} x_timestamps, must be as many")
        if len(values) != lookback or len(after) != num_ahead:
            raise ValueError(
                f"series {number}: {len(values)} bars and {len(after)} bars ahead; all series of a batch must have "
                f"{lookback} and {num_ahead}"
            )
        if str(before.tz) != str(after.tz):
            raise ValueError(
                f"series {number}: x_timestamp is in {before.tz or 'no zone'} and y_timestamp in "
                f"{after.tz or 'no zone'}; the model reads hours of one clock"
            )
        if len(after) and not after[0] > before[-1]:
            raise ValueError(f"series {number}: y_timestamp {after[0]} does not come after the last bar {before[-1]}")


def _print_progress(pred_len: int) -> Callable[[int], None]:
    def show(bar: int) -> None:
        print(f"\rbar {bar + 1} of {pred_len}", end="\n" if bar + 1 == pred_len else "", flush=True)

    return show
