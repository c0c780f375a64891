"""The live reporter: per date, bounded, on schedule, valid JSON; and the figures of the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from factor_metrics import LiveICReporter, record_system_figures, system_figures
from factor_metrics.system import gpu_figures, parse_gpus


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def strict_json(path: Path) -> Any:
    """Read JSON that holds no NaN or Infinity token."""

    def refuse(token: str) -> None:
        raise AssertionError(f"{token} in {path}")

    return json.loads(path.read_text(), parse_constant=refuse)


def batch(dates: range, seed: int = 0, strength: float = 1.0, num_symbols: int = 30) -> tuple[Any, Any, Any]:
    generator = np.random.default_rng(seed)
    codes = np.repeat(np.array(dates), num_symbols)
    label = generator.normal(size=(len(codes), 2))
    prediction = strength * label + generator.normal(size=label.shape)
    return codes, prediction, label


def make(folder: Path, **changes: Any) -> LiveICReporter:
    return LiveICReporter(folder, ("h1", "h5"), **{"horizons": (1, 5), "clock": Clock(), **changes})


def test_scores_are_per_date_and_never_pooled(tmp_path: Path) -> None:
    reporter = make(tmp_path)
    codes, prediction, label = batch(range(25))
    label += 100.0 * (codes % 2)[:, None]  # the market: pooled, it hides the forecast altogether
    reporter.add("out_of_sample", codes, prediction, label)
    found = reporter.report_now()["targets"]["h5"]["out_of_sample"]
    per_date = [spearmanr(prediction[codes == c, 1], label[codes == c, 1]).statistic for c in range(25)]
    assert found["rank_ic"] == pytest.approx(np.mean(per_date), abs=1e-12)
    assert found["rank_ic_low"] < found["rank_ic"] < found["rank_ic_high"]
    assert found["mse"] == pytest.approx(((prediction - label)[:, 1] ** 2).mean())
    assert found["mae"] == pytest.approx(np.abs(prediction - label)[:, 1].mean())
    assert (found["num_samples"], found["num_dates"]) == (750, 25)


def test_the_order_of_rows_and_batches_does_not_matter(tmp_path: Path) -> None:
    codes, prediction, label = batch(range(30))
    mixed = np.random.default_rng(5).permutation(len(codes))
    whole, parts = make(tmp_path / "a"), make(tmp_path / "b")
    whole.add("in_sample", codes[mixed], prediction[mixed], label[mixed])
    for dates in (range(20, 30), range(20)):
        rows = np.isin(codes, np.array(dates))
        parts.add("in_sample", codes[rows], prediction[rows], label[rows])
    first, second = (r.report_now()["targets"]["h1"]["in_sample"] for r in (whole, parts))
    assert first == pytest.approx(second)


def test_only_the_last_dates_are_kept_and_a_date_that_comes_again_is_replaced(tmp_path: Path) -> None:
    reporter = make(tmp_path, max_dates=5)
    for start in range(0, 50, 5):
        reporter.add("in_sample", *batch(range(start, start + 5), seed=start))
    assert list(reporter.dates["in_sample"]) == [45, 46, 47, 48, 49]
    reporter.add("in_sample", *batch(range(45, 46), seed=99, strength=0.0))
    assert list(reporter.dates["in_sample"]) == [46, 47, 48, 49, 45]
    reporter.add("in_sample", *batch(range(60, 61)))
    assert list(reporter.dates["in_sample"]) == [47, 48, 49, 45, 60]
    assert reporter.report_now()["targets"]["h1"]["in_sample"]["num_samples"] == 150


def test_what_is_undefined_is_null_and_never_zero(tmp_path: Path) -> None:
    reporter = make(tmp_path)
    codes, prediction, label = batch(range(10))
    prediction[:, 0] = 1.0
    label[codes > 2, 1] = np.nan
    reporter.add("out_of_sample", codes, prediction, label)
    reporter.report_now()
    targets = strict_json(tmp_path / "latest.json")["targets"]
    constant, short, absent = (
        targets["h1"]["out_of_sample"],
        targets["h5"]["out_of_sample"],
        targets["h1"]["in_sample"],
    )
    assert (constant["rank_ic"], constant["ic"], constant["num_dates"]) == (None, None, 0)
    assert (short["num_dates"], short["num_samples"]) == (3, 90)
    assert (absent["rank_ic"], absent["mse"], absent["num_samples"]) == (None, None, 0)
    assert (targets["h1"]["degradation"], targets["h1"]["overfitting_risk"]) == (None, "unknown")


def test_float32_forecasts_that_differ_in_their_last_bits_have_no_score(tmp_path: Path) -> None:
    codes, _, label = batch(range(20))
    bits = np.random.default_rng(1).integers(0, 4, label.shape)
    prediction = (0.1 * (1.0 + bits * float(np.finfo(np.float32).eps))).astype(np.float32)
    reporter = make(tmp_path)
    reporter.add("out_of_sample", codes, prediction, label.astype(np.float32))
    found = reporter.report_now()["targets"]["h1"]["out_of_sample"]
    assert (found["ic"], found["rank_ic"]) == (None, None)
    assert found["mse"] == pytest.approx(np.square(prediction[:, 0] - label[:, 0]).mean())


def test_a_report_before_any_batch_is_valid(tmp_path: Path) -> None:
    make(tmp_path).report_now()
    assert strict_json(tmp_path / "latest.json")["targets"]["h5"]["in_sample"]["num_dates"] == 0


@pytest.mark.parametrize(("strength", "risk"), [(0.0, "high"), (3.0, "low")])
def test_the_risk_is_high_where_more_than_the_threshold_is_lost(tmp_path: Path, strength: float, risk: str) -> None:
    reporter = make(tmp_path)
    reporter.add("in_sample", *batch(range(40), strength=3.0))
    reporter.add("out_of_sample", *batch(range(50, 90), seed=1, strength=strength))
    found = reporter.report_now()["targets"]["h1"]
    inside, outside = found["in_sample"]["rank_ic"], found["out_of_sample"]["rank_ic"]
    assert found["degradation"] == pytest.approx(inside - outside)
    assert found["retention"] == pytest.approx(outside / inside)
    assert found["overfitting_risk"] == risk


def test_steps_are_reported_on_schedule(tmp_path: Path) -> None:
    reporter = make(tmp_path, every_steps=10)
    due = [step for step in range(1, 36) if reporter.step() is not None]
    assert due == [10, 20, 30]
    assert strict_json(tmp_path / "latest.json")["reason"] == "steps"
    assert reporter.step(25) is not None


def test_minutes_are_reported_on_schedule_and_a_report_on_demand_starts_them_anew(tmp_path: Path) -> None:
    clock = Clock()
    reporter = make(tmp_path, every_minutes=30, clock=clock)
    times = []
    for minute in range(1, 121):
        clock.now += 60
        if minute == 70:
            reporter.report_now()
        if reporter.step() is not None:
            times.append(minute)
    assert times == [30, 60, 100]
    history = strict_json(tmp_path / "history.json")
    assert [report["reason"] for report in history] == ["minutes", "minutes", "demand", "minutes"]
    assert [report["minutes"] for report in history] == [30, 60, 70, 100]
    assert history[0]["time"] == "2023-11-14T22:43:20Z"


def test_without_a_schedule_only_demand_reports(tmp_path: Path) -> None:
    reporter = make(tmp_path)
    assert all(reporter.step() is None for _ in range(1000))
    assert not list(tmp_path.iterdir())


def test_history_is_bounded_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    first = make(tmp_path, max_history=3)
    for _ in range(5):
        first.step()
        first.report_now()
    second = make(tmp_path, max_history=3)
    second.report_now()
    history = strict_json(tmp_path / "history.json")
    assert [report["step"] for report in history] == [4, 5, 0]
    assert history[-1] == strict_json(tmp_path / "latest.json")
    assert {path.name for path in tmp_path.iterdir()} == {"latest.json", "history.json"}


@pytest.mark.parametrize("text", ["[1, 2", '{"a": 1}'])
def test_a_broken_history_is_named_not_overwritten(tmp_path: Path, text: str) -> None:
    (tmp_path / "history.json").write_text(text)
    with pytest.raises(ValueError, match=r"history\.json.*move it away"):
        make(tmp_path)
    assert (tmp_path / "history.json").read_text() == text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizons": (1,)}, "one entry per target"),
        ({"every_steps": 0}, "every_steps must be at least 1"),
        ({"every_minutes": 0.0}, "every_minutes must be above 0"),
        ({"max_history": 0}, "max_history must be at least 1"),
    ],
)
def test_a_wrong_setting_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(tmp_path, **changes)


def test_a_wrong_batch_is_refused(tmp_path: Path) -> None:
    reporter = make(tmp_path)
    codes, prediction, label = batch(range(3))
    with pytest.raises(ValueError, match="sample must be one of"):
        reporter.add("valid", codes, prediction, label)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"date_code must be \(num_rows,\) integers"):
        reporter.add("in_sample", codes.astype(float), prediction, label)
    with pytest.raises(ValueError, match="label must have one row per date_code, 90, got 89"):
        reporter.add("in_sample", codes, prediction, label[1:])
    with pytest.raises(ValueError, match="prediction must have 2 columns, one per target, got 1"):
        reporter.add("in_sample", codes, prediction[:, 0], label)
    with pytest.raises(ValueError, match="infinite"):
        reporter.add("in_sample", codes, np.where(prediction > 0, np.inf, prediction), label)
    with pytest.raises(ValueError, match="targets must name"):
        LiveICReporter(tmp_path, ())


def test_system_figures_need_no_gpu(tmp_path: Path) -> None:
    figures = system_figures(tmp_path, clock=Clock())
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures["time"] == "2023-11-14T22:13:20Z"
    assert 0 < figures["memory"]["available"] <= figures["memory"]["total"]
    assert 0 <= figures["disk"]["free"] <= figures["disk"]["total"]
    assert figures["process"]["resident"] > 10**6
    assert figures["cpu"]["num_cores"] >= 1
    assert (figures["gpus"] is None) == (figures["gpu_note"] is not None)


def test_a_record_is_one_line_of_json_a_call(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "system.jsonl"
    written = [record_system_figures(path, tmp_path), record_system_figures(path, tmp_path)]
    assert [json.loads(line) for line in path.read_text().splitlines()] == written


def test_gpus_are_read_from_nvidia_smi_and_what_it_does_not_know_is_none(tmp_path: Path) -> None:
    text = "0, NVIDIA A100, 87, 1024, 81920, 55, 301.5\n1, NVIDIA A100, [N/A], 0, 81920, 30, [Not Supported]\n"
    fake = tmp_path / "fake-smi"
    fake.write_text(f"#!/bin/sh\nprintf '%s' '{text}'\n")
    fake.chmod(0o755)
    gpus, note = gpu_figures(str(fake))
    assert note is None
    assert gpus == parse_gpus(text)
    assert gpus is not None
    assert gpus[0] == {
        "index": 0.0, "name": "NVIDIA A100", "percent": 87.0, "memory_used_mib": 1024.0,
        "memory_total_mib": 81920.0, "temperature_celsius": 55.0, "power_watt": 301.5,
    }  # fmt: skip
    assert (gpus[1]["percent"], gpus[1]["power_watt"], gpus[1]["memory_used_mib"]) == (None, None, 0.0)
    with pytest.raises(ValueError, match="7 were queried"):
        parse_gpus("0, only two")


def test_a_driver_that_fails_is_told_of_and_not_fatal(tmp_path: Path) -> None:
    fake = tmp_path / "fake-smi"
    fake.write_text("#!/bin/sh\necho 'driver mismatch' >&2\nexit 9\n")
    fake.chmod(0o755)
    gpus, note = gpu_figures(str(fake))
    assert gpus is None
    assert note is not None
    assert "driver mismatch" in note
    assert gpu_figures("no-such-command") == (None, "no-such-command is not installed")


def test_a_missing_psutil_is_named_with_its_extra() -> None:
    code = (
        "import sys; sys.modules['psutil'] = None\nimport factor_metrics\n"
        "try: factor_metrics.system_figures()\nexcept ValueError as error: print(error)"
    )
    path = ":".join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert "factor-metrics[live]" in done.stdout


def test_a_disk_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="disk must be a folder that exists"):
        system_figures(tmp_path / "absent")
