"""`factor-serve predict --follow`: forecasts of each date that comes to the bars, appended to a file."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import Panel
from factor_serve.arrivals import ArrivalRules, check_share
from factor_serve.bundle import Bundle
from factor_serve.forecasts import ALL, STACK, Model, forecast, strangers_of
from factor_serve.inputs import clean
from factor_serve.sources import NONE, bars_of, news_of, state_of
from factor_serve.writing import read_forecasts, write_forecasts


def follow(bundle: Bundle, options: argparse.Namespace, out: Path) -> int:
    """Forecast every date after those in `out`, then wait for new ones, until SIGTERM (status 143) or Ctrl-C.

    Without a file yet it begins with `--since`, or with the last date of the bars. The file is replaced in one step, so
    it holds whole dates at any moment. Bars that cannot be read at a moment, as while they are being written, are told
    of on stderr and looked at again. ValueError where `out` has forecasts of other models: later dates would lack them.
    """
    signal.signal(signal.SIGTERM, _end)
    if out.exists():
        _check_models(bundle, options.model, out)
    seen: list[object] | None = None
    said = ""
    while True:
        states: list[object] = [state_of(one) for one in (options.bars, options.news) if one and one != NONE]
        if None in states or states != seen:  # what lies behind an address has to be read to tell
            try:
                _append(bundle, options, out)
                seen, said = states, ""
            except (ValueError, OSError) as error:
                if str(error) != said:
                    print(f"factor-serve predict: {' '.join(str(error).split())}; looking again", file=sys.stderr)
                said = str(error)
        time.sleep(options.every)


def _check_models(bundle: Bundle, model: Model, out: Path) -> None:
    of_label = dict.fromkeys(bundle.labels, model) if isinstance(model, str) else model
    every = [STACK, *bundle.members]
    asked = {(label, name) for label, one in of_label.items() for name in (every if one == ALL else [one])}
    frame = read_forecasts(out)
    there = set(zip(frame["label"], frame["model"], strict=True))
    if there and there != asked:
        has, wanted = (", ".join(f"{label} by {name}" for label, name in sorted(one)) for one in (there, asked))
        raise ValueError(f"--out {out}: has forecasts of {has}; asked for are {wanted}: name another file")


def _append(bundle: Bundle, options: argparse.Namespace, out: Path) -> None:
    from factor_serve.cli import wanted_dates

    panel = bars_of(options.bars, options.layout, options.map)
    before = read_forecasts(out) if out.exists() else None
    dates = wanted_dates(options, panel)
    if before is not None and len(before):
        dates = panel.dates[panel.dates > np.datetime64(before["timestamp"].max(), "ns")]
    dates = _left(bundle, panel, _whole(panel, dates))
    if not len(dates):
        return
    new = forecast(bundle, panel, news_of(options.news, bundle, panel), dates, options.model)
    write_forecasts(new if before is None else pd.concat([before, new], ignore_index=True), out)
    if note := strangers_of(bundle, new):
        print(f"note: {note}", file=sys.stderr)
    print(f"{len(new):,} forecasts of {dates[0]!s:.16} to {dates[-1]!s:.16} in {out}", flush=True)


def _whole(panel: Panel, dates: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """Return the dates without the bars' last one while it has far fewer symbols than the date before.

    It may be being written, and what is appended stays; when a later date has come, it is taken as it is.
    """
    counts = np.bincount(panel.date_code, minlength=panel.num_dates)[-2:].tolist()
    if len(counts) < 2 or not len(dates) or dates[-1] != panel.dates[-1]:
        return dates
    try:
        check_share(dates[-1:], counts[1:], counts[0], ArrivalRules())
    except ValueError as error:
        print(f"note: {error}; looking again", file=sys.stderr)
        return dates[:-1]
    return dates


def _left(bundle: Bundle, panel: Panel, dates: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """Return the dates of which cleaning leaves a bar: one without would be in the way of all that come after it."""
    if not len(dates):
        return dates
    left = np.isin(dates, clean(bundle, panel).dates)
    for date in dates[~left]:
        print(f"note: cleaning has left no bar of {date!s:.19}: it has no forecasts", file=sys.stderr)
    return dates[left]


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
