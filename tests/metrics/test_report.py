"""The HTML report: offline, escaped, free of NaN, honest, and the same bytes for the same data."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from factor_metrics.report import DateSeries, Diversity, ReportData, WeightTable, build_report
from factor_metrics.report.text import interval, number, percent, plain
from factor_metrics.report.words import summary_text, verdict
from metrics.report_example import DATES, example

HOSTILE = "<script>alert('x')</script>"


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


def values_in(page: str) -> Any:
    """Return the chart values inside a page, refusing NaN and infinities."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in the chart data")

    return json.loads(Page(page).scripts["report-data"], parse_constant=refuse)


def test_opens_offline_and_stays_light() -> None:
    html = build_report(example())
    page = Page(html)
    for name, value in page.attributes:
        assert name not in ("src", "srcset", "action", "data"), (name, value)
        if name == "href":
            assert re.fullmatch(r"#[a-z-]+", value or "")
            assert (value or "#")[1:] in page.ids
    assert not {"link", "iframe", "img", "object", "base"} & set(page.tags)
    assert not re.search(r"url\(|@import", page.scripts["style"])
    assert not re.search(r"https?:", html)
    assert page.tags.count("script") == 2
    assert len(page.ids) == len(set(page.ids))
    assert len(html) < 200_000


def test_every_chart_has_its_values_and_every_value_its_chart() -> None:
    html = build_report(example())
    page, values = Page(html), values_in(html)
    drawn = {key for key in page.ids if key.startswith("chart-")}
    assert drawn == set(values["charts"])
    kinds = {re.sub(r"-h\d+$", "", key) for key in drawn}
    assert kinds == {
        "chart-rank-ic", "chart-decay-label", "chart-decay-delay", "chart-quantiles", "chart-spread",
        "chart-drawdown", "chart-turnover", "chart-autocorrelation", "chart-calibration", "chart-book",
        "chart-exposure", "chart-neutral", "chart-neutral-decay", "chart-importance",
        "chart-training-loss", "chart-by-size",
        "chart-by-volatility", "chart-by-regime", "chart-by-weekday",
        "chart-by-month", "chart-by-quantile", "chart-histogram", "chart-normal",
    }  # fmt: skip
    for chart in values["charts"].values():
        names = values["names"][chart["names"]]
        assert chart["x"] is None or len(chart["x"]) == len(names)
        assert {len(line["values"]) for line in chart["lines"]} == {len(names)}
    assert values["names"].count(DATES) == 1


def test_charts_are_drawn_without_the_script() -> None:
    page = Page(build_report(example()))
    paths = [value or "" for name, value in page.attributes if name == "d"]
    assert len(paths) > 60
    assert all(re.fullmatch(r"[MLHVlhZ0-9.e+ -]*", path) for path in paths)
    assert sum(len(path) > 200 for path in paths) >= 8
    assert "hidden" not in [name for name, _ in page.attributes if name == "data-label"]


def test_hostile_names_are_text() -> None:
    data = example(HOSTILE, title=HOSTILE, subtitle=HOSTILE)
    series = {**data.ic_series, HOSTILE: data.ic_series["h5"]}
    rows = [*data.rows, replace(data.rows[0], label=HOSTILE)]
    html = build_report(replace(data, ic_series=series, rows=rows))
    assert HOSTILE not in html
    assert "alert('x')</" not in html
    page = Page(html)
    assert page.tags.count("script") == 2
    assert HOSTILE in page.text
    names = [line["name"] for chart in values_in(html)["charts"].values() for line in chart["lines"]]
    assert HOSTILE in names


def test_missing_numbers_are_dashes_and_null() -> None:
    html = build_report(example())
    page = Page(html)
    assert not re.search(r"\b(nan|none|inf|null)\b", page.text.lower().replace("redundant pairs: none", ""))
    assert "–" in page.text
    lines = [line for chart in values_in(html)["charts"].values() for line in chart["lines"]]
    assert any(None in line["values"] for line in lines)
    drawn = [value or "" for name, value in page.attributes if name in ("x1", "x2", "cx", "style", "d")]
    assert not [value for value in drawn if "nan" in value]


def test_same_data_same_bytes() -> None:
    assert build_report(example()).encode() == build_report(example()).encode()


def test_verdict_of_a_stack_is_that_of_its_gates() -> None:
    data = example()
    passed = [replace(gate, passed=True) for gate in data.gates]
    assert verdict(data) == ("fail", "NOT promoted: 1 of 2 gates failed: ridge")
    assert 'class="verdict fail"' in build_report(data)
    good = replace(data, gates=passed, promoted=True)
    assert verdict(good) == ("pass", "Promoted: every gate passed")
    assert 'class="verdict pass"' in build_report(good)
    tone, text = verdict(replace(data, promoted=True))
    assert tone == "warn"
    assert "although 1 of 2" in text
    assert verdict(replace(data, gates=passed))[1].startswith("NOT promoted")
    assert verdict(replace(data, gates=()))[1].startswith("NOT promoted")


def test_verdict_of_a_model_is_told_from_its_floors() -> None:
    data = example(promoted=None, subject="ridge")
    above, unproven, below, _ = (replace(row, name="ridge") for row in data.floors)
    assert verdict(replace(data, floors=[above])) == ("pass", "ridge is above every floor for every label")
    assert verdict(replace(data, floors=[above, unproven])) == (
        "warn",
        "ridge is not proven to be above a floor for h1",
    )
    both = [unproven, below, replace(below, label="h5")]
    assert verdict(replace(data, floors=both)) == ("fail", "ridge is below a floor for h1 and h5")
    three = [*both, replace(below, label="h20")]
    assert verdict(replace(data, floors=three))[1] == "ridge is below a floor for h1, h5 and h20"
    assert verdict(replace(data, floors=())) == ("warn", "ridge was held against no floor")


def test_a_forecast_whose_difference_is_unknown_counts_as_below_its_floor() -> None:
    row = example().floors[0]
    assert row.status == "above"
    assert replace(row, low=0.0).status == "unproven"
    assert replace(row, low=None).status == "unproven"
    assert replace(row, difference=0.0, low=0.01).status == "below"
    assert replace(row, difference=math.nan).status == "below"
    assert replace(row, difference=None).status == "below"


def test_floors_are_marked_one_label_at_a_time() -> None:
    html = build_report(example())
    part = html[html.index('<section id="floors"') : html.index('<section id="attained"')]
    first, second = part.split('data-label="h5"')
    assert [first.count(text) for text in ("above</span>", "unproven</span>", "below floor</span>")] == [
        1,
        1,
        1,
    ]
    assert second.count("below floor</span>") == 1


def test_summary_is_told_from_the_data() -> None:
    text = summary_text(example())
    assert (
        "On h1 the stack has a rank IC of +0.071 [0.064, 0.078] on 600 dates, attaining 74 % of what "
        "is attainable; the best single model (ridge) has −0.020 and the best floor (momentum) has +0.031."
    ) in text
    assert "On h5 no forecast has a rank IC." in text
    assert summary_text(example(rows=(), gates=())) == "No forecast was scored."


def test_gates_count_what_was_met_missed_and_not_measured() -> None:
    text = Page(build_report(example())).text
    assert "1 of 2 targets met, 1 missed, of these 1 because nothing could be measured." in text


def test_rows_are_ordered_and_marked() -> None:
    html = build_report(example())
    part = html[html.index('id="results"') : html.index("Label h5")]
    order = [part.index(f'<th scope="row">{name}') for name in ("stack", "ridge", "empty", "momentum")]
    assert order == sorted(order)
    assert part.count("below floor") == 1


def test_universe_and_lost_rows_are_stated() -> None:
    text = Page(build_report(example())).text
    assert "all that ridge knows" in text
    assert "conditional on survival to the exit" in text
    assert "5 (6.2 %)" in text  # without a price, of the 80 in the universe
    assert "20 (20.0 %)" in text  # outside the universe, of the 100 bars


def test_the_fold_picture_goes_in_as_it_is() -> None:
    data = example()
    assert data.fold_picture in build_report(data)
    assert '<section id="folds"' not in build_report(replace(data, fold_picture=""))


@pytest.mark.parametrize(
    "section",
    [
        "attained",
        "floors",
        "weights",
        "diversity",
        "overfit",
        "quality",
        "gates",
        "profiles",
        "turnover_series",
    ],
)
def test_empty_section_is_absent(section: str) -> None:
    empty: Any = () if section in ("attained", "floors", "overfit", "quality", "gates") else {}
    heading = {"profiles": "calibration", "turnover_series": "turnover"}.get(section, section)
    full, bare = Page(build_report(example())), Page(build_report(example(**{section: empty})))
    assert heading in full.ids
    assert heading not in bare.ids
    assert ("href", f"#{heading}") not in bare.attributes


def test_bare_report_builds() -> None:
    html = build_report(ReportData(title="Empty", subtitle="", promoted=True))
    assert "Promoted" in html
    assert "<section" not in html


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one value for each of the 84 dates"):
        DateSeries(dates=DATES, values={"a": [1.0]})
    with pytest.raises(ValueError, match="weight matrix"):
        WeightTable(folds=["a"], models=["b", "c"], matrix=[[1.0]])
    with pytest.raises(ValueError, match="correlation matrix"):
        Diversity(names=["a"], correlation=[[1.0, 2.0]])


def test_diversity_shows_what_each_model_adds_and_what_is_alike() -> None:
    text = build_report(example(model="gru"))
    section = text[text.index('<section id="diversity">') :]
    section = section[: section.index("</section>")]
    assert section.index(">gru</th>") < section.index(">z</th>"), "the one that adds most comes first"
    for words in ("[−0.010, +0.030]", "70.0 %", "As diverse as</b> 1.2 uncorrelated models of 2", "Groups:</b> gru, z"):
        assert words in section
    assert "Pruned:</b> z in fold 1: like gru" in section


def test_number_formats() -> None:
    assert [number(value, 2) for value in (0.5, -0.5, -0.001, None, math.inf)] == [
        "+0.50", "−0.50", "+0.00", "–", "–",
    ]  # fmt: skip
    assert [percent(value) for value in (0.741, None, math.nan)] == ["74.1 %", "–", "–"]
    assert [plain(value) for value in (0.123456, 12345.6, -2.0, np.nan)] == ["0.1235", "12,346", "−2", "–"]
    assert [interval(-0.1, 0.2), interval(None, math.nan)] == ["[−0.100, +0.200]", "–"]
