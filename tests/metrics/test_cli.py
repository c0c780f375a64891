"""The command factor-metrics on what the stages write: table, marks, PNG, system figures, short errors."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factor_metrics import to_json_safe
from factor_metrics.cli import main
from factor_metrics.report.folder import read_results
from metrics.report_example import example

SCORES = {"rank_ic": 0.05, "ci_low": 0.03, "ci_high": 0.07, "t_stat": 4.0, "effective_dates": 250.0, "icir": 0.4,
          "ic": 0.04, "hit_rate": 0.6, "spread": 0.001, "turnover": 0.3, "num_dates": 40}  # fmt: skip


def floor(rank_ic: float | None, difference: float | None, low: float | None, status: str) -> dict[str, Any]:
    high = None if low is None else low + 0.02
    return {**SCORES, "rank_ic": rank_ic, "difference": difference, "difference_low": low, "difference_high": high,
            "model_is": status}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder as the stage evaluate writes it; the model is below its floor for h5."""
    folder = tmp_path / "evaluate" / "ridge"
    folder.mkdir(parents=True)
    metrics = {"h1": {**SCORES, "best_floor_rank_ic": 0.02}, "h5": {**SCORES, "best_floor_rank_ic": 0.06}}
    floors = {
        "h1": {"momentum": floor(0.02, 0.03, 0.01, "above"), "random": floor(None, None, None, "below")},
        "h5": {"momentum": floor(0.06, -0.01, -0.02, "below")},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "floors.json").write_text(json.dumps(floors))
    dates = pd.bdate_range("2020-01-01", periods=40)
    generator = np.random.default_rng(0)
    frames = [
        pd.DataFrame(
            {
                "timestamp": dates,
                "label": f"h{h}",
                "overlap": np.int16(h),
                "rank_ic": generator.normal(0.05, 0.1, 40),
                "spread": 0.001,
            }
        )
        for h in (1, 5)
    ]
    pd.concat(frames).to_parquet(folder / "ic.parquet", index=False)
    return folder


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A folder as the stage stack writes it."""
    folder, data = tmp_path / "stack", example()
    folder.mkdir()
    (folder / "comparison.json").write_text(json.dumps(to_json_safe(data.rows)))
    (folder / "floors.json").write_text(json.dumps(to_json_safe(data.floors)))
    (folder / "gates.json").write_text(json.dumps({"promoted": False, "gates": []}))
    return folder


def test_a_model_s_table_has_a_line_per_forecast_and_label_and_marks_it(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(model)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ridge"
    one, five = (line for line in lines if line.startswith("ridge "))
    table = [re.split(r"  +", line) for line in (one, five)]
    assert table[0] == [
        *("ridge", "h1", "+0.0500", "[+0.030, +0.070]", "+4.0", "250"),
        *("momentum", "+0.0200", "+0.0300", "[+0.010, +0.030]"),
    ]
    assert table[1][6:] == ["momentum", "+0.0600", "-0.0100", "[-0.020, +0.000]", "BELOW THE FLOOR"]
    assert [line.split()[:3] for line in lines if "random" in line] == [["floor:", "random", "h1"]]
    assert len(lines) == 3 + 5


def test_the_stack_s_table_ends_with_the_verdict(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(stack)]) == 0
    out = capsys.readouterr().out
    assert out.rstrip().endswith("NOT promoted: a gate failed.")
    (line,) = (line for line in out.splitlines() if line.startswith("ridge "))
    assert line.endswith("BELOW THE FLOOR")
    first = next(line for line in out.splitlines() if line.startswith("stack "))
    assert "+0.0710" in first
    assert "nan" not in out.lower()


def test_the_folder_above_shows_every_model(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = model.parent / "linear"
    other.mkdir()
    for name in ("metrics.json", "floors.json"):
        (other / name).write_text((model / name).read_text())
    assert [results.title for results in read_results(model.parent)] == ["linear", "ridge"]
    assert main(["report", str(model.parent), "--png", str(model / "all.png")]) == 2
    assert "name one of them" in capsys.readouterr().err


def test_a_png_is_drawn_and_is_the_same_twice(model: Path, stack: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is the extra 'png'")
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    assert main(["report", str(model), "--png", str(first)]) == 0
    assert main(["report", str(model), "--png", str(second)]) == 0
    assert first.read_bytes() == second.read_bytes()
    assert main(["report", str(stack), "--png", str(second)]) == 0
    for path, num_rows in ((first, 3), (second, 1)):
        header = path.read_bytes()[:24]
        assert header[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", header[16:])
        assert width == round(2 * 4.6 * 110)
        assert height == round(num_rows * 3.4 * 110)


def test_a_missing_matplotlib_is_named_with_its_extra(model: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\nfrom factor_metrics.cli import main\n"
        f"sys.exit(main(['report', {str(model)!r}, '--png', 'a.png']))"
    )
    path = ":".join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install 'factor-metrics[png]'" in done.stderr


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metrics.json", "{", "metrics.json: is not JSON"),
        ("floors.json", "{}", "not what the stage evaluate writes"),
        ("metrics.json", '{"x": {}}', "not what the stage evaluate writes"),
    ],
)
def test_a_wrong_file_is_named(
    model: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, message: str
) -> None:
    (model / name).write_text(text)
    assert main(["report", str(model)]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_results_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "holds no results" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "absent")]) == 2


def test_a_picture_must_be_a_png(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(model), "--png", "a.jpg"]) == 2
    assert "must be named *.png" in capsys.readouterr().err


def test_system_prints_or_records_one_line_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["system"]) == 0
    assert json.loads(capsys.readouterr().out)["memory"]["total"] > 0
    assert main(["system", "--record", str(tmp_path / "a.jsonl")]) == 0
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 1
    assert main(["system", "--every", "0"]) == 2
    assert "--every must be above 0" in capsys.readouterr().err
