"""Forecasts in memory, date by date: what a new date needs is kept, and its forecasts have the bits of a batch.

Kept are, per symbol, the last raw bars that cleaning and features of a new bar look at (`factor_serve.memory`), the
same as cleaning has left them, and the last rows that members read, computed when their date came. The tone of news is
carried as the sums of the last row, in float64. A new bar is cleaned beside the few bars before it that the rules look
at, each of its features is computed on as many bars as that feature looks back on, then it is normalised over the
cross-section of its date, put behind the rows, and forecast; nothing that was computed before is computed again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import FeaturePlan, Panel, as_pandas, clean_symbols
from factor_data.cleaning.apply import bars_looked_at, clean_newest
from factor_data.cleaning.bars import NOTHING_SEEN, ColumnFacts, Seen, column_facts, seen_values
from factor_data.news.join import document_rows
from factor_data.panel.stamps import as_stamps
from factor_serve.arrivals import ArrivalRules, check_dates, check_news, check_share, panel_of
from factor_serve.averages import Averages, Kept, averages_of
from factor_serve.bundle import Bundle
from factor_serve.forecasts import STACK, Model, forecast_rows
from factor_serve.inputs import feature_plan, kline_columns, normalised, rows_of, with_columns
from factor_serve.memory import held_bars, newest_values, source_bars
from factor_serve.rows import Rows
from factor_serve.sorted_rows import behind, coded, from_end, put_behind, with_names
from factor_serve.stamps import check_one_clock, wall_clock, with_zones


def no_documents() -> pd.DataFrame:
    """Documents, none of them."""
    nothing = np.array([], dtype=object)
    return pd.DataFrame({"timestamp": np.array([], dtype="datetime64[ns]"), "symbol": nothing, "text": nothing})


@dataclass(frozen=True, kw_only=True, eq=False)
class Cleaned:
    """What cleaning has left of the bars that are kept.

    Attributes
    ----------
    bars : with the symbols and dates of the raw ones
    left : (num_rows of the raw bars,) which of them these are
    """

    bars: Panel
    left: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """All that is kept between two dates.

    Attributes
    ----------
    bars : the last raw bars of each symbol, on the calendar of all raw dates
    rows : the last rows that members read, on the calendar of the dates that cleaning has left a bar of
    seen : per column whether a value of 0 or less, and one above 0, was ever seen
    tone : (num_symbols of rows, 2) sums of tone and count at the last row of each symbol
    news : documents that a later row may need, sorted by (timestamp, symbol)
    counted : (num_documents,) whether a document is in `tone` already
    zones, news_zones : zones in which stamps of bars and of documents have come, see `factor_serve.stamps`; none of
        bars that came as a panel, which knows their wall clock only
    averaged : what features over a long memory are averages of, by the symbols of the rows; None without such features
    cleaned : made of the bars when a date comes and it is None, as after a restart
    """

    bars: Panel
    rows: Rows
    seen: dict[str, Seen]
    tone: NDArray[np.float64]
    news: pd.DataFrame = field(default_factory=no_documents)
    counted: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    zones: dict[str, str] = field(default_factory=dict)
    news_zones: dict[str, str] = field(default_factory=dict)
    averaged: Kept | None = None
    cleaned: Cleaned | None = None

    @property
    def last(self) -> np.datetime64:
        """The last date of the bars."""
        return self.bars.dates[-1]

    @property
    def facts(self) -> ColumnFacts:
        """Columns without any value, and volume and amount that are never above 0."""
        return column_facts(self.seen)


class Forecaster:
    """Forecasts from a bundle, date by date.

    Parameters
    ----------
    bundle : loaded bundle
    rules : what may be missing of new dates

    The first `update` takes the history: its forecasts are those of a batch on the same bars. State is kept whole: an
    update that is refused, or fails, changes nothing.
    """

    def __init__(self, bundle: Bundle, rules: ArrivalRules | None = None) -> None:
        self.bundle, self.rules = bundle, rules or ArrivalRules()
        self.state: State | None = None
        self.memory: int | None = None
        """Bars of a symbol that a new date needs, known after the first update; None: all, since a function of the
        user's may look at all."""
        self._plan: tuple[NDArray[np.str_], FeaturePlan, Averages | None] | None = None

    @property
    def last(self) -> np.datetime64 | None:
        """The last date that is known; None before the first update."""
        return None if self.state is None else self.state.last

    def update(self, bars: Any, news: Any = None, model: Model = STACK) -> pd.DataFrame:
        """Take new bars and return forecasts of their dates; of the first call, of the last date.

        Parameters
        ----------
        bars : raw bars of one date or several, all later than the last one; at the first call the history. A panel, or
            a frame of pandas, polars, pyarrow or another library that speaks Arrow
        news : documents, as such a frame, that were not given before; needed at the first call where the bundle reads
            news, afterwards None says that there were none. Documents of dates to come are kept until then
        model : "stack", a member's name, or "all"; or one of them for each label, as from `factor_serve.switched`

        Returns
        -------
        forecasts as of `factor_serve.forecast`

        Raises
        ------
        ValueError : bars that are not after the last date (corrections), come twice, are infinite or lack a column;
            stamps of another zone than those before, or without one; a gap; a date with far fewer symbols than the one
            before; a column that had no value and now has one, by which earlier bars would be cleaned otherwise;
            documents that belong to a bar that is forecast already
        """
        bars = bars if isinstance(bars, Panel) else as_pandas(bars, "bars")
        news = None if news is None else as_pandas(news, "news")
        panel = with_columns(self.bundle, panel_of(bars))
        zones = with_zones({} if self.state is None else self.state.zones, *stamps_of(bars), "bars")
        if news is not None and self.bundle.one_clock:
            check_one_clock(zones, with_zones({}, *wall_clock(check_news(news)["timestamp"], "news"), "news"))
        if self.state is not None:
            state = replace(self.state, zones=zones)
            if differing := sorted(panel.columns.keys() ^ state.bars.columns.keys()):
                raise ValueError(f"bars: column {differing[0]!r} must be in all bars, the history too, or in none")
            check_dates(panel.dates, state.last, self.bundle.train_dates, self.rules)
            counts = np.bincount(panel.date_code, minlength=panel.num_dates).tolist()
            check_share(panel.dates, counts, int((state.bars.date_code == state.bars.num_dates - 1).sum()), self.rules)
            return self._go_on(self._with_news(state, news), panel, model)
        memory = held_bars(self.bundle, panel)
        state, codes = self._first(panel, news, memory)
        said = self._said(state, codes, model)
        self.state, self.memory = replace(state, zones=zones), memory
        return said

    def _go_on(self, state: State, panel: Panel, model: Model) -> pd.DataFrame:
        """Forecast date by date; the state is kept when all are."""
        frames = []
        for code, date in enumerate(panel.dates):
            state, codes = self._next(state, panel.select(panel.date_code == code), date)
            frames.append(self._said(state, codes, model))
        self.state = state
        return pd.concat(frames, ignore_index=True)

    def save(self, path: str | Path) -> None:
        """Write the state to one file, whole or not at all."""
        from factor_serve.saved_state import save_state

        if self.state is None:
            raise ValueError("there is no state to save: no bars were given yet")
        save_state(self.state, self.bundle.identity, Path(path))

    @classmethod
    def restore(cls, bundle: Bundle, path: str | Path, rules: ArrivalRules | None = None) -> Forecaster:
        """Return the forecaster whose state was saved; ValueError for a damaged file, or one of another bundle."""
        from factor_serve.saved_state import load_state

        forecaster = cls(bundle, rules)
        forecaster.state = load_state(Path(path), bundle.identity)
        forecaster.memory = held_bars(bundle, forecaster.state.bars)
        return forecaster

    def _said(self, state: State, codes: NDArray[np.integer], model: Model) -> pd.DataFrame:
        return forecast_rows(self.bundle, state.rows, codes, model)

    def _first(self, panel: Panel, news: pd.DataFrame | None, memory: int | None) -> tuple[State, NDArray[np.integer]]:
        """The state after a history, computed as a batch."""
        bundle = self.bundle
        seen = {name: seen_values(values) for name, values in panel.columns.items()}
        cleaned, report = clean_symbols(panel, bundle.clean_rules, column_facts(seen))
        report.check_not_empty()
        cleaned = cleaned.compact()
        documents, news_zones = no_documents(), {}
        if news is not None:
            documents = sorted_documents(check_news(news))
            news_zones = with_zones({}, *wall_clock(news["timestamp"], "news"), "news")
        if bundle.reads_news and news is None:
            raise ValueError("the bundle reads news: give them, or an empty frame where there were none")
        rows = rows_of(bundle, cleaned, documents if bundle.reads_news else None)
        tone = np.zeros((len(rows.symbols), 2))
        counted = np.zeros(len(documents), dtype=bool)
        if bundle.scorer is not None:
            last = cleaned.starts[1:] - 1
            tone = bundle.scorer.sums(documents, cleaned)[last]
            counted[document_rows(documents, cleaned, bundle.scorer.config).kept] = True
        left: NDArray[np.bool_] = np.isin(panel.row_key, key_on(cleaned, panel))
        if memory is not None:
            panel = panel.select(from_end(panel.symbol_code, left) <= memory)
        averages = self._plan_for(cleaned)[1]
        state = State(
            bars=panel,
            rows=rows,
            seen=seen,
            tone=tone,
            news=documents,
            counted=counted,
            news_zones=news_zones,
            averaged=None if averages is None else averages.of_history(cleaned),
        )
        state = self._trimmed(replace(state, rows=self._last_rows(rows)))
        return state, np.array([len(rows.dates) - 1]) if rows.dates[-1] == panel.dates[-1] else np.zeros(0, np.int64)

    def _with_news(self, state: State, news: pd.DataFrame | None) -> State:
        """The state with more documents; ValueError for one of a row that is computed already, or given before."""
        scorer = self.bundle.scorer
        if news is None or scorer is None or not len(news):
            return state
        zones = with_zones(state.news_zones, *wall_clock(check_news(news)["timestamp"], "news"), "news")
        fresh = sorted_documents(news)
        late = document_rows(fresh, panel_of_rows(state.rows), scorer.config).kept
        if len(late):
            first = fresh.iloc[int(late.min())]
            raise ValueError(
                f"late news: {len(late)} documents belong to bars that are forecast already, first of "
                f"{first['symbol']} stamped {first['timestamp']}; make a new Forecaster from all bars and news"
            )
        given = set(state.news.itertuples(index=False, name=None))
        if again := [one for one in fresh.itertuples(index=False, name=None) if one in given]:
            raise ValueError(
                f"news: {len(again)} documents were given before, first of {again[0][1]} stamped {again[0][0]}; they "
                "would count twice"
            )
        both = pd.concat([state.news, fresh], ignore_index=True)
        counted = np.r_[state.counted, np.zeros(len(fresh), dtype=bool)]
        order = np.lexsort((both["symbol"].to_numpy(dtype=str), both["timestamp"].to_numpy()))
        return replace(state, news=both.iloc[order].reset_index(drop=True), counted=counted[order], news_zones=zones)

    def _next(self, state: State, new: Panel, date: np.datetime64) -> tuple[State, NDArray[np.integer]]:
        """The state after one more date, and its code among the dates of the rows; none where no bar is left of it."""
        bundle = self.bundle
        seen = {name: seen_values(values, state.seen.get(name, NOTHING_SEEN)) for name, values in new.columns.items()}
        if (facts := column_facts(seen)) != state.facts:
            changed = sorted((state.facts.absent ^ facts.absent) | (state.facts.silent ^ facts.silent))
            raise ValueError(
                f"{changed[0]} has a value on {date!s:.19} and had none before, by which earlier bars are cleaned "
                "otherwise; make a new Forecaster from all bars"
            )
        bars, cleaned, fresh = self._cleaned(state, new, date, facts)
        state = replace(state, bars=bars, seen=seen, cleaned=cleaned)
        if not fresh.num_rows:
            return self._trimmed(state), np.zeros(0, dtype=np.int64)
        dates = np.append(state.rows.dates, date)
        symbols = with_names(state.rows.symbols, bars.symbols[fresh.symbol_code])
        symbol_code = coded(symbols, bars.symbols, fresh.symbol_code)
        date_code = np.full(fresh.num_rows, len(dates) - 1, dtype=np.int32)
        fresh = replace(fresh, symbols=symbols, dates=dates, symbol_code=symbol_code, date_code=date_code)
        plan, averages = self._plan_for(fresh)
        known = on_calendar(cleaned.bars, symbols, dates)
        averaged = recoded_averages(state, symbols)
        of_symbols = newest_values(plan, known, symbol_code, () if averages is None else averages.places)
        if averages is not None:
            assert averaged is not None, "the state is of a bundle with the same features"
            averaged = averages.with_newest(averaged, known, symbol_code, source_bars(averages))
            of_symbols[:, averages.places] = averages.newest(averaged, plan, known, symbol_code)
        matrices = [plan.all_values(of_symbols, date_code, symbol_code, fresh.in_universe)]
        rows = recoded(state.rows, symbols, dates)
        tone = recoded_tone(state, symbols)
        counted = state.counted
        if bundle.scorer is not None:
            sums, counted = self._tone_of(state, rows, fresh, tone)
            tone = tone.copy()
            tone[symbol_code] = sums
            matrices.append(sums.astype(np.float32))
            if bundle.vectoriser is not None:
                matrices.append(bundle.vectoriser.transform(state.news, fresh).values)
        inputs = normalised(bundle, np.hstack(matrices) if len(matrices) > 1 else matrices[0], date_code)
        added = Rows(
            symbols=symbols,
            dates=dates,
            symbol_code=symbol_code,
            date_code=date_code,
            in_universe=fresh.in_universe,
            inputs=inputs,
            tokens=None if rows.tokens is None else bundle.tokenizer.transform(inputs),
            kline=kline_columns(fresh) if rows.kline else {},
        )
        rows = self._last_rows(rows, added)
        state = self._trimmed(replace(state, rows=rows, tone=tone, counted=counted, averaged=averaged))
        return state, np.array([len(dates) - 1])

    def _cleaned(
        self, state: State, new: Panel, date: np.datetime64, facts: ColumnFacts
    ) -> tuple[Panel, Cleaned, Panel]:
        """The raw bars and the cleaned ones with those of one more date, as many as are kept; the new ones cleaned."""
        rules, known = self.bundle.clean_rules, state.cleaned or self._all_cleaned(state)
        bars, dates = state.bars, np.append(state.bars.dates, date)
        symbols = with_names(bars.symbols, new.symbols[new.symbol_code])
        bars, old = (
            replace(one, symbols=symbols, dates=dates, symbol_code=coded(symbols, one.symbols, one.symbol_code))
            for one in (bars, known.bars)
        )
        new = replace(
            new,
            symbols=symbols,
            dates=dates,
            symbol_code=coded(symbols, new.symbols, new.symbol_code),
            date_code=np.full(new.num_rows, len(dates) - 1, dtype=np.int32),
        )
        looked_at = bars_looked_at(rules)
        near = np.ones(bars.num_rows, dtype=bool)
        if looked_at is not None:
            near = from_end(bars.symbol_code, known.left) <= looked_at
        earlier = np.bincount(bars.symbol_code[known.left & ~near], minlength=len(symbols))
        beside = bars.select(near)
        done = clean_newest(
            panel_behind(beside, new, behind(beside.symbol_code, new.symbol_code)), rules, facts, earlier
        )
        fresh = done.select(done.date_code == len(dates) - 1)
        order = behind(bars.symbol_code, new.symbol_code)
        left = put_behind(known.left, np.isin(new.symbol_code, fresh.symbol_code), order)
        code = put_behind(bars.symbol_code, new.symbol_code, order)
        order_left = behind(old.symbol_code, fresh.symbol_code)
        if self.memory is not None:
            keep = from_end(code, left) <= self.memory
            order, left = order[keep], left[keep]
            code = put_behind(old.symbol_code, fresh.symbol_code, order_left)
            order_left = order_left[from_end(code, np.ones(len(code), dtype=bool)) <= self.memory]
        cleaned = Cleaned(bars=panel_behind(old, fresh, order_left), left=left)
        return panel_behind(bars, new, order), cleaned, fresh

    def _all_cleaned(self, state: State) -> Cleaned:
        cleaned, _ = clean_symbols(state.bars, self.bundle.clean_rules, state.facts)
        return Cleaned(bars=cleaned, left=np.isin(state.bars.row_key, cleaned.row_key))

    def _plan_for(self, panel: Panel) -> tuple[FeaturePlan, Averages | None]:
        """The plan of a panel's symbols, made anew when there are others, and its averages."""
        if self._plan is None or self._plan[0] is not panel.symbols:
            plan = feature_plan(self.bundle, panel)
            self._plan = (panel.symbols, plan, averages_of(plan))
        return self._plan[1:]

    def _tone_of(
        self, state: State, rows: Rows, new: Panel, tone: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Sums of the tone at the new rows, from those at each symbol's row before; which documents are in them."""
        scorer = self.bundle.scorer
        assert scorer is not None
        before = np.flatnonzero(np.r_[rows.symbol_code[1:] != rows.symbol_code[:-1], True])[: rows.num_rows]
        before = before[np.isin(rows.symbol_code[before], new.symbol_code)]
        symbol = np.r_[rows.symbol_code[before], new.symbol_code].astype(np.int32)
        date = np.r_[rows.date_code[before], new.date_code].astype(np.int32)
        order = np.lexsort((date, symbol))
        both = Panel(
            symbols=new.symbols,
            dates=new.dates,
            symbol_code=symbol[order],
            date_code=date[order],
            columns=dict.fromkeys(("open", "high", "low", "close", "volume"), np.zeros(len(order))),
        )
        first = np.zeros((len(order), 2))
        is_new = order >= len(before)
        first[~is_new] = tone[both.symbol_code[~is_new]]
        waiting = np.flatnonzero(~state.counted)
        news = state.news.iloc[waiting].reset_index(drop=True)
        counted = state.counted.copy()
        counted[waiting[document_rows(news, both, scorer.config).kept]] = True
        return scorer.sums(news, both, first)[is_new], counted

    def _last_rows(self, rows: Rows, new: Rows | None = None) -> Rows:
        """The last rows that members read, those of a later date put behind the others of their symbols."""
        code, order = rows.symbol_code, np.arange(rows.num_rows)
        if new is not None:
            order = behind(code, new.symbol_code)
            code = put_behind(code, new.symbol_code, order)
        members = self.bundle.members.values()
        length = max((one.lookback for one in members if one.kind != "kline"), default=1)
        keep = from_end(code, np.ones(len(code), dtype=bool)) <= length
        if rows.kline:
            window = max(one.lookback for one in members if one.kind == "kline")
            columns = [
                values if new is None else put_behind(values, new.kline[name], order)
                for name, values in rows.kline.items()
            ]
            keep |= from_end(code, np.isfinite(np.column_stack(columns)).all(axis=1)) <= window
        return rows_behind(rows, new, order[keep])

    def _trimmed(self, state: State) -> State:
        """The state with no more documents than a new date needs."""
        rows, news, counted = state.rows, state.news, state.counted
        if self.bundle.scorer is not None and len(news):
            needed = self._needed_documents(state)
            news, counted = news[needed].reset_index(drop=True), counted[needed]
        if self.bundle.vectoriser is not None and self.bundle.vectoriser.config.documents_per_bar:
            rows = replace(rows, documents=self.bundle.vectoriser.documents(news, panel_of_rows(rows)))
        return replace(state, rows=rows, news=news, counted=counted)

    def _needed_documents(self, state: State) -> NDArray[np.bool_]:
        """Documents that are not counted yet, or that a vector of a row, or of one to come, may be made of."""
        needed = ~state.counted
        vectoriser = self.bundle.vectoriser
        if vectoriser is not None:
            oldest = state.rows.date_code.min(initial=len(state.rows.dates)) - vectoriser.config.memory
            since = state.rows.dates[max(int(oldest), 0)] - np.timedelta64(1, "D")
            needed |= as_stamps(state.news["timestamp"], "timestamp of the news") >= since
        return needed


def stamps_of(bars: Panel | pd.DataFrame) -> tuple[NDArray[np.datetime64], NDArray[np.str_]]:
    """Return stamps and zones of bars, see `wall_clock`; none of a panel, which has the wall clock alone."""
    if isinstance(bars, Panel):
        return np.array([], dtype="datetime64[ns]"), np.array([], dtype=np.str_)
    return wall_clock(bars["timestamp"], "bars")


def sorted_documents(news: pd.DataFrame) -> pd.DataFrame:
    """Return documents sorted by (timestamp, symbol), else as they are, as `read_news` does."""
    stamps = wall_clock(news["timestamp"], "news")[0]
    found = pd.DataFrame(
        {"timestamp": stamps, "symbol": news["symbol"].to_numpy(object), "text": news["text"].to_numpy(object)}
    )
    return found.sort_values(["timestamp", "symbol"], kind="stable", ignore_index=True)


def on_calendar(cleaned: Panel, symbols: NDArray[np.str_], dates: NDArray[np.datetime64]) -> Panel:
    """Return cleaned bars with the symbols and dates that rows have."""
    return Panel(
        symbols=symbols,
        dates=dates,
        symbol_code=np.searchsorted(symbols, cleaned.symbols)[cleaned.symbol_code].astype(np.int32),
        date_code=np.searchsorted(dates, cleaned.dates)[cleaned.date_code].astype(np.int32),
        columns=cleaned.columns,
    )


def key_on(cleaned: Panel, bars: Panel) -> NDArray[np.int64]:
    """Return the keys that the rows of a cleaned panel have among the bars they were cleaned from."""
    symbol = np.searchsorted(bars.symbols, cleaned.symbols)[cleaned.symbol_code].astype(np.int64)
    return symbol * len(bars.dates) + np.searchsorted(bars.dates, cleaned.dates)[cleaned.date_code]


def recoded(rows: Rows, symbols: NDArray[np.str_], dates: NDArray[np.datetime64]) -> Rows:
    """Return rows with more symbols and dates."""
    code = coded(symbols, rows.symbols, rows.symbol_code)
    return replace(rows, symbols=symbols, dates=dates, symbol_code=code, documents=None)


def recoded_tone(state: State, symbols: NDArray[np.str_]) -> NDArray[np.float64]:
    """Return the sums by more symbols, 0 for new ones."""
    tone = np.zeros((len(symbols), 2))
    tone[np.searchsorted(symbols, state.rows.symbols)] = state.tone
    return tone


def recoded_averages(state: State, symbols: NDArray[np.str_]) -> Kept | None:
    """Return what is averaged by more symbols, of which new ones have none."""
    known = state.rows.symbols
    if state.averaged is None or known is symbols:
        return state.averaged
    return state.averaged.of_symbols(np.searchsorted(symbols, known), len(symbols))


def panel_behind(bars: Panel, new: Panel, order: NDArray[np.int64]) -> Panel:
    """Return the bars that `behind` has put in order, of two panels with the same symbols and dates."""
    return replace(
        bars,
        symbol_code=put_behind(bars.symbol_code, new.symbol_code, order),
        date_code=put_behind(bars.date_code, new.date_code, order),
        columns={name: put_behind(values, new.columns[name], order) for name, values in bars.columns.items()},
    )


def rows_behind(rows: Rows, new: Rows | None, order: NDArray[np.int64]) -> Rows:
    """Return the rows that `behind` has put in order, without their documents; of `rows` alone where `new` is None."""

    def put(name: str) -> Any:
        old = getattr(rows, name)
        return None if old is None else put_behind(old, None if new is None else getattr(new, name), order)

    return replace(
        rows,
        symbol_code=put("symbol_code"),
        date_code=put("date_code"),
        in_universe=put("in_universe"),
        inputs=put("inputs"),
        tokens=put("tokens"),
        kline={
            name: put_behind(values, None if new is None else new.kline[name], order)
            for name, values in rows.kline.items()
        },
        documents=None,
    )


def panel_of_rows(rows: Rows) -> Panel:
    """Return a panel that has the rows' places and nothing else, for what looks at no price."""
    nothing = np.zeros(rows.num_rows)
    return Panel(
        symbols=rows.symbols,
        dates=rows.dates,
        symbol_code=rows.symbol_code.astype(np.int32),
        date_code=rows.date_code.astype(np.int32),
        columns=dict.fromkeys(("open", "high", "low", "close", "volume"), nothing),
    )
