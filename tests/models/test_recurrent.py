"""The recurrent models against torch's own layers and the formulas of their papers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from factor_models import TensorBatch, build_model, get_loss, set_seed
from factor_models.networks import recurrent_layers, temporal_attention
from factor_models.networks.recurrent_layers import GRULayers, LSTMLayers
from factor_models.networks.temporal_attention import TemporalAttention
from factor_models.training.objective import Objective

pytestmark = pytest.mark.numeric

SIZES = {"num_features": 5, "num_horizons": 2, "lookback": 6, "hidden": 8}


def build(name: str, **config: Any) -> nn.Module:
    set_seed(3)
    return build_model(name, **(SIZES | config))


def make_batch(num_windows: int = 12) -> TensorBatch:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(num_windows, 2, generator=generator)
    targets[1] = torch.nan
    targets[2, 0] = torch.nan
    return TensorBatch(
        windows=torch.randn(num_windows, 6, 5, generator=generator),
        groups=torch.arange(num_windows) // 4,
        num_dates=num_windows // 4,
        targets=targets,
    )


def gradients(module: nn.Module, batch: TensorBatch, loss: str = "mse_ic") -> tuple[dict[str, Any], dict[str, Any]]:
    """Terms of the loss, and the gradient of their sum for each parameter."""
    module.zero_grad()
    terms = Objective(module, get_loss(loss))(batch)
    torch.stack(list(terms.values())).sum().backward()
    return terms, {name: parameter.grad.clone() for name, parameter in module.named_parameters()}


LAYERS = {GRULayers: nn.GRU, LSTMLayers: nn.LSTM}


@pytest.fixture
def own_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches too go through our own passes, where torch's would be as fast."""
    monkeypatch.setattr(recurrent_layers, "WORTH_TRAINING_LSTM", 0)
    monkeypatch.setattr(recurrent_layers, "WORTH_PREDICTING_GRU", 0)


@pytest.mark.usefixtures("own_passes")
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize(
    "read",
    [
        lambda states, final: states.square().sum() + final.sin().sum(),
        lambda states, final: states.square().sum(),
        lambda states, final: final.sin().sum(),
    ],
    ids=["both", "states", "final"],
)
def test_recurrent_layers_give_the_states_and_gradients_of_torch(
    kind: str, layers: int, bidirectional: bool, read: Callable[..., Any]
) -> None:
    set_seed(0)
    theirs = LAYERS[kind](5, 7, layers, batch_first=True, bidirectional=bidirectional).double()
    ours = kind(5, 7, layers, batch_first=True, bidirectional=bidirectional).double()
    ours.load_state_dict(theirs.state_dict())
    x_BLF = torch.randn(11, 6, 5, dtype=torch.float64)
    results = []
    for module in (theirs, ours):
        inputs = x_BLF.clone().requires_grad_()
        states, final = module(inputs)
        if module is theirs:  # torch gives those of all layers, and with the LSTM's its cells
            final = final[0] if kind is LSTMLayers else final
            final = torch.cat([*final[-2 if bidirectional else -1 :]], dim=1)
        loss = read(states, final)
        loss.backward()
        results.append([states, final, inputs.grad, *(parameter.grad for parameter in module.parameters())])
    for expected, value in zip(*results, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        for value, expected in zip(ours(x_BLF), results[1], strict=False):
            if kind is GRULayers:  # the LSTM predicts by torch's pass
                assert torch.equal(value, expected)
            torch.testing.assert_close(value, expected.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", LAYERS)
def test_many_windows_and_few_trained_or_predicted_have_the_same_states(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the passes, ours or torch's, is chosen for them."""
    set_seed(0)
    layers, x_BLF = kind(5, 64, batch_first=True), torch.randn(600, 4, 5)
    own, run = [], recurrent_layers._run
    monkeypatch.setattr(recurrent_layers, "_run", lambda *arguments: own.append(True) or run(*arguments))
    theirs = LAYERS[kind](5, 64, batch_first=True)
    theirs.load_state_dict(layers.state_dict())
    expected, _ = theirs(x_BLF)
    for windows in (slice(0, 10), slice(None)):
        for with_gradient in (True, False):
            with torch.set_grad_enabled(with_gradient):
                states, final = layers(x_BLF[windows])
            torch.testing.assert_close(states, expected[windows], rtol=1e-5, atol=1e-6)
            assert torch.equal(final, states[:, -1])
    assert len(own) == {GRULayers: 3, LSTMLayers: 1}[kind], "ours: where it is faster"


@pytest.mark.usefixtures("own_passes")
@pytest.mark.parametrize("kind", LAYERS)
def test_recurrent_layers_of_16_bits_round_the_states_once(kind: str) -> None:
    set_seed(0)
    layers = kind(5, 7, 2, batch_first=True).bfloat16()
    x_BLF = torch.randn(11, 6, 5).bfloat16()
    states, final = layers(x_BLF)
    assert torch.equal(final, states[:, -1])
    states.float().sum().backward()
    exact = LAYERS[kind](5, 7, 2, batch_first=True)
    exact.load_state_dict(layers.state_dict())
    torch.testing.assert_close(states, exact(x_BLF.float())[0].bfloat16(), rtol=0.01, atol=1e-6)
    assert all(parameter.grad.dtype == torch.bfloat16 for parameter in layers.parameters())


@pytest.mark.parametrize("kind", LAYERS)
def test_states_have_the_type_of_the_inputs(kind: str) -> None:
    layers, x_BLF = kind(5, 7, batch_first=True).bfloat16(), torch.randn(11, 6, 5)
    for inputs in (x_BLF, x_BLF.bfloat16()):
        assert {values.dtype for values in layers(inputs)} == {inputs.dtype}
        with torch.no_grad():
            assert {values.dtype for values in layers(inputs)} == {inputs.dtype}


@pytest.mark.usefixtures("own_passes")
@pytest.mark.parametrize("kind", LAYERS)
def test_recurrent_layers_drop_units_between_layers_in_training_only(kind: str) -> None:
    layers = kind(5, 7, 2, batch_first=True, dropout=0.5)
    x_BLF = torch.randn(11, 6, 5)
    assert not torch.equal(layers(x_BLF)[0], layers(x_BLF)[0])
    layers.eval()
    assert torch.equal(layers(x_BLF)[0], layers(x_BLF)[0])


@pytest.mark.usefixtures("own_passes")
@pytest.mark.parametrize("kind", LAYERS)
def test_the_gradient_of_recurrent_layers_is_refused_a_second_time(kind: str) -> None:
    layers = kind(2, 3, batch_first=True)
    x_BLF = torch.randn(4, 5, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(layers(x_BLF)[0].square().sum(), x_BLF, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("name", ["bilstm", "bigru"])
def test_a_two_way_model_reads_the_window_once_each_way(name: str) -> None:
    """Turned round and with the directions exchanged, the same window gives the same prediction."""
    model, turned = build(name), build(name)
    weights = model.state_dict()
    swapped = {
        key.removesuffix("_reverse") if key.endswith("_reverse") else f"{key}_reverse": value
        for key, value in weights.items()
        if key.startswith("recurrence.")
    }

    def halves(value: Tensor) -> Tensor:
        return torch.cat(value.chunk(2, dim=-1)[::-1], dim=-1)

    swapped |= {f"norm.{kind}": halves(weights[f"norm.{kind}"]) for kind in ("weight", "bias")}
    turned.load_state_dict(weights | swapped | {"mix.weight": halves(weights["mix.weight"])})
    x_BLF = make_batch().windows
    torch.testing.assert_close(turned(x_BLF.flip(1)), model(x_BLF))


def test_attention_equals_its_formula_and_its_weights_sum_to_one() -> None:
    attention = TemporalAttention(4)
    states_BLD = torch.randn(3, 5, 4)
    weights_BL = attention.weights(states_BLD)
    for window in range(3):
        scores = [
            attention.score.weight @ torch.tanh(attention.project.weight @ state + attention.project.bias)
            for state in states_BLD[window]
        ]
        torch.testing.assert_close(weights_BL[window], torch.cat(scores).softmax(0))
    torch.testing.assert_close(weights_BL.sum(dim=1), torch.ones(3))


@pytest.mark.parametrize("layout", [(0, 1, 2), (1, 0, 2), (1, 2, 0)], ids=["windows", "bars", "units"])
def test_the_context_and_its_gradients_are_those_of_the_weights(
    layout: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our pass against ordinary differentiation of the sum, whatever comes first in memory."""
    monkeypatch.setattr(temporal_attention, "WORTH_A_PASS", 0)
    set_seed(0)
    attention = TemporalAttention(4).double()
    memory = torch.randn(3, 5, 4, dtype=torch.float64).permute(layout).contiguous()
    factor_BD = torch.randn(3, 4, dtype=torch.float64)
    results = []
    for of_states in (
        attention,
        lambda states_BLD: (attention.weights(states_BLD).unsqueeze(-1) * states_BLD).sum(1),
    ):
        attention.zero_grad()
        states_BLD = memory.permute(*(layout.index(axis) for axis in range(3))).requires_grad_()
        context_BD = of_states(states_BLD)
        (gradient_BLD,) = torch.autograd.grad((context_BD * factor_BD).sum(), states_BLD, retain_graph=True)
        (context_BD * factor_BD).sum().backward()
        results.append([context_BD, gradient_BLD, *(parameter.grad for parameter in attention.parameters())])
    assert "ContextPass" in type(results[0][0].grad_fn.next_functions[0][0]).__name__
    for value, expected in zip(*results, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["alstm", "adv_alstm"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_attention_of_alstm_weighs_bars_and_predictions_follow_it(name: str, cell: str) -> None:
    model, x_BLF = build(name, cell=cell).eval(), make_batch().windows
    weights_BL = model.attention_weights(x_BLF)
    assert weights_BL.shape == (12, 6)
    assert (weights_BL > 0).all()
    torch.testing.assert_close(weights_BL.sum(dim=1), torch.ones(12))
    assert weights_BL.std(dim=1).min() > 0, "not the same weight for every bar"
    states_BLD = model.states(x_BLF)
    context_BD = sum(weights_BL[:, [bar]] * states_BLD[:, bar] for bar in range(6))
    latent_BE = model.norm(torch.cat([context_BD, states_BLD[:, -1]], dim=1))
    torch.testing.assert_close(model(x_BLF), model.head(latent_BE))


@pytest.mark.parametrize("off", [{"epsilon": 0.0}, {"beta": 0.0}])
def test_adversarial_training_without_epsilon_or_beta_is_exactly_plain(off: dict[str, Any]) -> None:
    plain, adversarial = build("alstm"), build("adv_alstm", **off)
    expected_terms, expected = gradients(plain, make_batch())
    terms, found = gradients(adversarial, make_batch())
    assert terms.keys() == expected_terms.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_adversarial_term_is_the_loss_at_the_worst_point_of_a_small_ball() -> None:
    """By the formula, with the gradient by finite differences; and no random direction is worse."""
    model, batch = build("adv_alstm", epsilon=0.05, beta=0.3).double(), make_batch()
    batch = dataclasses.replace(batch, windows=batch.windows.double(), targets=batch.targets.double())
    latent_BE = model.latent(batch.windows).detach()
    loss = get_loss("mse")

    def value(point_BE: Tensor) -> float:
        return loss(model.head(point_BE), batch.targets, batch.groups, batch.num_dates)["mse"].item()

    gradient_BE = torch.zeros_like(latent_BE)
    for window in range(len(latent_BE)):
        for unit in range(latent_BE.shape[1]):
            step = torch.zeros_like(latent_BE)
            step[window, unit] = 1e-5
            gradient_BE[window, unit] = (value(latent_BE + step) - value(latent_BE - step)) / 2e-5
    known = torch.isfinite(batch.targets).any(dim=1)
    assert gradient_BE[~known].abs().max() == 0
    direction_BE = torch.zeros_like(gradient_BE)
    direction_BE[known] = gradient_BE[known] / gradient_BE[known].norm(dim=1, keepdim=True)
    terms, _ = gradients(model, batch, "mse")
    worst = value(latent_BE + 0.05 * direction_BE)
    assert terms["adversarial"].item() == pytest.approx(0.3 * worst, rel=1e-6)
    assert worst > terms["mse"].item()
    for _ in range(20):
        random_BE = torch.randn_like(latent_BE)
        assert value(latent_BE + 0.05 * random_BE / random_BE.norm(dim=1, keepdim=True)) < worst


def test_the_adversarial_gradient_takes_the_perturbation_as_a_constant() -> None:
    model, batch = build("adv_alstm", epsilon=0.2, beta=0.5), make_batch()
    _, found = gradients(model, batch, "mse")
    model.zero_grad()
    latent_BE = model.latent(batch.windows)
    loss = get_loss("mse")

    def value(point_BE: Tensor) -> Tensor:
        return loss(model.head(point_BE), batch.targets, batch.groups, batch.num_dates)["mse"]

    clean = value(latent_BE)
    (gradient_BE,) = torch.autograd.grad(clean, latent_BE, retain_graph=True)
    step_BE = 0.2 * torch.nn.functional.normalize(gradient_BE, dim=1)
    (clean + 0.5 * value(latent_BE + step_BE.detach())).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-7)


def test_both_networks_of_the_gan_are_logged_and_each_loss_moves_its_own() -> None:
    model, batch = build("gan_lstm", adversarial_weight=0.7), make_batch()
    objective = Objective(model, get_loss("mse"))
    assert objective(batch).keys() == {"mse", "generator", "discriminator"}
    for term, moved, kept in (
        ("generator", model.generator, model.discriminator),
        ("discriminator", model.discriminator, model.generator),
        ("mse", model.generator, model.discriminator),
    ):
        model.zero_grad()
        objective(batch)[term].backward()
        assert all(parameter.grad.abs().max() > 0 for parameter in moved.parameters())
        assert all(parameter.grad is None or not parameter.grad.any() for parameter in kept.parameters())


def test_the_losses_of_the_gan_equal_cross_entropy_on_true_and_predicted_targets() -> None:
    model, batch = build("gan_lstm", adversarial_weight=0.7), make_batch()
    terms = Objective(model, get_loss("mse"))(batch)
    known = torch.isfinite(batch.targets)
    prediction = model(batch.windows)

    def entropy(targets: Tensor, label: float) -> Tensor:
        (logit,) = model.discriminator(batch.windows, (torch.where(known, targets, 0.0),))
        each = nn.functional.binary_cross_entropy_with_logits(logit[:, 0], torch.full((12,), label), reduction="none")
        dates = [each[(batch.groups == date) & known.any(dim=1)].mean() for date in range(3)]
        return torch.stack(dates).mean()

    fooling = 0.7 * entropy(prediction, 1.0)
    torch.testing.assert_close(terms["generator"], fooling)
    telling_apart = 0.5 * (entropy(batch.targets, 1.0) + entropy(prediction, 0.0))
    torch.testing.assert_close(terms["discriminator"], telling_apart)

    parameters = list(model.generator.parameters())
    expected = torch.autograd.grad(fooling, parameters)
    found = torch.autograd.grad(terms["generator"], parameters)
    for value, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(value, reference)


def test_the_gan_refuses_a_loss_of_several_forecasts_per_target() -> None:
    model, batch = build("gan_lstm", num_horizons=6), make_batch()
    with pytest.raises(ValueError, match="predicts 6 values for 2 targets"):
        Objective(model, get_loss("quantile", levels=(0.1, 0.5, 0.9)))(batch)


def test_the_perceptron_reads_every_bar_or_the_last_alone() -> None:
    for lookback in (1, 6):
        model = build("mlp", lookback=lookback)
        x_BLF = make_batch().windows[:, -lookback:].requires_grad_()
        model(x_BLF).square().sum().backward()
        assert (x_BLF.grad.abs().sum(dim=0) > 0).all()


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("gru", {"layers": 0}, "^model 'gru': layers = 0: must be >= 1"),
        ("bilstm", {"dropout": -0.1}, r"^model 'bilstm': dropout = -0.1: must be in \[0, 1\)"),
        ("alstm", {"cell": "rnn"}, "^model 'alstm': cell = 'rnn': must be one of 'lstm', 'gru'"),
        ("adv_alstm", {"epsilon": -1.0}, "^model 'adv_alstm': epsilon = -1.0: must be >= 0"),
        (
            "gan_lstm",
            {"adversarial_weight": -1.0},
            "^model 'gan_lstm': adversarial_weight = -1.0: must be >= 0",
        ),
        ("mlp", {"hidden": 0}, "^model 'mlp': hidden = 0: must be >= 1"),
    ],
)
def test_a_wrong_value_is_named(name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, **config)
