"""What holds for every loss: shares, gradients, masks, weights; and how losses are chosen by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from factor_models import LOSSES, get_loss, loss_config
from models.loss_samples import (
    SIZES,
    TARGETS,
    VARIANTS,
    example,
    make_loss,
    needs_direction,
    outputs_of,
    total_of,
)

pytestmark = pytest.mark.numeric

SMALLER = (4, 11, 7, 5)
"""Dates where every forecast is moved by itself, twice."""

every_loss = pytest.mark.parametrize("variant", VARIANTS)


@every_loss
def test_the_mean_over_equal_shares_of_the_dates_is_the_loss_of_all(variant: str) -> None:
    prediction, target, groups = example(variant)
    loss = total_of(variant)
    whole = loss(prediction, target, groups, 4)
    first, second = groups < 2, groups >= 2
    parts = [
        loss(prediction[first], target[first], groups[first], 2),
        loss(prediction[second], target[second], groups[second] - 2, 2),
    ]
    torch.testing.assert_close(sum(parts) / 2, whole)


@every_loss
def test_gradients_are_right(variant: str) -> None:
    prediction, target, groups = example(variant, sizes=SMALLER)
    prediction.requires_grad_()
    loss = total_of(variant)
    assert torch.autograd.gradcheck(lambda p: loss(p, target, groups, len(SMALLER)), prediction)


@every_loss
def test_masked_targets_get_no_gradient(variant: str) -> None:
    prediction, target, groups = example(variant)
    prediction.requires_grad_()
    total_of(variant)(prediction, target, groups, len(SIZES)).backward()
    gradient = prediction.grad.unflatten(1, (2, -1))
    assert (gradient[torch.isnan(target)] == 0).all()
    assert (gradient[torch.isfinite(target)] != 0).any()
    assert torch.isfinite(gradient).all()


@every_loss
def test_what_is_forecast_of_a_masked_target_does_not_matter(variant: str) -> None:
    prediction, target, groups = example(variant)
    other = prediction.clone().unflatten(1, (2, -1))
    other[torch.isnan(target)] = 1e3
    loss = total_of(variant)
    expected = loss(prediction, target, groups, len(SIZES))
    torch.testing.assert_close(loss(other.flatten(1), target, groups, len(SIZES)), expected)


@every_loss
@pytest.mark.parametrize("value", [0.0, 1e-8, 3.0])
def test_constant_predictions_and_targets_keep_loss_and_gradient_finite(variant: str, value: float) -> None:
    prediction = torch.full((6, outputs_of(variant)), value, requires_grad=True)
    groups = torch.tensor([0, 0, 0, 1, 1, 1])
    moving = torch.rand(6, 2).round() if needs_direction(variant) else torch.randn(6, 2)
    for target in (moving, torch.ones(6, 2)):
        prediction.grad = None
        loss = total_of(variant)(prediction, target, groups, 2)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(prediction.grad).all()
        assert prediction.grad.abs().max() < 1e4


@every_loss
def test_large_forecasts_keep_loss_and_gradient_finite(variant: str) -> None:
    prediction, target, groups = example(variant)
    prediction = (prediction.float() * 1e4).requires_grad_()
    loss = total_of(variant)(prediction, target.float(), groups, len(SIZES))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(prediction.grad).all()


@every_loss
def test_a_batch_without_targets_gives_zero(variant: str) -> None:
    prediction = torch.randn(4, outputs_of(variant), requires_grad=True)
    loss = total_of(variant)(prediction, torch.full((4, 2), torch.nan), torch.zeros(4, dtype=torch.long), 1)
    loss.backward()
    assert loss.item() == 0.0
    assert (prediction.grad == 0).all()


@every_loss
@given(
    weights=st.lists(st.sampled_from([1, 2, 3]), min_size=sum(SIZES), max_size=sum(SIZES)),
    seed=st.integers(0, 99),
)
@settings(max_examples=5, deadline=None)
def test_a_weight_of_two_equals_the_window_given_twice(variant: str, weights: list[int], seed: int) -> None:
    prediction, target, groups = example(variant, seed)
    times = torch.tensor(weights)
    repeated = torch.repeat_interleave(torch.arange(len(groups)), times)
    loss = total_of(variant)
    weighted = loss(prediction, target, groups, len(SIZES), times.double())
    torch.testing.assert_close(weighted, loss(prediction[repeated], target[repeated], groups[repeated], len(SIZES)))


@every_loss
def test_only_the_ratio_of_weights_within_a_date_decides_the_gradient(variant: str) -> None:
    prediction, target, groups = example(variant)
    prediction.requires_grad_()
    weights = torch.tensor([2.0, 3.0, 0.4, 5.0], dtype=torch.float64)[groups]
    loss = total_of(variant)
    (expected,) = torch.autograd.grad(loss(prediction, target, groups, len(SIZES)), prediction)
    (gradient,) = torch.autograd.grad(loss(prediction, target, groups, len(SIZES), weights), prediction)
    torch.testing.assert_close(gradient, expected)


@every_loss
def test_the_weight_of_a_date_multiplies_what_it_adds(variant: str) -> None:
    prediction, target, groups = example(variant)
    loss = total_of(variant)
    weight_of_date = torch.tensor([0.5, 2.0, 0.0, 1.5], dtype=torch.float64)
    alone = [
        loss(prediction[groups == date], target[groups == date], groups[groups == date] * 0, 1)
        for date in range(len(SIZES))
    ]
    expected = sum(weight * value for weight, value in zip(weight_of_date, alone, strict=True)) / len(SIZES)
    weighted = loss(prediction, target, groups, len(SIZES), date_weights=weight_of_date[groups])
    torch.testing.assert_close(weighted, expected)


@every_loss
def test_symbols_of_another_date_do_not_matter(variant: str) -> None:
    prediction, target, groups = example(variant)
    prediction.requires_grad_()
    only_first = torch.where((groups == 0).unsqueeze(1), target, torch.nan)
    total_of(variant)(prediction, only_first, groups, len(SIZES)).backward()
    assert (prediction.grad[groups != 0] == 0).all()


class Calls(TorchDispatchMode):
    """Names of the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names = set()

    def __torch_dispatch__(
        self, function: Any, types: tuple[Any, ...], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Tensor:
        self.names.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@every_loss
def test_no_operator_is_used_that_a_gpu_refuses_when_it_must_be_deterministic(variant: str) -> None:
    """The operators that `torch.use_deterministic_algorithms` names and a loss might use."""
    prediction, target, groups = example(variant)
    with Calls() as calls:
        prediction.requires_grad_()
        total_of(variant)(prediction, target, groups, len(SIZES), torch.ones(len(groups))).backward()
    assert "mul" in calls.names
    assert not calls.names & {"cumsum", "histc", "kthvalue", "median", "put_", "scatter_add", "resize_"}


def test_every_loss_reports_by_name() -> None:
    prediction, target, groups = example()
    assert list(make_loss("mse_ic")(prediction, target, groups, len(SIZES))) == ["mse_ic"]
    assert list(make_loss("weighted huber")(prediction, target, groups, len(SIZES))) == [
        "huber_h1",
        "huber_h5",
    ]
    learned = make_loss("learned mse_ic")(prediction, target, groups, len(SIZES))
    assert list(learned) == ["mse_ic_h1", "mse_ic_h5", "log_variance"]


def test_an_unknown_loss_is_refused_with_the_names() -> None:
    with pytest.raises(ValueError, match="loss 'mse_ci' is unknown: did you mean 'mse_ic'"):
        get_loss("mse_ci")
    with pytest.raises(ValueError, match="loss 'hubber' is unknown: did you mean 'huber'"):
        loss_config("hubber")


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("huber", {"dleta": 1.0}, "loss 'huber' has no setting 'dleta': did you mean 'delta'"),
        ("huber", {"delta": 0.0}, "^loss 'huber': delta = 0.0: must be > 0"),
        ("mse", {"target_weights": (1.0, -1.0)}, "must not be negative"),
        ("mse", {"target_weights": (1.0, 1.0, 1.0)}, r"3 numbers: must be one, or one for each of h1, h5"),
        ("target_ic", {"target_ic": 0.0}, r"target_ic = 0.0: must be in \(0, 1\]"),
        ("target_ic", {"target_ic": (0.1, 0.1, 0.1)}, "3 numbers: must be one, or one for each of h1, h5"),
        ("rank", {"temperature": -1.0}, "^loss 'rank': temperature = -1.0: must be > 0"),
        ("quantile", {"levels": (0.1, 0.9)}, "an odd number"),
        ("quantile", {"levels": (0.2, 0.4, 0.9)}, "the middle one 0.5"),
        ("quantile", {"levels": (0.5, 0.5, 0.9)}, "must rise"),
        ("focal", {"gamma": -1.0}, "^loss 'focal': gamma = -1.0: must be >= 0"),
        ("focal", {"alpha": 1.0}, r"^loss 'focal': alpha = 1.0: must be in \(0, 1\)"),
        ("quantitative", {}, r"target_ic = \[0.08, 0.05, 0.03\] has 3 numbers"),
        ("quantitative", {"rank": -1.0}, "^loss 'quantitative': rank = -1.0: must be >= 0"),
    ],
)
def test_settings_are_checked(name: str, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_loss(name, TARGETS, **wrong)


def test_settings_per_target_need_the_targets_names() -> None:
    for name, given_settings in (("quantitative", {}), ("mse", {"target_weights": "learned"})):
        with pytest.raises(ValueError, match="needs the names of the targets"):
            get_loss(name, **given_settings)


def test_a_batch_with_other_targets_than_the_loss_was_made_for_is_refused() -> None:
    prediction, target, groups = example()
    with pytest.raises(ValueError, match="the batch has 1 targets: the loss was made for h1, h5"):
        make_loss("weighted huber")(prediction[:, :1], target[:, :1], groups, len(SIZES))


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_can_be_built_by_its_name_alone(name: str) -> None:
    get_loss(name, ("h1", "h5", "h20"))
