"""Days of ready-made factors without a single price, from their files through the stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factor_data import Panel, import_data
from workplace import Workplace, smoke_document

NUM_DATES, NUM_SYMBOLS, NUM_FACTORS = 320, 25, 8
TARGETS = ("intra30m", "nextT1d", "ema1d")


def write_days(folder: Path) -> None:
    """A file per day: factors by number, three targets that the first factor knows a part of, a limit flag, ADV50."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for day in pd.bdate_range("2020-01-01", periods=NUM_DATES):
        factors = generator.standard_normal((NUM_SYMBOLS, NUM_FACTORS))
        targets = 0.3 * factors[:, :1] + generator.standard_normal((NUM_SYMBOLS, len(TARGETS)))
        frame = pd.DataFrame(factors, columns=[str(number) for number in range(NUM_FACTORS)])
        frame[list(TARGETS)] = targets
        frame["sid"] = np.arange(NUM_SYMBOLS)
        frame["luld"] = (generator.random(NUM_SYMBOLS) < 0.05).astype(float)
        frame["ADV50"] = generator.lognormal(size=NUM_SYMBOLS)
        frame.to_parquet(folder / f"{day:%Y%m%d}.parquet")


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Imported, planned and split."""
    folder = tmp_path_factory.mktemp("days")
    write_days(folder / "source")
    document: dict[str, Any] = smoke_document() | {"models": ["linear"]}
    document["split"]["clean"] |= {"limit_column": "luld", "factor_columns": ["[0-9]*"], "min_history": 5}
    document["tokenize"] |= {"columns": ["[0-9]*"], "use_news": False}
    document["train"]["weights"] = {"column": "ADV50", "power": 0.5}
    workplace = Workplace(folder / "factorcast")
    workplace.path.mkdir()
    (workplace.path / "params.yaml").write_text(json.dumps(document))
    import_data(folder / "source", workplace.path / "data")
    workplace.run("plan")
    workplace.run("split")
    return workplace


def test_rules_that_need_prices_say_that_they_do_not_apply_and_the_others_do(days: Workplace) -> None:
    panel = Panel.load(days.results / "split" / "panel")
    assert panel.num_rows == NUM_DATES * NUM_SYMBOLS
    assert np.isnan(panel.columns["close"]).all()
    quality = json.loads((days.results / "split" / "quality.json").read_text())
    rules = {rule["name"]: rule for rule in quality["rules"]}
    assert rules["close_unusable"]["effect"] == rules["large_move"]["effect"] == "not checked: no close"
    assert rules["limit_day"]["count"] == int((panel.columns["luld"] == 1).sum()) > 0
    assert rules["short_history"]["count"] == 4 * NUM_SYMBOLS


def test_a_weight_column_that_is_not_there_is_refused_before_any_training(days: Workplace, tmp_path: Path) -> None:
    copy = days.copy(tmp_path / "factorcast")
    copy.change_params(lambda document: document["train"].update(weights={"column": "ADV20"}))
    copy.run("plan")
    assert "train.weights.column: the bars have no column 'ADV20'; they have 0, 1, " in copy.refused("split")


def test_books_say_in_one_line_that_they_do_not_apply(
    days: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = days.copy(tmp_path / "factorcast")
    labels = {"next": {"column": "nextT1d", "reach": 1}}
    copy.change_params(lambda document: document["tokenize"].update(labels=labels))
    for stage, *model in (["plan"], ["split"], ["tokenize_features"], ["train", "linear"], ["evaluate", "linear"]):
        copy.run(stage, *model)
    reason = "the data have no prices, so books do not apply"
    assert f"linear next: no book after costs: {reason}\n" in capsys.readouterr().out
    scores = json.loads((copy.results / "evaluate" / "linear" / "metrics.json").read_text())["next"]
    assert scores["rank_ic"] > 0.1
    assert "net_sharpe" not in scores
    copy.run("report", "linear")
    page = (copy.results / "report" / "linear" / "report.html").read_text()
    assert f"{reason[0].upper()}{reason[1:]}." in page
