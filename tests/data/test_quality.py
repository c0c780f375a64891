"""The quality report: figures, heat map, page and JSON."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from factor_data import (
    CleanRules,
    Panel,
    clean_bars,
    direction,
    fold_picture,
    forward_return,
    label_report,
    walk_forward,
)


def flat_frame(symbols: list[str], num_dates: int) -> pd.DataFrame:
    dates = pd.bdate_range("2020-01-01", periods=num_dates)
    frame = pd.MultiIndex.from_product([symbols, dates], names=["symbol", "timestamp"]).to_frame(index=False)
    return frame.assign(**dict.fromkeys(("open", "high", "low", "close"), 10.0), volume=5.0)


def svgs(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(text) for text in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


@pytest.mark.parametrize(("num_symbols", "num_dates"), [(3, 5), (61, 7), (130, 200), (60, 61)])
def test_the_heat_map_counts_each_missing_bar_in_its_cell(num_symbols: int, num_dates: int) -> None:
    generator = np.random.default_rng(num_symbols)
    frame = flat_frame([f"S{i:03d}" for i in range(num_symbols)], num_dates)
    frame.loc[generator.random(len(frame)) < 0.05, "close"] = 0.0  # dropped: missing as well
    full = Panel.from_frame(frame)
    panel = full.select(generator.random(len(frame)) < 0.8)
    cleaned, report = clean_bars(panel)
    found = report.to_dict()["missing_bars"]
    rows, columns = min(num_symbols, 60), min(num_dates, 60)
    expected, missing = np.zeros((rows, columns), dtype=int), np.zeros((rows, columns), dtype=int)
    left = {(symbol, date) for symbol, date in zip(cleaned.symbol, cleaned.timestamp, strict=True)}
    for s in range(num_symbols):
        read = panel.date_code[panel.symbol_code == s]
        for d in range(read.min(), read.max() + 1) if len(read) else ():
            cell = s * rows // num_symbols, d * columns // num_dates
            expected[cell] += 1
            missing[cell] += (panel.symbols[s], panel.dates[d]) not in left
    np.testing.assert_array_equal(found["expected"], expected)
    np.testing.assert_array_equal(found["missing"], missing)
    assert missing.sum() > 0
    first_of_row = [min(s for s in range(num_symbols) if s * rows // num_symbols == row) for row in range(rows)]
    assert found["symbols"] == [f"S{s:03d}" for s in first_of_row]
    first_of_column = [
        min(d for d in range(num_dates) if d * columns // num_dates == column) for column in range(columns)
    ]
    assert found["dates"] == [str(panel.dates[d].astype("datetime64[s]")) for d in first_of_column]


def test_the_drawn_heat_map_has_a_cell_where_bars_are_due_and_a_shade_by_their_share() -> None:
    frame = flat_frame(["A", "B", "C"], 10)
    gone = ((frame["symbol"] == "B") & (frame["timestamp"] < "2020-01-06")) | (  # B lists later
        (frame["symbol"] == "C") & (frame["timestamp"] == "2020-01-08")
    )
    _, report = clean_bars(Panel.from_frame(frame[~gone]))
    (heat_map,) = svgs(report.to_html())
    cells = {path.attrib["fill-opacity"]: path.attrib["d"].count("M") for path in heat_map.iter("path")}
    assert cells == {"0.12": 10 + 7 + 9, "1.0": 1}
    assert [text.text for text in heat_map.iter("text")][6:9] == ["A", "B", "C"]


def test_the_summary_counts_what_has_bars() -> None:
    frame = flat_frame(["A", "B"], 70)
    frame.loc[frame["symbol"] == "B", "close"] = np.nan
    panel = Panel.from_frame(frame, dates=pd.bdate_range("2019-12-25", periods=80).to_numpy())
    _, report = clean_bars(panel)
    assert report.summary == {
        "bars_in": 140, "bars_out": 70, "bars_in_universe": 11, "symbols_in": 2, "symbols_out": 1, "dates": 70,
        "first_date": "2020-01-01T00:00:00", "last_date": "2020-04-07T00:00:00",
    }  # fmt: skip
    assert report.to_dict()["missing_values"]["close"] == {"read": 70, "left": 0}
    with pytest.raises(ValueError, match="no rule 'gaps'; there are"):
        report.count("gaps")


def test_the_report_is_json_without_nan_and_says_what_it_cannot_know_by_itself() -> None:
    frame = flat_frame(["A"], 80).assign(adj_close=10.0)
    frame.loc[3, "open"] = np.nan
    cleaned, report = clean_bars(Panel.from_frame(frame), CleanRules(actions={"stale_price": "mask"}))
    returns = forward_return(cleaned, 1)
    label = label_report(
        "up",
        direction(returns, 0.1, -0.1),
        in_universe=cleaned.in_universe,
        source=returns,
        rule="moves below 10 %",
    )
    content = json.loads(json.dumps(report.to_dict("index members of today", [label]), allow_nan=False))
    assert content["universe"] == "index members of today"
    assert content["labels"] == [label.to_dict()]
    rules = {rule["name"]: rule for rule in content["rules"]}
    assert (rules["stale_price"]["action"], rules["stale_price"]["effect"]) == (
        "mask",
        "marked out of universe",
    )
    assert rules["limit_day"]["effect"] == "not checked: no limit_column or limit_move"
    assert rules["open_unusable"]["offenders"] == [
        {"timestamp": "2020-01-06T00:00:00", "symbol": "A", "column": "open", "value": None}
    ]
    assert rules["adjusted_equals_close"]["count"] == 1
    assert content["settings"]["actions"] == {"stale_price": "mask"}


def test_the_page_stands_alone_and_escapes_what_comes_from_the_data() -> None:
    frame = flat_frame(["<script>", "<svg>"], 60).drop(index=[4])
    cleaned, report = clean_bars(Panel.from_frame(frame), CleanRules(min_history=2))
    folds = walk_forward(cleaned.dates, train=20, valid=5, test=10, step=10, purge=2, embargo=1)
    label = label_report("<b>", forward_return(cleaned, 1), in_universe=cleaned.in_universe)
    page = report.to_html("<i>", "picked <u>today</u>", [label], fold_picture(folds, cleaned.dates))
    for tag in ("<script", "<b>", "<i>", "<u>"):
        assert tag not in page
    for text in (
        "&lt;script&gt;",
        "&lt;b&gt;",
        "picked &lt;u&gt;today",
        "adjusted_equals_close",
        "short_history",
    ):
        assert text in page
    assert "http" not in page
    assert len(svgs(page)) == 2
    plain = report.to_html()
    assert "Not stated." in plain
    assert "<h2>Labels" not in plain
    assert "<h2>Folds" not in plain


def test_a_report_is_told_in_a_line_and_shown_in_a_notebook() -> None:
    _, report = clean_bars(Panel.from_frame(flat_frame(["A", "<b>B"], 30)), CleanRules(min_history=5))
    assert repr(report).startswith("QualityReport(60 bars in, 60 left, ")
    page = report._repr_html_()
    assert page.startswith('<div class="factorcast"')
    assert page.count("<tr") == 1 + sum(rule.count > 0 for rule in report.rules)
    assert "<b>B" not in page
