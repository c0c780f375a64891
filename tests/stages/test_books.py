"""Books after costs as params.yaml asks for them: numbers, page, benchmark, and data of which no book can be made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from factor_data import FeatureStore, Panel, read_folds
from factor_data.sums import write_sums
from stages.judging.books import benchmark_returns, money_traded
from stages.judging.drift import MOST_ROWS, thinned
from stages.predictions import OutOfFold
from workplace import Workplace


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def trained(tokenized: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Two models, trained. Tests must not change it."""
    workplace = tokenized.copy(tmp_path_factory.mktemp("books") / "copy")
    workplace.change_params(lambda document: document.update(models=["linear", "lightgbm"]))
    workplace.run("plan")
    for model in ("linear", "lightgbm"):
        workplace.made("train", model)
    return workplace


def evaluated(trained: Workplace, folder: Path, portfolio: dict[str, Any]) -> Workplace:
    workplace = trained.copy(folder)
    workplace.change_params(lambda document: document["evaluate"]["portfolio"].update(portfolio))
    workplace.run("plan")
    workplace.run("evaluate", "linear")
    return workplace


def equal_books(workplace: Workplace, label: str, horizon: int, side: float) -> dict[str, float]:
    """Equity of h books of the top and bottom fifth, kept in shares by hand: no impact, no fee for what is short."""
    store = FeatureStore(workplace.results / "tokenize")
    oof = OutOfFold(workplace.results / "train" / "linear" / "predictions.parquet", store)
    panel, dates = Panel.load(workplace.results / "split" / "panel"), oof.dates("test")
    close = panel.to_matrix(panel.adjusted("close"))
    first = int(np.searchsorted(panel.dates, dates[0]))
    prediction = np.full(close.shape, np.nan)
    prediction[np.searchsorted(panel.dates, dates)] = oof.matrix(label, "test")
    last = min(int(np.searchsorted(panel.dates, dates[-1])) + 1 + horizon, len(panel.dates) - 1)
    total = np.zeros(last + 1)
    for offset in range(horizon):
        shares, cash, known = np.zeros(close.shape[1]), 1.0, np.full(close.shape[1], np.nan)
        for date in range(first, last + 1):
            known = np.where(np.isnan(close[date]), known, close[date])
            worth = cash + float(np.nansum(shares * known))
            decided = date - 1
            if decided >= first and (decided - first) % horizon == offset:
                row = prediction[decided]
                ranks = np.full(len(row), -1.0)
                there = np.flatnonzero(~np.isnan(row))
                if len(there):
                    ranks[there] = np.floor((np.argsort(np.argsort(row[there])) + 0.5) * 5 / len(there))
                top, bottom = ranks == 4, ranks == 0
                wanted = 0.5 * (top / max(top.sum(), 1) - bottom / max(bottom.sum(), 1)) * worth
                for symbol in np.flatnonzero(~np.isnan(close[date])):
                    change = wanted[symbol] - shares[symbol] * close[date, symbol]
                    cash -= change + abs(change) * side
                    shares[symbol] = wanted[symbol] / close[date, symbol]
            total[date] += cash + float(np.nansum(shares * known))
    equity = total[first:] / horizon
    returns = equity[1:] / equity[:-1] - 1.0
    return {"growth": float(equity[-1]), "sharpe": float(returns.mean() / returns.std(ddof=1) * np.sqrt(252.0))}


@pytest.mark.parametrize(("label", "horizon"), [("h1", 1), ("h5", 5)])
def test_numbers_are_those_of_books_kept_by_hand(trained: Workplace, tmp_path: Path, label: str, horizon: int) -> None:
    costs = {"commission": 2.0, "half_spread": 8.0, "impact": 0.0, "borrow": 0.0}
    workplace = evaluated(trained, tmp_path / "copy", {"costs": costs})
    found = read(workplace.results / "evaluate" / "linear" / "metrics.json")[label]
    expected = equal_books(workplace, label, horizon, 0.001)
    growth = (1.0 + found["net_return"]) ** (found["book_dates"] / 252.0)
    assert growth == pytest.approx(expected["growth"], rel=1e-9)
    assert found["net_sharpe"] == pytest.approx(expected["sharpe"], rel=1e-9)
    assert found["capacity"] is None


def test_the_default_run_tells_what_is_left_in_files_lines_and_pages(
    trained: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workplace = evaluated(trained, tmp_path / "copy", {})
    said = capsys.readouterr().out
    assert all(f"linear {label}: after costs" in said for label in ("h1", "h5", "h20"))
    workplace.run("evaluate", "lightgbm")
    workplace.run("stack")
    workplace.run("report", "linear")
    workplace.run("report_stack")
    for path in (workplace.results / "evaluate" / "linear", workplace.results / "stack"):
        for scores in read(path / "metrics.json").values():
            assert scores["net_return"] < scores["gross_return"]
            assert scores["costs"] > scores["impact_costs"] > 0.0
            assert scores["net_sharpe_low"] < scores["net_sharpe"] < scores["net_sharpe_high"]
            assert scores["break_even"] is not None
    summary = read(workplace.results / "summary.json")
    stack = read(workplace.results / "stack" / "metrics.json")["h1"]
    assert (summary["net_sharpe"], summary["break_even"]) == (stack["net_sharpe"], stack["break_even"])
    numbers = sum(len(value) if isinstance(value, dict) else 1 for value in summary.values())
    assert numbers <= 12
    for name in ("linear", "stack"):
        page = (workplace.results / "report" / name / "report.html").read_text()
        assert '<section id="after-costs">' in page
        assert "A year has 252 dates (252 days of 1 bar)" in page
        assert "5 books overlap" in page
        assert '<section id="made-of">' in page
        for heading in ("Exposure", "Rank IC neutral to them", "By size", "By volatility", "By regime", "By weekday"):
            assert f"<summary>{heading}</summary>" in page
        assert "<summary>Distribution of the rank IC</summary>" in page
        assert "<summary>Cumulative return by quantile</summary>" in page
        assert len(page) < 1_500_000
    parts = read(workplace.results / "evaluate" / "linear" / "page.json")["anatomies"]["h1"]
    assert parts["exposure"]["names"] == ["beta", "volatility", "momentum", "money traded"]
    assert parts["neutral"]["names"] == ["as it is", *parts["exposure"]["names"], "all"]
    assert parts["by_regime"]["names"] == ["up", "down", "calm", "wild"]


def test_kind_limits_and_benchmark_come_from_params(trained: Workplace, tmp_path: Path) -> None:
    symbol = str(FeatureStore(trained.results / "tokenize").symbols[0])
    settings = {"kind": "top_k", "held": 5, "max_replaced": 1, "limits": {"max_weight": 0.1}, "benchmark": symbol}
    workplace = evaluated(trained, tmp_path / "copy", settings)
    page = read(workplace.results / "evaluate" / "linear" / "page.json")["books"]["found"]["h1"]
    panel = Panel.load(workplace.results / "split" / "panel")
    close = panel.to_matrix(panel.adjusted("close"))[:, 0]
    moves = {str(date): value for date, value in zip(panel.dates[1:], close[1:] / close[:-1], strict=True)}
    dates, curve = page["dates"], np.array([1.0, *page["benchmark"]])
    known = [1.0, *(moves[date] if np.isfinite(moves[date]) else 1.0 for date in dates[1:])]
    np.testing.assert_allclose(curve[1:] / curve[:-1], known, rtol=1e-12)
    long_only = read(workplace.results / "evaluate" / "linear" / "metrics.json")["h1"]
    assert 0.0 < long_only["traded"] < 0.25, "one of five is replaced a date, each with a tenth of equity"
    workplace.run("report", "linear")
    html = (workplace.results / "report" / "linear" / "report.html").read_text()
    assert "the 5 highest forecasts, at most 1 replaced a date" in html
    assert "limits: max_weight 0.1" in html
    assert f"Benchmark: {symbol}." in html


def truth_of(workplace: Workplace) -> pd.DataFrame:
    return pd.read_parquet(workplace.results / "split" / "expected.parquet")


def in_rows(truth: pd.DataFrame) -> pd.DataFrame:
    return truth.melt(["timestamp", "horizon"], var_name="symbol", value_name="expected")


def test_a_forecast_that_is_the_true_expectation_attains_all_that_is_attainable(
    trained: Workplace, tmp_path: Path
) -> None:
    workplace = trained.copy(tmp_path / "copy")
    file = workplace.results / "train" / "linear" / "predictions.parquet"
    frame, horizons = pd.read_parquet(file), {"h1": 1, "h5": 5, "h20": 20}
    keys = pd.DataFrame(
        {
            "timestamp": frame["timestamp"],
            "symbol": frame["symbol"].astype(str),
            "horizon": frame["label"].astype(str).map(horizons),
        }
    )
    truth = in_rows(truth_of(workplace))
    known = keys.merge(truth, how="left", on=list(keys))["expected"].to_numpy()
    honest = frame["prediction"].copy()
    frame["prediction"] = known.astype(np.float32)
    frame.to_parquet(file, index=False)
    write_sums(file.parent)
    workplace.run("evaluate", "linear")
    scores = read(workplace.results / "evaluate" / "linear" / "metrics.json")
    for label in horizons:
        assert scores[label]["net_sharpe"] == pytest.approx(scores[label]["attainable_sharpe"], rel=1e-12), label
        assert scores[label]["gross_sharpe"] > 1.0, label
    workplace.run("report", "linear")
    page = (workplace.results / "report" / "linear" / "report.html").read_text()
    assert "100 %: the same book that the true expected returns of this simulated market make" in page
    frame["prediction"] = honest
    frame.to_parquet(file, index=False)
    write_sums(file.parent)
    workplace.run("evaluate", "linear")
    again = read(workplace.results / "evaluate" / "linear" / "metrics.json")
    for label in horizons:
        assert again[label]["attainable_sharpe"] == pytest.approx(scores[label]["attainable_sharpe"], rel=1e-12), label
        assert again[label]["net_sharpe"] < again[label]["attainable_sharpe"], label


def test_without_a_known_truth_nothing_is_attainable(trained: Workplace, tmp_path: Path) -> None:
    workplace = trained.copy(tmp_path / "copy")
    file = workplace.results / "split" / "expected.parquet"
    truth = truth_of(workplace)
    nothing = truth.copy()
    nothing.iloc[:, 2:] = np.float32(0.0)
    for frame in (truth.iloc[:0], nothing):
        frame.to_parquet(file, index=False)
        write_sums(file.parent)
        workplace.run("evaluate", "linear")
        scores = read(workplace.results / "evaluate" / "linear" / "metrics.json")
        assert all(one["attainable_sharpe"] is None for one in scores.values())
    workplace.run("report", "linear")
    assert "Attained net" not in (workplace.results / "report" / "linear" / "report.html").read_text()


def test_drift_is_that_of_the_rows_of_each_fold(trained: Workplace, tmp_path: Path) -> None:
    workplace = evaluated(trained, tmp_path / "copy", {})
    workplace.run("evaluate", "lightgbm")
    workplace.run("stack")
    store = FeatureStore(workplace.results / "tokenize")
    rows = read(workplace.results / "stack" / "page.json")["drift"]
    folds = read_folds(workplace.results / "split" / "folds.json")
    assert len(rows) == len(folds) * len(store.feature_names)
    one = rows[len(store.feature_names) + 2]
    sides = [store.feature(one["name"])[store.rows(folds[1], segment)] for segment in ("train", "test")]
    train, test = (side[np.isfinite(side)] for side in sides)
    assert one["fold"] == 1
    assert one["distance"] == pytest.approx(stats.ks_2samp(train, test).statistic, abs=1e-12)
    frame = pd.read_parquet(workplace.results / "train" / "linear" / "predictions.parquet")
    frame = frame[(frame["label"] == "h5") & (frame["fold"] == 1)]
    valid, test = (frame.loc[frame["segment"] == name, "prediction"] for name in ("valid", "test"))
    found = read(workplace.results / "evaluate" / "linear" / "page.json")["drift"]
    (mine,) = [row for row in found if (row["name"], row["fold"]) == ("h5", 1)]
    assert mine["distance"] == pytest.approx(stats.ks_2samp(valid, test).statistic, abs=1e-12)
    workplace.run("report", "linear")
    workplace.run("report_stack")
    for name, heading in (
        ("linear", "Forecasts, test after valid dates"),
        ("stack", "Inputs, test after training rows"),
    ):
        page = (workplace.results / "report" / name / "report.html").read_text()
        assert f"<summary>{heading}</summary>" in page


@pytest.mark.parametrize("stage", ["split", "evaluate"])
def test_a_benchmark_that_is_no_symbol_is_refused_before_any_work(
    trained: Workplace, tmp_path: Path, stage: str
) -> None:
    workplace = trained.copy(tmp_path / "copy")
    workplace.change_params(lambda document: document["evaluate"]["portfolio"].update(benchmark="SPY"))
    workplace.run("plan")
    said = workplace.refused(stage, *(["linear"] if stage == "evaluate" else []))
    assert "evaluate.portfolio.benchmark: 'SPY' must be universe or one of the 40 symbols" in said


def test_wrong_keys_and_values_are_refused_by_plan(trained: Workplace, tmp_path: Path) -> None:
    workplace = trained.copy(tmp_path / "copy")
    workplace.change_params(lambda document: document["evaluate"]["portfolio"].update(kind="kelly"))
    assert "evaluate.portfolio.kind: 'kelly' is refused" in workplace.refused("plan")
    workplace.change_params(lambda document: document["evaluate"]["portfolio"].update(kind="rank", money=-1.0))
    assert "evaluate.portfolio.money must be finite and above 0" in workplace.refused("plan")


def test_no_book_trades_at_an_open_before_its_forecast(trained: Workplace, tmp_path: Path) -> None:
    """The forecast of t is made of its close; a label of opens has delay 1 at least, and so has its book."""
    workplace = trained.copy(tmp_path / "copy")
    labels = {"h1": {"horizon": 1}, "day": {"horizon": 1, "price": "open"}}
    workplace.change_params(lambda document: document["tokenize"].update(labels=labels))
    workplace.change_params(lambda document: document["evaluate"]["portfolio"].update(delay=0))
    assert "evaluate.portfolio.delay: 0 must be >= 1, since label day trades at the open" in workplace.refused("plan")


def test_limits_that_no_book_can_satisfy_are_refused_with_their_date(trained: Workplace, tmp_path: Path) -> None:
    workplace = trained.copy(tmp_path / "copy")
    limits = {"max_weight": 0.01, "min_net": 0.9}
    workplace.change_params(lambda document: document["evaluate"]["portfolio"].update(limits=limits))
    workplace.run("plan")
    assert "evaluate.portfolio: no book at row" in workplace.refused("evaluate", "linear")


def test_what_was_traded_is_the_amount_where_bars_have_one(trained: Workplace) -> None:
    panel = Panel.load(trained.results / "split" / "panel")
    product = panel.columns["close"] * panel.columns["volume"]
    np.testing.assert_array_equal(money_traded(panel), product)
    np.testing.assert_array_equal(money_traded(panel.with_columns(amount=2.0 * product)), 2.0 * product)
    np.testing.assert_array_equal(money_traded(panel.with_columns(amount=0.0 * product)), product)


def test_rows_of_which_drift_is_told_are_of_all_hours() -> None:
    """2.4 million rows of an hourly calendar: every 24th row is of the same hour."""
    places = np.arange(24 * MOST_ROWS)
    chosen = thinned(places)
    assert len(np.unique(chosen)) == MOST_ROWS
    np.testing.assert_array_equal(chosen, thinned(places))
    np.testing.assert_allclose(np.bincount(chosen % 24) / MOST_ROWS, 1 / 24, rtol=0.1)
    np.testing.assert_array_equal(thinned(places[:MOST_ROWS]), places[:MOST_ROWS])


def test_a_benchmark_moves_over_the_dates_on_which_its_market_is_closed() -> None:
    price = np.array([[100.0, 50.0], [np.nan, 50.0], [150.0, 55.0], [np.nan, 55.0], [150.0, 55.0]])
    symbols = np.array(["SPY", "SAP"])
    alone = benchmark_returns(price, price > 0.0, symbols, "SPY")
    np.testing.assert_allclose(alone, [np.nan, np.nan, 0.5, np.nan, 0.0])
    together = benchmark_returns(price, price > 0.0, symbols, "universe")
    np.testing.assert_allclose(together, [np.nan, 0.0, (0.5 + 0.1) / 2, 0.0, 0.0])
    outside = (price > 0.0) & (np.arange(5) != 0)[:, None]
    np.testing.assert_allclose(benchmark_returns(price, outside, symbols, "universe")[2], 0.1)
    late = np.array([[100.0, 50.0], *[[np.nan, 50.0]] * 6, [900.0, 50.0]])
    assert benchmark_returns(late, late > 0.0, symbols, "universe")[7] == 0.0, "a book has written it off"
