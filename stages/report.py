"""report: the page and the card of a model, drawn from numbers that are there. `python -m stages.report lstm`."""

from __future__ import annotations

import sys

from factor_metrics.report import build_report, evaluated_card
from stages.drawing.model_page import model_page
from stages.judging.pages import ModelPage
from stages.records import read_record
from stages.running.files import RESULTS, stage_output, stored
from stages.running.planned import check_loaded, read_plan
from stages.running.stage import StageError, run


def main() -> None:
    """Run the stage `report` of one model."""
    if len(sys.argv) != 2:
        raise StageError("say which model: python -m stages.report <model>")
    name = sys.argv[1]
    plan = read_plan("report", name)
    page = read_record(stored(f"evaluate/{name}", "page.json"), ModelPage)
    folds = sorted(stored(f"train/{name}", "folds").glob("fold_*"))
    with stage_output(f"report/{name}") as folder:
        data = model_page(page, plan, RESULTS / "split", stored(f"train/{name}", "live"))
        (folder / "report.html").write_text(build_report(data), encoding="utf-8")
        own = (folds[-1] / "model_card.md").read_text(encoding="utf-8")
        card = evaluated_card(own, len(folds), page.subjects, page.metrics, page.floors)
        (folder / "model_card.md").write_text(card, encoding="utf-8")
        check_loaded(plan)


if __name__ == "__main__":
    run("report", main)
