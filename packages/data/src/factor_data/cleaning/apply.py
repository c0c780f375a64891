"""Clean bars by the table of rules: every rule is counted, nothing is invented or filled."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from factor_data.bar_columns import UNIVERSE
from factor_data.cleaning.bars import NO_FACTS, Bars, ColumnFacts, Mask, facts_of
from factor_data.cleaning.config import CleanRules
from factor_data.cleaning.find import Found
from factor_data.cleaning.rules import EVERY_INFINITE, HISTORY_RULES, LAST_RULES, VALUE_RULES, Action, Rule
from factor_data.panel.panel import Panel
from factor_data.quality.coverage import Coverage, num_occupied_symbols, stamp
from factor_data.quality.report import NUM_OFFENDERS, Offender, QualityReport, RuleResult, share_of

DEFAULT_RULES = CleanRules()


def clean_bars(panel: Panel, rules: CleanRules = DEFAULT_RULES) -> tuple[Panel, QualityReport]:
    """Apply the rules and say what they did.

    Parameters
    ----------
    panel : bars as they were read
    rules : thresholds, and what each rule does (`RULES` is the table; its docstring says what the actions mean)

    Returns
    -------
    (cleaned panel, report); the input is not changed. Every close is above 0, or NaN where `close_unusable` masks and
    in bars without any price: a rule that reads a column without a single value is not checked, as the report says.
    Symbols and dates without a bar left are gone. The column `in_universe` is 1.0 where a bar may be a sample on its
    date, and 0.0 where a rule has masked the bar as a whole, such as before the `min_history`-th bar of its symbol.
    All of it is known at t: a rule decides about a bar from the symbol's own bars up to it.

    Raises
    ------
    ValueError if a column that `rules` names is absent, or no bar is left
    """
    cleaned, report = clean_symbols(replace(panel, known_markets=panel.markets), rules, facts_of(panel))
    report.check_not_empty()
    return replace(cleaned, known_markets=panel.known_markets).compact(), report


def clean_symbols(
    panel: Panel, rules: CleanRules = DEFAULT_RULES, facts: ColumnFacts = NO_FACTS
) -> tuple[Panel, QualityReport]:
    """Clean the bars of some symbols, to be put together later: cleaning is a map over symbols.

    Parameters
    ----------
    panel : all bars of some symbols. Its `symbols`, `dates` and `known_markets` are those of the whole, also where no
        bar is here; without markets there is one
    rules : as for `clean_bars`
    facts : `facts_of` the whole, of which the panel is a part

    Returns
    -------
    (cleaned bars, report on them). The bars keep `symbols`, `dates` and codes; none may be left. The reports of
    disjoint parts are put together by `QualityReport.merge`.
    """
    log = _Log(panel, rules)
    cleaned = _clean(Bars(panel, facts), rules, log)
    report = QualityReport(rules=tuple(log.results), settings=asdict(rules), coverage=Coverage.of(panel, cleaned))
    return cleaned, report


def bars_looked_at(rules: CleanRules) -> int | None:
    """Return how many cleaned bars of a symbol before a new one `clean_newest` has to be shown; None: all of them.

    Runs of a price and the bar before are looked at; how many bars there were is said by a number.
    """
    return None if rules.action("short_history") == "drop" else max(rules.stale_bars, 2)


def clean_newest(panel: Panel, rules: CleanRules, facts: ColumnFacts, earlier: NDArray[np.integer]) -> Panel:
    """Clean the newest bar of some symbols on the last few bars before it, as `clean_symbols` would on all of them.

    Parameters
    ----------
    panel : raw bars: the newest ones, and before them those from the `bars_looked_at`-th on that cleaning has left
    earlier : (num_symbols,) bars that cleaning has left before these; from `min_history` on their number is all the
        same

    Returns
    -------
    cleaned bars as from `clean_symbols`; only those that are newest are right
    """
    return _clean(Bars(panel, facts, earlier), rules, _Log(panel, rules))


def rule_hits(panel: Panel, rules: CleanRules = DEFAULT_RULES) -> dict[str, NDArray[np.bool_]]:
    """Return for each rule which bars it hits, to look at them or to weight them down.

    Returns
    -------
    rule name -> (num_rows,) bool over the rows of `panel`, as many True as bars the report counts. The hits of a
    rule depend on what the rules before it do, as in `clean_bars`
    """
    log = _Log(panel, rules)
    _clean(Bars(replace(panel, known_markets=panel.markets), facts_of(panel)), rules, log)
    hits = {name: np.zeros(panel.num_rows, dtype=bool) for name in log.rows}
    for name, rows in log.rows.items():
        hits[name][rows] = True
    return hits


def _clean(bars: Bars, rules: CleanRules, log: _Log) -> Panel:
    _check_columns(bars.panel, rules)
    drop = np.zeros(bars.panel.num_rows, dtype=bool)
    for rule in VALUE_RULES:
        drop |= log.apply(rule, bars, present=~drop)
    for later in (HISTORY_RULES, LAST_RULES):
        bars = bars.select(~drop)
        drop = np.zeros(bars.panel.num_rows, dtype=bool)
        for rule in later:
            drop |= log.apply(rule, bars)
    bars = bars.select(~drop)
    return bars.panel.with_columns(**bars.columns | {UNIVERSE: bars.universe.astype(np.float64)})


def _check_columns(panel: Panel, rules: CleanRules) -> None:
    if rules.limit_column is not None and rules.limit_column not in panel.columns:
        raise ValueError(
            f"limit_column: the bars have no column {rules.limit_column!r}; they have {list(panel.columns)}"
        )
    Bars(panel).factor_columns(rules.factor_columns)


class _Log:
    """Applies rules one by one; keeps the result of each and the rows that it hit."""

    def __init__(self, panel: Panel, rules: CleanRules) -> None:
        self.rules = rules
        self.results: list[RuleResult] = []
        self.rows: dict[str, NDArray[np.intp]] = {}
        self._total = {"bars": panel.num_rows, "symbols": num_occupied_symbols(panel)}

    def apply(self, rule: Rule, bars: Bars, present: Mask | None = None) -> Mask:
        """Let a rule act on the bars that are `present` (default all); returns the bars to drop, (num_rows,)."""
        action = self.rules.action(rule.name)
        nothing = np.zeros(bars.panel.num_rows, dtype=bool)
        absent = [name for name in rule.reads if name not in bars]
        with np.errstate(invalid="ignore", divide="ignore"):
            found = None if absent else rule.find(bars, self.rules)
        if found is None:
            self.rows[rule.name] = np.zeros(0, dtype=np.intp)
            self._add(rule, action, 0, (), effect=f"not checked: no {' and no '.join(absent) or rule.needs}")
            return nothing
        hit = found.hit if present is None else found.hit & present
        rows = np.flatnonzero(hit)
        self.rows[rule.name] = bars.rows[rows]
        count = len(rows) if found.weight is None else int(found.weight[rows].sum())
        self._add(rule, action, count, _first_offenders(rule, found, bars, rows), rule.effect(action))
        if action == "mask":
            _mask(rule, bars, hit)
        return hit if action == "drop" else nothing

    def _add(self, rule: Rule, action: Action, count: int, offenders: tuple[Offender, ...], effect: str) -> None:
        total = self._total["symbols" if rule.unit == "symbols" else "bars"]
        self.results.append(
            RuleResult(
                name=rule.name,
                description=rule.text.format(**vars(self.rules)),
                action=action,
                effect=effect,
                unit=rule.unit,
                count=count,
                share=share_of(count, total),
                offenders=offenders,
            )
        )


def _mask(rule: Rule, bars: Bars, hit: Mask) -> None:
    """Take what offends out of use: the values of some columns, or the bar as a whole."""
    if rule.blanks == (EVERY_INFINITE,):
        for name in list(bars.columns):
            if (infinite := np.isinf(bars[name]) & hit).any():
                bars.blank(name, infinite)
    elif rule.blanks:
        for name in rule.blanks:
            if hit.any():
                bars.blank(name, hit)
    else:
        bars.universe &= ~hit


def _first_offenders(rule: Rule, found: Found, bars: Bars, rows: NDArray[np.intp]) -> tuple[Offender, ...]:
    """The first of `rows` by time, then symbol, with the value that the rule complains about."""
    panel = bars.panel
    order = np.lexsort((panel.symbol_code[rows], panel.date_code[rows]))
    value = bars[rule.column] if found.value is None else found.value
    return tuple(
        Offender(
            timestamp=stamp(panel.dates[panel.date_code[row]]),
            symbol=str(panel.symbols[panel.symbol_code[row]]),
            column=rule.column,
            value=float(value[row]) if np.isfinite(value[row]) else None,
        )
        for row in rows[order[:NUM_OFFENDERS]]
    )
