"""Cleaning: factor_data.clean_bars against the same rules written with pandas, group by group of symbols.

1,000 symbols x 1,500 days, 2 % of the bars absent, 1 % of the values broken. One process,
CPU seconds, median of 5 runs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from instruction_set import print_instruction_set

from factor_data import CleanRules, Panel, clean_bars

NUM_SYMBOLS, NUM_DATES, REPEATS = 1000, 1500, 5
RULES = CleanRules(min_history=252, stale_bars=3)
SPLITS = np.array([2, 3, 4, 5, 6, 7, 8, 10, 20])


def make_panel() -> Panel:
    generator = np.random.default_rng(0)
    num_rows = NUM_SYMBOLS * NUM_DATES
    close = np.round(50 * np.exp(np.cumsum(generator.normal(0, 0.02, (NUM_SYMBOLS, NUM_DATES)), axis=1)), 2)
    close = np.maximum(close, 0.01).ravel()
    columns = {"open": close * 1.001, "high": close * 1.02, "low": close * 0.98, "close": close}
    columns |= {"volume": generator.integers(1, 1000, num_rows).astype(float), "adj_close": close / 2}
    for name, values in columns.items():
        columns[name] = np.where(generator.random(num_rows) < 0.01, 0.0, values)
    panel = Panel(
        symbols=np.array([f"S{i:04d}" for i in range(NUM_SYMBOLS)]),
        dates=pd.bdate_range("2010-01-01", periods=NUM_DATES).to_numpy().astype("datetime64[ns]"),
        symbol_code=np.repeat(np.arange(NUM_SYMBOLS, dtype=np.int32), NUM_DATES),
        date_code=np.tile(np.arange(NUM_DATES, dtype=np.int32), NUM_SYMBOLS),
        columns=columns,
    )
    return panel.select(generator.random(num_rows) >= 0.02)


def with_pandas(panel: Panel) -> dict[str, int]:
    """The default rules as a pandas user writes them; counts only, without offenders, heat map or masked columns."""
    frame = panel.to_pandas().assign(date=panel.date_code)
    counts = {"close_unusable": int((~(frame["close"] > 0)).sum())}
    frame = frame[frame["close"] > 0].copy()
    for name in ("open", "high", "low", "adj_close"):
        hit = ~(frame[name] > 0)
        counts[f"{name}_unusable"] = int(hit.sum())
        frame.loc[hit, name] = np.nan
    counts["suspended"] = int((frame["volume"] <= 0).sum())
    bars = frame.groupby("symbol", sort=False)
    move = bars["adj_close"].pct_change(fill_method=None)
    counts["large_move"] = int((move.abs() > RULES.max_abs_return).sum())
    jump = frame["close"] / bars["close"].shift()
    times = np.maximum(jump, 1 / jump).to_numpy()
    near = (np.abs(times[:, None] / SPLITS - 1) < RULES.split_tolerance).any(axis=1)
    same = ((move + 1) / jump - 1).abs() < RULES.split_tolerance
    counts["split_suspected"] = int((near & same).sum())
    changed = frame["close"] != bars["close"].shift()
    run = frame.groupby(["symbol", changed.cumsum()], sort=False).cumcount() + 1
    counts["stale_price"] = int((run >= RULES.stale_bars).sum())
    counts["calendar_gap"] = int((bars["date"].diff().dropna() - 1).sum())
    counts["short_history"] = int((bars.cumcount() < RULES.min_history - 1).sum())
    return counts


def cpu_seconds(function: Callable, *arguments: object) -> list[float]:
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        function(*arguments)
        times.append(time.process_time() - started)
    return times


def main() -> None:
    panel = make_panel()
    _, report = clean_bars(panel, RULES)
    expected = with_pandas(panel)
    assert {name: report.count(name) for name in expected} == expected, "the two do not count the same"
    ours, theirs = cpu_seconds(clean_bars, panel, RULES), cpu_seconds(with_pandas, panel)
    first, second = statistics.median(ours), statistics.median(theirs)
    print(f"{panel.num_rows:,} bars: clean_bars {first:.2f} s ({min(ours):.2f} to {max(ours):.2f}), ", end="")
    print(f"pandas {second:.2f} s ({min(theirs):.2f} to {max(theirs):.2f}): ratio {second / first:.1f}x")


if __name__ == "__main__":
    print_instruction_set()
    main()
