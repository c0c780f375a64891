"""The table of cleaning rules: what each looks for, what it can do about it, and what it does by default.

Three actions. `drop`: the bar goes, for all that comes later. `mask`: what offends is taken out of use: a value
becomes NaN, or, where the bar as a whole is in doubt, the bar leaves the universe (`in_universe` = 0: no sample, no
place in a cross-section on that date), while its prices stay for the features of later bars. `flag`: counted, and
kept as it is.

A rule decides about the bar of t from the symbol's own bars up to t. Dropping a symbol because of what is known at the
end of the sample only (such as "fewer than 252 bars in total") would be look-ahead, so no rule can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from factor_data.bar_columns import UNIVERSE
from factor_data.cleaning import find

Action = Literal["drop", "mask", "flag"]
ACTIONS: tuple[Action, ...] = get_args(Action)
EVERY_INFINITE = "every infinite value"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule of the table.

    Attributes
    ----------
    text : what it looks for; `{name}` stands for a threshold
    column : whose value the report shows
    find : the bars it hits, or None where what `needs` says is absent
    blanks : columns that `mask` sets to NaN; none: `mask` takes the bar out of the universe
    default, actions : what it does, and what it can do
    reads : columns that must be there, with a value somewhere in the data, for the rule to be checked
    needs : what else must be there
    unit : what it counts: bars, symbols, or the calendar dates that are missing
    """

    name: str
    text: str
    column: str
    find: find.Find
    default: Action
    actions: tuple[Action, ...] = ACTIONS
    blanks: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    needs: str = ""
    unit: Literal["bars", "symbols", "dates"] = "bars"

    def effect(self, action: Action) -> str:
        """Return in words what `action` does to a bar that the rule hits."""
        masked = f"{' and '.join(self.blanks)} set to missing" if self.blanks else "marked out of universe"
        return {"drop": "bar dropped", "mask": masked, "flag": "flagged"}[action]


# Looked at one after the other, each on what the rules before have left.
VALUE_RULES: tuple[Rule, ...] = (
    Rule(
        name="infinite_value",
        text="a value that is not finite, in any column",
        column="any",
        find=find.infinite_value,
        default="mask",
        actions=("drop", "mask"),
        blanks=(EVERY_INFINITE,),
    ),
    Rule(
        name="close_unusable",
        text="close missing or not above 0",
        column="close",
        find=find.unusable("close"),
        reads=("close",),
        default="drop",
        actions=("drop", "mask"),  # mask: for ready-made factors and targets that come without prices
        blanks=("close",),
    ),
    *(
        Rule(
            name=f"{column}_unusable",
            text=f"{column} missing or not above 0",
            column=column,
            find=find.unusable(column),
            default="mask",
            blanks=(column,),
            reads=(column,),
        )
        for column in ("open", "high", "low", "adj_close")
    ),
    Rule(
        name="range_crossed",
        text="high below low",
        column="high",
        find=find.range_crossed,
        reads=("high", "low"),
        default="mask",
        blanks=("high", "low"),
    ),
    Rule(
        name="close_outside_range",
        text="close outside [low, high]",
        column="close",
        find=find.outside_range("close"),
        reads=("close", "high", "low"),
        default="mask",
        blanks=("high", "low"),
    ),
    Rule(
        name="open_outside_range",
        text="open outside [low, high]",
        column="open",
        find=find.outside_range("open"),
        reads=("open", "high", "low"),
        default="mask",
        blanks=("open",),
    ),
    Rule(
        name="suspended",
        text="volume or amount is 0 or less",
        column="volume",
        find=find.suspended,
        default="mask",
        needs="volume or amount above 0 in any bar",
    ),
    Rule(
        name="volume_negative",
        text="volume below 0",
        column="volume",
        find=find.volume_negative,
        reads=("volume",),
        default="mask",
        blanks=("volume",),
    ),
    Rule(
        name="volume_zero",
        text="volume is 0",
        column="volume",
        find=find.volume_zero,
        reads=("volume",),
        default="flag",
        blanks=("volume",),
    ),
    Rule(
        name="missing_ratio",
        text="more than {max_missing:g} of the factors missing",
        column="share missing",
        find=find.missing_ratio,
        default="mask",
        needs="factor_columns",
    ),
    Rule(
        name="outside_universe",
        text=f"{UNIVERSE} of the data is missing or 0",
        column=UNIVERSE,
        find=find.outside_universe,
        reads=(UNIVERSE,),
        default="mask",
    ),
)

# Looked at together, on the bars that are left, each compared with the bar of the symbol before.
HISTORY_RULES: tuple[Rule, ...] = (
    Rule(
        name="limit_day",
        text="at the price limit: by limit_column, or a move above limit_move where there is none",
        column="move",
        find=find.limit_day,
        default="mask",
        needs="limit_column or limit_move",
    ),
    Rule(
        name="large_move",
        text="one-bar move above {max_abs_return:g}",
        column="move",
        find=find.large_move,
        reads=("close",),
        default="flag",
    ),
    Rule(
        name="split_suspected",
        text="price ratio near 2, 3, 4 ... or its inverse, not adjusted",
        column="price ratio",
        find=find.split_suspected,
        reads=("close",),
        default="flag",
    ),
    Rule(
        name="duplicate_bar",
        text="all prices and the volume as on the bar before",
        column="close",
        find=find.duplicate_bar,
        reads=("close",),
        default="flag",
    ),
    Rule(
        name="stale_price",
        text="close unchanged for {stale_bars} bars in a row or more",
        column="close",
        find=find.stale_price,
        reads=("close",),
        default="flag",
    ),
    Rule(
        name="calendar_gap",
        text="calendar dates without a bar between two bars",
        column="dates missing",
        find=find.calendar_gap,
        unit="dates",
        default="flag",
        actions=("mask", "flag"),
    ),
    Rule(
        name="adjusted_equals_close",
        text="adjusted close equals close on every bar of the symbol",
        column="close",
        find=find.adjusted_equals_close,
        default="flag",
        actions=("flag",),
        reads=("adj_close",),
        unit="symbols",
    ),
)

# Looked at last, on the bars that stay.
LAST_RULES: tuple[Rule, ...] = (
    Rule(
        name="short_history",
        text="fewer than {min_history} bars so far",
        column="close",
        find=find.short_history,
        default="mask",
    ),
)

RULES: tuple[Rule, ...] = (*VALUE_RULES, *HISTORY_RULES, *LAST_RULES)
