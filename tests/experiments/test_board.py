from __future__ import annotations

import json
import re
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from browser_samples import seen_on, with_browser
from experiments_samples import Fabricated, draws, make_repository, table
from factor_experiments.board import LOOPBACK, board_server
from factor_experiments.cli import main
from factor_experiments.layout import plan_path
from factor_metrics import mean_test

USE = """<script>window.addEventListener("load",function(){
var all=function(s){return Array.prototype.slice.call(document.querySelectorAll(s))},seen={};
all("#board input").slice(0,2).forEach(function(one){one.click()});
seen.said=document.getElementById("board-said").textContent;
seen.lines=all("#board-plot path").length;
var find=document.getElementById("board-find");find.value="alpha 7";find.dispatchEvent(new Event("input"));
seen.found=all("#board tbody tr").filter(function(r){return !r.hidden}).map(function(r){return r.dataset.name});
seen.scores=all("#board tbody tr")[0].textContent;
var note=document.createElement("pre");note.id="seen";note.textContent=JSON.stringify(seen);
document.body.appendChild(note);
});</script>"""


def put_report(made: Fabricated, text: str) -> None:
    """A report as DVC keeps it: in the folder of its stage."""
    listing = [{"md5": made.cache(text.encode()), "relpath": "report.html"}]
    digest = made.cache(json.dumps(listing).encode(), ".dir")
    with (made.path / "dvc.lock").open("a") as file:
        file.write("  report@linear:\n    cmd: python\n    outs:\n")
        file.write(f"    - path: results/report/linear\n      md5: {digest}\n")


@pytest.fixture
def made(tmp_path: Path) -> Fabricated:
    made = make_repository(tmp_path / "here")
    for alpha, values in zip((1, 1, 7), draws(3, mean=0.01), strict=True):
        params = f"zoo:\n  linear:\n    alpha: {alpha}\n"
        made.results({"linear": table({"h5": values}, overlaps={"h5": 5})}, params=params)
        if alpha == 7:
            put_report(made, "<!DOCTYPE html><p>a report</p>")
        made.commit("a trial")
    return made


def test_the_site_has_the_list_the_verdict_reports_and_sweeps(
    made: Fabricated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweeps" / "alpha").mkdir(parents=True)
    (tmp_path / "sweeps" / "alpha" / "page.html").write_text("a sweep")
    out = tmp_path / "board"
    arguments = ["-C", str(made.path), "board", str(out), "--sweeps", str(tmp_path / "sweeps")]
    assert main(arguments) == 0
    assert "3 evaluations, 1 reports" in capsys.readouterr().out
    text = (out / "index.html").read_text()
    assert text.count('<tr data-trial="') == 3
    (report,) = re.findall(r'href="(reports/[0-9a-f]+\.html)"', text)
    assert (out / report).read_text().endswith("<p>a report</p>")
    assert 'href="trials.html"' in text
    assert (out / "sweeps" / "alpha.html").read_text() == "a sweep"
    assert "zoo.linear.alpha 7" in text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)
    assert main(arguments) == 0
    assert (out / "index.html").read_text() == text, "the same trials give the same bytes"


def test_a_model_that_was_taken_out_of_models_is_shown_where_it_was_and_not_as_now(
    made: Fabricated, tmp_path: Path
) -> None:
    """DVC leaves the stages of such a model in dvc.lock; the plan takes its own file away."""
    series = draws(2, mean=0.02, seed=1)
    made.results({name: table({"h5": one}) for name, one in zip(("linear", "ridge"), series, strict=True)})
    commit = made.commit("two models")

    def shown() -> dict[str, bool]:
        assert main(["-C", str(made.path), "board", str(tmp_path / "board")]) == 0
        heads = re.findall('<th scope="row">(.*?)</th>', (tmp_path / "board" / "index.html").read_text())
        return {head.partition(" <span")[0]: ">now<" in head for head in heads if commit[:9] in head or "main" in head}

    assert shown() == {"linear @ main": True, "ridge @ main": True}
    (made.path / plan_path("ridge")).unlink()
    made.commit("one model")
    assert shown() == {f"linear @ {commit[:9]}": True, f"ridge @ {commit[:9]}": False}


def test_without_a_trial_nothing_is_built_and_without_a_verdict_it_says_why(tmp_path: Path) -> None:
    made = make_repository(tmp_path / "here")
    made.commit("nothing")
    assert main(["-C", str(made.path), "board", str(tmp_path / "board")]) == 2
    made.results({"linear": table({"h1": np.full(50, 0.1)})})
    made.commit("constant")
    assert main(["-C", str(made.path), "board", str(tmp_path / "board")]) == 0
    text = (tmp_path / "board" / "index.html").read_text()
    assert "No verdict over all trials: the rank IC of h1 does not vary" in text
    assert not (tmp_path / "board" / "trials.html").exists()


def test_a_folder_that_holds_anything_else_is_left_alone(made: Fabricated, capsys: pytest.CaptureFixture[str]) -> None:
    mine = made.path / "sweeps" / "mine.yaml"
    mine.parent.mkdir()
    mine.write_text("model: linear")
    assert main(["-C", str(made.path), "board", str(made.path)]) == 2
    assert "which no board has: name a folder of its own" in capsys.readouterr().err
    assert mine.read_text() == "model: linear"


def test_it_is_served_on_loopback_alone(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("here")
    with board_server(tmp_path, 0) as server:
        assert server.server_address[0] == LOOPBACK
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{server.server_port}/") as answer:
                assert answer.read() == b"here"
        finally:
            server.shutdown()
            thread.join()


@with_browser
def test_two_rows_are_compared_as_factor_metrics_does(made: Fabricated, tmp_path: Path) -> None:
    out = tmp_path / "board"
    assert main(["-C", str(made.path), "board", str(out)]) == 0
    page = out / "index.html"
    page.write_text(page.read_text().replace("</body>", f"{USE}</body>"))
    seen = seen_on(page, tmp_path / "profile")
    series = draws(3, mean=0.01)
    test = mean_test(series[1] - series[2], 5)  # newest first: A is the third
    low, high = test.interval()
    said = seen["said"].replace("−", "-")
    expected = f"{test.mean:+.4f} [{low:+.4f}, {high:+.4f}], p {test.p_value:.3f}, 400 dates"
    assert expected in said, said
    assert seen["lines"] == 2
    assert seen["found"] == ["linear"]
    assert f"{series[2].mean():+.4f}".replace("-", "−") in seen["scores"]
