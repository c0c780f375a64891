"""Every file is written whole: by `whole_file`, or into a folder that takes its place whole."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import factor_data.whole_file
import factor_metrics.whole_file
import factor_models.whole_file
from stages import ROOT

WRITES = {"write_text", "write_bytes", "savefig", "to_csv", "to_parquet", "print_png", "save", "savez"}
FOLDER = "into a folder that takes its place whole"
APPENDS = "lines are appended"
OPENED = "into a file that `whole_file` has opened"
# module -> why it may write by itself
BY_ITSELF = {
    "factor_data/exporting.py": FOLDER,
    "factor_data/simulate/files.py": FOLDER,
    "factor_data/panel/array_file.py": FOLDER,
    "factor_data/panel/panel_writer.py": OPENED,
    "factor_data/news/vectors.py": OPENED,
    "factor_data/news/encoder.py": OPENED,
    "factor_data/news/factors/extract.py": APPENDS,
    "factor_metrics/system.py": APPENDS,
    "factor_models/training/optimizers.py": "a lock",
    "factor_serve/saved_state.py": OPENED,
    "factor_serve/export/bundle.py": FOLDER,
    "factor_serve/export/networks.py": "to /dev/null",
    "factor_serve/http/shared_weights.py": "under a lock, by one name, in a folder of the server",
    "factor_serve/bundle.py": "into a temporary folder of the process",
    "factor_serve/shadow/log.py": APPENDS,
    "factor_experiments/sweep_run.py": "what a trial prints",
    "stages/sample.py": FOLDER,
    "stages/split.py": FOLDER,
    "stages/evaluate.py": FOLDER,
    "stages/report.py": FOLDER,
    "stages/report_stack.py": FOLDER,
    "stages/judging/tables.py": FOLDER,
    "stages/judging/canary.py": FOLDER,
    "stages/judging/kept.py": "into memory, of which whole_file makes a file",
    "stages/judging/bundle.py": FOLDER,
    "stages/kline/tokenizer.py": FOLDER,
    "stages/kline/predictor.py": FOLDER,
    "stages/fitting/tabular.py": FOLDER,
    "stages/fitting/network.py": FOLDER,
    "stages/running/files.py": "an empty file that says whether a folder can be written",
    "stages/running/lock.py": "a lock",
    "stages/processes/launch.py": "what a process prints",
    "stages/commands/lock.py": "into a temporary folder of the process",
}


def writes_by_itself(path: Path) -> list[int]:
    """Lines that write a file without `whole_file`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        name, owner = node.func.attr, getattr(node.func.value, "id", "")
        modes = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        opens = name == "open" and any(set(mode) & set("wax") and len(mode) < 4 for mode in modes)
        writes = name in WRITES and (name not in ("save", "savez") or owner == "np")
        if opens or writes:
            found.append(node.lineno)
    return found


def modules() -> dict[str, Path]:
    packages = {path.relative_to(root): path for root in ROOT.glob("packages/*/src") for path in root.rglob("*.py")}
    stages = {path.relative_to(ROOT): path for path in (ROOT / "stages").rglob("*.py")}
    return {str(name): path for name, path in (packages | stages).items() if path.name != "whole_file.py"}


def test_whoever_writes_without_whole_file_is_listed_with_its_reason() -> None:
    found = {name: lines for name, path in modules().items() if (lines := writes_by_itself(path))}
    assert {name: lines for name, lines in found.items() if name not in BY_ITSELF} == {}
    assert set(BY_ITSELF) <= set(found), "no longer needed"


@pytest.mark.parametrize("module", [factor_data.whole_file, factor_metrics.whole_file, factor_models.whole_file])
def test_what_a_dead_process_left_goes_with_the_next_write(module: object, tmp_path: Path) -> None:
    target = tmp_path / "report[1].html"
    (tmp_path / ".report[1].html.999999.tmp").write_text("half")
    (tmp_path / ".report2.html.999999.tmp").write_text("of another file")
    module.write_bytes(target, b"whole")  # type: ignore[attr-defined]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".report2.html.999999.tmp", "report[1].html"]
    assert target.read_bytes() == b"whole"
