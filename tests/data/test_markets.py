"""Markets that trade on dates of their own keep their labels; gaps of a symbol make no market of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factor_data import (
    CleanRules,
    MarketConfig,
    Markets,
    Panel,
    Workers,
    clean_bars,
    clean_to_folder,
    find_markets,
    forward_return,
    import_data,
    lost_labels,
    named_markets,
    open_panel,
    simulate_market,
    sort_bars,
    write_markets,
)
from factor_data.cli import describe
from factor_data.panel.markets import Rows
from factor_data.reading.table import Table


def bars(symbol: str, stamps: pd.DatetimeIndex) -> pd.DataFrame:
    close = np.exp(np.random.default_rng(len(symbol) + len(stamps)).normal(0, 0.01, len(stamps)).cumsum())
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    return pd.DataFrame({"timestamp": stamps, "symbol": symbol, **prices, "volume": 1.0})


def days(number: int = 120, hours: float = 0.0, freq: str = "B") -> pd.DatetimeIndex:
    return pd.date_range("2024-01-01", periods=number, freq=freq) + pd.Timedelta(hours=hours)


def panel_of(**stamps: pd.DatetimeIndex) -> Panel:
    return Panel.from_frame(pd.concat([bars(symbol, own) for symbol, own in stamps.items()], ignore_index=True))


def rows_of(panel: Panel) -> Rows:
    read = lambda first, last: panel.date_code[first:last]  # noqa: E731
    return Rows(symbols=panel.symbols, dates=panel.dates, starts=panel.starts, read=read)


def groups(panel: Panel) -> set[tuple[str, ...]]:
    markets = panel.markets
    return {tuple(panel.symbols[markets.code == market]) for market in range(len(markets.names))}


def thin(stamps: pd.DatetimeIndex, share: float, seed: int = 3) -> pd.DatetimeIndex:
    return stamps[np.random.default_rng(seed).random(len(stamps)) < share]


def new_york(number: int) -> pd.DatetimeIndex:
    """Five-minute bars of the exchange's hours, in UTC: an hour earlier in summer."""
    local = [day + pd.Timedelta(minutes=570 + 5 * bar) for day in days(number) for bar in range(78)]
    return pd.DatetimeIndex(local).tz_localize("America/New_York").tz_convert("UTC").tz_localize(None)


US, FRANKFURT, COIN = days(hours=5), days(hours=-1), days(168, freq="D")


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [
        ({"A": US, "B": US, "C": FRANKFURT, "D": FRANKFURT}, {("A", "B"), ("C", "D")}),
        ({"A": days(), "B": COIN}, {("A",), ("B",)}),
        ({"A": days(), "B": days(20), "C": COIN, "D": COIN[100:]}, {("A", "B"), ("C", "D")}),
        ({"A": days(), "B": thin(days(), 0.6), "C": thin(days(), 0.2)}, {("A", "B", "C")}),
        ({"A": days(), "B": thin(days(), 0.5), "C": COIN, "D": thin(COIN, 0.5)}, {("A", "B"), ("C", "D")}),
        ({"A": days(), "B": days()[[*range(40), *range(80, 120)]], "C": COIN}, {("A", "B"), ("C",)}),
        ({"A": days(250), "B": days(250).delete(range(0, 250, 17))}, {("A", "B")}),
        ({"A": new_york(100), "B": new_york(100)[3000:], "C": days(100 * 288, freq="5min")}, {("A", "B"), ("C",)}),
    ],
    ids=["two zones", "a coin", "short and late", "thin", "thin beside coins", "halted", "holidays", "intraday"],
)
def test_markets_are_told_apart_by_the_times_of_the_week_at_which_they_trade(
    symbols: dict[str, pd.DatetimeIndex], expected: set[tuple[str, ...]]
) -> None:
    assert groups(panel_of(**symbols)) == expected


@pytest.mark.parametrize("horizon", [1, 5, 20])
@pytest.mark.parametrize("others", [{"X": FRANKFURT, "Y": FRANKFURT}, {"X": COIN}, {"X": FRANKFURT, "Y": COIN}])
def test_a_market_has_the_labels_beside_others_that_it_has_alone(
    others: dict[str, pd.DatetimeIndex], horizon: int
) -> None:
    own = {"A": US, "B": US[:-30]}
    alone, beside = panel_of(**own), panel_of(**own, **others)
    mine = np.isin(beside.symbol, ["A", "B"])
    np.testing.assert_array_equal(forward_return(beside, horizon)[mine], forward_return(alone, horizon))
    ahead, back = beside.rows_at(3), beside.rows_at(-3)
    np.testing.assert_array_equal(back[ahead[ahead >= 0]], np.flatnonzero(ahead >= 0))


def test_one_market_counts_every_date_whatever_a_symbol_lacks() -> None:
    panel = Panel.from_frame(simulate_market(MarketConfig(symbols=10, bars=150)).bars)
    assert panel.markets.names == ("all",)
    for shift in (-2, 0, 1, 7):
        expected = np.full(panel.num_rows, -1)
        place = {
            key: row for row, key in enumerate(zip(panel.symbol_code.tolist(), panel.date_code.tolist(), strict=True))
        }
        for (symbol, date), row in place.items():
            expected[row] = place.get((symbol, date + shift), -1)
        np.testing.assert_array_equal(panel.rows_at(shift), expected)
    assert panel.markets.reach(21) == 21


def test_the_reach_of_a_label_counts_the_dates_of_all_markets() -> None:
    both = panel_of(A=US, C=FRANKFURT).markets
    assert both.reach(5) == 10
    beside_a_coin = panel_of(A=days(), B=COIN).markets
    assert (beside_a_coin.reach(1), beside_a_coin.reach(5), beside_a_coin.reach(6)) == (3, 7, 10)


def test_markets_can_be_named_by_symbols_and_patterns() -> None:
    panel = panel_of(**{"A.DE": days(), "B.DE": days(), "C": days()[::2], "D": days()})
    markets = named_markets(rows_of(panel), {"xetra": ["*.DE"], "rest": ["C", "D"]})
    assert markets.code.tolist() == [0, 0, 1, 1]
    assert panel.markets.names == ("all",)
    apart = named_markets(rows_of(panel), {"xetra": ["*.DE"], "C": ["C"], "D": ["D"]})
    label = forward_return(Panel(**{**vars_of(panel), "known_markets": apart}), 5)
    assert np.isfinite(label[panel.symbol == "C"]).sum() == 60 - 6


def vars_of(panel: Panel) -> dict[str, Any]:
    return {name: getattr(panel, name) for name in ("symbols", "dates", "symbol_code", "date_code", "columns")}


@pytest.mark.parametrize(
    ("calendars", "message"),
    [
        ({"us": ["A"], "de": ["*"]}, "A belongs to us and to de"),
        ({"us": ["A"]}, r"1 symbols belong to none of \['us'\], first \['B'\]"),
        ({"us": ["A", "B", "Z*"]}, r"us: 'Z\*' fits no symbol"),
    ],
)
def test_a_symbol_of_two_markets_or_of_none_is_refused(calendars: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        named_markets(rows_of(panel_of(A=days(), B=days())), calendars)


def test_a_saved_panel_keeps_its_markets_and_parts_of_it_have_them(tmp_path: Path) -> None:
    panel = panel_of(A=days(), B=COIN)
    panel.save(tmp_path)
    whole = open_panel(tmp_path)
    assert whole.known_markets is None
    assert [list(one) for one in whole.markets.open] == [list(one) for one in panel.markets.open]
    part = whole.read(0, 120)
    np.testing.assert_array_equal(forward_return(part, 5), forward_return(panel, 5)[:120])
    write_markets(tmp_path, Markets.one(panel.symbols, panel.dates))
    for read in (Panel.load(tmp_path), open_panel(tmp_path)):
        assert read.markets.names == ("all",)
    write_markets(tmp_path, find_markets(whole.rows))
    loaded = Panel.load(tmp_path)
    np.testing.assert_array_equal(forward_return(loaded, 5), forward_return(panel, 5))
    kept = loaded.select(loaded.symbol == "A").compact()
    np.testing.assert_array_equal(forward_return(kept, 5), forward_return(panel, 5)[:120])


def test_lost_labels_are_counted_by_what_others_of_the_market_have() -> None:
    panel = panel_of(A=days(), B=days().delete([50, 51]), C=COIN)
    rows = rows_of(panel)
    found, on_one = panel.markets, Markets.one(panel.symbols, panel.dates)
    share, symbol, most = lost_labels(rows, found, delay=1, horizon=1)
    assert (symbol, most) == ("B", 2 / (118 - 2))
    assert share == 2 / (118 + 116 + 166)
    share, symbol, most = lost_labels(rows, on_one, delay=1, horizon=1)
    assert share > 0.2
    assert most > 0.35


def test_an_import_says_that_one_calendar_would_cost_labels_and_what_to_do(tmp_path: Path) -> None:
    for name, symbols in {"mixed": {"A": days(), "B": COIN}, "alike": {"A": days(), "B": days()[1:]}}.items():
        pd.concat([bars(symbol, own) for symbol, own in symbols.items()]).to_csv(tmp_path / f"{name}.csv", index=False)
        said = describe(import_data(tmp_path / f"{name}.csv", tmp_path / name))
        assert ("split.calendars" in said) == (name == "mixed"), said


def test_a_gap_counts_dates_of_the_symbol_s_own_market_alone_in_whole_and_in_parts(tmp_path: Path) -> None:
    stamps = {"A": days().delete([50, 51]), "B": days(), "C": COIN}
    panel = panel_of(**stamps)
    report = clean_bars(panel, CleanRules(min_history=1))[1]
    assert report.count("calendar_gap") == 2  # and none of the weekends, on which the coin trades
    assert report.count("calendar_gap") == clean_bars(panel_of(A=stamps["A"], B=days()), CleanRules())[1].count(
        "calendar_gap"
    )
    (tmp_path / "scratch").mkdir()
    frame = pd.concat([bars(name, when) for name, when in stamps.items()])
    workers = Workers(max_bytes=1 << 14)
    sorted_bars = sort_bars([Table(path="bars", frame=frame, zone=None)], tmp_path / "scratch", workers)
    assert clean_to_folder(sorted_bars, tmp_path / "panel", CleanRules(min_history=1), workers).rules == report.rules
