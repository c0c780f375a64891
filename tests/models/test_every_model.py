"""One smoke test for all models of the table: shapes, learning, saving, and that nothing looks where it must not."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from factor_models import (
    MODELS,
    Table,
    build_model,
    get_loss,
    input_kind,
    load_model,
    model_config,
    save_model,
)
from factor_models.tabular.linear import RidgeRegressor
from factor_models.training.inputs import TensorBatch
from factor_models.training.objective import Objective
from models.model_samples import (
    LOOKBACK,
    NETWORKS,
    NUM_FEATURES,
    NUM_SYMBOLS,
    NUM_WINDOWS,
    TABULAR,
    make_batch,
    predict,
    take,
    tiny_network,
    tiny_settings,
    tiny_table,
    train,
)

pytestmark = pytest.mark.numeric


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[Any]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("num_horizons", [1, 3])
def test_a_network_gives_one_prediction_per_window_and_horizon(name: str, num_horizons: int) -> None:
    model, batch = tiny_network(name, num_horizons).eval(), make_batch(name)
    prediction = predict(model, batch)
    assert prediction.shape == (NUM_WINDOWS, num_horizons)
    assert prediction.dtype == torch.float32
    assert torch.isfinite(prediction).all()
    assert (prediction.std(dim=0) > 0).all(), "every head tells the windows apart"
    assert model.input_kind == input_kind(name)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_reaches_every_parameter(name: str) -> None:
    """Within three steps: a gate that starts at zero holds back what is behind it in the first one."""
    objective, batch = Objective(tiny_network(name, 3), get_loss("mse")), make_batch(name, 3)
    parameters = {key: value for key, value in objective.named_parameters() if value.requires_grad}
    optimizer = torch.optim.Adam(parameters.values(), lr=1e-3)
    without = set(parameters)
    for _ in range(3):
        optimizer.zero_grad()
        torch.stack(list(objective(batch).values())).sum().backward()
        without -= {key for key in without if parameters[key].grad is not None and parameters[key].grad.any()}
        optimizer.step()
    assert not without


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_overfits_32_samples(name: str) -> None:
    batch = make_batch(name)

    def good_enough(prediction: Tensor) -> Tensor:
        return (prediction - batch.targets).square().mean() < 0.1 * batch.targets.var()

    assert train(tiny_network(name), get_loss("mse"), batch, good_enough)


@pytest.mark.parametrize("name", NETWORKS)
def test_read_as_logits_a_network_overfits_32_signs(name: str) -> None:
    batch = make_batch(name, seed=1)
    is_up = (batch.targets > 0).float()
    batch = replace(batch, targets=is_up)

    def good_enough(prediction: Tensor) -> Tensor:
        return ((prediction > 0) == is_up.bool()).float().mean() > 0.95

    assert train(tiny_network(name), get_loss("bce"), batch, good_enough)


@pytest.mark.parametrize("name", TABULAR)
@pytest.mark.parametrize("num_horizons", [1, 3])
def test_a_tabular_model_learns_a_table_and_repeats_itself(name: str, num_horizons: int) -> None:
    table = make_table(num_horizons)
    prediction = tiny_table(name, num_horizons).fit(table, table).predict(table)
    assert prediction.shape == (len(table), num_horizons)
    assert prediction.dtype == np.float32
    for horizon in range(num_horizons):
        assert np.corrcoef(prediction[:, horizon], table.targets[:, horizon])[0, 1] > 0.9
    again = tiny_table(name, num_horizons).fit(table, table)
    np.testing.assert_array_equal(again.predict(table), prediction)
    date = Table(features=table.features[:8], groups=table.groups[:8], symbols=table.symbols[:8])
    np.testing.assert_allclose(again.predict(date), prediction[:8], rtol=1e-6)


def make_table(num_horizons: int, num_rows: int = 64) -> Table:
    """8 dates of 8 symbols."""
    generator = np.random.default_rng(2)
    x = generator.standard_normal((num_rows, NUM_FEATURES), np.float32)
    y = x[:, :num_horizons] + 0.5 * x[:, 1 : num_horizons + 1]
    x[5, 0] = np.nan
    rows = np.arange(num_rows)
    return Table(features=x, targets=y, groups=rows // NUM_SYMBOLS, symbols=rows % NUM_SYMBOLS + 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_saved_network_predicts_the_same_and_has_the_same_bytes(name: str, tmp_path: Path) -> None:
    model, batch = tiny_network(name, 3).eval(), make_batch(name)
    loaded = save_twice(name, model, tmp_path)
    assert not loaded.training
    assert torch.equal(predict(loaded, batch), predict(model, batch))


@pytest.mark.parametrize("name", TABULAR)
def test_a_saved_tabular_model_predicts_the_same_and_has_the_same_bytes(name: str, tmp_path: Path) -> None:
    table = make_table(3)
    model = tiny_table(name, 3).fit(table, table)
    loaded = save_twice(name, model, tmp_path)
    np.testing.assert_array_equal(loaded.predict(table), model.predict(table))


def save_twice(name: str, model: RidgeRegressor | nn.Module, folder: Path) -> RidgeRegressor | nn.Module:
    """The model read back from its folder; saved again, the files have the same bytes."""
    settings = tiny_settings(name, 3)
    save_model(folder / "first", model, settings, {"seed": 1})
    loaded, metadata = load_model(folder / "first", expected={"seed": 1})
    metadata = {"seed": metadata["seed"]}
    save_model(folder / "second", loaded, settings, metadata)
    files = sorted(path.name for path in (folder / "first").iterdir())
    assert len(files) == 3
    for file in files:
        assert (folder / "first" / file).read_bytes() == (folder / "second" / file).read_bytes()
    return loaded


def states(model: nn.Module, batch: TensorBatch) -> Tensor:
    """States (B, L, ...) of each bar, with the further inputs that the method takes."""
    taken = inspect.signature(model.states).parameters
    extras = {key: value for key, value in batch.extras(model).items() if key in taken}
    with torch.no_grad():
        return model.states(batch.windows, **extras)


WITH_STATES = tuple(name for name in NETWORKS if hasattr(MODELS[name].build, "states"))


@pytest.mark.parametrize("name", WITH_STATES)
@pytest.mark.parametrize("bar", [0, LOOKBACK // 2, LOOKBACK - 1])
def test_the_state_of_a_bar_does_not_see_later_bars(name: str, bar: int) -> None:
    model, batch, other = tiny_network(name).eval(), make_batch(name), make_batch(name, seed=5)
    windows, texts = batch.windows.clone(), batch.texts.clone()
    windows[:, bar + 1 :], texts[:, bar + 1 :] = other.windows[:, bar + 1 :], other.texts[:, bar + 1 :]
    before, after = states(model, batch), states(model, replace(batch, windows=windows, texts=texts))
    assert before.shape[:2] == (NUM_WINDOWS, LOOKBACK)
    torch.testing.assert_close(after[:, : bar + 1], before[:, : bar + 1], rtol=1e-5, atol=1e-6)
    if bar < LOOKBACK - 1:
        assert (after[:, -1] - before[:, -1]).abs().max() > 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_a_date_does_not_see_the_other_dates_of_the_batch(name: str) -> None:
    model, batch, other = tiny_network(name, 3).eval(), make_batch(name), make_batch(name, seed=5)
    first, later = batch.groups == 0, batch.groups > 0
    before = predict(model, batch)
    windows, texts = batch.windows.clone(), batch.texts.clone()
    windows[later], texts[later] = other.windows[later], other.texts[later]
    after = predict(model, replace(batch, windows=windows, texts=texts))
    torch.testing.assert_close(after[first], before[first], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(after[later], before[later], atol=1e-4)
    alone = predict(model, take(batch, torch.arange(NUM_SYMBOLS)))
    torch.testing.assert_close(alone, before[first], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_order_of_windows_in_a_batch_does_not_matter(name: str) -> None:
    model, batch = tiny_network(name, 3).eval(), make_batch(name)
    order = torch.from_numpy(np.random.default_rng(3).permutation(NUM_WINDOWS))
    torch.testing.assert_close(predict(model, take(batch, order)), predict(model, batch)[order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_prediction_leaves_no_trace_and_repeats_itself(name: str) -> None:
    model, batch, other = tiny_network(name, 3).eval(), make_batch(name), make_batch(name, seed=5)
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    first = predict(model, batch)
    predict(model, other)
    torch.manual_seed(99)
    assert torch.equal(predict(model, batch), first)
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_of_one_window_and_one_without_further_inputs_are_predicted(name: str) -> None:
    model, batch = tiny_network(name, 3).eval(), make_batch(name)
    alone = predict(model, take(batch, torch.tensor([7])))
    assert torch.isfinite(alone).all()
    if "groups" not in getattr(model, "extra_inputs", ()):
        torch.testing.assert_close(alone, predict(model, batch)[7:8], rtol=1e-5, atol=1e-6)
    bare = replace(batch, symbols=None, texts=None)
    assert torch.isfinite(predict(model, bare)).all()
    with torch.no_grad():
        assert torch.isfinite(model(batch.windows)).all(), "nothing but windows: they are all of one date"


@pytest.mark.parametrize("name", NETWORKS)
def test_splitting_a_batch_by_dates_does_not_change_the_loss(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All draws are 0 here; each piece weighs by its dates, as the engine weighs processes and micro batches."""
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    objective, batch = Objective(tiny_network(name, 3), get_loss("mse_ic")).eval(), make_batch(name, 3)
    pieces = [take(batch, torch.nonzero(batch.groups == 0)[:, 0])]
    pieces.append(take(batch, torch.nonzero(batch.groups > 0)[:, 0]))
    whole = objective(batch)
    parts = [objective(piece) for piece in pieces]
    for term, value in whole.items():
        split = sum(part[term] * piece.num_dates for part, piece in zip(parts, pieces, strict=True))
        torch.testing.assert_close(split / batch.num_dates, value, rtol=1e-4, atol=1e-5, msg=term)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_seed_builds_the_same_weights(name: str) -> None:
    first, second = tiny_network(name, seed=5).state_dict(), tiny_network(name, seed=5).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", NETWORKS)
def test_windows_of_another_shape_are_refused(name: str) -> None:
    model, batch = tiny_network(name), make_batch(name)
    with pytest.raises(ValueError, match=rf"\(32, 7, 5\).*lookback={LOOKBACK}, num_features={NUM_FEATURES}"):
        model(batch.windows[:, 1:])


@pytest.mark.parametrize("name", NETWORKS + TABULAR)
def test_every_setting_is_documented_and_unknown_ones_are_forbidden(name: str) -> None:
    config = model_config(name)
    assert config.__pydantic_config__ == {"extra": "forbid"}
    assert config.__doc__
    source = "".join(inspect.getsource(part) for part in config.__mro__[:-1])
    for field in dataclasses.fields(config):
        after = source.split(f"\n    {field.name}:")[1].splitlines()[1]
        assert after.startswith('    """'), f"{field.name} has no documentation"
    with pytest.raises(ValueError, match=f"model '{name}' has no setting 'not_a_setting'"):
        build_model(**tiny_settings(name), not_a_setting=1)
