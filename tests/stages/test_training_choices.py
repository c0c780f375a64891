"""What models are trained on as params.yaml says: choices that do not belong together are refused by key and rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stages.params.reading import Params
from stages.params.train import DistillationParams, ListedLabels, with_loss_settings
from stages.running.stage import StageError

LABELS = ListedLabels(listed=("h5", "h20", "h1"), heads=("h1", "h5", "h20"))
REFUSALS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a loss of directions without directions": (
        {"loss": "bce"},
        ["train.loss: bce needs directions", "target: rank"],
    ),
    "directions without a loss of directions": (
        {"target": "direction"},
        ["train.loss: mse_ic does not suit target: direction", "bce, focal or hinge"],
    ),
    "a setting of another loss": (
        {"loss_settings": {"delta": 1.0}},
        ["train.loss_settings.delta: unknown key"],
    ),
    "a misspelt setting": (
        {"loss": "huber", "loss_settings": {"detla": 1.0}},
        ["train.loss_settings.detla: unknown key; did you mean 'delta'"],
    ),
    "a misspelt setting further in": (
        {"loss": "quantitative", "loss_settings": {"bounds": {"leverge": 1.0}}},
        ["train.loss_settings.bounds.leverge: unknown key; did you mean 'leverage'"],
    ),
    "a wrong type of a setting": (
        {"loss": "huber", "loss_settings": {"delta": "one"}},
        ["train.loss_settings.delta", "'one'"],
    ),
    "settings for other labels": (
        {"loss": "quantitative", "loss_settings": {"rho": [1.0, 2.0]}},
        ["train.loss_settings", "rho", "2 numbers", "h1, h5, h20"],
    ),
    "a regime of targets that never change their dispersion": (
        {"loss": "quantitative", "loss_settings": {"regime": {}}},
        ["train.loss_settings.regime", "target: rank", "use raw or demeaned"],
    ),
    "a teacher for several outputs": (
        {"loss": "quantile", "distillation": DistillationParams(teacher="linear", settings={}, share=0.5)},
        ["several outputs per target"],
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_choices_that_do_not_belong_together_are_refused(case: str, smoke: Params) -> None:
    change, expected = REFUSALS[case]
    train = replace(smoke.train, **{"loss_settings": {}} | change)
    with pytest.raises(StageError) as refusal:
        with_loss_settings(train, LABELS, where="train.")
    for part in expected:
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DistillationParams(teacher="lstm", settings={}, share=0.5), "lstm is a network"),
        (lambda: DistillationParams(teacher="lihgtgbm", settings={}, share=0.5), "did you mean 'lightgbm'"),
        (
            lambda: DistillationParams(teacher="linear", settings={"rounds": 1}, share=0.5),
            "settings.rounds: unknown",
        ),
        (lambda: DistillationParams(teacher="linear", settings={}, share=0.0), "share: 0.0 must be in"),
        (
            lambda: DistillationParams(teacher="linear", settings={}, share=0.5, blocks=1),
            "blocks: 1 must be >= 2",
        ),
    ],
)
def test_sections_are_checked(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_the_settings_of_a_loss_are_its_configuration_in_full(smoke: Params) -> None:
    train = replace(smoke.train, loss="quantitative", loss_settings={"target_ic": [0.1, 0.2, 0.3], "bounds": {}})
    checked = with_loss_settings(train, LABELS, where="train.")
    assert checked.loss_settings.target_ic == (0.3, 0.1, 0.2), "the list is h5, h20, h1; heads are in their own order"
    assert checked.loss_settings.bounds.leverage == 2.0


def test_what_is_per_label_may_be_given_by_name(smoke: Params) -> None:
    by_name = {"rho": {"h20": 3.0, "h1": 1.0, "h5": 2.0}, "target_weights": {"h1": 1.0, "h5": 2.0, "h20": 3.0}}
    train = replace(smoke.train, loss="quantitative", loss_settings=by_name)
    checked = with_loss_settings(train, LABELS, where="train.").loss_settings
    assert checked.rho == checked.target_weights == (1.0, 2.0, 3.0)
    train = replace(smoke.train, loss="quantitative", loss_settings={"rho": {"h20": 3.0, "h1": 1.0, "h9": 2.0}})
    with pytest.raises(StageError, match=r"train.loss_settings.rho: names h20, h1, h9, labels are h5, h20, h1"):
        with_loss_settings(train, LABELS, where="train.")


def test_runs_of_dates_divide_a_batch(smoke: Params) -> None:
    with pytest.raises(ValueError, match="consecutive_dates: 3 must divide batch_dates = 20"):
        replace(smoke.train, loss_settings={}, consecutive_dates=3)
