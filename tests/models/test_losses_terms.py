"""Each term against an independent reference: torch.nn.functional, scipy, a loop, or the formula on paper."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.nn import functional

from factor_models import get_loss
from factor_models.losses import (
    CrossSections,
    bce,
    focal,
    hinge,
    huber,
    ic,
    ic_shortfall,
    listnet,
    mae,
    mse,
    rank_error,
    ranknet,
    soft_ranks,
)
from factor_models.losses.ranks import average_ranks
from models.loss_samples import SIZES, TARGETS, dates_of, example, per_date

pytestmark = pytest.mark.numeric


def by_torch(function: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
    def statistic(prediction: np.ndarray, target: np.ndarray) -> float:
        return function(torch.from_numpy(prediction), torch.from_numpy(target), **settings).item()

    return statistic


def one_date(prediction: list[float], target: list[float]) -> tuple[Tensor, Any]:
    """A single date and target as tensors."""
    target = torch.tensor(target, dtype=torch.float64)[:, None]
    groups = torch.zeros(len(target), dtype=torch.long)
    return torch.tensor(prediction, dtype=torch.float64)[:, None], CrossSections(target, groups, 1)


@pytest.mark.parametrize(
    ("term", "reference", "settings"),
    [
        (mse, functional.mse_loss, {}),
        (mae, functional.l1_loss, {}),
        (huber, functional.huber_loss, {"delta": 0.4}),
        (huber, functional.huber_loss, {"delta": 3.0}),
    ],
)
def test_errors_equal_those_of_torch_on_each_date(
    term: Callable[..., Any], reference: Callable[..., Any], settings: dict[str, Any]
) -> None:
    prediction, target, groups = example()
    expected = per_date(prediction, target, groups, by_torch(reference, **settings))
    np.testing.assert_allclose(term(prediction, dates_of(target, groups), **settings), expected, rtol=1e-12)


def test_huber_is_square_near_zero_and_straight_beyond_delta() -> None:
    prediction, dates = one_date([0.05, 0.3], [0.0, 0.0])
    assert huber(prediction, dates, delta=0.1).item() == pytest.approx((0.05**2 / 2 + 0.1 * (0.3 - 0.05)) / 2)


@pytest.mark.parametrize("ties", [False, True])
def test_ic_is_one_minus_pearson_per_date(ties: bool) -> None:
    prediction, target, groups = example(ties=ties)
    expected = per_date(prediction, target, groups, lambda p, t: 1 - scipy.stats.pearsonr(p, t)[0])
    np.testing.assert_allclose(ic(prediction, dates_of(target, groups)), expected, atol=1e-5)


def test_ic_of_a_perfect_and_an_inverted_order() -> None:
    target = torch.tensor([[1.0], [2.0], [3.0]])
    dates = CrossSections(target, torch.zeros(3, dtype=torch.long), 1)
    assert ic(target * 5 + 3, dates).item() == pytest.approx(0.0, abs=1e-5)
    assert ic(-target, dates).item() == pytest.approx(2.0, abs=1e-5)


def test_a_step_along_the_gradient_raises_the_ic_of_every_date() -> None:
    prediction, target, groups = example(missing=False)
    prediction.requires_grad_()
    dates = dates_of(target, groups)
    before = ic(prediction, dates)
    before.sum().backward()
    after = ic(prediction - 1e-3 * prediction.grad, dates)
    assert (after < before).all()


def test_missing_ic_is_what_lies_below_the_aim_and_nothing_beyond_it() -> None:
    prediction, target, groups = example()
    correlation = per_date(prediction, target, groups, lambda p, t: scipy.stats.pearsonr(p, t)[0])
    for aim in (0.05, (0.3, 0.02)):
        expected = np.maximum(0, np.array(aim) - correlation)
        assert (expected == 0).any()
        assert (expected > 0).any()
        value = ic_shortfall(prediction, dates_of(target, groups), aim)
        np.testing.assert_allclose(value, expected, atol=1e-5)


def test_an_ic_above_the_aim_has_no_gradient() -> None:
    prediction, target, groups = example(missing=False)
    forecast = (target + 0.1 * prediction).requires_grad_()
    value = ic_shortfall(forecast, dates_of(target, groups), 0.08)
    value.sum().backward()
    assert (value == 0).all()
    assert (forecast.grad == 0).all()


@pytest.mark.parametrize("ties", [False, True])
def test_the_rank_term_is_spearman_as_the_temperature_goes_to_zero(ties: bool) -> None:
    prediction, target, groups = example(ties=ties)
    expected = per_date(prediction, target, groups, lambda p, t: 1 - scipy.stats.spearmanr(p, t)[0])
    value = rank_error(prediction, dates_of(target, groups), temperature=1e-7)
    np.testing.assert_allclose(value, expected, atol=1e-12)
    farther = rank_error(prediction, dates_of(target, groups), temperature=0.01)
    assert np.abs(farther.numpy() - expected).max() < 0.05


@pytest.mark.parametrize("ties", [False, True])
def test_soft_ranks_are_average_ranks_as_the_temperature_goes_to_zero(ties: bool) -> None:
    prediction, target, groups = example(ties=ties)
    dates = dates_of(target, groups)
    soft, hard = soft_ranks(prediction, dates, 1e-7), average_ranks(dates)
    for date in range(len(SIZES)):
        for column in range(2):
            rows = (groups == date) & torch.isfinite(target[:, column])
            of_prediction = scipy.stats.rankdata(prediction[rows, column].numpy())
            np.testing.assert_allclose(soft[rows, column], of_prediction, atol=1e-9)
            np.testing.assert_array_equal(hard[rows, column], scipy.stats.rankdata(target[rows, column].numpy()))


def test_soft_ranks_do_not_depend_on_the_scale_of_the_forecasts() -> None:
    prediction, target, groups = example()
    dates = dates_of(target, groups)
    torch.testing.assert_close(
        soft_ranks(100 * prediction + 7, dates, 0.1), soft_ranks(prediction, dates, 0.1), rtol=1e-4, atol=1e-4
    )


def test_the_rank_term_has_a_gradient_that_improves_the_order() -> None:
    prediction, target, groups = example(missing=False)
    prediction.requires_grad_()
    dates = dates_of(target, groups)
    optimiser = torch.optim.SGD([prediction], lr=20.0)
    before = per_date(prediction.detach(), target, groups, lambda p, t: scipy.stats.spearmanr(p, t)[0])
    for _ in range(300):
        optimiser.zero_grad()
        dates.average(rank_error(prediction, dates, 0.2)).backward()
        optimiser.step()
    after = per_date(prediction.detach(), target, groups, lambda p, t: scipy.stats.spearmanr(p, t)[0])
    assert (after > before).all()
    assert after.mean() > 0.9


@pytest.mark.parametrize("term", [lambda p, d: rank_error(p, d, 0.3), ranknet], ids=["rank", "ranknet"])
def test_pairs_in_chunks_give_the_same_value_and_gradient(
    term: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction, target, groups = example()
    prediction.requires_grad_()
    results = []
    for pairs_at_once in (1 << 22, 97):
        monkeypatch.setattr("factor_models.losses.cross_section.PAIRS_AT_ONCE", pairs_at_once)
        value = term(prediction, dates_of(target, groups))
        (gradient,) = torch.autograd.grad(value.sum(), prediction)
        results.append((value.detach(), gradient))
    torch.testing.assert_close(results[0], results[1])


def test_a_date_of_two_thousand_symbols_keeps_no_pairs_for_the_backward_pass() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction = torch.randn(2000, 1, generator=generator).requires_grad_()
    dates = CrossSections(torch.randn(2000, 1, generator=generator), torch.zeros(2000, dtype=torch.long), 1)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda value: kept.append(value.numel()) or value, lambda v: v):
        (rank_error(prediction, dates, 0.1) + ranknet(prediction, dates)).sum().backward()
    assert max(kept) <= 2000
    assert torch.isfinite(prediction.grad).all()
    assert (prediction.grad != 0).any()


def test_listnet_is_the_cross_entropy_of_softmaxes() -> None:
    prediction, target, groups = example()

    def reference(p: np.ndarray, t: np.ndarray) -> float:
        wanted = torch.softmax(torch.from_numpy(t) / 0.5, dim=0)
        return functional.cross_entropy(torch.from_numpy(p)[None], wanted[None]).item()

    expected = per_date(prediction, target, groups, reference)
    np.testing.assert_allclose(listnet(prediction, dates_of(target, groups), 0.5), expected, rtol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_ranknet_is_the_mean_over_ordered_pairs(ties: bool) -> None:
    prediction, target, groups = example(ties=ties)

    def reference(p: np.ndarray, t: np.ndarray) -> float:
        pairs = [(i, j) for i in range(len(t)) for j in range(len(t)) if t[i] > t[j]]
        return np.mean([math.log1p(math.exp(p[j] - p[i])) for i, j in pairs])

    expected = per_date(prediction, target, groups, reference)
    np.testing.assert_allclose(ranknet(prediction, dates_of(target, groups)), expected, rtol=1e-12)


def test_bce_equals_that_of_torch_on_each_date() -> None:
    prediction, target, groups = example("bce")
    expected = per_date(prediction, target, groups, by_torch(functional.binary_cross_entropy_with_logits))
    np.testing.assert_allclose(bce(prediction, dates_of(target, groups)), expected, rtol=1e-12)


def test_focal_with_gamma_zero_is_bce() -> None:
    prediction, target, groups = example("bce")
    dates = dates_of(target, groups)
    torch.testing.assert_close(focal(prediction, dates, gamma=0.0, alpha=None), bce(prediction, dates))
    torch.testing.assert_close(focal(prediction, dates, gamma=0.0, alpha=0.5), bce(prediction, dates) / 2)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_is_the_published_formula(gamma: float) -> None:
    prediction, target, groups = example("bce")

    def reference(x: np.ndarray, y: np.ndarray) -> float:
        p = 1 / (1 + np.exp(-x))
        p_true = np.where(y == 1, p, 1 - p)
        alpha = np.where(y == 1, 0.25, 0.75)
        return np.mean(-alpha * (1 - p_true) ** gamma * np.log(p_true))

    expected = per_date(prediction, target, groups, reference)
    value = focal(prediction, dates_of(target, groups), gamma=gamma, alpha=0.25)
    np.testing.assert_allclose(value, expected, rtol=1e-10)


def test_hinge_is_zero_beyond_the_margin_and_straight_before_it() -> None:
    prediction, dates = one_date([2.0, 0.25, -3.0, 0.5], [1.0, 1.0, 0.0, 0.0])
    assert hinge(prediction, dates).item() == pytest.approx((0 + 0.75 + 0 + 1.5) / 4)


@pytest.mark.parametrize("name", ["bce", "focal", "hinge"])
def test_a_return_in_place_of_a_direction_is_refused(name: str) -> None:
    prediction, target, groups = example()
    with pytest.raises(ValueError, match=r"values outside \[0, 1\].*need a direction, 1 \(up\) or 0 \(down\)"):
        get_loss(name)(prediction, target, groups, len(SIZES))


def test_pinball_is_that_of_the_formula_and_quantiles_never_cross() -> None:
    levels = (0.1, 0.5, 0.8)
    loss = get_loss("quantile", TARGETS, levels=levels)
    generator = torch.Generator().manual_seed(1)
    prediction = 3 * torch.randn(60, 6, generator=generator, dtype=torch.float64)
    _, target, groups = example()
    quantiles = loss.quantiles(prediction)
    assert (quantiles.diff(dim=2) > 0).all()

    error = target.numpy()[..., None] - quantiles.numpy()
    pinball = np.where(error >= 0, np.array(levels) * error, (np.array(levels) - 1) * error).mean(axis=2)
    means = [np.nanmean(pinball[groups == date][:, column]) for date in range(len(SIZES)) for column in range(2)]
    assert loss(prediction, target, groups, len(SIZES))["quantile"].item() == pytest.approx(np.mean(means))


def test_the_point_forecast_of_quantiles_is_the_median() -> None:
    loss = get_loss("quantile")
    prediction = torch.randn(7, 10)
    assert loss.outputs_per_target == 5
    torch.testing.assert_close(loss.point(prediction), loss.quantiles(prediction)[..., 2])
    torch.testing.assert_close(loss.point(prediction), prediction[:, [2, 7]])
    with pytest.raises(ValueError, match="9 columns: must be a multiple of 5"):
        loss.point(prediction[:, :9])


def test_quantiles_fitted_to_a_sample_are_its_quantiles() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(4000, 1, generator=generator)
    loss = get_loss("quantile", levels=(0.1, 0.5, 0.9))
    outputs = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.Adam([outputs], lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        loss(outputs.expand(4000, 3), target, torch.zeros(4000, dtype=torch.long), 1)["quantile"].backward()
        optimiser.step()
    fitted = loss.quantiles(outputs.detach()[None])[0, 0]
    expected = np.quantile(target.numpy(), [0.1, 0.5, 0.9])
    np.testing.assert_allclose(fitted, expected, atol=0.03)
