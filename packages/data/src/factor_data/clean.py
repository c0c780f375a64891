"""Clean bars by stated rules. Every rule is counted; nothing is invented or filled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from factor_data.features.kernels import bar_age, lagged
from factor_data.panel import UNIVERSE, Panel
from factor_data.quality import Offender, QualityReport, RuleResult

NUM_OFFENDERS = 5
SPLIT_RATIOS = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 20.0)


@dataclass(frozen=True, kw_only=True)
class CleanRules:
    """Thresholds of the cleaning rules."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    min_history: int = 60
    # bars a symbol must have had, up to and with t, to be in the universe at t
    max_abs_return: float = 0.5
    # largest one-bar move of the adjusted close that is not flagged
    split_tolerance: float = 0.03
    # relative distance from 2, 3, 4 ... within which a price ratio looks like a split
    stale_bars: int = 10
    # bars in a row with an unchanged close that are flagged
    price_tolerance: float = 1e-6
    # relative slack in "close within [low, high]", for prices that were rounded apart

    def __post_init__(self) -> None:
        for name, lowest in (("min_history", 1), ("stale_bars", 2)):
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} must be at least {lowest}, got {getattr(self, name)}")
        if not self.max_abs_return > 0:
            raise ValueError(f"max_abs_return must be positive, got {self.max_abs_return}")
        for name in ("split_tolerance", "price_tolerance"):
            if not 0 <= getattr(self, name) < 0.2:
                raise ValueError(f"{name} must lie in [0, 0.2), got {getattr(self, name)}")


def clean_bars(panel: Panel, rules: CleanRules = CleanRules()) -> tuple[Panel, QualityReport]:
    """Apply the rules and say what they did.

    Dropped are only bars without a positive close. Other impossible values become NaN, suspicious ones are
    flagged and kept. Symbols and dates without a bar left go. The column ``in_universe`` is 1.0 from the
    ``min_history``-th bar of a symbol on and 0.0 before: known at t, since it counts past bars only.

    Returns
    -------
    (cleaned panel, report); the input is not changed
    """
    log = _Log(num_bars=panel.num_rows)
    close = panel.columns["close"]
    unusable = ~(close > 0.0)
    log.add("close_unusable", "close missing or not above 0", "bar dropped", panel, unusable, "close")
    kept = panel.select(~unusable).compact()
    if kept.num_rows == 0:
        raise ValueError(f"none of {panel.num_rows} bars has a positive close")
    kept = _blank_impossible_values(kept, rules, log)
    _flag_suspects(kept, rules, log)
    early = bar_age(kept.symbol_code) < rules.min_history - 1
    log.add(
        "short_history",
        f"fewer than {rules.min_history} bars so far",
        "marked out of universe",
        kept,
        early,
        "close",
    )
    cleaned = kept.with_columns(**{UNIVERSE: np.where(early, 0.0, 1.0)})
    return cleaned, QualityReport(
        rules=tuple(log.results), summary=_summary(panel, cleaned), settings=asdict(rules)
    )


def clean_symbols(panel: Panel, rules: CleanRules = CleanRules()) -> tuple[Panel, QualityReport]:
    kept, report = clean_bars(panel, rules)
    names = {s: i for i, s in enumerate(panel.symbols)}
    code = np.array([names[s] for s in kept.symbols], dtype=np.int32)[kept.symbol_code]
    date = np.searchsorted(panel.dates, kept.timestamp).astype(np.int32)
    from dataclasses import replace

    return replace(kept, symbols=panel.symbols, dates=panel.dates, symbol_code=code, date_code=date), report


class _Log:
    """Collects what each rule found."""

    def __init__(self, num_bars: int) -> None:
        self.num_bars = num_bars
        self.results: list[RuleResult] = []

    def add(
        self,
        name: str,
        description: str,
        action: str,
        panel: Panel,
        hit: NDArray[np.bool_],
        column: str,
        value: NDArray | None = None,
        weight: NDArray | None = None,
    ) -> None:
        """Count the rows of ``hit`` (each as often as ``weight`` says) and keep the first in time."""
        rows = np.flatnonzero(hit)
        count = len(rows) if weight is None else int(weight[rows].sum())
        first = rows[np.lexsort((panel.symbol_code[rows], panel.date_code[rows]))[:NUM_OFFENDERS]]
        shown = panel.columns[column] if value is None else value
        self.results.append(
            RuleResult(
                name=name,
                description=description,
                action=action,
                count=count,
                share=count / self.num_bars if self.num_bars else 0.0,
                offenders=tuple(
                    Offender(
                        timestamp=str(panel.dates[panel.date_code[row]].astype("datetime64[s]")),
                        symbol=str(panel.symbols[panel.symbol_code[row]]),
                        column=column,
                        value=float(shown[row]) if np.isfinite(shown[row]) else None,
                    )
                    for row in first
                ),
            )
        )


def _blank_impossible_values(panel: Panel, rules: CleanRules, log: _Log) -> Panel:
    """Set to NaN what cannot be: non-positive prices, crossed ranges, negative volumes."""
    columns = {name: np.array(values) for name, values in panel.columns.items()}
    close = columns["close"]

    def blank(name: str, description: str, hit: NDArray[np.bool_], *fields: str) -> None:
        log.add(
            name,
            description,
            f"{' and '.join(fields)} set to missing",
            panel,
            hit,
            fields[0],
            columns[fields[0]],
        )
        for field in fields:
            columns[field][hit] = np.nan

    for field in ("open", "high", "low", *(["adj_close"] if "adj_close" in columns else [])):
        blank(f"{field}_unusable", f"{field} missing or not above 0", ~(columns[field] > 0.0), field)
    blank("range_crossed", "high below low", columns["high"] < columns["low"], "high", "low")
    slack = rules.price_tolerance
    for field, outside in (("close", ("high", "low")), ("open", ("open",))):
        value = close if field == "close" else columns["open"]
        hit = (value > columns["high"] * (1 + slack)) | (value < columns["low"] * (1 - slack))
        blank(f"{field}_outside_range", f"{field} outside [low, high]", hit, *outside)
    blank("volume_negative", "volume below 0", columns["volume"] < 0.0, "volume")
    return panel.with_columns(**columns)


def _flag_suspects(panel: Panel, rules: CleanRules, log: _Log) -> None:
    """Flag, and keep, what is possible but suspicious."""
    age = bar_age(panel.symbol_code)
    close, adjusted = panel.columns["close"], panel.adjusted("close")

    def ratio(values: NDArray) -> NDArray:
        return values / lagged(values, age, 1)

    flag: Callable[..., None] = lambda name, text, hit, column, **kw: log.add(  # noqa: E731
        name, text, "flagged", panel, hit, column, **kw
    )
    flag("volume_zero", "volume is 0", panel.columns["volume"] == 0.0, "volume")
    move = ratio(adjusted) - 1.0
    large = np.abs(move) > rules.max_abs_return
    flag("large_move", f"one-bar move above {rules.max_abs_return:.0%}", large, "close", value=move)
    jump, adjusted_jump = ratio(close), ratio(adjusted)
    times = np.maximum(jump, 1.0 / jump)
    near = np.any([np.abs(times / k - 1.0) < rules.split_tolerance for k in SPLIT_RATIOS], axis=0)
    unadjusted = near & (np.abs(adjusted_jump / jump - 1.0) < rules.split_tolerance)
    flag(
        "split_suspected",
        "price ratio near 2, 3, 4 ... or its inverse, not adjusted",
        unadjusted,
        "close",
        value=jump,
    )
    gap = np.where(age > 0, np.diff(panel.date_code, prepend=0) - 1, 0)
    flag(
        "calendar_gap",
        "calendar dates without a bar between two bars",
        gap > 0,
        "close",
        value=gap,
        weight=gap,
    )
    run = _run_length(close, age)
    stale = run == rules.stale_bars
    flag(
        "stale_price",
        f"close unchanged for {rules.stale_bars} bars in a row (counted once a run)",
        stale,
        "close",
    )


def _run_length(values: NDArray, age: NDArray[np.int64]) -> NDArray[np.int64]:
    """(num_rows,) how many bars in a row, up to and with this one, have this value."""
    rows = np.arange(len(values))
    starts = (age == 0) | np.r_[True, values[1:] != values[:-1]]
    return rows - np.maximum.accumulate(np.where(starts, rows, 0)) + 1


def _summary(before: Panel, after: Panel) -> dict[str, int | str]:
    return {
        "bars_in": before.num_rows,
        "bars_out": after.num_rows,
        "bars_in_universe": int(after.columns[UNIVERSE].sum()),
        "symbols_in": before.num_symbols,
        "symbols_out": after.num_symbols,
        "dates": after.num_dates,
        "first_date": str(after.dates[0].astype("datetime64[s]")),
        "last_date": str(after.dates[-1].astype("datetime64[s]")),
    }
