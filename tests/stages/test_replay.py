"""`train.replay`: a fold after the first updates the weights before on new dates and the stated share of old ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factor_data import Fold, read_folds
from stages.fitting.network import replayed
from stages.json_files import read_json
from stages.params.reading import parse_params
from stages.running.stage import StageError
from workplace import Workplace, smoke_document


@pytest.mark.end_to_end
def test_an_update_trains_on_new_dates_and_the_share_of_old_ones(tokenized: Workplace, tmp_path: Path) -> None:
    place = tokenized.copy(tmp_path / "factorcast")
    place.change_params(lambda document: document.update(models=["lstm"]))
    place.change_params(lambda document: document["train"].update(start="previous", replay=0.25))
    for stage, *model in (("plan",), ("train", "lstm")):
        place.run(stage, *model)
    folds = read_folds(place.results / "split" / "folds.json")
    paths = sorted((place.results / "train" / "lstm" / "folds").glob("*/metadata.json"))
    samples = [read_json(path)["train_samples"] for path in paths]
    dates = replayed(folds, 0.25, place.params().train.seed)
    assert dates[0] is None
    assert dates[1] is not None
    is_new = ~np.isin(dates[1], folds[0].train)
    assert is_new.sum() == len(np.setdiff1d(folds[1].train, folds[0].train))
    assert (~is_new).sum() == round(is_new.sum() / 3)
    assert 0.5 * samples[0] * len(dates[1]) < samples[1] * len(folds[0].train) < 2.0 * samples[0] * len(dates[1])


def test_each_fold_draws_old_dates_of_its_own_and_without_replay_takes_all() -> None:
    calendar = np.datetime64("2024-01-01", "ns") + np.arange(60) * np.timedelta64(1, "D")
    none = calendar[:0]
    folds = [
        Fold(index=k, train=calendar[10 * k : 10 * k + 30], valid=none, test=none, purge=none, embargo=none)
        for k in range(3)
    ]
    assert replayed(folds, None, 0) == [None, None, None]
    first, second, third = replayed(folds, 0.5, 7)
    assert first is None
    assert second is not None
    assert third is not None
    assert len(second) == len(third) == 20
    assert np.isin(calendar[30:40], second).all()
    assert np.isin(calendar[40:50], third).all()
    with pytest.raises(ValueError, match=r"train.replay: fold 1: share = 0.9 .* there are 20"):
        replayed(folds, 0.9, 7)


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"replay": 0.3}, "replay: 0.3 .*needs start: previous"),
        ({"replay": 1.0, "start": "previous"}, r"replay: 1.0 must be in \[0, 1\)"),
    ],
)
def test_a_replay_without_weights_to_update_is_refused(train: dict[str, Any], said: str) -> None:
    document = smoke_document()
    document["models"], document["train"] = ["lstm"], document["train"] | train
    with pytest.raises(StageError, match=said):
        parse_params(document, "params.yaml")
