"""Warm start and updates: what is copied and refused, the replayed share to the date, when an update is due."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from factor_models import (
    Rules,
    UpdateRule,
    build_model,
    fit,
    get_loss,
    predict,
    replay_dates,
    save_model,
    set_seed,
    update_due,
    warm_start,
    warm_start_from_folder,
)
from factor_models.training.engine_config import EngineConfig
from factor_models.training.plain import PlainTrainer

CONFIG = {"name": "lstm", "num_features": 4, "num_horizons": 1, "lookback": 3, "hidden": 8}
METADATA = {"features": list("abcd"), "normaliser_sha256": "12ab", "seed": 3}
EXPECTED = {"features": list("abcd"), "normaliser_sha256": "12ab"}


def fresh(seed: int = 0, **config: Any) -> nn.Module:
    set_seed(seed)
    return build_model(**(CONFIG | config))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "source", fresh(1), CONFIG, METADATA)
    return tmp_path / "source"


def test_a_warm_start_copies_every_weight(folder: Path) -> None:
    model = fresh(2)
    metadata = warm_start_from_folder(model, CONFIG, folder, EXPECTED)
    assert metadata["seed"] == 3
    for name, value in fresh(1).state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
        assert not np.shares_memory(model.state_dict()[name].numpy(), value.numpy())


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        ({"train_last": "2020-05-29", "valid_last": "2020-06-30"}, None),
        ({"train_last": "2020-05-29", "valid_last": "2020-07-01"}, "trained or chosen on dates until 2020-07-01"),
        ({"train_last": "2021-01-04", "valid_last": ""}, "trained or chosen on dates until 2021-01-04"),
        ({}, "on which dates it was trained is not known"),
    ],
)
def test_an_update_does_not_begin_with_weights_that_know_the_dates_it_is_judged_on(
    fold: dict[str, str], message: str | None, tmp_path: Path
) -> None:
    save_model(tmp_path / "source", fresh(1), CONFIG, METADATA | {"fold": fold})
    model, first = fresh(2), np.datetime64("2020-07-01")
    before = model.state_dict()["recurrence.weight_ih_l0"].clone()
    with pytest.raises(ValueError, match=message) if message else nullcontext():
        warm_start_from_folder(model, CONFIG, tmp_path / "source", EXPECTED, judged_from=first)
    assert torch.equal(model.state_dict()["recurrence.weight_ih_l0"], before) == bool(message)


@pytest.mark.parametrize(
    ("config", "expected", "message"),
    [
        ({"num_features": 5}, {}, "its model has num_features 4, this one 5"),
        ({"num_horizons": 2}, {}, "its model has num_horizons 1, this one 2"),
        ({"lookback": 7}, {}, "its model has lookback 3, this one 7"),
        ({"name": "gru"}, {}, "its model has name 'lstm', this one 'gru'"),
        ({"hidden": 16}, {}, r"have shape \(32, 4\), the network's are \(64, 4\)"),
        ({"layers": 2}, {}, "weights lack 'recurrence.weight_ih_l1'"),
        ({}, {"features": list("abcz")}, r"metadata\['features'\] is"),
        ({}, {"normaliser_sha256": "99"}, r"metadata\['normaliser_sha256'\] is '12ab', expected '99'"),
    ],
)
def test_a_warm_start_from_another_model_is_refused_and_changes_nothing(
    folder: Path, config: dict[str, Any], expected: dict[str, Any], message: str
) -> None:
    model = fresh(2, **config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        warm_start_from_folder(model, CONFIG | config, folder, EXPECTED | expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_weight_that_the_network_has_not_is_refused() -> None:
    weights = fresh(1).state_dict() | {"extra": torch.zeros(2)}
    with pytest.raises(ValueError, match="weights hold 'extra', which this network has not"):
        warm_start(fresh(2), weights)


def test_a_tabular_model_cannot_be_started_from(tmp_path: Path) -> None:
    from factor_models import Table

    x = np.random.default_rng(0).standard_normal((50, 4))
    config = {"name": "linear", "num_features": 4, "num_horizons": 1}
    save_model(tmp_path, build_model(**config).fit(Table(features=x, targets=x[:, :1])), config, METADATA)
    with pytest.raises(ValueError, match="linear model, which is fitted in one go"):
        warm_start_from_folder(fresh(), config, tmp_path, EXPECTED)


@given(
    num_new=st.integers(1, 200),
    share=st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.75]),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_the_replayed_share_is_met_to_the_date(num_new: int, share: float, seed: int) -> None:
    new, old = np.arange(1000, 1000 + num_new), np.arange(700)
    dates = replay_dates(new, old, share, seed=seed)
    replayed = np.setdiff1d(dates, new)
    assert np.isin(new, dates).all()
    assert len(np.unique(dates)) == len(dates)
    assert (np.diff(dates) > 0).all()
    assert np.isin(replayed, old).all()
    # The nearest whole number of old dates: one more or one less would be no closer to share / (1 - share).
    assert abs(len(replayed) - share / (1 - share) * num_new) <= 0.5


def test_a_third_of_thirty_is_replayed_and_the_seed_decides_which() -> None:
    new, old = np.arange(100, 120), np.arange(100)
    draws = [replay_dates(new, old, 1 / 3, seed=seed) for seed in (0, 0, 1)]
    assert [len(dates) for dates in draws] == [30, 30, 30]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()
    days = np.datetime64("2020-01-01") + np.arange(8)
    assert replay_dates(days[4:], days[:4], 0.5, seed=0).tolist() == days.tolist()


def test_dates_of_a_high_priority_are_replayed_more_often() -> None:
    priority = np.ones(100)
    priority[:10] = 50.0
    counts = np.zeros(100)
    for seed in range(40):
        dates = replay_dates(np.arange(100, 110), np.arange(100), 0.5, seed=seed, priority=priority)
        counts[dates[dates < 100]] += 1
    assert counts[:10].mean() > 8 * counts[10:].mean()


def test_a_replay_that_cannot_be_is_refused() -> None:
    new, old = np.arange(10, 20), np.arange(10)
    for arguments, message in [
        ((new, old, 1.0), r"share = 1\.0: must be in \[0, 1\)"),
        ((new, old[:4], 0.5), r"takes 10 old ones: there are 4"),
        ((new, np.arange(12), 0.5), "2 dates in common, the first is 10"),
        ((new[:0], old, 0.5), "new is empty"),
    ]:
        with pytest.raises(ValueError, match=message):
            replay_dates(*arguments, seed=0)
    with pytest.raises(ValueError, match="priority must be 10 finite numbers > 0"):
        replay_dates(new, old, 0.5, seed=0, priority=np.zeros(10))


RULE = UpdateRule(window=2, fall_to=0.5, recover_to=0.8)


def test_an_update_is_due_from_a_fall_to_the_recovery_after_it() -> None:
    #            means of two: 1.0  0.7  0.3  0.2  0.4  0.6  0.4  0.4  0.9  1.0  0.5  0.1
    live = np.array([0.10, 0.10, 0.04, 0.02, 0.02, 0.06, 0.06, 0.02, 0.06, 0.12, 0.08, 0.02, 0.00])
    assert np.flatnonzero(update_due(live, 0.1, RULE)).tolist() == [*range(3, 9), 12]


def test_undefined_dates_do_not_count_and_a_decision_knows_no_later_date() -> None:
    live = np.array([0.1, np.nan, 0.1, np.nan, 0.0, 0.0, np.nan, 0.0])
    due = update_due(live, 0.1, RULE)
    assert np.flatnonzero(due).tolist() == [5, 6, 7], "an undefined date leaves it due"
    for end in range(len(live) + 1):
        np.testing.assert_array_equal(update_due(live[:end], 0.1, RULE), due[:end])
    assert not update_due(np.array([0.0]), 0.1, RULE).any(), "a mean over two dates needs two"
    assert not update_due(np.full(50, 0.051), 0.1, RULE).any()


def test_a_rule_without_sense_is_refused() -> None:
    with pytest.raises(ValueError, match=r"recover_to = 0\.3: must be >= fall_to = 0\.5"):
        UpdateRule(fall_to=0.5, recover_to=0.3)
    with pytest.raises(ValueError, match=r"^window = 0: must be >= 1"):
        UpdateRule(window=0)
    for wrong in (0.0, -0.1, np.nan):
        with pytest.raises(ValueError, match=r"expected_ic = .*: must be a finite number > 0"):
            update_due(np.zeros(5), wrong, RULE)


def world(seed: int, feature: int, num_dates: int = 24) -> Any:
    """Dates of 12 windows whose target is one feature of the last bar, where another marks the regime."""
    generator = np.random.default_rng(seed)
    windows = generator.standard_normal((num_dates * 12, 3, 4), np.float32)
    windows[:, :, 3] = feature
    targets = windows[:, -1, [feature]]
    return SimpleNamespace(
        windows=windows,
        targets=targets,
        groups=np.repeat(np.arange(num_dates), 12),
        rows=np.arange(len(targets)),
    )


def train(model: nn.Module, batch: Any, dates_of: np.ndarray | None = None, epochs: int = 40) -> nn.Module:
    picked = np.ones(len(batch.rows), bool) if dates_of is None else np.isin(batch.groups, dates_of)
    part = SimpleNamespace(**{name: values[picked] for name, values in vars(batch).items()})
    trainer = PlainTrainer(model, get_loss("mse"), EngineConfig(lr=2e-2), total_steps=epochs)
    rules = Rules(epochs=epochs, patience=epochs)
    result = fit(trainer, lambda epoch, first: [part][first:], lambda module: float(trainer.step), rules)
    model.load_state_dict(result.state_dict)
    return model


def correlation(model: nn.Module, batch: Any) -> float:
    return np.corrcoef(predict(model, [batch])[1][:, 0], batch.targets[:, 0])[0, 1]


def test_an_update_with_replay_learns_the_new_and_forgets_less_of_the_old() -> None:
    old, new = world(0, 0), world(1, 1)
    both = {name: np.concatenate([getattr(old, name), getattr(new, name)]) for name in ("windows", "targets")}
    both |= {"groups": np.concatenate([old.groups, new.groups + 100])}
    mixed = SimpleNamespace(**both, rows=np.arange(len(both["groups"])))
    source = train(fresh(0), old)
    assert correlation(source, old) > 0.8
    updated = {}
    for share in (0.0, 0.5):
        model = fresh(5)
        warm_start(model, source.state_dict())
        dates = replay_dates(np.unique(new.groups) + 100, np.unique(old.groups), share, seed=0)
        updated[share] = train(model, mixed, dates)
    assert min(correlation(model, world(2, 1)) for model in updated.values()) > 0.7
    assert correlation(updated[0.5], world(3, 0)) > correlation(updated[0.0], world(3, 0)) + 0.2
