"""transformer, tft and scinet: against torch's own modules and their formulas; causal; what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from factor_models import build_model, set_seed
from factor_models.networks import tft
from factor_models.networks.blocks import TransformerBlock
from factor_models.networks.scinet import SplitTree
from factor_models.networks.tft import (
    FeatureNetworks,
    GatedResidual,
    InterpretableAttention,
    VariableSelection,
)

pytestmark = pytest.mark.numeric

LOOKBACK, FEATURES, HORIZONS, SYMBOLS = 8, 6, 3, 12
SMALL = {
    "transformer": {"dim": 8},
    "tft": {"dim": 8, "symbol_embedding": True, "num_symbols": SYMBOLS},
    "scinet": {"channels": 8},
}


def build(name: str, **config: Any) -> nn.Module:
    set_seed(1)
    sizes = {"num_features": FEATURES, "num_horizons": HORIZONS, "lookback": LOOKBACK}
    return build_model(name, **(sizes | SMALL[name] | config))


def windows(num_windows: int = 16, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((num_windows, LOOKBACK, FEATURES), np.float32))


def extras(name: str, num_windows: int) -> dict[str, Any]:
    return {"symbols": torch.arange(num_windows) % (SYMBOLS - 1) + 1} if name == "tft" else {}


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_the_loss_reaches_every_parameter(name: str) -> None:
    model = build(name)
    model(windows(), **extras(name, 16)).square().sum().backward()
    assert [key for key, parameter in model.named_parameters() if not parameter.grad.any()] == []


@pytest.mark.parametrize("name", SMALL)
def test_a_prediction_does_not_depend_on_the_other_windows_nor_on_chance(name: str) -> None:
    model = build(name, dropout=0.5).eval()
    x_BLF, extra = windows(), extras(name, 16)
    one = {key: value[3:4] for key, value in extra.items()}
    close(model(x_BLF, **extra)[3:4], model(x_BLF[3:4], **one))
    assert torch.equal(model(x_BLF, **extra), model(x_BLF, **extra))


@pytest.mark.parametrize("name", ["transformer", "tft"])
@pytest.mark.parametrize("bar", [0, 4])
def test_the_state_of_a_bar_does_not_see_later_bars(name: str, bar: int) -> None:
    model = build(name).eval()
    before, after = windows(), windows(seed=5)
    after[:, : bar + 1] = before[:, : bar + 1]
    state, changed = (model.states(x_BLF, **extras(name, 16)) for x_BLF in (before, after))
    close(changed[:, : bar + 1], state[:, : bar + 1])
    assert (changed[:, bar + 1 :] - state[:, bar + 1 :]).abs().max() > 1e-3


def test_the_prediction_is_read_from_the_last_state() -> None:
    transformer, fusion = build("transformer", layers=3).eval(), build("tft").eval()
    x_BLF, symbols = windows(), extras("tft", 16)["symbols"]
    close(transformer(x_BLF), transformer.head(transformer.norm(transformer.states(x_BLF)[:, -1])))
    close(fusion(x_BLF, symbols), fusion.head(fusion.states(x_BLF, symbols)[:, -1]))


@pytest.mark.parametrize("masked", [False, True])
def test_a_transformer_block_equals_that_of_torch(masked: bool) -> None:
    block = TransformerBlock(8, 2, 0.0)
    reference = torch.nn.TransformerEncoderLayer(
        8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    with torch.no_grad():
        weight, bias = reference.self_attn.in_proj_weight, reference.self_attn.in_proj_bias
        weight.copy_(torch.cat([block.query.weight, block.key.weight, block.value.weight]))
        bias.copy_(torch.cat([block.query.bias, torch.zeros(8), block.value.bias]))
    for mine, other in {
        block.attention_norm: reference.norm1,
        block.out: reference.self_attn.out_proj,
        block.mlp[0]: reference.norm2,
        block.mlp[1]: reference.linear1,
        block.mlp[3]: reference.linear2,
    }.items():
        other.load_state_dict(mine.state_dict())
    x_BLD = torch.randn(3, 5, 8)
    if masked:
        there_BL = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [True] * 1 + [False] * 4])
        actual = block(x_BLD, mask=there_BL[:, None, None])
        expected = reference(x_BLD, src_key_padding_mask=~there_BL)
        close(actual[there_BL], expected[there_BL])
    else:
        later = torch.ones(5, 5, dtype=torch.bool).triu(1)
        close(block(x_BLD), reference(x_BLD, src_mask=later))


def test_the_weights_of_variables_are_shares_that_the_symbol_changes() -> None:
    model = build("tft").eval()
    known, unknown = extras("tft", 16)["symbols"], torch.zeros(16, dtype=torch.int64)
    weight_BLF = model.variable_weights(windows(), known)
    assert weight_BLF.shape == (16, LOOKBACK, FEATURES)
    assert (weight_BLF > 0).all()
    close(weight_BLF.sum(dim=-1), torch.ones(16, LOOKBACK))
    assert (weight_BLF - model.variable_weights(windows(), unknown)).abs().max() > 1e-4


def test_a_symbol_changes_what_tft_predicts_and_an_unknown_one_is_as_none() -> None:
    model = build("tft").eval()
    unknown = torch.zeros(16, dtype=torch.int64)
    assert (model(windows(), unknown + 3) - model(windows(), unknown)).abs().max() > 1e-3
    assert torch.equal(model(windows(), unknown), model(windows()))
    without = build("tft", symbol_embedding=False).eval()
    assert torch.equal(without(windows(), unknown + 3), without(windows()))


def test_training_finds_the_variable_that_matters() -> None:
    set_seed(3)
    model = build("tft", symbol_embedding=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(150):
        x_BLF = windows(64, seed=step)
        loss = (model(x_BLF) - x_BLF[:, -1, 2:3]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weight_F = model.variable_weights(windows(256, seed=999))[:, -1].mean(dim=0)
    assert weight_F.argmax() == 2
    assert weight_F[2] > 2 / FEATURES


def test_a_gated_residual_network_equals_its_formula() -> None:
    network = GatedResidual(5, 4, 3, 0.0, has_context=True)
    x, context = torch.randn(7, 5), torch.randn(7, 4)
    hidden = network.inner(x) + context @ network.context.weight.T
    hidden = torch.where(hidden > 0, hidden, hidden.exp() - 1)
    value, gate = network.gated_skip.gate(hidden).chunk(2, dim=-1)
    expected = network.gated_skip.norm(network.skip(x) + value * gate.sigmoid())
    close(network(x, context), expected)


def test_the_network_of_a_feature_reads_that_feature_alone_and_equals_its_formula() -> None:
    networks = FeatureNetworks(3, 4, 0.0)
    x_NF = torch.randn(6, 3)
    for feature in range(3):
        x = x_NF[:, feature : feature + 1]
        hidden = functional.elu(x * networks.inner[feature] + networks.inner_bias[feature])
        value, gate = (hidden @ networks.gate[feature] + networks.gate_bias[feature]).chunk(2, dim=-1)
        joint = x * networks.embed[feature] + networks.embed_bias[feature] + value * gate.sigmoid()
        expected = functional.layer_norm(joint, (4,)) * networks.scale[feature] + networks.shift[feature]
        close(networks(x_NF)[feature], expected)


def test_the_network_of_a_feature_tells_its_sizes_apart_from_the_start() -> None:
    set_seed(4)
    out_FND = FeatureNetworks(3, 8, 0.0)(torch.tensor([[0.5] * 3, [1.0] * 3, [2.0] * 3]))
    assert (out_FND.diff(dim=1).abs().amax(dim=2) > 0.1).all()


@pytest.mark.parametrize("bars_at_once", [4, 100])
def test_selected_variables_are_the_sum_of_their_networks_by_weight(
    bars_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tft, "BARS_AT_ONCE", bars_at_once)
    selection = VariableSelection(3, 4, 0.0, has_context=False)
    x_BLF = torch.randn(2, 5, 3)
    weight_BLF = selection.weights(x_BLF, None)
    parts = selection.features(x_BLF.flatten(0, 1)).unflatten(1, (2, 5))
    close(selection(x_BLF, None), sum(weight_BLF[..., f : f + 1] * parts[f] for f in range(3)))


def test_interpretable_attention_equals_the_mean_of_torch_heads_over_shared_values() -> None:
    attention = InterpretableAttention(8, 2)
    x_BLD = torch.randn(3, 5, 8)
    later = torch.ones(5, 5, dtype=torch.bool).triu(1)
    reference = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight[:16].copy_(torch.cat([attention.query.weight, attention.key.weight]))
        reference.in_proj_bias[:16].copy_(torch.cat([attention.query.bias, torch.zeros(8)]))
    _, weight_BQL = reference(x_BLD, x_BLD, x_BLD, attn_mask=later)  # the mean over heads
    close(attention.weights(x_BLD, 5), weight_BQL)
    close(attention(x_BLD, 5), attention.out(weight_BQL @ attention.value(x_BLD)))
    close(attention(x_BLD, 2), attention(x_BLD, 5)[:, -2:])


def test_the_halves_of_a_window_correct_each_other_as_in_the_paper() -> None:
    tree = build("scinet", levels=1).tree
    even, odd = torch.randn(3, 4, 8), torch.randn(3, 4, 8)

    def network(part: nn.Module, x_BLC: Tensor) -> Tensor:
        """phi, psi, U or P by torch's convolutions."""
        _, first, _, _, second, _ = part
        padded = functional.pad(x_BLC.transpose(1, 2), (3, 3), mode="replicate")
        hidden = functional.conv1d(padded, first.weight.unflatten(1, (8, 5)), first.bias)
        hidden = functional.leaky_relu(hidden, 0.01)
        return functional.conv1d(hidden, second.weight.unflatten(1, (16, 3)), second.bias).tanh().mT

    d = odd * network(tree.phi, even).exp()
    c = even * network(tree.psi, odd).exp()
    new_even, new_odd = tree.interact(even, odd)
    close(new_even, c + network(tree.update, d))
    close(new_odd, d - network(tree.project, c))


@pytest.mark.parametrize("kernel", [1, 4, 5])
def test_a_tree_that_corrects_nothing_gives_every_bar_back_in_its_place(kernel: int) -> None:
    model = build("scinet", levels=3, kernel=kernel)
    assert isinstance(model.tree.even.odd, SplitTree)
    with torch.no_grad():
        for parameter in model.tree.parameters():
            parameter.zero_()
    x_BLC = torch.randn(3, LOOKBACK, 8)
    assert torch.equal(model.tree(x_BLC), x_BLC)


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        (
            "scinet",
            {"lookback": 10},
            r"^model 'scinet': lookback = 10: must be a multiple of 2\*\*levels = 2\*\*2 = 4",
        ),
        ("scinet", {"levels": 4}, r"^model 'scinet': lookback = 8: must be a multiple of .* = 2\*\*4 = 16"),
        ("scinet", {"levels": 0}, "^model 'scinet': levels = 0: must be >= 1"),
        ("transformer", {"dim": 10}, "^model 'transformer': dim = 10: must be a multiple of heads = 4"),
        ("tft", {"heads": 3}, "^model 'tft': dim = 8: must be a multiple of heads = 3"),
        ("tft", {"num_symbols": 0}, "num_symbols = 0: a model with a symbol embedding needs"),
    ],
)
def test_an_impossible_setting_is_named(name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, **config)
