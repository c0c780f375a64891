"""dtml, stockmixer and master: one date never sees another, stocks have no order, any number of them; references."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from factor_models import build_model, get_loss, set_seed
from factor_models.networks.cross_section import DateLayout, OneDate, StockAttention
from factor_models.networks.master import sinusoids
from factor_models.networks.stockmixer import CausalMixing, StockMixing

pytestmark = pytest.mark.numeric

LOOKBACK, FEATURES, HORIZONS = 8, 6, 3
NAMES = ("dtml", "stockmixer", "master")
SMALL = {
    "dtml": {"hidden": 8, "beta": 0.5},
    "stockmixer": {"channels": 4, "dim": 8, "market_states": 3},
    "master": {"dim": 8},
}
VARIANTS = [
    ("dtml", {}),
    ("dtml", {"market_features": 2}),
    ("dtml", {"beta": 0.0}),
    ("stockmixer", {}),
    ("stockmixer", {"patches": (1, 3)}),
    ("master", {}),
    ("master", {"market_features": 2}),
    ("master", {"gate_bar": "last"}),  # as published, the last bar's market gates all bars
]
DATES = torch.tensor([7, 3, 3, 7, 11, 3, 7, 7, 3, 11])
"""Ragged and mixed: four windows of date 3, four of date 7, two of date 11."""


def build(name: str, **config: Any) -> nn.Module:
    set_seed(1)
    sizes = {"num_features": FEATURES, "num_horizons": HORIZONS, "lookback": LOOKBACK}
    return build_model(name, **(sizes | SMALL[name] | config))


def windows(num_windows: int = 10, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((num_windows, LOOKBACK, FEATURES), np.float32))


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "config"), VARIANTS)
def test_a_batch_of_ragged_dates_equals_the_dates_one_by_one(name: str, config: dict[str, Any]) -> None:
    model = build(name, **config).eval()
    x_BLF = windows()
    together = model(x_BLF, groups=DATES)
    for date in DATES.unique():
        close(together[date == DATES], model(x_BLF[date == DATES]))


@pytest.mark.parametrize(("name", "config"), VARIANTS)
def test_the_order_of_stocks_does_not_matter(name: str, config: dict[str, Any]) -> None:
    model = build(name, **config).eval()
    x_BLF, order = windows(), torch.from_numpy(np.random.default_rng(3).permutation(len(DATES)))
    close(model(x_BLF[order], groups=DATES[order]), model(x_BLF, groups=DATES)[order])


@pytest.mark.parametrize(("name", "config"), VARIANTS)
def test_a_date_does_not_see_another_one_and_its_stocks_see_each_other(name: str, config: dict[str, Any]) -> None:
    model = build(name, **config).eval()
    x_BLF = windows()
    changed = x_BLF.clone()
    changed[0] += 1.0  # a window of date 7
    before, after = model(x_BLF, groups=DATES), model(changed, groups=DATES)
    close(after[DATES != 7], before[DATES != 7])
    others = (DATES == 7) & (torch.arange(len(DATES)) > 0)
    assert (after[others] - before[others]).abs().amax(dim=1).min() > 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_another_date_gets_no_gradient(name: str) -> None:
    model = build(name).eval()
    x_BLF = windows().requires_grad_()
    model(x_BLF, groups=DATES)[DATES == 11].square().sum().backward()
    has_effect_B = x_BLF.grad.abs().amax(dim=(1, 2)) > 0
    assert has_effect_B.tolist() == (DATES == 11).tolist()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_stocks", [1, 2, 50])
def test_any_number_of_stocks_may_stand_on_a_date(name: str, num_stocks: int) -> None:
    prediction = build(name)(windows(num_stocks))
    assert prediction.shape == (num_stocks, HORIZONS)
    assert torch.isfinite(prediction).all()
    prediction.sum().backward()


@pytest.mark.parametrize(("name", "config"), [variant for variant in VARIANTS if "gate_bar" not in variant[1]])
@pytest.mark.parametrize("bar", [0, 3, 6])
def test_the_state_of_a_bar_does_not_see_later_bars_of_any_stock(name: str, config: dict[str, Any], bar: int) -> None:
    model = build(name, **config).eval()
    extra = {"groups": DATES} if name == "master" else {}
    before, after = windows(), windows(seed=5)
    after[:, : bar + 1] = before[:, : bar + 1]
    state, changed = model.states(before, **extra), model.states(after, **extra)
    close(changed[:, : bar + 1], state[:, : bar + 1])
    assert (changed[:, bar + 1 :] - state[:, bar + 1 :]).abs().max() > 1e-4


@pytest.mark.parametrize(("name", "config"), VARIANTS)
def test_the_loss_reaches_every_parameter(name: str, config: dict[str, Any]) -> None:
    model = build(name, **config)
    model(windows(), groups=DATES).square().sum().backward()
    assert [key for key, parameter in model.named_parameters() if not parameter.grad.any()] == []


@pytest.mark.parametrize("name", NAMES)
def test_pieces_of_whole_dates_have_the_gradient_of_the_batch(name: str) -> None:
    x_BLF, target_BH, dates = windows(), torch.randn(len(DATES), HORIZONS), DATES.unique()
    loss = get_loss("mse_ic")

    def gradient(pieces: list[Tensor]) -> Tensor:
        model = build(name)
        for piece in pieces:
            kept = torch.isin(DATES, piece)
            number = torch.searchsorted(piece, DATES[kept])
            terms = loss(model(x_BLF[kept], groups=number), target_BH[kept], number, len(piece))
            (sum(terms.values()) * len(piece) / len(dates)).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    torch.testing.assert_close(gradient([dates[:1], dates[1:]]), gradient([dates]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_draws_nothing(name: str) -> None:
    model = build(name, dropout=0.5).eval()
    assert torch.equal(model(windows(), groups=DATES), model(windows(), groups=DATES))


def test_a_layout_puts_each_date_in_a_row_and_back() -> None:
    dates = DateLayout(DATES, len(DATES), DATES.device)
    x_B = torch.arange(10.0)
    assert dates.by_date(x_B).tolist() == [[1, 2, 5, 8], [0, 3, 6, 7], [4, 9, 0, 0]]
    assert dates.mask_GS.tolist() == [[True] * 4, [True] * 4, [True, True, False, False]]
    assert torch.equal(dates.by_window(dates.by_date(x_B)), x_B)
    assert dates.mean(x_B).tolist() == [4.0, 4.0, 6.5]
    expected = [np.std([1, 2, 5, 8]), np.std([0, 3, 6, 7]), np.std([4, 9])]
    np.testing.assert_allclose(dates.std(x_B), expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"groups have shape \(10,\): must be one date per window, \(9,\)"):
        DateLayout(DATES, 9, DATES.device)


def test_attention_among_stocks_equals_that_of_torch() -> None:
    attention = StockAttention(8, 2)
    reference = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        parts = (attention.query, attention.key, attention.value)
        reference.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        biases = [attention.query.bias, torch.zeros(8), attention.value.bias]
        reference.in_proj_bias.copy_(torch.cat(biases))
        reference.out_proj.load_state_dict(attention.out.state_dict())
    x_GSD, there = torch.randn(2, 4, 8), torch.tensor([[True] * 4, [True, True, False, False]])
    expected, _ = reference(x_GSD, x_GSD, x_GSD, key_padding_mask=~there)
    close(attention(x_GSD, there)[there], expected[there])


def test_dtml_equals_its_formulas_on_one_date() -> None:
    model = build("dtml")
    x_BLF = windows(5)

    def attention_lstm(part: nn.Module, x_LF: Tensor) -> Tensor:
        states_LD, _ = part.recurrence(torch.tanh(part.project(x_LF)))
        return (states_LD @ states_LD[-1]).softmax(dim=0) @ states_LD

    context = torch.stack([attention_lstm(model.stock, x_LF) for x_LF in x_BLF])
    context = (context - context.mean()) / (context.var(correction=0) + 1e-6).sqrt()
    context = context + 0.5 * attention_lstm(model.market, x_BLF.mean(dim=0))
    mixed = model.attention(context.unsqueeze(0), torch.ones(1, 5, dtype=torch.bool))[0]
    inner = context + mixed
    close(model(x_BLF), model.head(torch.tanh(inner + model.mlp(inner))))


@pytest.mark.parametrize("name", ["dtml", "master"])
def test_an_index_given_as_features_is_the_market(name: str) -> None:
    """The market's part sees the last columns; with the stocks' own unchanged, moving them moves the prediction."""
    model = build(name, market_features=2).eval()
    x_BLF = windows(5)
    x_BLF[:, :, 4:] = windows(1, seed=9)[:, :, 4:]
    moved = x_BLF.clone()
    moved[:, :, 4:] += 0.7
    assert (model(moved) - model(x_BLF)).abs().max() > 1e-4
    if name == "dtml":
        without = build(name, market_features=2, beta=0.0).eval()
        assert torch.equal(without(moved), without(x_BLF)), "beta = 0 leaves the market out"


def test_mixing_over_time_is_causal_and_equals_its_formula() -> None:
    mixing = CausalMixing(4, 3)
    x_BPC = torch.randn(2, 4, 3)
    first, second = mixing.first.weight.tril(), mixing.second.weight.tril()
    inner = torch.nn.functional.gelu(
        torch.einsum("qp,bpc->bqc", first, mixing.norm(x_BPC)) + mixing.first.bias[:, None]
    )
    close(mixing(x_BPC), x_BPC + torch.einsum("qp,bpc->bqc", second, inner) + mixing.second.bias[:, None])


def test_mixing_over_stocks_goes_through_means_of_stocks() -> None:
    mixing = StockMixing(4, 3)
    x_SD = torch.randn(5, 4)
    normed = mixing.norm(x_SD)
    states = [mixing.to_market(normed)[:, m].softmax(dim=0) @ normed for m in range(3)]
    expected = mixing.from_market(normed).softmax(dim=1) @ mixing.states(torch.stack(states))
    close(mixing(x_SD.unsqueeze(0), torch.ones(1, 5, dtype=torch.bool))[0], expected)


def test_patches_end_at_the_last_bar_and_leave_the_oldest_bars_out() -> None:
    scale = build("stockmixer", patches=(1, 3)).scales[1]
    x_BLC = torch.randn(2, LOOKBACK, 4)
    changed = x_BLC.clone()
    changed[:, :2] += 1.0
    assert scale(x_BLC).shape == (2, 2, 4)
    assert torch.equal(scale(changed), scale(x_BLC))


def test_the_gate_of_master_has_mean_one_and_reads_the_market() -> None:
    model = build("master", gate_temperature=0.1)
    x_BLF = windows(6)
    dates = DateLayout(torch.tensor([0, 0, 0, 1, 1, 1]), 6, x_BLF.device)
    weight_GLF = model.feature_weights(x_BLF, x_BLF[..., :0], dates)
    assert weight_GLF.shape == (2, LOOKBACK, FEATURES)
    close(weight_GLF.mean(dim=-1), torch.ones(2, LOOKBACK))
    first = x_BLF[:3]
    market = torch.cat([first.mean(dim=0), (first.var(dim=0, correction=0) + 1e-6).sqrt()], dim=-1)
    close(weight_GLF[0], FEATURES * (model.gate(market) / 0.1).softmax(dim=-1))


def test_master_equals_its_steps_stock_by_stock_and_bar_by_bar() -> None:
    model = build("master").eval()
    x_BLF = windows(5)
    dates = OneDate(x_BLF)
    gated = x_BLF * model.feature_weights(x_BLF, x_BLF[..., :0], dates)[0]
    alone = torch.stack([model.along_time(model.project(x)[None] + model.position_LD)[0] for x in gated])
    everyone = torch.ones(1, 1, 1, 5, dtype=torch.bool)
    bars = [model.among_stocks(alone[None, :, bar], mask=everyone)[0] for bar in range(LOOKBACK)]
    states = model.norm(torch.stack(bars, dim=1))
    expected = []
    for state_LD in states:
        score_L = torch.stack([(model.bar_weight(bar) @ state_LD[-1]) / 8**0.5 for bar in state_LD])
        expected.append(model.head(score_L.softmax(dim=0) @ state_LD))
    close(model(x_BLF), torch.stack(expected))


def test_positions_are_the_sinusoids_of_the_paper() -> None:
    position = sinusoids(5, 6)
    for bar in range(5):
        for pair in range(3):
            angle = bar / 10000 ** (2 * pair / 6)
            np.testing.assert_allclose(position[bar, 2 * pair], np.sin(angle), atol=1e-6)
            np.testing.assert_allclose(position[bar, 2 * pair + 1], np.cos(angle), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("dtml", {"heads": 3}, "^model 'dtml': hidden = 8: must be a multiple of heads = 3"),
        ("dtml", {"beta": -0.1}, "^model 'dtml': beta = -0.1: must be >= 0"),
        ("dtml", {"market_features": 6}, "market_features = 6: must be < num_features = 6"),
        ("master", {"market_features": 6}, "market_features = 6: must be < num_features = 6"),
        (
            "master",
            {"stock_heads": 3},
            "dim = 8: must be a multiple of time_heads = 4 and of stock_heads = 3",
        ),
        ("master", {"gate_temperature": 0.0}, "gate_temperature = 0.0: must be > 0"),
        ("master", {"gate_bar": "first"}, "gate_bar = 'first': must be one of 'own', 'last'"),
        ("stockmixer", {"patches": ()}, r"patches = \[\]: must be different numbers of bars in 1..lookback"),
        ("stockmixer", {"patches": (3, 9)}, r"patches = \[3, 9\]"),
        ("stockmixer", {"patches": (3,)}, r"patches = \[3\]: .*1..lookback = 8, one of which divides it"),
        ("stockmixer", {"market_states": 0}, "market_states = 0: must be >= 1"),
    ],
)
def test_an_impossible_setting_is_named(name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, **config)
