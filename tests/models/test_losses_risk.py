"""Risk terms: nothing up to the bound, the square of what lies above it; turnover over the same symbol's bars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from factor_models.losses import CrossSections, extreme, leverage, turnover, volatility
from factor_models.training.inputs import tensor_batch
from models.loss_samples import dates_of, example, per_date

pytestmark = pytest.mark.numeric

TERMS = {"volatility": volatility, "extreme": extreme, "leverage": leverage}


def hand(name: str, bound: float) -> Callable[..., Any]:
    def statistic(prediction: np.ndarray, _: np.ndarray) -> float:
        size = np.abs(prediction)
        if name == "volatility":
            return max(prediction.std() - bound, 0) ** 2
        if name == "extreme":
            return np.mean(np.maximum(size - bound, 0) ** 2)
        return max(size.max() / size.mean() - bound, 0) ** 2

    return statistic


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("bound", [0.0, 0.9, 1.7])
def test_risk_terms_are_their_formula(name: str, bound: float) -> None:
    prediction, target, groups = example()
    expected = per_date(prediction, target, groups, hand(name, bound))
    value = TERMS[name](prediction, dates_of(target, groups), bound)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", TERMS)
def test_below_its_bound_a_risk_term_has_neither_value_nor_gradient(name: str) -> None:
    prediction, target, groups = example()
    prediction.requires_grad_()
    value = TERMS[name](prediction, dates_of(target, groups), 10.0)
    value.sum().backward()
    assert (value == 0).all()
    assert (prediction.grad == 0).all()


@pytest.mark.parametrize("name", ["volatility", "extreme"])
def test_above_its_bound_a_risk_term_grows_with_the_square(name: str) -> None:
    target = torch.zeros(4, 1, dtype=torch.float64)
    dates = CrossSections(target, torch.zeros(4, dtype=torch.long), 1)
    signs = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]], dtype=torch.float64)
    values = [TERMS[name](signs * size, dates, 0.2).item() for size in (0.2, 0.3, 0.4, 0.6)]
    assert values == pytest.approx([0.0, 0.01, 0.04, 0.16], abs=1e-12)


def test_leverage_grows_with_the_square_of_the_ratio_above_the_bound() -> None:
    dates = CrossSections(torch.zeros(4, 1), torch.zeros(4, dtype=torch.long), 1)
    for largest in (1.0, 3.0, 9.0):
        forecast = torch.tensor([[1.0], [-1.0], [1.0], [largest]])
        expected = max(0.0, largest / ((3 + largest) / 4) - 2.0) ** 2
        assert leverage(forecast, dates, 2.0).item() == pytest.approx(expected, abs=1e-6)


class Panel:
    """Windows of three symbols with four bars each, rows sorted by (symbol, time); the batch holds some dates."""

    def __init__(self, dates: list[int], lookback: int = 2) -> None:
        self.groups = np.repeat(np.arange(len(dates)), 3)
        self.rows = np.array([symbol * 4 + date for date in dates for symbol in range(3)])
        self.windows = np.zeros((len(self.rows), lookback, 1), np.float32)
        self.targets = np.ones((len(self.rows), 1), np.float32)


def turnover_of(batch: Any, forecast: Tensor | list[float]) -> list[float]:
    tensors = tensor_batch(batch)
    dates = CrossSections(tensors.targets, tensors.groups, tensors.num_dates, tensors.weights, None, tensors.previous)
    prediction = torch.tensor([[forecast[row]] for row in batch.rows])
    return turnover(prediction, dates).squeeze(1).tolist()


FORECAST = [0.1, 0.4, 0.2, 0.9, -0.5, -0.5, 0.0, 0.3, 1.0, 2.0, 4.0, 8.0]  # by symbol, then date


def test_turnover_is_the_mean_change_of_the_same_symbols_forecast() -> None:
    first = (0.3 + 0.0 + 1.0) / 3
    second = (0.2 + 0.5 + 2.0) / 3
    assert turnover_of(Panel([0, 1, 2]), FORECAST) == pytest.approx([0.0, first, second])
    assert turnover_of(Panel([2, 0, 1]), FORECAST) == pytest.approx([second, 0.0, first])


def test_dates_without_the_bar_before_have_no_turnover() -> None:
    assert turnover_of(Panel([0, 2]), FORECAST) == [0.0, 0.0]


def test_a_window_of_one_bar_does_not_tell_its_symbol_so_nothing_is_paired() -> None:
    assert turnover_of(Panel([0, 1, 2], lookback=1), FORECAST) == [0.0, 0.0, 0.0]


def test_turnover_leaves_out_pairs_with_an_unknown_target() -> None:
    batch = Panel([0, 1])
    batch.targets[0] = np.nan
    assert turnover_of(batch, FORECAST)[1] == pytest.approx((0.0 + 1.0) / 2)


def test_turnover_is_linear_and_its_gradient_right() -> None:
    forecast = torch.tensor(FORECAST, dtype=torch.float64)
    doubled = turnover_of(Panel([0, 1, 2]), 2 * forecast)
    assert doubled == pytest.approx([2 * value for value in turnover_of(Panel([0, 1, 2]), forecast)])
    batch = tensor_batch(Panel([0, 1, 2]))
    dates = CrossSections(batch.targets.double(), batch.groups, 3, None, None, batch.previous)
    prediction = torch.randn(9, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda p: turnover(p, dates), prediction.requires_grad_())
