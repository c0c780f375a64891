"""Causal convolutions and attention over the window: references, receptive field, every part that can be switched."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from factor_models import build_model, load_model, save_model, set_seed
from factor_models.networks.blocks import StochasticDepth, SymbolEmbedding
from factor_models.networks.convolution import CausalBlock, CausalConvolution, shift_later
from factor_models.networks.relative_attention import RelativeAttention, trailing_mean
from factor_models.networks.tcn import TCNConfig
from factor_models.networks.tcn_attention import AttendingBlock

pytestmark = pytest.mark.numeric

LOOKBACK, FEATURES, HORIZONS, SYMBOLS = 9, 6, 3, 12
EVERYTHING = {
    "channels": 8,
    "convolutions": 2,
    "input_gate": True,
    "attention": "every_block",
    "scales": (1, 2, 4),
    "head_gates": True,
    "symbol_embedding": True,
    "head_hidden": 4,
}
SWITCHES = {
    "convolutions": 2,
    "input_gate": True,
    "block_gate": False,
    "attention": "every_block",
    "scales": (1, 2, 4),
    "relative_position": False,
    "head_gates": True,
    "symbol_embedding": True,
    "head_hidden": 4,
}


def build(name: str = "tcn_attention", **config: Any) -> nn.Module:
    set_seed(1)
    sizes = {"num_features": FEATURES, "num_horizons": HORIZONS, "lookback": LOOKBACK, "channels": 8}
    symbols = {"num_symbols": SYMBOLS} if name == "tcn_attention" else {}
    return build_model(name, **(sizes | symbols | config))


def windows(num_windows: int = 16, lookback: int = LOOKBACK, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((num_windows, lookback, FEATURES), np.float32))


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


def test_shifting_brings_earlier_bars_and_zeros() -> None:
    x_BLC = torch.arange(4.0).view(1, 4, 1) + 1
    assert shift_later(x_BLC, 1).flatten().tolist() == [0, 1, 2, 3]
    assert shift_later(x_BLC, 9).flatten().tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 4), (2, 8)])
def test_a_causal_convolution_equals_that_of_torch_with_zeros_on_the_left(kernel: int, dilation: int) -> None:
    convolution = CausalConvolution(3, 5, kernel, dilation)
    x_BLC = torch.randn(4, 7, 3)
    # The weight is (out, kernel * in) from the bar back; torch has (out, in, kernel) up to the bar.
    weight = convolution.weight.unflatten(1, (kernel, 3)).transpose(1, 2).flip(2)
    padded = functional.pad(x_BLC.transpose(1, 2), ((kernel - 1) * dilation, 0))
    expected = functional.conv1d(padded, weight, convolution.bias, dilation=dilation).transpose(1, 2)
    close(convolution(x_BLC), expected)


@pytest.mark.parametrize(("kernel", "levels", "expected"), [(2, 1, 3), (3, 1, 5), (3, 2, 13), (2, 3, 15), (3, 3, 29)])
def test_the_receptive_field_of_a_tcn_is_that_of_the_formula(kernel: int, levels: int, expected: int) -> None:
    lookback = expected + 3
    assert TCNConfig(kernel=kernel, levels=levels).receptive_field == expected
    model = build("tcn", kernel=kernel, levels=levels, lookback=lookback)
    x_BLF = windows(64, lookback).requires_grad_()
    model(x_BLF).square().sum().backward()
    has_effect_L = x_BLF.grad.abs().amax(dim=(0, 2)) > 0
    assert has_effect_L.tolist() == [False] * 3 + [True] * expected


@pytest.mark.parametrize("lookback", [1, 8, 13])
def test_a_tcn_leaves_out_no_bar_that_the_last_one_depends_on(lookback: int) -> None:
    model, x_BLF = build("tcn", levels=3, lookback=lookback), windows(lookback=lookback)
    close(model(x_BLF), model.head(model.norm(model.states(x_BLF)[:, -1])))


def test_a_block_is_its_input_plus_a_gated_branch() -> None:
    block = CausalBlock(4, 3, 2, 0.0, convolutions=2)
    x_BLC = torch.randn(5, 7, 4)
    inner = block.earlier[0](block.norm(x_BLC)).clamp(min=0)
    value, gate = block.convolution(inner).chunk(2, dim=-1)
    close(block(x_BLC), x_BLC + value * gate.sigmoid())


def test_trailing_means_take_the_bar_and_those_before_it() -> None:
    x_BLC = torch.tensor([1.0, 3.0, 8.0, 0.0]).view(1, 4, 1)
    assert trailing_mean(x_BLC, 2).flatten().tolist() == [1.0, 2.0, 5.5, 4.0]
    close(trailing_mean(x_BLC, 4).flatten(), torch.tensor([1.0, 2.0, 4.0, 3.0]))


def test_attention_of_all_bars_equals_torch_attention_with_a_mask() -> None:
    attention = RelativeAttention(8, 2, 5)
    torch.nn.init.normal_(attention.bias_NL)
    reference = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        parts = (attention.query, attention.key, attention.value)
        reference.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        biases = [attention.query.bias, torch.zeros(8), attention.value.bias]
        reference.in_proj_bias.copy_(torch.cat(biases))
        reference.out_proj.load_state_dict(attention.out.state_dict())
    mask_NLL = torch.full((2, 5, 5), -torch.inf)
    for bar, seen in itertools.product(range(5), range(5)):
        if seen <= bar:
            mask_NLL[:, bar, seen] = attention.bias_NL[:, 4 - (bar - seen)].detach()
    x_BLC = torch.randn(3, 5, 8)
    expected, _ = reference(x_BLC, x_BLC, x_BLC, attn_mask=mask_NLL.repeat(3, 1, 1))
    close(attention(x_BLC), expected)


@pytest.mark.parametrize("relative_position", [True, False])
@pytest.mark.parametrize("head_gates", [True, False])
@pytest.mark.parametrize("pooled_bars", [1, 3])
def test_the_last_bar_alone_equals_the_last_of_all_bars(
    relative_position: bool, head_gates: bool, pooled_bars: int
) -> None:
    attention = RelativeAttention(
        8,
        4,
        LOOKBACK,
        relative_position=relative_position,
        head_gates=head_gates,
        pooled_bars=pooled_bars,
    )
    if relative_position:
        torch.nn.init.normal_(attention.bias_NL)
    x_BLC = torch.randn(5, LOOKBACK, 8)
    close(attention.last_bar(x_BLC), attention(x_BLC)[:, -1])


def test_gates_scale_the_heads_and_not_the_bars() -> None:
    gated = RelativeAttention(8, 2, 5, head_gates=True)
    with torch.no_grad():
        gated.gate.weight.zero_()
        gated.gate.bias.copy_(torch.tensor([-100.0, 100.0]))
    plain = RelativeAttention(8, 2, 5)
    plain.load_state_dict(gated.state_dict(), strict=False)
    with torch.no_grad():
        plain.out.weight[:, :4] = 0.0  # the first head's part of the values
    x_BLC = torch.randn(3, 5, 8)
    close(gated(x_BLC), plain(x_BLC))
    close(gated.last_bar(x_BLC), plain.last_bar(x_BLC))


@pytest.mark.parametrize("setting", SWITCHES)
def test_every_switch_changes_the_number_of_parameters(setting: str) -> None:
    assert num_parameters(build(**{setting: SWITCHES[setting]})) != num_parameters(build())


def test_without_attention_only_the_convolutions_are_left() -> None:
    model = build(attention="none")
    assert not any("attention" in name for name, _ in model.named_parameters())
    assert model(windows()).shape == (16, HORIZONS)


@pytest.mark.parametrize("config", [{key: value} for key, value in SWITCHES.items()] + [EVERYTHING], ids=str)
@pytest.mark.parametrize("bar", [0, 4])
def test_no_part_lets_a_bar_see_later_ones(config: dict[str, Any], bar: int) -> None:
    model = build(**config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias_NL"):
            torch.nn.init.normal_(parameter)
    before, after = windows(), windows(seed=5)
    after[:, : bar + 1] = before[:, : bar + 1]
    state, changed = model.states(before), model.states(after)
    close(changed[:, : bar + 1], state[:, : bar + 1])
    assert (changed[:, bar + 1 :] - state[:, bar + 1 :]).abs().max() > 1e-3


@pytest.mark.parametrize("config", [{}, EVERYTHING], ids=["default", "everything"])
def test_a_window_does_not_depend_on_the_others_and_evaluation_draws_nothing(config: dict[str, Any]) -> None:
    model = build(**config, dropout=0.5, stochastic_depth=0.5).eval()
    x_BLF, symbols = windows(), torch.arange(16) % SYMBOLS
    close(model(x_BLF, symbols)[3:4], model(x_BLF[3:4], symbols[3:4]))
    assert torch.equal(model(x_BLF, symbols), model(x_BLF, symbols))


def test_a_model_with_every_part_reaches_all_its_parameters_and_overfits_a_batch() -> None:
    model = build(**EVERYTHING)
    x_BLF, symbols, target_BH = windows(32), torch.arange(32) % (SYMBOLS - 1) + 1, torch.randn(32, HORIZONS)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for step in range(80):
        optimizer.zero_grad()
        loss = (model(x_BLF, symbols) - target_BH).square().mean()
        loss.backward()
        if step == 0:
            assert [name for name, p in model.named_parameters() if not p.grad.any()] == []
        optimizer.step()
    assert loss.item() < 0.1


def test_a_branch_that_is_always_dropped_leaves_the_identity() -> None:
    x_BLC = torch.randn(5, LOOKBACK, 8)
    block = CausalBlock(8, 3, 1, 0.0, stochastic_depth=1.0)
    model = build(attention="every_block", stochastic_depth=1.0)
    assert isinstance(model.blocks[0], AttendingBlock)
    for module in (block, model.blocks):
        assert torch.equal(module.train()(x_BLC), x_BLC)
        assert torch.equal(module.eval()(x_BLC), x_BLC)


def test_stochastic_depth_drops_whole_branches_and_keeps_their_mean() -> None:
    set_seed(2)
    depth = StochasticDepth(0.25)
    branch = torch.ones(4000, 3, 2)
    dropped = depth.train()(branch)
    assert set(dropped.flatten().tolist()) == {0.0, float(torch.tensor(1.0) / 0.75)}
    assert torch.equal(dropped.amax(dim=(1, 2)), dropped.amin(dim=(1, 2))), "a window drops all or nothing"
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.03)
    assert torch.equal(depth.eval()(branch), branch)


def test_a_skipped_block_keeps_the_state_of_its_window() -> None:
    set_seed(3)
    block = CausalBlock(8, 3, 1, 0.0, stochastic_depth=0.5).train()
    x_BLC = torch.randn(64, LOOKBACK, 8)
    kept_B = (block(x_BLC) == x_BLC).all(dim=2).all(dim=1)
    assert 16 < kept_B.sum() < 48
    branch = block.eval()(x_BLC) - x_BLC
    set_seed(4)
    moved = block.train()(x_BLC) - x_BLC
    moved_B = moved.abs().amax(dim=(1, 2)) > 0
    torch.testing.assert_close(moved[moved_B], 2 * branch[moved_B], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attention", ["last_bar", "every_block"])
def test_a_symbol_changes_the_prediction_and_an_unknown_one_adds_nothing(attention: str) -> None:
    model = build(symbol_embedding=True, attention=attention).eval()
    x_BLF = windows()
    unknown, known = torch.zeros(16, dtype=torch.int64), torch.full((16,), 3)
    assert (model(x_BLF, known) - model(x_BLF, unknown)).abs().min() > 1e-5
    assert torch.equal(model(x_BLF, unknown), model(x_BLF))
    assert build(attention=attention)(x_BLF, known).shape == (16, HORIZONS), "ids are given to every model"


def test_only_symbols_of_the_batch_are_trained() -> None:
    model = build(symbol_embedding=True)
    model(windows(4), torch.tensor([5, 0, 2, 5])).square().sum().backward()
    moved = model.symbol.table.weight.grad.abs().sum(dim=1) > 0
    assert moved.nonzero().flatten().tolist() == [2, 5], "and never the unknown symbol, 0"
    assert torch.equal(model.symbol.table.weight[0], torch.zeros(8))


def test_ids_outside_the_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match=r"symbols: id 12 must be in 0..11"):
        SymbolEmbedding(12, 4)(torch.tensor([3, 12]), 2)
    with pytest.raises(ValueError, match="num_symbols = 0: a model with a symbol embedding needs"):
        build(symbol_embedding=True, num_symbols=0)


@pytest.mark.parametrize("head_hidden", [0, 4])
def test_an_error_of_one_target_moves_its_own_head_alone(head_hidden: int) -> None:
    model = build(head_hidden=head_hidden)
    model(windows())[:, 1].sum().backward()
    if head_hidden:
        moved = [any(bool(p.grad.any()) for p in head.parameters()) for head in model.head.heads]
    else:
        moved = (model.head.weight.grad.abs().sum(dim=1) > 0).tolist()
    assert moved == [False, True, False]


@pytest.mark.parametrize("head_hidden", [0, 4])
def test_a_target_that_is_not_asked_for_has_no_head(head_hidden: int) -> None:
    one, three = (build(head_hidden=head_hidden, num_horizons=count) for count in (1, 3))
    assert one(windows()).shape == (16, 1)
    per_head = 8 + 1 if head_hidden == 0 else (8 + 1) * 4 + 4 + 1
    assert num_parameters(three) - num_parameters(one) == 2 * per_head


def test_a_model_with_every_part_is_the_same_after_saving(tmp_path: Path) -> None:
    model = build(**EVERYTHING).eval()
    config = {"name": "tcn_attention", "num_features": FEATURES, "num_horizons": HORIZONS}
    config |= {"num_symbols": SYMBOLS, "lookback": LOOKBACK} | EVERYTHING
    save_model(tmp_path, model, config, {})
    loaded, _ = load_model(tmp_path)
    symbols = torch.arange(16) % SYMBOLS
    assert torch.equal(loaded(windows(), symbols), model(windows(), symbols))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"scales": ()}, r"scales = \[\]: must be different numbers of bars in 1..lookback = 9"),
        ({"scales": (1, 10)}, r"scales = \[1, 10\]"),
        ({"scales": (2, 2)}, r"scales = \[2, 2\]"),
        ({"attention": "all"}, "attention = 'all': must be one of 'last_bar', 'every_block', 'none'"),
        ({"stochastic_depth": 1.5}, r"stochastic_depth = 1.5: must be in \[0, 1\]"),
        ({"convolutions": 0}, "convolutions = 0: must be >= 1"),
        ({"head_hidden": -1}, "head_hidden = -1: must be >= 0"),
    ],
)
def test_an_impossible_part_is_named(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**config)
