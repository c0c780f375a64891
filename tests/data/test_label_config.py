"""Labels by name: what they are made of, how far they look ahead, and what a symbol that stops is worth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from factor_data import (
    Label,
    MarketConfig,
    Panel,
    check_label_names,
    clean_bars,
    decided_by_delisting,
    direction,
    in_head_order,
    label_values,
    longest_reach,
    multi_step_direction,
    simulate_market,
)
from factor_data.labels import count_labels

DAYS = pd.date_range("2020-01-01", periods=12)


def bars(days: list[int], prices: list[float], symbol: str, paid: float = np.nan) -> pd.DataFrame:
    frame = pd.DataFrame({"timestamp": DAYS[days], "symbol": symbol, "close": prices})
    return frame.assign(open=frame["close"] * 0.5, high=frame["close"], low=1.0, volume=1.0, paid=paid)


@pytest.fixture(scope="module")
def panel() -> Panel:
    """GONE stops after day 7, PAUSE has no bar on days 6 and 7, LATE has them all; closes rise by 1 from 10 on."""
    every = list(range(12))
    pause = [day for day in every if day not in (6, 7)]
    return Panel.from_frame(
        pd.concat(
            [
                bars(every[:8], [10.0 + day for day in every[:8]], "GONE", paid=-0.5),
                bars(every, [10.0 + day for day in every], "LATE"),
                bars(pause, [10.0 + day for day in pause], "PAUSE"),
            ]
        )
    )


def of(panel: Panel, values: np.ndarray, symbol: str) -> list[float]:
    return values[panel.symbol == symbol].tolist()


@pytest.mark.parametrize(
    ("rule", "worth"), [("drop", np.nan), ("last", 17.0), (-0.3, 17.0 * 0.7), (-1.0, 0.0), ("paid", 17.0 * 0.5)]
)
@pytest.mark.parametrize("price", ["close", "open"])
def test_a_symbol_that_stops_is_worth_what_the_rule_says(
    rule: str | float, worth: float, price: str, panel: Panel
) -> None:
    """Against plain pandas: prices on the calendar, continued after the last bar."""
    label = Label(horizon=3, delay=1, price=price, delisting=rule)
    gone = pd.Series(10.0 + np.arange(8), index=range(8)).reindex(range(12))
    entry = gone * (0.5 if price == "open" else 1.0)
    expected = (entry.fillna(worth).shift(-4) / entry.shift(-1) - 1)[:8]
    np.testing.assert_allclose(of(panel, label_values(panel, label), "GONE"), expected, rtol=1e-12)
    decided = [day for day in range(8) if day + 1 <= 7 < day + 4]
    assert np.flatnonzero(of(panel, decided_by_delisting(panel, label), "GONE")).tolist() == decided


@pytest.mark.parametrize("rule", ["drop", "last", -0.3])
def test_neither_a_pause_nor_the_end_of_the_data_is_a_delisting(rule: str | float, panel: Panel) -> None:
    label = Label(horizon=3, delisting=rule)
    values = label_values(panel, label)
    np.testing.assert_array_equal(of(panel, values, "LATE")[-4:], [np.nan] * 4)
    assert np.isnan(of(panel, values, "PAUSE")[2:4]).all(), "exit on day 6 or 7"
    assert not decided_by_delisting(panel, label)[panel.symbol != "GONE"].any()


def test_a_report_counts_what_a_delisting_decides(panel: Panel) -> None:
    cleaned = panel.with_columns(in_universe=np.ones(panel.num_rows))
    for rule, used in (("drop", 4), ("last", 7)):
        label = Label(horizon=3, delisting=rule)
        gone = cleaned.select(cleaned.symbol == "GONE")
        report = count_labels("h3", label, label_values(gone, label), gone)
        assert (report.rows, report.used, report.delisted) == (8, used, 3)
        assert "3 decided by a delisting" in str(report)
        assert report.rule == label.describe()


def test_a_delisting_return_needs_its_column(panel: Panel) -> None:
    with pytest.raises(ValueError, match="delisting: 'dlret' is no column of the bars"):
        label_values(panel, Label(horizon=1, delisting="dlret"))


@pytest.fixture(scope="module")
def market() -> Panel:
    return clean_bars(Panel.from_frame(simulate_market(MarketConfig(symbols=25, bars=200)).bars))[0]


@pytest.mark.parametrize("rule", ["drop", "last", -0.3])
def test_volatility_is_that_of_pandas(rule: str | float, market: Panel) -> None:
    label = Label(horizon=5, measure="volatility", delay=2, delisting=rule)
    close = pd.DataFrame(market.to_matrix(market.adjusted("close")))
    is_bar = close.notna()
    if rule != "drop":
        share = 1.0 if rule == "last" else 1.0 + float(rule)
        for symbol in close:
            last = close[symbol].last_valid_index()
            close.loc[close.index > last, symbol] = close.loc[last, symbol] * share
    logs = np.log(close).diff()
    entered = is_bar.shift(-2, fill_value=False)
    expected = np.sqrt((logs**2).rolling(5).mean()).shift(-7).where(is_bar & entered).to_numpy()
    np.testing.assert_allclose(market.to_matrix(label_values(market, label)), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "label",
    [
        Label(horizon=5, delisting="last"),
        Label(horizon=3, delay=2, price="open"),
        Label(horizon=4, measure="volatility"),
    ],
)
def test_a_label_is_made_of_no_date_beyond_its_reach(label: Label, market: Panel) -> None:
    """Prices after t + ahead are changed: nothing up to t moves; a day nearer, something does."""
    before = label_values(market, label)
    for spared, moves in ((label.ahead, False), (label.ahead - 1, True)):
        changed = market.date_code > 100 + spared
        other = market.with_columns(adj_close=np.where(changed, 3.0, market.columns["adj_close"]))
        after = label_values(other, label)
        known = market.date_code <= 100
        assert (~np.isclose(after[known], before[known], equal_nan=True)).any() == moves


def test_several_steps_are_labels_with_a_delay_each(market: Panel) -> None:
    steps = [Label(horizon=1, delay=step) for step in range(3)]
    columns = [direction(label_values(market, step), up=0.0, down=0.0) for step in steps]
    np.testing.assert_array_equal(np.column_stack(columns), multi_step_direction(market, 3))


def test_a_column_is_taken_as_it_is() -> None:
    panel = Panel.from_frame(bars([0, 1, 2], [1.0, 2.0, 3.0], "A").assign(next1=[0.1, np.inf, -0.2]))
    label = Label(column="next1", reach=2)
    np.testing.assert_array_equal(label_values(panel, label), [0.1, np.nan, -0.2])
    assert (label.ahead, label.overlap) == (2, 2)
    assert label.describe() == "column next1, which looks 2 dates ahead"


def test_a_neutral_label_is_less_the_mean_of_its_date_and_group_over_the_universe(market: Panel) -> None:
    """Against pandas; groups change over time, one symbol stands alone, some rows have no group."""
    generator = np.random.default_rng(0)
    group = (market.symbol_code + market.date_code // 60) % 4 + 0.5
    group[market.symbol_code == 7] = 99.0
    group[generator.random(market.num_rows) < 0.05] = np.nan
    group[generator.random(market.num_rows) < 0.01] = np.inf
    universe = market.columns["in_universe"] * (generator.random(market.num_rows) < 0.9)
    panel = market.with_columns(sector=group, in_universe=universe)
    raw, label = label_values(panel, Label(horizon=5)), Label(horizon=5, neutral="sector")
    found = label_values(panel, label)
    frame = pd.DataFrame({"raw": raw, "date": panel.date_code, "group": group})[(universe > 0) & np.isfinite(group)]
    expected = (frame["raw"] - frame.groupby(["date", "group"])["raw"].transform("mean")).reindex(range(len(raw)))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    alone = found[panel.symbol_code == 7]
    assert (alone[np.isfinite(alone)] == 0.0).all()
    assert 0.5 < np.isfinite(found).mean() < 0.9
    assert label.describe().endswith("; less its mean over the same sector on the date")
    with pytest.raises(ValueError, match="neutral: 'sectr' is no column of the bars"):
        label_values(panel, Label(horizon=5, neutral="sectr"))


def test_heads_are_in_an_order_of_their_own() -> None:
    labels = {"b": Label(horizon=5), "z": Label(column="x", reach=1), "a": Label(horizon=5, delay=9)}
    assert list(in_head_order(labels)) == ["z", "a", "b"] == list(in_head_order(dict(reversed(labels.items()))))
    assert longest_reach(labels) == 14


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "either a horizon, in bars, or a column"),
        ({"horizon": 1, "column": "x", "reach": 1}, "either a horizon"),
        ({"horizon": 0}, "horizon: 0 must be >= 1"),
        ({"horizon": 1, "delay": -1}, "delay: -1 must be >= 0"),
        ({"horizon": 1, "delay": 0, "price": "open"}, "the open of t is over"),
        ({"horizon": 1, "reach": 2}, "reach: 2 goes with column"),
        ({"horizon": 1, "delisting": -1.5}, "delisting: -1.5 is less than a total loss"),
        ({"horizon": 1, "delisting": -1.0, "measure": "volatility"}, "volatility of a total loss"),
        ({"horizon": 1, "measure": "range"}, "measure: 'range' must be one of return, volatility"),
        ({"column": "x"}, "reach: None must be >= 1"),
        ({"column": "x", "reach": 0}, "reach: 0 must be >= 1"),
        ({"column": "close", "reach": 1}, "column: 'close' must be a column that looks ahead"),
        ({"column": "in_universe", "reach": 1}, "column: 'in_universe' must be a column that looks ahead"),
        ({"column": "", "reach": 1}, "column: '' must be a column that looks ahead"),
        ({"horizon": 1, "delisting": ""}, "delisting: '' must be drop, last, a number or a column's name"),
        ({"horizon": 1, "delisting": "-0.3"}, "delisting: '-0.3' must be drop, last, a number or a column's name"),
        ({"column": "x", "reach": 1, "delay": 2}, "delay: column x is taken as it is"),
        ({"column": "x", "reach": 1, "delisting": "last"}, "delisting: column x is taken as it is"),
    ],
)
def test_a_label_that_cannot_be_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Label(**settings)


@pytest.mark.parametrize("name", ["", "1d", "next day", "a/b", "h-1", "a" * 65])
def test_a_name_that_is_no_word_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="starts with a letter"):
        check_label_names({name: Label(horizon=1)})
