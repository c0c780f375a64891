"""Lengths that the dates of the data cannot meet are refused by plan, with key, value and rule."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factor_data import read_parquet, write_parquet
from stages.params.reading import parse_params
from stages.planning.lengths import check_lengths
from stages.running.stage import StageError
from workplace import Workplace, smoke_document


def change(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(document: dict[str, Any]) -> None:
        for key in keys[:-1]:
            document = document.setdefault(key, {})
        document[keys[-1]] = value

    return apply


def long_windows(document: dict[str, Any]) -> None:
    document["tokenize_kline"]["lookback"] = 450
    document["zoo"]["kronos"]["max_context"] = 512


ROLLING = {"scheme": "rolling", "purge": 21, "embargo": 0}
IMPOSSIBLE: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "look-back": (
        change("zoo", "lstm", "lookback", value=5000),
        r"zoo\.lstm\.lookback: 5,000 must be at most \d+, the dates up to the last training date of fold 0",
    ),
    "history": (
        change("split", "clean", "min_history", value=4000),
        r"split\.clean\.min_history: 4,000 must be at most \d+, the dates up to the last training date of fold 0",
    ),
    "windows of K-lines": (
        long_windows,
        r"tokenize_kline\.lookback: 450 bars and the \d+ up to the exit of the farthest label must be at most \d+",
    ),
    "expression": (
        change("tokenize", "expressions", value={"slow": "Mean($close, 9000)"}),
        r"tokenize\.expressions\.slow: looks at 9,000 bars, and the data have \d+ dates",
    ),
    "folds": (
        change("split", "folds", value=ROLLING | {"train": 9000, "valid": 20, "test": 20, "step": 20}),
        r"split\.folds: .*and the data have \d+ dates",
    ),
    "years": (
        change("split", "folds", value={"scheme": "yearly", "min_train_years": 40, "valid_months": 6}),
        r"split\.folds: no year can be tested: 40 earlier years",
    ),
    "purge of shares": (
        change("split", "folds", value={"scheme": "ratio", "ratios": [0.9, 0.01, 0.09], "purge": 30}),
        r"split\.folds: fold 0: purge 30 .*leave none",
    ),
}


def prepared(folder: Path, changed: Callable[[dict[str, Any]], None], bars: int = 470) -> dict[str, Any]:
    """Settings of the smoke run without market, beside bars of one symbol."""
    document = smoke_document()
    changed(document)
    (folder / "data" / "bars").mkdir(parents=True)
    stamps = pd.bdate_range("2020-01-01", periods=bars)
    write_parquet(folder / "data" / "bars" / "a.parquet", pd.DataFrame({"timestamp": stamps, "close": np.ones(bars)}))
    return document


@pytest.mark.parametrize("what", IMPOSSIBLE)
@pytest.mark.parametrize("simulated", [False, True])
def test_what_the_dates_cannot_meet_is_refused(what: str, simulated: bool, tmp_path: Path) -> None:
    changed, message = IMPOSSIBLE[what]
    document = prepared(tmp_path, changed)
    if simulated:
        (tmp_path / "simulated").mkdir()
    with chdir(tmp_path), pytest.raises(StageError, match=message):
        check_lengths(parse_params(document, "params.yaml"))


def test_what_they_meet_passes_and_data_that_are_not_there_are_left_to_split(tmp_path: Path) -> None:
    document = prepared(tmp_path, lambda document: None)
    with chdir(tmp_path):
        check_lengths(parse_params(document, "params.yaml"))
        (tmp_path / "data" / "bars" / "a.parquet").unlink()
        IMPOSSIBLE["look-back"][0](document)
        check_lengths(parse_params(document, "params.yaml"))


def test_dates_on_a_damaged_page_are_believed_by_nobody_and_left_to_split(tmp_path: Path) -> None:
    document = prepared(tmp_path, IMPOSSIBLE["look-back"][0])
    path = tmp_path / "data" / "bars" / "a.parquet"
    write_parquet(path, read_parquet(path), compression="none", use_dictionary=False)
    with chdir(tmp_path), pytest.raises(StageError, match=r"zoo\.lstm\.lookback"):
        check_lengths(parse_params(document, "params.yaml"))
    content = bytearray(path.read_bytes())
    content[100] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(ValueError, match="CRC"):
        read_parquet(path)
    with chdir(tmp_path):
        check_lengths(parse_params(document, "params.yaml"))


@pytest.mark.end_to_end
def test_plan_and_split_refuse_a_look_back_beyond_the_dates(tokenized: Workplace, tmp_path: Path) -> None:
    place = tokenized.copy(tmp_path / "factorcast")
    place.change_params(IMPOSSIBLE["look-back"][0])
    place.change_params(lambda document: document.update(models=["lstm"]))
    with pytest.raises(StageError, match=IMPOSSIBLE["look-back"][1]):
        place.run("plan")
    (place.path / "data").rename(place.path / "elsewhere")
    (place.path / "data.dvc").touch()
    place.run("plan")  # these data are not there yet
    (place.path / "elsewhere").rename(place.path / "data")
    with pytest.raises(StageError, match=IMPOSSIBLE["look-back"][1]):
        place.run("split")
