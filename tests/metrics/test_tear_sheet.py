"""One call from forecasts to a page, inline and saved, of frames, matrices and long series; short texts, safe HTML."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import factor_metrics
from factor_metrics import (
    TearSheet,
    compare_samples,
    evaluate_predictions,
    floor_table,
    judge_trials,
    rank_ic,
    summarize,
    tear_sheet,
)
from factor_metrics.report import ReportData

DAYS = pd.date_range("2023-01-02", periods=160, freq="B")
SYMBOLS = [f"S{number:02d}" for number in range(20)]
QUICK: dict[str, Any] = {"num_bootstrap": 50}


@pytest.fixture(scope="module")
def market() -> dict[str, pd.DataFrame]:
    """Prices, returns from the close after next, and a weak forecast of the later dates."""
    generator = np.random.default_rng(0)
    moves = 0.02 * generator.standard_normal((len(DAYS), len(SYMBOLS)))
    prices = pd.DataFrame(100 * np.exp(np.cumsum(moves, axis=0)), index=DAYS, columns=SYMBOLS)
    label = prices.shift(-2) / prices.shift(-1) - 1
    forecast = (0.3 * label + 0.02 * generator.standard_normal(label.shape)).iloc[60:150]
    return {"prices": prices, "label": label, "prediction": forecast}


@pytest.fixture(scope="module")
def found(market: dict[str, pd.DataFrame]) -> ReportData:
    report: Any = factor_metrics.report
    return report(**market, name="<b>mine", **QUICK)


def test_a_report_judges_the_forecast_beside_floors_and_as_a_book(
    found: ReportData, market: dict[str, pd.DataFrame]
) -> None:
    label = market["label"].reindex(market["prediction"].index)
    expected = evaluate_predictions(market["prediction"], label, horizon=1, **QUICK)  # type: ignore[arg-type]
    assert found.rows[0].scores == expected.scores()
    assert {"random", "momentum_60_5"} <= {row.name for row in found.rows}
    assert found.books["h1"].scores.net_sharpe == found.books["h1"].scores.net_sharpe
    assert found.row_counts[0].scored == int(label.notna().to_numpy().sum())


def test_the_page_is_shown_inline_and_saved(found: ReportData, tmp_path: Path) -> None:
    inline = found._repr_html_()
    assert inline.startswith("<iframe srcdoc=")
    assert "<b>mine" not in inline
    page = html.unescape(inline.split('srcdoc="')[1].split('" sandbox')[0])
    assert "<b>mine" not in page
    assert "prefers-color-scheme: dark" in page
    assert found.save(tmp_path / "report.html").read_text(encoding="utf-8") == page
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert len(repr(found)) < 150


def test_a_tear_sheet_has_the_main_sections_alone(market: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    sheet = tear_sheet(**market, save=tmp_path / "sheet.html", **QUICK)
    assert isinstance(sheet, TearSheet)
    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert page == sheet.html()
    assert 'id="rank-ic"' in page
    assert 'id="conditions"' not in page
    assert sheet._repr_html_().startswith("<iframe")
    assert repr(sheet).startswith("TearSheet('Report: forecast'")


def test_long_series_matrices_and_other_libraries_give_the_same_numbers(
    market: dict[str, pd.DataFrame], found: ReportData
) -> None:
    report: Any = factor_metrics.report
    prediction, label = market["prediction"], market["label"]
    whole = {"prediction": prediction, "label": label}
    long = {name: table.rename_axis("date").rename_axis("symbol", axis=1).stack() for name, table in whole.items()}
    same = prediction.index
    plain = {"prediction": prediction.to_numpy(), "label": label.loc[same].to_numpy(), "dates": same}
    shuffled = whole | {"label": label[SYMBOLS[::-1]]}
    cases = [long, plain, shuffled]
    polars = pytest.importorskip("polars")
    cases.append({name: polars.from_pandas(table.rename_axis("d").reset_index()) for name, table in whole.items()})
    for case in cases:
        scores = report(**case, **QUICK).rows[0].scores
        assert scores.rank_ic == found.rows[0].scores.rank_ic
        assert scores.t_stat == found.rows[0].scores.t_stat


def test_a_small_universe_and_one_date_are_no_error(market: dict[str, pd.DataFrame]) -> None:
    few = {name: table.iloc[:, :4] for name, table in market.items()}
    report: Any = factor_metrics.report
    assert report(**few, **QUICK).rows[0].scores.num_dates == 90
    one = report(few["prediction"].iloc[:1], few["label"], **QUICK)
    assert "<iframe" in one._repr_html_()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda given: given | {"label": given["label"].rename(columns=str.lower)}, "no cell in common: prediction"),
        (lambda given: given | {"prices": given["prices"].iloc[100:]}, "prices lack 40 of the 90 dates of prediction"),
        (lambda given: {name: table.to_numpy() for name, table in given.items()}, "has no dates: give dates"),
        (lambda given: {name: table.iloc[:, :1] for name, table in given.items()}, r"has 1 symbol\(s\)"),
        (lambda given: {name: table.reset_index(drop=True) for name, table in given.items()}, "must be dates"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_words(change: Any, said: str, market: dict[str, pd.DataFrame]) -> None:
    report: Any = factor_metrics.report
    with pytest.raises(ValueError, match=said):
        report(**change(market), **QUICK)


def test_charts_are_matplotlib_figures_too(found: ReportData, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figures = found.figures()
    assert set(figures) == {"intervals", "rank_ic", "quantiles", "decay", "spread"}
    for name, figure in figures.items():
        figure.savefig(tmp_path / f"{name}.svg")
        assert (tmp_path / f"{name}.svg").stat().st_size > 1000
    with pytest.raises(ValueError, match=r"has no label 'h9', it has \['h1'\]"):
        found.figures("h9")


def test_results_are_short_in_text_and_tables_in_a_notebook(market: dict[str, pd.DataFrame]) -> None:
    prediction = market["prediction"]
    label = market["label"].reindex(prediction.index)
    judged: Any = evaluate_predictions(prediction, label, horizon=1, **QUICK)  # type: ignore[arg-type]
    ics = {"<i>a": judged.rank_ic, "b": rank_ic(-prediction, label)}
    shown = [
        judged,
        summarize(judged.rank_ic, num_bootstrap=50),
        floor_table({"<i>a": judged.rank_ic}, {"<i>floor": ics["b"]}, num_bootstrap=50)[0],
        compare_samples(judged.rank_ic[:45], judged.rank_ic[45:]),
        judge_trials(ics, num_bootstrap=50),
    ]
    for value in shown:
        page = value._repr_html_()
        assert page.startswith('<div class="factorcast"')
        assert "<i>" not in page
        assert "<table" in page
        assert "color:inherit" in page
    assert len(repr(judged)) < 120


def test_dates_out_of_order_and_prices_of_other_symbols_are_refused(market: dict[str, pd.DataFrame]) -> None:
    prediction, label, prices = market["prediction"], market["label"], market["prices"]
    ascend = "dates of prediction must ascend, each once"
    with pytest.raises(ValueError, match=ascend):
        factor_metrics.report(prediction.iloc[::-1], label, **QUICK)
    with pytest.raises(ValueError, match=ascend):
        factor_metrics.report(pd.concat([prediction, prediction]).sort_index(), label, **QUICK)
    with pytest.raises(ValueError, match=ascend):
        factor_metrics.report(prediction.to_numpy(), prediction.to_numpy(), dates=prediction.index[::-1], **QUICK)
    with pytest.raises(ValueError, match=r"dates of prices must ascend, each once"):
        factor_metrics.report(prediction, label, pd.concat([prices, prices]), **QUICK)
    with pytest.raises(ValueError, match=r"no symbol in common: .*'S00'.*'XS00'"):
        factor_metrics.report(prediction, label, prices.add_prefix("X"), **QUICK)
