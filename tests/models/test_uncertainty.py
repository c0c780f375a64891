"""Uncertainty: dropout left on against torch's own training mode, ensembles against numpy, refusals."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from factor_models import build_model, ensemble_forecast, mc_dropout, set_seed
from factor_models import predict as plain_predict
from factor_models.training.inputs import TensorBatch
from models.model_samples import NETWORKS, make_batch, tiny_settings


def as_numpy(batch: TensorBatch, rows: slice = slice(None)) -> Any:
    fields = {
        "windows": batch.windows,
        "groups": batch.groups,
        "symbols": batch.symbols,
        "texts": batch.texts,
    }
    arrays = {name: value.numpy()[rows] for name, value in fields.items()}
    return SimpleNamespace(**arrays, targets=None, rows=np.arange(len(batch.groups))[rows] + 100)


def build(name: str, **settings: Any) -> nn.Module:
    set_seed(1)
    return build_model(**(tiny_settings(name, 2) | settings)).eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_without_dropout_the_spread_is_exactly_0_and_the_mean_the_forecast(name: str) -> None:
    model, batch = build(name), as_numpy(make_batch(name))
    rows, mean, deviation = mc_dropout(model, [batch], passes=3)
    expected_rows, expected = plain_predict(model, [batch])
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(mean, expected)
    assert (deviation == 0).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_with_dropout_there_is_a_spread_and_the_seed_decides_it(name: str) -> None:
    if "dropout" not in tiny_settings(name):
        pytest.skip(f"{name} drops nothing")
    model, batch = build(name, dropout=0.3), as_numpy(make_batch(name))
    generator = torch.get_rng_state()
    first = mc_dropout(model, [batch], passes=5, seed=4)
    again = mc_dropout(model, [batch], passes=5, seed=4)
    other = mc_dropout(model, [batch], passes=5, seed=5)
    assert (first[2] > 0).mean() > 0.9
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert np.abs(first[1] - other[1]).max() > 1e-4
    assert torch.equal(torch.get_rng_state(), generator)
    assert not any(module.training for module in model.modules())


def test_the_passes_are_those_of_the_network_in_training() -> None:
    """A network of dropout and matrices alone: training mode, by hand, with the same seed."""
    model = build("lstm", dropout=0.4)
    batch = as_numpy(make_batch("lstm"))
    _, mean, deviation = mc_dropout(model, [batch], passes=7, seed=11)
    torch.manual_seed(11)
    model.train()
    with torch.no_grad():
        drawn = torch.stack([model(torch.from_numpy(batch.windows)) for _ in range(7)]).double().numpy()
    np.testing.assert_allclose(mean, drawn.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(deviation, drawn.std(axis=0), rtol=1e-9)


def test_statistics_of_normalisations_are_not_touched() -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.dropout, self.head = nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 1)

        def forward(self, x_BLF: Tensor) -> Tensor:
            return self.head(self.dropout(self.norm(x_BLF[:, -1])))

    model = Normed()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    _, _, deviation = mc_dropout(model, [as_numpy(make_batch("lstm"))], passes=4)
    assert (deviation > 0).any()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_several_batches_come_in_their_order_and_empty_ones_are_left_out() -> None:
    model, batch = build("lstm"), make_batch("lstm")
    parts = [as_numpy(batch, rows) for rows in (slice(16, 32), slice(0, 0), slice(0, 16))]
    rows, mean, _ = mc_dropout(model, parts, passes=2)
    assert rows.tolist() == [*range(116, 132), *range(100, 116)]
    np.testing.assert_allclose(mean, plain_predict(model, parts)[1], rtol=1e-6)
    with pytest.raises(ValueError, match="no window to predict"):
        mc_dropout(model, parts[1:2])
    with pytest.raises(ValueError, match="passes = 1: must be >= 2"):
        mc_dropout(model, parts, passes=1)


def test_a_forecast_that_fails_leaves_the_model_in_evaluation_mode() -> None:
    model = build("lstm", dropout=0.5)
    batch = as_numpy(make_batch("lstm"))
    batch.windows = batch.windows[:, 1:]
    with pytest.raises(ValueError, match="windows have shape"):
        mc_dropout(model, [batch], passes=2)
    assert not any(module.training for module in model.modules())


def test_an_ensemble_is_the_weighted_mean_and_the_weighted_spread() -> None:
    generator = np.random.default_rng(0)
    members = {name: generator.standard_normal((6, 2)).astype(np.float32) for name in ("a", "b", "c")}
    weights = {"c": 0.2, "a": 0.5, "b": 0.3}
    mean, deviation = ensemble_forecast(members, weights)
    stacked = np.stack([members[name] for name in "abc"]).astype(np.float64)
    expected = np.average(stacked, axis=0, weights=[0.5, 0.3, 0.2])
    variance = np.average((stacked - expected) ** 2, axis=0, weights=[0.5, 0.3, 0.2])
    np.testing.assert_allclose(mean, expected, rtol=1e-12)
    np.testing.assert_allclose(deviation, np.sqrt(variance), rtol=1e-12)


def test_members_that_agree_have_no_spread_and_a_missing_value_stays_missing() -> None:
    same = np.array([0.1, 0.7, np.nan])
    mean, deviation = ensemble_forecast({"a": same, "b": same.copy()}, {"a": 1 / 3, "b": 2 / 3})
    np.testing.assert_array_equal(mean, same)
    np.testing.assert_array_equal(deviation, [0, 0, np.nan])


def test_an_ensemble_with_a_missing_member_or_wrong_weights_is_refused() -> None:
    x = np.zeros(3)
    for members, weights, message in [
        ({"a": x}, {"a": 0.5, "b": 0.5}, "member 'b' has a weight but no prediction"),
        ({"a": x, "b": x}, {"a": 1.0}, "member 'b' has no weight"),
        ({"a": x, "b": x}, {"a": 0.5, "b": 0.4}, r"weights sum to 0\.9: must sum to 1"),
        ({"a": x, "b": x}, {"a": 1.5, "b": -0.5}, r"weights\['b'\] = -0\.5: must be finite and >= 0"),
        ({"a": x, "b": np.zeros(4)}, {"a": 0.5, "b": 0.5}, "must be the same"),
        ({}, {}, "at least one member"),
    ]:
        with pytest.raises(ValueError, match=message):
            ensemble_forecast(members, weights)
