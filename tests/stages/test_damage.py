"""Damaged files are refused in a line that names them, by what reads them and by the stage that a user starts."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
import yaml

from factor_data.sums import SUMS
from fuzz_damage import attack, attack_forged, things_of
from workplace import Workplace


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_nothing_damaged_is_believed_and_everything_refused_is_named(
    tokenized: Workplace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The short form of `make fuzz`: 20 damages and 40 forgeries of each kind of thing that is kept."""
    draw, found, forged = random.Random(7), {}, Counter[str]()
    for target in things_of(tokenized, tmp_path):
        found[target.name] = attack(target, 20, draw)
        forged += attack_forged(target, 40, draw)
    assert set(forged) == {"read", "refused"}, forged
    assert forged["refused"] > 50
    total = sum(found.values(), Counter())
    assert set(total) == {"as written", "refused"}, found
    assert total["refused"] > 100
    assert "the checkpoint before it is taken" in caplog.text


@pytest.mark.parametrize(
    ("damaged", "stage"),
    [
        ("data/truth.parquet", "split"),
        ("results/plan/tokenize.json", "tokenize_features"),
        ("results/split/folds.json", "tokenize_features"),
        ("results/split/news.parquet", "tokenize_features"),
        ("results/split/panel/dates.npy", "tokenize_features"),
        ("results/tokenize/labels.npy", "train linear"),
        ("results/tokenize/fold_00/inputs.npy", "train linear"),
    ],
)
def test_a_stage_refuses_what_was_damaged_since_it_was_written(
    damaged: str, stage: str, tokenized: Workplace, tmp_path: Path
) -> None:
    work = tokenized.copy(tmp_path / "factorcast")
    flip(work.path / damaged)
    said = work.refused(*stage.split())
    assert Path(damaged).name in said
    assert "make restore" in said


def test_verify_names_all_that_is_damaged_and_dataset_yaml_may_be_edited(
    tokenized: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tokenized.copy(tmp_path / "factorcast")
    dataset = work.path / "data" / "dataset.yaml"
    dataset.write_text(yaml.safe_dump(yaml.safe_load(dataset.read_text()) | {"universe": "mine"}))
    (work.results / ".tokenize.partial").mkdir()
    (work.results / ".tokenize.partial" / SUMS).write_text("cut")
    work.run("commands.verify")
    assert "folders are what was written" in capsys.readouterr().out
    flip(work.results / "split" / "panel" / "symbols.npy")
    flip(work.results / "tokenize" / "features.npy")
    said = work.refused("commands.verify")
    assert "2 of" in said
    assert "symbols.npy" in said
    assert "features.npy" in said
    assert "dvc checkout" in said
