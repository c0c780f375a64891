"""The linear recurrent unit: the recurrence step by step, what it begins with, what its gated units can learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from factor_models import build_model, set_seed
from factor_models.networks.lru import LRUForecaster

pytestmark = pytest.mark.numeric


def network(lookback: int = 40, num_features: int = 3, **settings: int) -> LRUForecaster:
    set_seed(1)
    model = build_model("lru", num_features=num_features, num_horizons=2, lookback=lookback, **settings)
    assert isinstance(model, LRUForecaster)
    return model


def test_a_state_is_the_recurrence_run_bar_by_bar() -> None:
    model = network()
    torch.nn.init.normal_(model.shift_KF, std=0.3)
    x_BLF = torch.randn(5, 40, 3)
    keep_KF = torch.exp(-(model.log_rates_K1 + model.shift_KF).exp())
    state_BKF = torch.zeros(5, 4, 3)
    for bar in range(40):
        state_BKF = keep_KF * state_BKF + (1 - keep_KF**2).sqrt() * x_BLF[:, bar, None]
    found_BKF = torch.einsum("blf,klf->bkf", x_BLF, model.weights())
    torch.testing.assert_close(found_BKF, state_BKF, rtol=1e-4, atol=1e-5)


def test_half_lives_begin_between_one_bar_and_the_lookback() -> None:
    rates_K = network(memories=3).log_rates_K1[:, 0].double().exp()
    np.testing.assert_allclose(np.log(2) / rates_K.numpy(), [1.0, np.sqrt(40.0), 40.0], rtol=1e-5)


def test_the_forecast_is_a_line_through_states_and_gated_units() -> None:
    model, x_BLF = network().eval(), torch.randn(4, 40, 3)
    torch.nn.init.normal_(model.line.weight)
    gated_BD = torch.tanh(model.gate(x_BLF[:, -1])) * torch.tanh(model.value(x_BLF[:, -1]))
    states_BKF = torch.einsum("blf,klf->bkf", x_BLF, model.weights())
    known_BE = torch.cat([x_BLF[:, -1], states_BKF.flatten(1)], dim=1)
    expected_BH = gated_BD @ model.head.weight.T + model.head.bias + known_BE @ model.line.weight.T
    torch.testing.assert_close(model(x_BLF), expected_BH, rtol=1e-4, atol=1e-5)


def test_it_learns_a_product_of_signs_and_what_lies_far_back() -> None:
    """Each alone is half of the target; a line through the last bar finds neither."""
    generator = torch.Generator().manual_seed(0)
    x_BLF = torch.randn(2500, 40, 3, generator=generator)
    old_B = (0.95 ** torch.arange(39, -1, -1.0)) @ x_BLF[:, :, 2].T * 0.3
    y_B = torch.sign(x_BLF[:, -1, 0] * x_BLF[:, -1, 1]) + old_B
    model = network(hidden=8)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(100):
        optimizer.zero_grad()
        (model(x_BLF[:2000])[:, 0] - y_B[:2000]).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        found = model(x_BLF[2000:])[:, 0]
    assert float(torch.corrcoef(torch.stack([found, y_B[2000:]]))[0, 1]) > 0.85


@pytest.mark.parametrize(("field", "value"), [("memories", 0), ("hidden", 0), ("lookback", 0)])
def test_impossible_sizes_are_refused_by_name(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{field} = {value}: must be >= 1"):
        build_model("lru", num_features=3, num_horizons=1, **{field: value})


def test_it_is_saved_and_read_like_the_others(tmp_path: Path) -> None:
    model = network().eval()
    model.save_pretrained(tmp_path)
    x_BLF = torch.randn(5, 40, 3)
    torch.testing.assert_close(LRUForecaster.from_pretrained(tmp_path)(x_BLF), model(x_BLF), rtol=0, atol=0)
