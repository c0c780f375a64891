"""The study of the four flows: sizes that the presets take, steps that are done once, what its page says."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from factor_data.simulate.files import SIMULATED_FILES
from stages import ROOT
from stages.params.overlays import overlay
from stages.params.presets import with_preset
from stages.params.reading import parse_params, read_document
from studies import flows
from studies.flows import FLOWS, FlowStudy, cost_of, count_stages
from studies.flows_page import page, rank_ic_rows, verdict


def row(name: str, kind: str, rank_ic: float | None, low: float | None, label: str = "next") -> dict[str, Any]:
    high = None if low is None or rank_ic is None else 2 * rank_ic - low
    return {"name": name, "kind": kind, "label": label, "rank_ic": rank_ic, "ci_low": low, "ci_high": high}


ROWS = [
    row("stack", "stack", 0.03, 0.01),
    row("lstm", "model", 0.02, -0.01),
    row("han", "model", 0.02, -0.01),
    row("random", "floor", 0.001, -0.02),
    row("reversal_1", "floor", 0.04, 0.02),
    row("equal_weight", "floor", 0.05, 0.03),
    row("no_price", "floor", None, None),
]
RESULT: dict[str, Any] = {
    "flow": {"symbols": 50, "days": 700, "seed": 37, "settings": {"train": {"epochs": 3}}, "cut": "epochs"},
    "commit": "0123456789ab",
    "universe": "every symbol listed at any time",
    "num_folds": 3,
    "seed": 17,
    "rows": {"next": 12345},
    "comparison": ROWS,
    "auc": None,
    "promoted": False,
    "failed": ["beats_floor"],
    "effect": [
        {"model": "lstm", "mean": -0.02, "ci_low": -0.03, "ci_high": -0.01, "t_stat": -3.0, "num_dates": 300},
        {"model": "han", "mean": 0.01, "ci_low": -0.01, "ci_high": 0.03, "t_stat": 1.0, "num_dates": 300},
    ],
    "costs": {"clone": [6.0, 3.0], "repro": [594.0, 117.0]},
    "training": {"lstm": 60.0},
}


@pytest.mark.parametrize("name", list(FLOWS))
def test_the_settings_of_a_flow_are_its_presets_at_other_sizes(name: str) -> None:
    assert name in SIMULATED_FILES
    params = overlay(with_preset(read_document(ROOT / "params.yaml"), name), FLOWS[name].settings)
    parsed = parse_params(params, name)
    preset = parse_params(with_preset(read_document(ROOT / "params.yaml"), name), name)
    assert parsed.tokenize.labels == preset.tokenize.labels
    assert FLOWS[name].days >= SIMULATED_FILES[name].days


def test_sizes_are_those_that_were_asked_for() -> None:
    assert (FLOWS["factors_daily"].symbols, FLOWS["factors_daily"].days) == (500, 1500)
    coins = FLOWS["direction_hourly"]
    folds = read_document(ROOT / "presets" / "direction_hourly.yaml")["split"]["folds"]
    before = folds["train"] + folds["valid"] + folds["purge"] + folds["embargo"]
    tested = (24 * coins.days - before) // folds["step"] * folds["test"]
    assert tested * coins.symbols >= 24_000


def test_a_step_is_done_once_and_what_a_failed_attempt_took_is_counted(tmp_path: Path) -> None:
    study = FlowStudy("news", FLOWS["news"], tmp_path)
    calls = []

    def fail() -> None:
        calls.append("fail")
        raise SystemExit("killed")

    with pytest.raises(SystemExit):
        study.once("repro", fail)
    assert set(study.costs()) == {"repro"}
    before = study.costs()["repro"]
    again = FlowStudy("news", FLOWS["news"], tmp_path)
    again.once("repro", lambda: calls.append("done"))
    again.once("repro", lambda: calls.append("twice"))
    assert calls == ["fail", "done"]
    assert again.costs()["repro"][0] > before[0]


def test_the_cost_is_said_before_and_is_nothing_where_all_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "STUDIES", tmp_path)
    hours = FLOWS["news"].cpu_minutes / 60
    assert f"{hours:.2f} (news {hours:.2f})" in cost_of(["news"])
    (tmp_path / "flows" / "news" / "done").mkdir(parents=True)
    (tmp_path / "flows" / "news" / "done" / "picture").touch()
    assert "0.00 (all has been run)" in cost_of(["news"])


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FlowStudy:
    """A study with the map and the params of this repository, and a `dvc` that each test writes."""
    study = FlowStudy("news", FLOWS["news"], tmp_path)
    study.clone.mkdir()
    for name in ("dvc.yaml", "params.yaml"):
        (study.clone / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(FlowStudy, "environment", lambda self: dict(os.environ))
    return study


def write_dvc(study: FlowStudy, *lines: str) -> None:
    program = study.folder / "dvc"
    program.write_text(
        "\n".join(
            [
                "#!/bin/sh",
                "echo \"Stage 'plan' didn't change, skipping\"",
                "echo \"Running stage 'train@lstm':\"",
                *lines,
            ]
        )
        + "\n"
    )
    program.chmod(0o755)


def test_each_stage_is_shown_beside_their_number_and_a_failure_ends_the_study(
    study: FlowStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dvc(study, "echo trained", "exit 3")
    with pytest.raises(SystemExit, match="dvc repro ended with 3"):
        study.once("repro", study.reproduce)
    models = read_document(ROOT / "params.yaml")["models"]
    total = count_stages(read_document(ROOT / "dvc.yaml"), models)
    said = capsys.readouterr().out
    assert f"news [2/{total}] train@lstm: 0 min so far" in said
    assert "trained" in said
    assert not (study.folder / "done" / "repro").exists()


def test_an_interrupted_study_ends_what_it_started_and_counts_it(
    study: FlowStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dvc(study, f"sleep 60 & echo $! > {study.folder}/child", "wait")

    def interrupted(*_: Any, **__: Any) -> None:
        while not (study.folder / "child").is_file():
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.print", interrupted)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        study.reproduce()
    assert time.monotonic() - started < 30
    child = int((study.folder / "child").read_text())
    while not is_gone(child) and time.monotonic() - started < 30:
        time.sleep(0.01)
    assert is_gone(child)


def is_gone(process: int) -> bool:
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_the_map_has_a_stage_per_model_where_it_says_so() -> None:
    document = read_document(ROOT / "dvc.yaml")
    one, two = (count_stages(document, models) for models in (["lstm"], ["lstm", "tft"]))
    assert two - one == sum("matrix" in stage for stage in document["stages"].values()) == 3


def test_the_page_has_tables_costs_and_what_was_not_run() -> None:
    text = page(FLOWS, {"news": RESULT})
    assert max(len(line) for line in text.splitlines() if line[:1] not in ("|", "!")) <= 120
    text = text.replace("\n", " ")
    assert "| stack | +0.030 [+0.010, +0.050] |" in text
    assert (
        "| mean of the models | +0.050 [+0.030, +0.070] | | best floor | +0.040 [+0.020, +0.060] `reversal_1` |" in text
    )
    assert "no better than the best floor at `next`. Not promoted: `beats_floor`." in text
    assert "News help in 0 and harm in 1 of 2" in text
    assert "Minutes of CPU: 2.0 (clone 0.1, repro 1.9); 10 by the clock" in text
    assert "Rows out of fold: 12,345 of `next`" in text
    for name in ("factors_daily", "direction_hourly", "kline"):
        assert f"not run to its end. `make study-flow NAME={name}`" in text


def test_a_stack_above_its_floors_is_said_to_be() -> None:
    rows = [one for one in ROWS if one["name"] != "reversal_1"]
    assert "no better than" not in verdict({**RESULT, "comparison": rows}, ["next"])
    assert rank_ic_rows([rows[0]], ["next"])["best floor"] == ["-"]
    one = rank_ic_rows([row for row in ROWS if row["name"] != "han"], ["next"])
    assert list(one) == ["stack", "lstm", "best floor"], "one model is its own mean"


def test_the_page_is_that_of_the_results_beside_it() -> None:
    known = json.loads(flows.RESULTS.read_text(encoding="utf-8"))
    assert flows.PAGE.read_text(encoding="utf-8") == page(FLOWS, known)
