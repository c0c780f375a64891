"""report_stack: the page of the stack, drawn from numbers that are there."""

from __future__ import annotations

from factor_metrics.report import build_report
from stages.drawing.stack_page import stack_page
from stages.judging.pages import StackPage
from stages.records import read_record
from stages.running.files import RESULTS, stage_output, stored
from stages.running.planned import check_loaded, read_plan
from stages.running.stage import run


def main() -> None:
    """Run the stage `report_stack`."""
    plan = read_plan("report_stack")
    page = read_record(stored("stack", "page.json"), StackPage)
    with stage_output("report/stack") as folder:
        data = stack_page(page, plan, RESULTS / "split")
        (folder / "report.html").write_text(build_report(data), encoding="utf-8")
        check_loaded(plan)


if __name__ == "__main__":
    run("report_stack", main)
