"""What a sweep sees of a training while it runs, and what it finds of it afterwards in DVC's cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import stages.train
from experiments_samples import make_repository
from factor_experiments.stored import Stored
from factor_experiments.sweep_run import fold_scores, stored_fold_scores
from workplace import Workplace


@pytest.mark.parametrize("label", ["h1", None])
def test_folds_are_seen_as_they_are_finished_and_found_again(
    label: str | None, tokenized: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, seen = tokenized.copy(tmp_path / "factorcast"), []
    before = stages.train.log_best

    def look(*arguments: object) -> None:  # called for a fold before its model is saved
        seen.append(fold_scores(copy.path, "linear", label))
        before(*arguments)

    monkeypatch.setattr(stages.train, "log_best", look)
    copy.run("train", "linear")
    folder = copy.results / "train" / "linear"
    folds = sorted((folder / "folds").iterdir())
    scores = [json.loads((fold / "metadata.json").read_text())["valid_rank_ic"] for fold in folds]
    expected = [one["h1"] if label else pytest.approx(sum(one.values()) / len(one)) for one in scores]
    assert len(expected) > 1
    assert seen == [expected[:number] for number in range(len(expected))]
    assert fold_scores(copy.path, "linear", label) == [], "a result that is there is that of another run"

    made = make_repository(tmp_path / "repository")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listing = [{"md5": made.cache(path.read_bytes()), "relpath": path.relative_to(folder).as_posix()} for path in files]
    out = made.cache(json.dumps(listing).encode(), ".dir")
    assert stored_fold_scores(Stored(made.path), {"results/train/linear": out}, "linear", label) == expected
    assert stored_fold_scores(Stored(made.path), {}, "linear", label) == []
