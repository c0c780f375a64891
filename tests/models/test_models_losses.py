"""Losses against scipy, and the properties that distributed training rests on."""

import numpy as np
import pytest
import scipy.stats
import torch

from factor_models import LOSSES, get_loss
from factor_models.losses import ic, mse


def get_total(name):
    """The sum of the terms."""
    loss = get_loss(name)
    return lambda *args: sum(loss(*args).values())


SIZES = (5, 30, 17, 8)


def example(seed=0, missing=True):
    generator = torch.Generator().manual_seed(seed)
    groups = torch.repeat_interleave(torch.arange(len(SIZES)), torch.tensor(SIZES))
    prediction = torch.randn(len(groups), 2, generator=generator, dtype=torch.float64)
    target = torch.randn(len(groups), 2, generator=generator, dtype=torch.float64)
    if missing:
        target[::7, 0] = torch.nan
    shuffled = torch.randperm(len(groups), generator=generator)
    return prediction[shuffled], target[shuffled], groups[shuffled]


def per_date(prediction, target, groups, statistic):
    values = []
    for date in range(len(SIZES)):
        for horizon in range(2):
            rows = (groups == date) & torch.isfinite(target[:, horizon])
            values.append(statistic(prediction[rows, horizon].numpy(), target[rows, horizon].numpy()))
    return np.mean(values)


def test_ic_is_one_minus_pearson_per_date():
    prediction, target, groups = example()
    expected = 1 - per_date(prediction, target, groups, lambda p, t: scipy.stats.pearsonr(p, t)[0])
    assert ic(prediction, target, groups, len(SIZES)).item() == pytest.approx(expected, abs=1e-5)


def test_mse_weighs_every_date_the_same():
    prediction, target, groups = example()
    expected = per_date(prediction, target, groups, lambda p, t: np.mean((p - t) ** 2))
    assert mse(prediction, target, groups, len(SIZES)).item() == pytest.approx(expected, rel=1e-12)


def test_ic_of_a_perfect_and_an_inverted_order():
    target = torch.tensor([[1.0], [2.0], [3.0]])
    groups = torch.zeros(3, dtype=torch.long)
    assert ic(target * 5 + 3, target, groups, 1).item() == pytest.approx(0.0, abs=1e-5)
    assert ic(-target, target, groups, 1).item() == pytest.approx(2.0, abs=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_the_mean_over_equal_shares_of_the_dates_is_the_loss_of_all(name):
    prediction, target, groups = example()
    loss = get_total(name)
    whole = loss(prediction, target, groups, 4)
    first, second = groups < 2, groups >= 2
    parts = [
        loss(prediction[first], target[first], groups[first], 2),
        loss(prediction[second], target[second], groups[second] - 2, 2),
    ]
    torch.testing.assert_close(sum(parts) / 2, whole)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_right(name):
    prediction, target, groups = example()
    prediction.requires_grad_()
    loss = get_total(name)
    assert torch.autograd.gradcheck(lambda p: loss(p, target, groups, len(SIZES)), prediction)


@pytest.mark.parametrize("name", LOSSES)
def test_masked_targets_get_no_gradient(name):
    prediction, target, groups = example()
    prediction.requires_grad_()
    get_total(name)(prediction, target, groups, len(SIZES)).backward()
    assert (prediction.grad[torch.isnan(target)] == 0).all()
    assert torch.isfinite(prediction.grad).all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("value", [0.0, 1e-8, 3.0])
def test_constant_predictions_and_targets_keep_loss_and_gradient_finite(name, value):
    prediction = torch.full((6, 2), value, requires_grad=True)
    groups = torch.tensor([0, 0, 0, 1, 1, 1])
    for target in (torch.randn(6, 2), torch.ones(6, 2)):
        prediction.grad = None
        loss = get_total(name)(prediction, target, groups, 2)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(prediction.grad).all()
        assert prediction.grad.abs().max() < 1e4


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_targets_gives_zero(name):
    prediction = torch.randn(4, 2, requires_grad=True)
    loss = get_total(name)(prediction, torch.full((4, 2), torch.nan), torch.zeros(4, dtype=torch.long), 1)
    loss.backward()
    assert loss.item() == 0.0
    assert (prediction.grad == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_weight_of_two_equals_the_window_given_twice(name):
    prediction, target, groups = example()
    weights = torch.ones(len(groups), dtype=torch.float64)
    weights[::3] = 2.0
    twice = torch.cat([torch.arange(len(groups)), torch.arange(len(groups))[::3]])
    weighted = get_total(name)(prediction, target, groups, len(SIZES), weights)
    repeated = get_total(name)(prediction[twice], target[twice], groups[twice], len(SIZES))
    torch.testing.assert_close(weighted, repeated)


def test_an_unknown_loss_is_refused_with_the_names():
    with pytest.raises(ValueError, match="loss 'mse_ci' is unknown: did you mean 'mse_ic'"):
        get_loss("mse_ci")
