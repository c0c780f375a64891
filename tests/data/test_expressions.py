"""Expressions: all of Alpha158 in qlib's own text, pandas for the other operators, and what is refused."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest

from data.conftest import random_frame
from factor_data import ALPHA158_NAMES, Expression, Panel, alpha158

pytestmark = pytest.mark.numeric

WINDOWS = (5, 10, 20, 30, 60)
CHANGE, FALL = "$close-Ref($close, 1)", "Ref($close, 1)-$close"
FLOW, EBB = "$volume-Ref($volume, 1)", "Ref($volume, 1)-$volume"
SPREAD = "($high-$low+1e-12)"
BAR = {
    "KMID": "($close-$open)/$open",
    "KLEN": "($high-$low)/$open",
    "KMID2": f"($close-$open)/{SPREAD}",
    "KUP": "($high-Greater($open, $close))/$open",
    "KUP2": f"($high-Greater($open, $close))/{SPREAD}",
    "KLOW": "(Less($open, $close)-$low)/$open",
    "KLOW2": f"(Less($open, $close)-$low)/{SPREAD}",
    "KSFT": "(2*$close-$high-$low)/$open",
    "KSFT2": f"(2*$close-$high-$low)/{SPREAD}",
    "OPEN0": "$open/$close",
    "HIGH0": "$high/$close",
    "LOW0": "$low/$close",
    "VWAP0": "$vwap/$close",
}
ROLLING = {
    "ROC": "Ref($close, W)/$close",
    "MA": "Mean($close, W)/$close",
    "STD": "Std($close, W)/$close",
    "BETA": "Slope($close, W)/$close",
    "RSQR": "Rsquare($close, W)",
    "RESI": "Resi($close, W)/$close",
    "MAX": "Max($high, W)/$close",
    "MIN": "Min($low, W)/$close",
    "QTLU": "Quantile($close, W, 0.8)/$close",
    "QTLD": "Quantile($close, W, 0.2)/$close",
    "RANK": "Rank($close, W)",
    "RSV": "($close-Min($low, W))/(Max($high, W)-Min($low, W)+1e-12)",
    "IMAX": "IdxMax($high, W)/W",
    "IMIN": "IdxMin($low, W)/W",
    "IMXD": "(IdxMax($high, W)-IdxMin($low, W))/W",
    "CORR": "Corr($close, Log($volume+1), W)",
    "CORD": "Corr($close/Ref($close,1), Log($volume/Ref($volume, 1)+1), W)",
    "CNTP": "Mean($close>Ref($close, 1), W)",
    "CNTN": "Mean($close<Ref($close, 1), W)",
    "CNTD": "Mean($close>Ref($close, 1), W)-Mean($close<Ref($close, 1), W)",
    "SUMP": f"Sum(Greater({CHANGE}, 0), W)/(Sum(Abs({CHANGE}), W)+1e-12)",
    "SUMN": f"Sum(Greater({FALL}, 0), W)/(Sum(Abs({CHANGE}), W)+1e-12)",
    "SUMD": f"(Sum(Greater({CHANGE}, 0), W)-Sum(Greater({FALL}, 0), W))/(Sum(Abs({CHANGE}), W)+1e-12)",
    "VMA": "Mean($volume, W)/($volume+1e-12)",
    "VSTD": "Std($volume, W)/($volume+1e-12)",
    "WVMA": "Std(Abs($close/Ref($close, 1)-1)*$volume, W)/(Mean(Abs($close/Ref($close, 1)-1)*$volume, W)+1e-12)",
    "VSUMP": f"Sum(Greater({FLOW}, 0), W)/(Sum(Abs({FLOW}), W)+1e-12)",
    "VSUMN": f"Sum(Greater({EBB}, 0), W)/(Sum(Abs({FLOW}), W)+1e-12)",
    "VSUMD": f"(Sum(Greater({FLOW}, 0), W)-Sum(Greater({EBB}, 0), W))/(Sum(Abs({FLOW}), W)+1e-12)",
}
ALPHA158 = {**BAR, **{f"{name}{w}": text.replace("W", str(w)) for name, text in ROLLING.items() for w in WINDOWS}}


@pytest.fixture(scope="module")
def panel() -> Panel:
    frame = random_frame(3, 110, seed=4)
    return Panel.from_frame(frame.assign(vwap=frame[["open", "high", "low", "close"]].mean(axis=1) * 1.001))


def test_qlibs_own_text_of_alpha158_gives_alpha158(panel: Panel) -> None:
    assert list(ALPHA158) == list(ALPHA158_NAMES)
    expected = alpha158(panel)
    for name, text in ALPHA158.items():
        actual = Expression(text)(panel)
        np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected.column(name)), err_msg=name)
        np.testing.assert_allclose(actual, expected.column(name), rtol=1e-5, atol=1e-6, err_msg=name)


def with_pandas(panel: Panel, expected: str) -> pd.Series:
    """`expected` with c the adjusted close and v the adjusted volume of one symbol."""
    parts = []
    for code in range(panel.num_symbols):
        own = panel.select(panel.symbol_code == code)
        c, v = pd.Series(own.adjusted("close")), pd.Series(own.adjusted("volume"))
        parts.append(eval(expected, {"c": c, "v": v, "np": np}))
    return pd.concat(parts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Delta($close, 3)", "c.diff(3)"),
        ("Var($close, 10)", "c.rolling(10).var()"),
        ("Med($close, 7)", "c.rolling(7).median()"),
        ("Cov($close, $volume, 10)", "c.rolling(10).cov(v)"),
        ("WMA($close, 6)", "c.rolling(6).apply(lambda x: np.average(x, weights=np.arange(1, 7)))"),
        ("EMA($close, 6)", "c.ewm(span=6, min_periods=6).mean()"),
        ("Wilder($close, 4)", "c.ewm(alpha=1 / 4, min_periods=4).mean()"),
        ("Sign(Delta($close, 1))", "np.sign(c.diff())"),
        ("Power($close, 2) - $close ** 2", "0 * c"),
        ("If($close >= Ref($close, 1), $volume, -$volume)", "v.where(c >= c.shift(), -v).where(c.shift().notna())"),
        ("($close > 50) & ($volume < 50000) | ($close == $close)", "1.0 + 0 * c"),
        ("$close != $close", "0 * c"),
    ],
)
def test_operators_equal_pandas_symbol_by_symbol(text: str, expected: str, panel: Panel) -> None:
    np.testing.assert_allclose(Expression(text)(panel), with_pandas(panel, expected), rtol=1e-6, atol=1e-6)


def test_a_missing_or_infinite_value_is_missing_in_every_window_that_holds_it(panel: Panel) -> None:
    volume = panel.columns["volume"].copy()
    volume[40] = 0.0
    values = Expression("Max(Log($volume), 5)")(panel.with_columns(volume=volume))
    assert np.flatnonzero(np.isnan(values[:60])).tolist() == [0, 1, 2, 3, 40, 41, 42, 43, 44]
    assert np.isnan(Expression("$close / ($close - $close)")(panel)).all()
    assert np.isnan(Expression("EMA(Log($volume), 3)")(panel.with_columns(volume=volume))[38:43]).tolist() == [
        *(False, False, True, True, True)
    ]


@pytest.mark.parametrize("text", [*list(ALPHA158.values())[::7], "EMA($close, 12) / $close", "Cov($close, $vwap, 9)"])
def test_a_value_needs_no_other_symbol_and_no_later_bar(text: str, panel: Panel) -> None:
    expression = Expression(text)
    whole = expression(panel)
    for code in range(panel.num_symbols):
        own = (panel.symbol_code == code) & (panel.date_code < 90)
        np.testing.assert_array_equal(expression(panel.select(own)), whole[own])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Ref($close, -1)", "got -1; a negative one would look ahead"),
        ("Ref($close, 1 - 2)", r"whole number of bars from 0 to 10000, got 1 - 2"),
        ("Maen($close, 5)", "unknown operator 'Maen'; did you mean Mean"),
        ("Mean(close, 5)", r"'close' is no column and no number: a column is written \$close"),
        ("Mean($close)", r"Mean\(x, window\) takes 2 arguments, got 1"),
        ("Mean($close, 5.0)", "window must be a whole number"),
        ("Mean($close, True)", "window must be a whole number"),
        ("Std($close, 1)", "from 2 to 10000, got 1"),
        ("Quantile($close, 5, 2)", r"level must be a number in \[0, 1\], got 2"),
        ("Mean($close, window=5)", "is not allowed"),
        ("$close.mean()", "is not allowed"),
        ("__import__('os').system('true')", "is not allowed"),
        ("open($close)", "unknown operator 'open'"),
        ("[$close for x in $close]", "is not allowed"),
        ("lambda: $close", "is not allowed"),
        ("$close if $open else $low", "is not allowed"),
        ("$close < $open < $high", "is not allowed"),
        ("$close and $open", "is not allowed"),
        ("'a' + $close", "is not allowed"),
        ("True + $close", "is not allowed"),
        ("_column_close", "must not contain"),
        ("1 + 2", r"has no column such as \$close"),
        ("", "is no expression"),
        ("$close +", "is no expression"),
        ("(" * 300 + "$close" + ")" * 300, "is no expression"),
        ("-" * 60 + "$close", "nested deeper than 50"),
        ("$close" + " + $close" * 500, "longer than 2000 characters"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Expression(text)


def test_columns_are_known_by_name_and_checked(panel: Panel) -> None:
    expression = Expression("Mean($f_1, 5) / $vwap + $f_1 - $0")
    assert expression.columns == ("f_1", "vwap", "0")
    expression.check_columns(["f_1", "0"])
    with pytest.raises(ValueError, match=r"no column 'f_1'; did you mean \$f_2"):
        expression.check_columns(["f_2", "0"])


def test_an_expression_can_be_copied_and_so_sent_to_another_process(panel: Panel) -> None:
    expression = Expression("Mean($close, 5)")
    np.testing.assert_array_equal(deepcopy(expression)(panel), expression(panel))
