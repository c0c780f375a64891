"""The HTML report: offline, escaped, free of NaN, and the same bytes for the same data."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from factor_metrics.report_charts import cumulative, rolling_mean
from factor_metrics.report_style import number, percent

from factor_metrics.report import (
    Attained,
    DateSeries,
    Diversity,
    Gate,
    Overfit,
    QualityRule,
    ReportData,
    ResultRow,
    WeightTable,
    build_report,
    summary_text,
    verdict_text,
)

HOSTILE = "<script>alert('x')</script>"
DATES = [f"2020-01-{day:02d}" for day in range(1, 31)]


class Page(HTMLParser):
    """Collects tags, attributes, the text outside scripts, and the scripts by id."""

    def __init__(self, page: str) -> None:
        """Parse one page."""
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.ids: list[str] = []
        self.scripts: dict[str, str] = {}
        self.text = ""
        self._open: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and its attributes."""
        self.tags.append(tag)
        self.attributes += attrs
        found = dict(attrs).get("id")
        if found:
            self.ids.append(found)
        if tag in ("script", "style"):
            self._open = found or tag

    def handle_endtag(self, tag: str) -> None:
        """Leave a script or a style."""
        if tag in ("script", "style"):
            self._open = None

    def handle_data(self, data: str) -> None:
        """Keep text by where it stands."""
        if self._open is None:
            self.text += data
        else:
            self.scripts[self._open] = self.scripts.get(self._open, "") + data


def series(*names: str) -> DateSeries:
    """Return noise with one gap for each name."""
    rng = np.random.default_rng(3)
    values = {name: rng.normal(size=len(DATES)) for name in names}
    values[names[0]][4:9] = np.nan
    return DateSeries(dates=DATES, values=values)


def example(model: str = "ridge", **changes: Any) -> ReportData:
    """Return a full report with missing numbers in every section."""
    nan = math.nan
    stack = ResultRow(name="stack", kind="stack", horizon=1, rank_ic=0.071, ci_low=0.064, ci_high=0.078)
    rows = [
        ResultRow(name="momentum", kind="floor", horizon=1, rank_ic=0.031, num_dates=600),
        ResultRow(name=model, kind="model", horizon=1, rank_ic=-0.02, t_stat=nan, below_floor=True),
        ResultRow(name="empty", kind="model", horizon=1, rank_ic=nan, ci_low=nan, ci_high=None),
        replace(stack, num_dates=600),
        replace(stack, horizon=5, rank_ic=None, ci_low=None),
    ]
    data = ReportData(
        title="Report",
        subtitle="synthetic",
        promoted=False,
        facts={"Seed": "7", model: model},
        gates=[
            Gate(name="beats floor", passed=True, value=0.04, threshold=0.0, rule="stack above floor"),
            Gate(name=model, passed=False, value=nan, threshold=None, rule=model),
        ],
        rows=rows,
        attained=[
            Attained(name="stack", horizon=1, rank_ic=0.071, attainable_rank_ic=0.096, ratio=0.74),
            Attained(name=model, horizon=5, rank_ic=nan, attainable_rank_ic=None, ratio=nan),
        ],
        ic_series={1: series(model, "stack", "attainable"), 5: series(model, "stack")},
        spread_series={5: series(model, "stack")},
        weights={1: WeightTable(folds=["a", "b"], models=[model, "z"], matrix=[[0.4, nan], [nan, nan]])},
        diversity={
            1: Diversity(names=[model, "z"], correlation=[[1, nan], [nan, 1]], redundant=[(model, "z")])
        },
        overfit=[
            Overfit(name=model, horizon=1, valid_rank_ic=0.1, test_rank_ic=0.0, gap=0.1, threshold=0.02),
            Overfit(name="z", horizon=1, valid_rank_ic=nan, test_rank_ic=nan, gap=nan, threshold=None),
        ],
        quality=[QualityRule(rule=model, description=model, action="drop", count=3, share=nan)],
    )
    return replace(data, **changes)


def specs(page: str) -> Any:
    """Return the chart data inside a page, refusing NaN and infinities."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in the chart data")

    return json.loads(Page(page).scripts["report-data"], parse_constant=refuse)


def test_opens_offline_with_the_library_once() -> None:
    html = build_report(example())
    page = Page(html)
    for name, value in page.attributes:
        assert name not in ("src", "srcset", "action", "data"), (name, value)
        if name == "href":
            assert re.fullmatch(r"#[a-z-]+", value or "")
            assert (value or "#")[1:] in page.ids
    assert not {"link", "iframe", "img", "object", "base"} & set(page.tags)
    assert not re.search(r"url\(|@import", page.scripts["style"])
    assert page.tags.count("script") == 3
    assert html.count('<script id="plotly-library">') == 1
    assert len(page.scripts["plotly-library"]) > 1_000_000
    assert {"chart-rank-ic", "chart-spread"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_library_is_left_out_without_charts() -> None:
    html = build_report(example(ic_series={}, spread_series={}))
    assert "plotly-library" not in html
    assert len(html) < 100_000


def test_hostile_names_are_text() -> None:
    html = build_report(example(HOSTILE, title=HOSTILE, subtitle=HOSTILE))
    assert HOSTILE not in html
    assert "alert('x')</" not in html
    page = Page(html)
    assert page.tags.count("script") == 3
    assert HOSTILE in page.text
    names = [line["name"] for spec in specs(html) for view in spec["views"] for line in view["lines"]]
    assert HOSTILE in names


def test_missing_numbers_are_dashes_and_null() -> None:
    html = build_report(example())
    page = Page(html)
    assert not re.search(r"\b(nan|none|inf|null)\b", page.text.lower().replace("redundant pairs: none", ""))
    assert "–" in page.text
    assert any(None in line["y"] for spec in specs(html) for view in spec["views"] for line in view["lines"])
    drawn = [value or "" for name, value in page.attributes if name in ("x1", "x2", "cx", "style")]
    assert not [value for value in drawn if "nan" in value]


def test_same_data_same_bytes() -> None:
    assert build_report(example()).encode() == build_report(example()).encode()


def test_verdict_texts() -> None:
    data = example()
    passed = [replace(gate, passed=True) for gate in data.gates]
    assert verdict_text(data) == "NOT promoted: 1 of 2 gates failed: ridge"
    assert 'class="verdict fail"' in build_report(data)
    good = replace(data, gates=passed, promoted=True)
    assert verdict_text(good) == "Promoted: every gate passed"
    assert 'class="verdict pass"' in build_report(good)
    assert "although 1 of 2" in verdict_text(replace(data, promoted=True))
    assert verdict_text(replace(data, gates=passed)).startswith("NOT promoted")
    assert verdict_text(replace(data, gates=())).startswith("NOT promoted")


def test_summary_is_told_from_the_data() -> None:
    text = summary_text(example())
    assert (
        "At horizon 1 the stack has a rank IC of +0.071 [0.064, 0.078] on 600 dates, attaining 74 % of what "
        "is attainable; the best single model (ridge) has −0.020 and the best floor (momentum) has +0.031."
    ) in text
    assert "At horizon 5 no forecast has a rank IC." in text
    assert summary_text(example(rows=(), gates=())) == "No forecast was scored."


def test_rows_are_ordered_and_marked() -> None:
    html = build_report(example())
    part = html[html.index('id="results"') : html.index("Horizon 5")]
    order = [part.index(f'<th scope="row">{name}') for name in ("stack", "ridge", "empty", "momentum")]
    assert order == sorted(order)
    assert part.count("below floor") == 1


@pytest.mark.parametrize("section", ["attained", "weights", "diversity", "overfit", "quality", "gates"])
def test_empty_section_is_absent(section: str) -> None:
    empty: Any = {} if section in ("weights", "diversity") else ()
    full, bare = Page(build_report(example())), Page(build_report(example(**{section: empty})))
    assert section in full.ids
    assert section not in bare.ids
    assert ("href", f"#{section}") not in bare.attributes


def test_bare_report_builds() -> None:
    html = build_report(ReportData(title="Empty", subtitle="", promoted=True))
    assert "Promoted" in html
    assert "<section" not in html


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one value for each of the 30 dates"):
        DateSeries(dates=DATES, values={"a": [1.0]})
    with pytest.raises(ValueError, match="weight matrix"):
        WeightTable(folds=["a"], models=["b", "c"], matrix=[[1.0]])
    with pytest.raises(ValueError, match="correlation matrix"):
        Diversity(names=["a"], correlation=[[1.0, 2.0]])


def test_chart_arithmetic() -> None:
    values = np.array([1.0, 3.0, np.nan, 5.0])
    np.testing.assert_allclose(rolling_mean(values, 2), [1.0, 2.0, 3.0, 5.0])
    np.testing.assert_allclose(rolling_mean(values, 4), [np.nan, 2.0, 2.0, 3.0])
    np.testing.assert_allclose(cumulative(values, 2), [0.5, 2.0, 2.0, 4.5])
    assert np.isnan(cumulative(np.full(3, np.nan), 1)).all()


def test_number_formats() -> None:
    assert [number(value, 2) for value in (0.5, -0.5, -0.001, None, math.inf)] == [
        "+0.50", "−0.50", "+0.00", "–", "–",
    ]  # fmt: skip
    assert [percent(value) for value in (0.741, None, math.nan)] == ["74.1 %", "–", "–"]


def test_plotly_is_imported_lazily() -> None:
    code = "import sys, factor_metrics.report; sys.exit('plotly' in sys.modules)"
    path = ":".join(entry for entry in sys.path if entry)
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": path}, check=False).returncode == 0
