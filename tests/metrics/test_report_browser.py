"""The report in a real browser: no error, charts drawn, values under the pointer, light, dark and narrow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from browser_samples import open_page, seen_on, with_browser
from factor_metrics.report import build_report
from metrics.report_example import example

pytestmark = with_browser

# Before the page's own script: notes every error. After it: uses the page and leaves what it saw in the DOM.
LISTEN = """<script>var seen={errors:[]};
window.addEventListener("error",function(e){seen.errors.push(String(e.message))});
["error","warn"].forEach(function(k){console[k]=function(){seen.errors.push([].join.call(arguments," "))}});
</script>"""
USE = """<script>window.addEventListener("load",function(){
var all=function(s){return Array.prototype.slice.call(document.querySelectorAll(s))};
var plot=document.getElementById("chart-rank-ic-h1"),box=plot.getBoundingClientRect();
plot.dispatchEvent(new PointerEvent("pointermove",{clientX:box.left+box.width/2,clientY:box.top+9}));
seen.tip=plot.querySelector(".tip").innerText;
plot.dispatchEvent(new KeyboardEvent("keydown",{key:"ArrowRight"}));
seen.next=plot.querySelector(".tip").innerText;
plot.dispatchEvent(new PointerEvent("pointerleave"));seen.tips=all(".tip").length;
var button=document.querySelector(".legend button");button.click();
seen.hidden=all(".plot path.off").length;button.click();seen.back=all(".plot path.off").length;
var shown=function(){return all("[data-label]").filter(function(v){return !v.hidden})
.map(function(v){return v.dataset.label})};
seen.first=shown();all(".labels button")[1].click();seen.second=shown();
seen.drawn=all(".plot path").filter(function(p){return p.getTotalLength()>0}).length;
seen.strokes=all(".plot .line").map(function(p){return getComputedStyle(p).stroke});
seen.paper=getComputedStyle(document.body).backgroundColor;seen.ink=getComputedStyle(document.body).color;
seen.overflow=document.documentElement.scrollWidth-window.innerWidth;
var note=document.createElement("pre");note.id="seen";note.textContent=JSON.stringify(seen);
document.body.appendChild(note);
});</script>"""


def browse(folder: Path, *flags: str) -> dict[str, Any]:
    """Open the example in a fresh browser; return what the page and its user saw."""
    page = build_report(example()).replace("<body", f"{LISTEN}<body", 1).replace("</body>", f"{USE}</body>")
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return seen_on(path, folder / "profile", "--hide-scrollbars", *flags)


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return browse(tmp_path_factory.mktemp("light"), "--window-size=1200,900", "--blink-settings=preferredColorScheme=1")


def test_no_error_and_every_chart_is_drawn(light: dict[str, Any]) -> None:
    assert light["errors"] == []
    assert light["drawn"] > 60
    assert "none" not in light["strokes"]


def test_values_appear_under_the_pointer_and_by_arrow_keys(light: dict[str, Any]) -> None:
    first, second = light["tip"].splitlines()[0], light["next"].splitlines()[0]
    assert re.fullmatch(r"2020-0\d-\d\d", first)
    assert first < second
    assert "stack" in light["tip"]
    assert light["tips"] == 0


def test_a_legend_hides_a_line_and_shows_it_again(light: dict[str, Any]) -> None:
    assert (light["hidden"], light["back"]) == (1, 0)


def test_the_switch_shows_one_label_in_every_section(light: dict[str, Any]) -> None:
    assert set(light["first"]) == {"h1"}
    assert set(light["second"]) == {"h5"}


def test_a_dark_screen_gets_a_dark_page_and_a_narrow_one_no_sideways_scrolling(
    light: dict[str, Any], tmp_path: Path
) -> None:
    dark = browse(tmp_path, "--window-size=500,900", "--blink-settings=preferredColorScheme=0")
    assert dark["errors"] == []
    assert brightness(light["paper"]) > 240 > 60 > brightness(dark["paper"])
    assert brightness(light["ink"]) < 60 < 200 < brightness(dark["ink"])
    assert light["overflow"] <= 0
    assert dark["overflow"] <= 0


def test_it_prints(tmp_path: Path) -> None:
    page, printed = tmp_path / "report.html", tmp_path / "report.pdf"
    page.write_text(build_report(example()), encoding="utf-8")
    open_page(page, tmp_path / "profile", "--no-pdf-header-footer", f"--print-to-pdf={printed}")
    pages = len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes()))
    assert 3 <= pages <= 12


def brightness(color: str) -> float:
    """Mean of the channels of rgb(r, g, b)."""
    channels = [float(part) for part in re.findall(r"[\d.]+", color)[:3]]
    return sum(channels) / 3
