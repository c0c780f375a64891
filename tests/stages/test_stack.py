"""The stack where there is little to combine: one fold, models without signal. All is reported, nothing fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.running.stage import StageError
from workplace import Workplace, make_workplace, smoke_document


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def finish(workplace: Workplace, models: list[str]) -> None:
    """Everything after tokenize, as `dvc repro` does it."""
    workplace.run("plan")
    for stage in ("train", "evaluate", "report"):
        for model in models:
            workplace.run(stage, model)
    workplace.run("stack")
    workplace.run("report_stack")


def test_one_fold_has_its_report_and_bundle_and_says_that_there_is_no_stack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = smoke_document()
    document["models"] = ["linear", "lightgbm"]
    document["split"]["folds"] = {"scheme": "ratio", "ratios": [0.5, 0.2, 0.3], "purge": 21, "embargo": 2}
    workplace = make_workplace(tmp_path / "factorcast", document)
    for stage in ("plan", "sample", "split", "tokenize_features"):
        workplace.run(stage)
    assert "one fold: models are judged, there is no stack" in capsys.readouterr().err
    finish(workplace, document["models"])
    results = workplace.results
    gates = read(results / "stack" / "gates.json")
    assert not gates["promoted"]
    assert [gate["rule"] for gate in gates["gates"]] == ["no stack: one fold; weights are learned on an earlier fold"]
    rows = read(results / "stack" / "comparison.json")
    assert {row["kind"] for row in rows} == {"model", "floor"}
    assert all(np.isfinite(row["rank_ic"]) for row in rows)
    evaluated = read(results / "evaluate" / "linear" / "metrics.json")["h1"]["rank_ic"]
    mine = next(row for row in rows if (row["name"], row["label"]) == ("linear", "h1"))
    assert mine["rank_ic"] == pytest.approx(evaluated), "models are judged on the same rows as by evaluate"
    manifest = read(results / "stack" / "bundle" / "manifest.json")
    assert (manifest["weights"], manifest["promoted"]) == (None, False)
    assert "no stack: one fold" in manifest["why"]
    assert (results / "stack" / "bundle" / "models" / "lightgbm" / "config.json").is_file()
    assert len(pd.read_parquet(results / "stack" / "predictions.parquet")) == 0
    page = (results / "report" / "stack" / "report.html").read_text()
    assert "no stack: one fold" in page
    assert read(results / "summary.json")["promoted"] == 0
    workplace.run("commands.show")
    assert "no stack: one fold" in capsys.readouterr().out


def test_a_model_without_signal_is_reported_and_left_out_with_its_reason(
    tokenized: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workplace = tokenized.copy(tmp_path / "copy")

    def change(document: dict[str, Any]) -> None:
        document["models"] = ["linear", "lightgbm", "lstm"]
        document["zoo"]["lightgbm"]["min_rows_in_leaf"] = 10**7  # no tree can split
        document["zoo"]["lstm"]["hidden"] = 8
        document["train"] |= {"lr": 1e-30, "weight_decay": 0.0}

    workplace.change_params(change)
    finish(workplace, ["linear", "lightgbm", "lstm"])
    said = capsys.readouterr().err
    reason = "for h1, h5, h20 predictions are constant on every valid date, up to rounding"
    assert f"no signal: {reason}" in said
    assert f"lightgbm is left out of the ensemble: fold 0: {reason}" in said
    results = workplace.results
    assert read(results / "evaluate" / "lightgbm" / "metrics.json")["h1"]["rank_ic"] is None
    assert "undefined" in (results / "report" / "lightgbm" / "model_card.md").read_text()
    assert read(results / "stack" / "gates.json")["left_out"] == {"lightgbm": f"fold 0: {reason}"}
    assert list(read(results / "stack" / "weights.json")["h1"]["fold 1"]) == ["linear", "lstm"]
    assert sorted(path.name for path in (results / "stack" / "bundle" / "models").iterdir()) == ["linear", "lstm"]
    assert read(results / "stack" / "bundle" / "manifest.json")["left_out"]["lightgbm"].startswith("fold 0")
    assert "Left out: lightgbm" in (results / "report" / "stack" / "report.html").read_text()
    workplace.change_params(lambda document: document.update(models=["lightgbm"]))
    workplace.run("plan")
    with pytest.raises(StageError, match=r"no model has a signal, so there is nothing to combine: lightgbm \(fold 0"):
        workplace.run("stack")
