"""What combines losses: the composite, its regime, weights of tasks, and distillation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from factor_models import DistilledLoss, get_loss
from factor_models.losses import (
    CrossSections,
    Regime,
    RegimeConfig,
    RiskBounds,
    extreme,
    huber,
    ic_shortfall,
    leverage,
    mse,
    rank_error,
    turnover,
    volatility,
)
from factor_models.losses.base import Loss
from models.loss_samples import SIZES, TARGETS, dates_of, example

RISK = ("volatility", "extreme", "leverage", "turnover")


def composite(**settings: Any) -> Loss:
    return get_loss("quantitative", TARGETS, **{"target_ic": (0.08, 0.05), "rho": (1.2, 0.8)} | settings)


def test_the_composite_is_the_weighted_sum_of_its_terms_each_by_name_and_target() -> None:
    prediction, target, groups = example()
    previous = torch.roll(torch.arange(len(groups)), 1)
    loss = composite(bounds=RiskBounds(turnover=0.5))
    named = loss(prediction, target, groups, len(SIZES), previous=previous)
    dates = CrossSections(target, groups, len(SIZES), previous=previous)
    for column, (name, aim, rho) in enumerate(zip(TARGETS, (0.08, 0.05), (1.2, 0.8), strict=True)):
        expected = {
            "huber": 0.1 * huber(prediction, dates, 0.1),
            "ic": 1.0 * ic_shortfall(prediction, dates, aim),
            "rank": 0.2 * rank_error(prediction, dates, 0.1),
            "volatility": 0.1 * rho * volatility(prediction, dates, 0.1),
            "extreme": 0.1 * rho * extreme(prediction, dates, 0.2),
            "leverage": 0.1 * rho * leverage(prediction, dates, 2.0),
            "turnover": 0.1 * rho * 0.5 * turnover(prediction, dates),
        }
        for term, value_GH in expected.items():
            torch.testing.assert_close(named[f"{term}_{name}"], value_GH[:, column].mean() / 2)
            assert named[f"{term}_{name}"] > 0
    assert len(named) == 7 * 2


def test_the_targets_of_the_ic_come_from_the_settings() -> None:
    prediction, target, groups = example()
    args = (prediction, target, groups, len(SIZES))
    low, high = composite(target_ic=0.02)(*args), composite(target_ic=(0.02, 0.5))(*args)
    assert low["ic_h1"] == high["ic_h1"]
    assert low["ic_h5"] < high["ic_h5"]
    default = get_loss("quantitative", ("h1", "h5", "h20"))
    assert default.target_ic == (0.08, 0.05, 0.03)
    assert default.rho == (1.2, 1.0, 0.8)


@pytest.mark.parametrize("term", ["huber", "ic", "rank", "risk"])
def test_a_weight_of_zero_turns_a_term_off(term: str) -> None:
    prediction, target, groups = example()
    named = composite(**{term: 0.0})(prediction, target, groups, len(SIZES))
    for name, value in named.items():
        kind = name.split("_")[0]
        off = kind == term or (term == "risk" and kind in RISK) or kind == "turnover"
        assert (value == 0) == off, name


def test_a_regime_is_judged_by_the_batches_before_it() -> None:
    regime = Regime(RegimeConfig(memory=4, least=2, volatile=1.5, calm=0.7))
    states = []
    for dispersion in (1.0, 1.0, 9.0, 1.0, 5.0, 2.0, 0.5, math.nan, 10.0):
        regime.observe(dispersion)
        states.append(regime.state)
    # Means before the 4th to the last: 11/3, 3, (1 + 9 + 1 + 5)/4, (9 + 1 + 5 + 2)/4; after NaN: (1 + 5 + 2 + .5)/4.
    assert states == [0, 0, 0, -1, 1, -1, -1, 0, 1]


def test_a_volatile_batch_raises_the_risk_weight_and_a_calm_one_the_ic_weight() -> None:
    prediction, target, groups = example()
    adaptive, fixed = composite(regime=RegimeConfig()), composite()
    expected = fixed(prediction, target, groups, len(SIZES))
    for _ in range(6):
        adaptive.start_step(np.array(adaptive.batch_statistic(target, groups, len(SIZES))) / len(SIZES))
        assert adaptive(prediction, target, groups, len(SIZES)) == expected

    def factor(scale: float, name: str) -> float:
        statistic = adaptive.batch_statistic(scale * target, groups, len(SIZES))
        adaptive.start_step((statistic / len(SIZES)).tolist())
        value = adaptive(prediction, target, groups, len(SIZES))[name]
        return (value / expected[name]).item()

    assert factor(2.0, "extreme_h1") == pytest.approx((0.1 * 1.2 + 0.5) / (0.1 * 1.2))
    assert factor(2.0, "ic_h1") == pytest.approx(1.0)
    assert factor(0.3, "ic_h1") == pytest.approx(1.3)
    assert factor(0.3, "extreme_h1") == pytest.approx(1.0)
    assert factor(1.0, "ic_h1") == pytest.approx(1.0)


def test_the_dispersion_of_a_batch_is_the_mean_of_its_shares() -> None:
    _, target, groups = example()
    loss = composite(regime=RegimeConfig())
    whole = loss.batch_statistic(target, groups, 4)
    first = groups < 1
    parts = loss.batch_statistic(target[first], groups[first], 1) + loss.batch_statistic(
        target[~first], groups[~first] - 1, 3
    )
    torch.testing.assert_close(whole, parts)
    stds = [np.nanstd(target[groups == date].numpy(), axis=0).mean() for date in range(4)]
    assert whole.item() == pytest.approx(sum(stds))
    assert composite().batch_statistic(target, groups, 4) is None


def test_the_state_of_a_regime_is_saved_with_the_loss() -> None:
    first = composite(regime=RegimeConfig(memory=8))
    for dispersion in (1.0, 1.2, 0.9, 1.1, 1.0, 1.3, 0.8):
        first.start_step([dispersion])
    second = composite(regime=RegimeConfig(memory=8))
    second.load_state_dict(first.state_dict())
    for dispersion in (1.9, 0.5, 1.0):
        first.start_step([dispersion])
        second.start_step([dispersion])
        assert second.regime.state == first.regime.state
    assert first.regime.num_seen == 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"calm": 2.0}, "^calm = 2.0: must be above 0 and at most volatile = 1.5"),
        ({"least": 20}, "^least = 20: must be below memory = 20"),
        ({"risk": -1.0}, "^risk = -1.0: must be >= 0"),
    ],
)
def test_settings_of_a_regime_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RegimeConfig(**settings)


def test_fixed_weights_multiply_the_loss_of_their_target() -> None:
    prediction, target, groups = example()
    named = get_loss("mse", TARGETS, target_weights=(3.0, 0.5))(prediction, target, groups, len(SIZES))
    value_H = mse(prediction, dates_of(target, groups)).mean(dim=0)
    torch.testing.assert_close(named["mse_h1"], 3.0 * value_H[0] / 2)
    torch.testing.assert_close(named["mse_h5"], 0.5 * value_H[1] / 2)


def test_learnt_weights_end_at_one_over_the_loss_of_their_target() -> None:
    prediction, target, groups = example(missing=False)
    prediction[:, 1] *= 4
    loss = get_loss("mse", TARGETS, target_weights="learned")
    optimiser = torch.optim.Adam(loss.parameters(), lr=0.05)
    for _ in range(500):
        optimiser.zero_grad()
        sum(loss(prediction.float(), target.float(), groups, len(SIZES)).values()).backward()
        optimiser.step()
    value_H = mse(prediction, dates_of(target, groups)).mean(dim=0)
    torch.testing.assert_close(loss.learned().double(), 1 / value_H, rtol=1e-3, atol=1e-3)


def test_the_weight_of_a_target_that_a_batch_does_not_know_is_not_moved() -> None:
    prediction, target, groups = example()
    target[:, 1] = torch.nan
    loss = get_loss("mse", TARGETS, target_weights="learned")
    sum(loss(prediction, target, groups, len(SIZES)).values()).backward()
    assert loss.learned.log_variance.grad[0] != 0
    assert loss.learned.log_variance.grad[1] == 0


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_distilling_squared_errors_has_the_gradient_of_the_error_to_the_mixture(share: float) -> None:
    prediction, target, groups = example(missing=False)
    teacher = example(seed=5, missing=False)[1]
    prediction.requires_grad_()
    named = DistilledLoss(get_loss("mse"), share)(prediction, torch.cat([target, teacher], dim=1), groups, len(SIZES))
    assert list(named) == ["mse", "teacher_mse"]
    (gradient,) = torch.autograd.grad(sum(named.values()), prediction)
    mixture = (1 - share) * target + share * teacher
    (expected,) = torch.autograd.grad(get_loss("mse")(prediction, mixture, groups, len(SIZES))["mse"], prediction)
    torch.testing.assert_close(gradient, expected)


def test_distilled_loss_uses_whichever_of_label_and_teacher_is_known() -> None:
    prediction, target, groups = example(missing=False)
    teacher = example(seed=5, missing=False)[1]
    target[0], teacher[1] = torch.nan, torch.nan
    prediction.requires_grad_()
    both = torch.cat([target, teacher], dim=1)
    sum(DistilledLoss(get_loss("mse"), 0.5)(prediction, both, groups, len(SIZES)).values()).backward()
    assert (prediction.grad[:2] != 0).all()


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_distilling_a_direction_compares_softened_chances(temperature: float) -> None:
    prediction, target, groups = example("bce")
    logits = 2 * example(seed=5, missing=False)[1]
    named = DistilledLoss(get_loss("bce"), 0.4, temperature)(
        prediction, torch.cat([target, logits], dim=1), groups, len(SIZES)
    )
    p, q = (1 / (1 + np.exp(-value.numpy() / temperature)) for value in (prediction, logits))
    cross_entropy = -q * np.log(p) - (1 - q) * np.log(1 - p)
    means = [cross_entropy[groups == date].mean(axis=0) for date in range(len(SIZES))]
    assert named["teacher_bce"].item() == pytest.approx(0.4 * temperature**2 * np.mean(means))
    plain = get_loss("bce")(prediction, target, groups, len(SIZES))["bce"]
    assert named["bce"].item() == pytest.approx(0.6 * plain.item())


def test_distillation_keeps_shares_weights_and_the_regime() -> None:
    prediction, target, groups = example()
    both = torch.cat([target, example(seed=5)[1]], dim=1)
    loss = DistilledLoss(composite(regime=RegimeConfig()), 0.5)
    whole = sum(loss(prediction, both, groups, 4).values())
    first = groups < 2
    parts = [
        sum(loss(prediction[rows], both[rows], groups[rows] - shift, 2).values())
        for rows, shift in ((first, 0), (~first, 2))
    ]
    torch.testing.assert_close(sum(parts) / 2, whole)
    torch.testing.assert_close(loss.batch_statistic(both, groups, 4), loss.loss.batch_statistic(target, groups, 4))
    loss.start_step([1.0])
    assert loss.loss.regime.num_seen == 1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DistilledLoss(get_loss("mse"), 0.0), r"share = 0.0: must be in \(0, 1\]"),
        (lambda: DistilledLoss(get_loss("bce"), 0.5, 0.0), "temperature = 0.0: must be > 0"),
        (lambda: DistilledLoss(get_loss("quantile"), 0.5), "several outputs per target"),
    ],
)
def test_settings_of_distillation_are_checked(build: Callable[..., Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_a_batch_without_teacher_columns_is_refused() -> None:
    prediction, target, groups = example()
    with pytest.raises(ValueError, match="1 columns: must be targets and as many of a teacher"):
        DistilledLoss(get_loss("mse"), 0.5)(prediction, target[:, :1], groups, len(SIZES))
