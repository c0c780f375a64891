"""Ready-made columns and other features of users: patterns, missing values, categories, labels kept out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from factor_data import (
    ColumnFeatures,
    Expression,
    LookAheadError,
    OwnFeatures,
    Panel,
    check_own_lookahead,
    check_symbols_apart,
    plan_features,
)
from factor_data.features.functions import FileFunction

NAN = np.nan


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Two symbols of five bars."""
    stamps = pd.bdate_range("2020-01-01", periods=5)
    price = np.arange(10.0, 20.0)
    bars = pd.DataFrame(
        {
            "timestamp": np.tile(stamps, 2),
            "symbol": np.repeat(["A", "B"], 5),
            **dict.fromkeys(("open", "high", "low", "close", "volume"), price),
            "f_1": [1.0, NAN, NAN, NAN, 2.0, NAN, 3.0, NAN, np.inf, 4.0],
            "f_2": price,
            "sector": [1.0, 1.0, 1.0, 1.0, NAN, 2.0, 2.0, 2.0, 2.0, 2.0],
            "next": np.append(price[1:], NAN),
        }
    )
    return Panel.from_frame(bars)


def values(panel: Panel, labels: tuple[str, ...] = (), **own: object) -> dict[str, list[float]]:
    plan = plan_features(None, panel.symbols, OwnFeatures(**own), tuple(panel.columns), labels)
    return dict(zip(plan.names, plan.values(panel).T.tolist(), strict=True))


def same(actual: list[float], expected: list[float]) -> bool:
    return bool(np.array_equal(actual, expected, equal_nan=True))


@pytest.mark.parametrize(
    ("missing", "max_age", "expected"),
    [
        ("keep", None, [1, NAN, NAN, NAN, 2, NAN, 3, NAN, NAN, 4]),
        ("zero", None, [1, 0, 0, 0, 2, 0, 3, 0, 0, 4]),
        ("last", 2, [1, 1, 1, NAN, 2, NAN, 3, 3, 3, 4]),
        ("last", 9, [1, 1, 1, 1, 2, NAN, 3, 3, 3, 4]),
    ],
)
def test_a_missing_value_becomes_what_its_rule_says_and_never_another_symbols(
    missing: str, max_age: int | None, expected: list[float], panel: Panel
) -> None:
    found = values(panel, columns=(ColumnFeatures(names=("f_1",), missing=missing, max_age=max_age),))
    assert same(found["f_1"], expected)


def test_a_pattern_stands_for_factors_and_never_for_prices_or_volume(panel: Panel) -> None:
    assert list(values(panel, columns=("*",))) == ["f_1", "f_2", "sector", "next"]
    assert list(values(panel, columns=("f_2", "close"))) == ["f_2", "close"]


def test_categories_become_a_flag_a_value(panel: Panel) -> None:
    found = values(panel, columns=(ColumnFeatures(names=("sector",), values=(1, 2.5)),))
    assert same(found["sector=1"], [1, 1, 1, 1, NAN, 0, 0, 0, 0, 0])
    assert same(found["sector=2.5"], [0, 0, 0, 0, NAN, 0, 0, 0, 0, 0])


def test_a_feature_is_neutral_to_the_group_of_its_bar_and_date() -> None:
    """Four symbols of two sectors on two dates; the last is out of the universe on the second date."""
    stamps, symbols = pd.bdate_range("2020-01-01", periods=2), ["A", "B", "C", "D"]
    index = pd.MultiIndex.from_product([symbols, stamps], names=["symbol", "timestamp"])
    frame = pd.DataFrame({"f_1": [1.0, 1.0, 3.0, 5.0, 2.0, NAN, 8.0, 9.0]}, index=index).reset_index()
    frame["sector"] = [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    frame["in_universe"] = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    panel = Panel.from_frame(frame.assign(**dict.fromkeys(("open", "high", "low", "close", "volume"), 7.0)))
    rules = ColumnFeatures(names=("f_*",), neutral="sector")
    found = values(panel, columns=(rules,), expressions={"twice": "2 * $f_1"})
    assert list(found) == ["f_1~sector", "twice"]
    assert same(found["f_1~sector"], [-1, -2, 1, 2, -3, NAN, 3, NAN])
    plan = plan_features(
        ["twice~sector"], panel.symbols, OwnFeatures(expressions={"twice": "2 * $f_1"}), (*panel.columns,)
    )
    assert same(plan.values(panel)[:, 0].tolist(), [-2, -4, 2, 4, -6, NAN, 6, NAN])
    with pytest.raises(ValueError, match="'return_1~industry': the bars have no column 'industry' of groups"):
        plan_features(["return_1~industry"], panel.symbols, columns=(*panel.columns,))
    with pytest.raises(ValueError, match=r"repeat: .*f_1"):
        values(panel, columns=(rules, ColumnFeatures(names=("f_1",), missing="zero")))


def test_a_column_that_looks_ahead_is_shown_to_no_feature(panel: Panel) -> None:
    assert "next" not in values(panel, ("next",), columns=("*",))
    for own in ({"columns": ("next",)}, {"expressions": {"x": "$next / $close"}}):
        with pytest.raises(ValueError, match="no column 'next'"):
            values(panel, ("next",), **own)
    plan = plan_features(None, panel.symbols, OwnFeatures(columns=("f_1",)), tuple(panel.columns), ("next",))
    assert "next" not in plan.without_labels(panel).columns


@pytest.mark.parametrize("name", ["return_1", "bars", "KMID", "market_return_1", "x@A", "x~y"])
def test_a_name_that_is_taken_is_refused(name: str, panel: Panel) -> None:
    with pytest.raises(ValueError, match=f"cannot be called '{name}'"):
        values(panel, expressions={name: "$close / $open"})


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ({"names": ()}, "names: must name"),
        ({"names": ("f_1",), "max_age": 3}, "max_age: 3 goes with missing: last"),
        ({"names": ("f_1",), "missing": "last"}, "max_age: None goes with missing: last"),
        ({"names": ("f_1",), "missing": "last", "max_age": 0}, "max_age: 0 must be >= 1"),
        ({"names": ("sector",), "values": (1.0, 1.0)}, "must be different"),
        ({"names": ("sector",), "values": (1.0,), "neutral": "sector"}, "neutral: sector goes with numbers"),
    ],
)
def test_rules_that_contradict_themselves_are_refused(rules: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ColumnFeatures(**rules)


def test_a_leader_may_be_of_the_users_own(panel: Panel) -> None:
    own = OwnFeatures(expressions={"x": "$close / $open + $f_2"})
    plan = plan_features(["x@B"], panel.symbols, own, tuple(panel.columns))
    universe = panel.with_columns(in_universe=np.ones(panel.num_rows))
    found = dict(zip(plan.names, plan.values(universe).T.tolist(), strict=True))
    assert found["x@B"] == [*found["x"][5:], *found["x"][5:]]


def test_a_function_that_looks_at_other_symbols_is_named(panel: Panel) -> None:
    plan = plan_features(None, panel.symbols, OwnFeatures(expressions={"x": "$close"}), tuple(panel.columns))
    check_symbols_apart(plan, panel)
    assert isinstance(plan.own["x"], Expression)
    plan.own["x"] = lambda bars: np.bincount(bars.date_code, bars.columns["close"])[bars.date_code]
    with pytest.raises(ValueError, match="'x' looks at other symbols: 5 values change when some are left out, first A"):
        check_symbols_apart(plan, panel)


def next_close(bars: Panel) -> NDArray[np.float64]:
    """The close of the symbol's next bar over this one's, NaN at its last."""
    close = bars.columns["close"]
    same = np.r_[bars.symbol_code[1:] == bars.symbol_code[:-1], False]
    return np.where(same, np.r_[close[1:], np.nan] / close, np.nan)


def only(where: Callable[[Panel], NDArray[np.bool_]]) -> Callable[[Panel], NDArray[np.float64]]:
    """A feature that looks ahead on some rows alone."""
    return lambda bars: np.where(where(bars), next_close(bars), bars.columns["open"] / bars.columns["close"])


LEAKS = {
    "always": only(lambda bars: np.ones(bars.num_rows, dtype=bool)),
    "on late dates": only(lambda bars: bars.timestamp >= np.datetime64("2020-10-20")),
    "between the dates that are cut for all": only(
        lambda bars: (bars.timestamp > np.datetime64("2020-07-10")) & (bars.timestamp < np.datetime64("2020-08-20"))
    ),
    "for one symbol": only(lambda bars: bars.symbol == "S17"),
    "on Fridays": only(lambda bars: (bars.timestamp.astype("datetime64[D]").astype(int) + 3) % 7 == 4),
    "by the mean of all its bars": lambda bars: (
        bars.columns["close"]
        - np.bincount(bars.symbol_code, bars.columns["close"], len(bars.symbols))[bars.symbol_code]
    ),
    "by how many bars it will have": lambda bars: np.bincount(bars.symbol_code)[bars.symbol_code].astype(float),
}


@pytest.fixture(scope="module")
def walks() -> Panel:
    """40 symbols on 300 days."""
    draw = np.random.default_rng(1)
    close = 100.0 * np.exp(np.cumsum(draw.normal(0.0, 0.02, (40, 300)), axis=1)).ravel()
    return Panel(
        symbols=np.array([f"S{number:02d}" for number in range(40)]),
        dates=(np.datetime64("2020-01-01") + np.arange(300)).astype("datetime64[ns]"),
        symbol_code=np.repeat(np.arange(40, dtype=np.int32), 300),
        date_code=np.tile(np.arange(300, dtype=np.int32), 40),
        columns={name: close.copy() for name in ("open", "high", "low", "close", "volume")},
    )


@pytest.mark.parametrize("leak", LEAKS)
def test_an_own_function_that_looks_ahead_somewhere_is_refused(leak: str, walks: Panel) -> None:
    plan = plan_features(None, walks.symbols, OwnFeatures(expressions={"x": "$close"}), tuple(walks.columns))
    plan.own["x"] = LEAKS[leak]
    said = (
        r"\d+ values changed when later bars of their symbols were (changed|dropped): S\d\d at 2020-\S+, x: \S+ became"
    )
    with pytest.raises(LookAheadError, match=said):
        check_own_lookahead(plan, walks)


def test_own_functions_that_look_back_are_taken(walks: Panel) -> None:
    expressions = {"x": "Mean($close, 20) / $close - 1", "y": "Std($close, 250)"}
    plan = plan_features(None, walks.symbols, OwnFeatures(expressions=expressions), tuple(walks.columns))
    plan.own["x"] = lambda bars: bars.age.astype(float)
    check_own_lookahead(plan, walks)
    check_own_lookahead(plan, walks.select(walks.date_code == 0))


def test_a_file_that_is_replaced_gives_its_new_function_in_the_same_process(panel: Panel, tmp_path: Path) -> None:
    """A bundle is replaced under a running server; its file keeps path, size and, within a second, its time."""
    file = tmp_path / "mine.py"
    found = []
    for factor in (2, 3):
        file.write_text(f"def scaled(panel): return {factor} * panel.columns['close']\n")
        os.utime(file, (1, 1))
        found.append(FileFunction(str(file), "scaled")(panel))
    np.testing.assert_array_equal(found[0] / 2.0, found[1] / 3.0)


SPOILING = {
    "c = panel.columns['close']; c *= 2": "ended with ValueError: .*read-only",
    "c = panel.adjusted('close'); c *= 2": "ended with ValueError: .*read-only",
    "panel.dates[0] = panel.dates[1]": "ended with ValueError: .*read-only",
    "panel.columns['close'] = panel.columns['open']": "line 2: f ended with TypeError",
    "import sys; sys.exit(0)": "line 2: f ended with SystemExit: 0",
    "return f(panel)": "line 2: f ended with RecursionError",
    "return panel.columns['clsoe']": "line 2: f ended with KeyError: 'clsoe'",
    "import pandas as pd; return pd.Series(panel.columns['close'])[::-1]": "a Series whose index is not 0 to",
    "import numpy as np; c = panel.columns['close']; return np.ma.masked_array(c, c > 10)": "a masked array: write NaN",
    "import pandas as pd; return pd.DataFrame({'x': panel.columns['close']})": "must return one number per bar",
}


@pytest.mark.parametrize("body", SPOILING)
def test_a_function_that_fails_or_spoils_what_others_read_is_named(body: str, panel: Panel, tmp_path: Path) -> None:
    before = {name: values.copy() for name, values in panel.columns.items()}
    file = tmp_path / "mine.py"
    file.write_text(f"def f(panel):\n    {body}\n    return panel.columns['open']\n")
    with pytest.raises(ValueError, match=f"{file}.*{SPOILING[body]}"):
        FileFunction(str(file), "f")(panel)
    assert list(panel.columns) == list(before)
    for name, values in before.items():
        np.testing.assert_array_equal(panel.columns[name], values)
        assert panel.columns[name].flags.writeable, "the caller may still write"


def test_a_function_may_use_what_the_package_has_and_return_a_series_in_order(panel: Panel, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import pandas as pd\n"
        "def f(panel): return pd.Series(panel.with_columns(x=panel.columns['close'] * 2).columns['x'])\n"
    )
    np.testing.assert_array_equal(FileFunction(str(file), "f")(panel), panel.columns["close"] * 2)


@pytest.mark.parametrize("number", ["1e400", "9" * 400])
def test_a_number_that_no_double_holds_is_refused(number: str) -> None:
    with pytest.raises(ValueError, match=r"expressions.x: the number .* is too large"):
        OwnFeatures(expressions={"x": f"$close * {number}"})
