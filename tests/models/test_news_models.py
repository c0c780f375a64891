"""Models of prices and news: attention, latents, what is missing, and what they are trained on."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal as TorchNormal
from torch.distributions import kl_divergence

from factor_models import TensorBatch, build_model, get_loss, load_model, save_model, set_seed
from factor_models.networks.documents import DocumentAttention, masked_softmax, read_documents
from factor_models.networks.pen import salience_divergence
from factor_models.networks.stocknet import movement_error
from factor_models.networks.variational import Normal, average_over_dates, normal_divergence
from factor_models.training.engine_config import EngineConfig
from factor_models.training.objective import Objective
from rounding import ROUNDING_FLOAT64

pytestmark = pytest.mark.numeric

NEWS_MODELS = ("stocknet", "han", "pen", "gated_news")
VARIATIONAL = ("stocknet", "pen")
B, L, F, K, D, H = 24, 5, 6, 4, 7, 2
SMALL: dict[str, dict[str, Any]] = {
    "stocknet": {"hidden": 12, "text_width": 8, "latent": 4, "movement_feature": 1},
    "han": {"hidden": 12, "text_width": 8},
    "pen": {"hidden": 12, "text_width": 8, "latent": 4},
    "gated_news": {"base": "lstm", "settings": {"hidden": 12}, "text_width": 8},
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    set_seed(3)


def build(name: str, text_dim: int = D, **config: Any) -> torch.nn.Module:
    sizes = {"num_features": F, "num_horizons": H, "text_dim": text_dim}
    model = build_model(name, **sizes, lookback=L, **(SMALL[name] | config))
    assert isinstance(model, torch.nn.Module)
    return model


def windows() -> Tensor:
    return torch.randn(B, L, F)


def documents(missing_share: float = 0.4) -> Tensor:
    """Any place of a bar may be empty, and some bars have no document."""
    texts_BLKD = torch.randn(B, L, K, D)
    texts_BLKD[torch.rand(B, L, K) < missing_share] = torch.nan
    texts_BLKD[::3, 1] = torch.nan
    texts_BLKD[0, 0] = torch.randn(K, D)
    return texts_BLKD


def batch(num_dates: int = 4, texts: Tensor | None = None) -> TensorBatch:
    targets = torch.randn(B, H)
    targets[::5, 0] = torch.nan
    groups = torch.arange(B) % num_dates
    return TensorBatch(
        windows=windows(), groups=groups.sort().values, num_dates=num_dates, targets=targets, texts=texts
    )


@pytest.mark.parametrize("name", NEWS_MODELS)
@pytest.mark.parametrize("text_dim", [0, D])
def test_a_prediction_per_window_and_horizon_with_and_without_news(name: str, text_dim: int) -> None:
    model = build(name, text_dim)
    texts_BLKD = documents() if text_dim else None
    assert model(windows(), texts=texts_BLKD).shape == (B, H)
    assert model(windows()).isfinite().all()
    assert "texts" in model.extra_inputs
    assert model.input_kind == "features"


@pytest.mark.parametrize("name", NEWS_MODELS)
def test_news_that_are_all_missing_equal_no_news(name: str) -> None:
    model, x_BLF = build(name).eval(), windows()
    nothing_BLKD = torch.full((B, L, K, D), torch.nan)
    torch.testing.assert_close(model(x_BLF, texts=nothing_BLKD), model(x_BLF, texts=None))


@pytest.mark.parametrize("name", NEWS_MODELS)
def test_the_order_of_a_days_documents_and_empty_places_change_nothing(name: str) -> None:
    model, x_BLF, texts_BLKD = build(name).eval(), windows(), documents()
    expected_BH = model(x_BLF, texts=texts_BLKD)
    torch.testing.assert_close(model(x_BLF, texts=texts_BLKD.flip(2)), expected_BH)
    wider_BLKD = torch.cat([torch.full((B, L, 2, D), torch.nan), texts_BLKD], dim=2)
    torch.testing.assert_close(model(x_BLF, texts=wider_BLKD), expected_BH)


@pytest.mark.parametrize("name", NEWS_MODELS)
def test_news_matter_and_windows_do_not_mix(name: str) -> None:
    """No state from one window to another: the defect of history kept over unrelated samples."""
    model, x_BLF, texts_BLKD = build(name).eval(), windows(), documents()
    whole_BH = model(x_BLF, texts=texts_BLKD)
    assert (whole_BH != model(x_BLF)).any(dim=1).all()
    alone_BH = torch.cat([model(x_BLF[[i]], texts=texts_BLKD[[i]]) for i in range(B)])
    torch.testing.assert_close(alone_BH, whole_BH, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NEWS_MODELS)
def test_evaluation_is_deterministic_and_saved_models_predict_the_same(name: str, tmp_path: Path) -> None:
    model, x_BLF, texts_BLKD = build(name, dropout=0.3).eval(), windows(), documents()
    first_BH, again_BH = (model(x_BLF, texts=texts_BLKD) for _ in range(2))
    assert torch.equal(first_BH, again_BH)
    config = {"name": name, "num_features": F, "num_horizons": H, "text_dim": D, "lookback": L} | SMALL[name]
    save_model(tmp_path, model, config | {"dropout": 0.3}, {})
    loaded, _ = load_model(tmp_path)
    assert isinstance(loaded, torch.nn.Module)
    assert torch.equal(loaded(x_BLF, texts=texts_BLKD), first_BH)


@pytest.mark.parametrize("name", NEWS_MODELS)
@pytest.mark.parametrize("text_dim", [0, D])
def test_training_reaches_every_parameter_and_all_terms_are_finite(name: str, text_dim: int) -> None:
    model = build(name, text_dim)
    terms = Objective(model, get_loss("mse"))(batch(texts=documents() if text_dim else None))
    expected = {
        "stocknet": {"mse", "kl", "auxiliary"},
        "pen": {"mse", "kl", "salience"} if text_dim else {"mse", "kl"},
        "han": {"mse"},
        "gated_news": {"mse"},
    }
    assert set(terms) == expected[name]
    torch.stack(list(terms.values())).sum().backward()
    for path, parameter in model.named_parameters():
        assert parameter.grad is not None, path
        assert parameter.grad.isfinite().all(), path
        assert parameter.grad.abs().sum() > 0, path


@pytest.mark.parametrize("name", NEWS_MODELS)
def test_days_without_documents_give_finite_gradients(name: str) -> None:
    model = build(name)
    terms = Objective(model, get_loss("mse"))(batch(texts=torch.full((B, L, K, D), torch.nan)))
    torch.stack(list(terms.values())).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("name", NEWS_MODELS)
def test_a_model_learns_what_only_the_texts_tell(name: str) -> None:
    model = build(name, **({"kl_weight": 1e-3} if name in VARIATIONAL else {}))
    texts_BLKD = documents(0.0)
    x_BLF, target_BH = windows() * 0.0, texts_BLKD[:, -1].nanmean(dim=1)[:, :H] * 2.0
    told = TensorBatch(
        windows=x_BLF,
        groups=torch.zeros(B, dtype=torch.int64),
        num_dates=1,
        targets=target_BH,
        texts=texts_BLKD,
    )
    objective = Objective(model, get_loss("mse"))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(40):
        optimizer.zero_grad()
        torch.stack(list(objective(told).values())).sum().backward()
        optimizer.step()
    model.eval()
    error = (model(x_BLF, texts=texts_BLKD) - target_BH).square().mean()
    assert error < 0.3 * target_BH.square().mean()


@pytest.mark.parametrize("name", NEWS_MODELS)
def test_whole_dates_in_any_pieces_give_the_same_criterion(name: str) -> None:
    """Terms are averaged over dates: a piece weighs its number of dates, as the engine does it."""
    model = build(name).eval()  # no draws: latents are means, so the pieces can be compared
    whole = batch(num_dates=6, texts=documents())
    objective = Objective(model, get_loss("mse"))
    expected = objective(whole)
    pieces = [piece(whole, [0, 1]), piece(whole, [2]), piece(whole, [3, 4, 5])]
    for term, value in expected.items():
        parts = sum(objective(part)[term] * part.num_dates / 6 for part in pieces)
        torch.testing.assert_close(parts, value, rtol=1e-4, atol=1e-6)


def piece(whole: TensorBatch, dates: list[int]) -> TensorBatch:
    rows = torch.isin(whole.groups, torch.tensor(dates))
    assert whole.targets is not None
    assert whole.texts is not None
    return TensorBatch(
        windows=whole.windows[rows],
        groups=torch.unique(whole.groups[rows], return_inverse=True)[1],
        num_dates=len(dates),
        targets=whole.targets[rows],
        texts=whole.texts[rows],
    )


def changed_later(x_BLF: Tensor, texts_BLKD: Tensor, by: float) -> tuple[Tensor, Tensor]:
    """The same with other days 3 and 4; where documents were missing there are some now."""
    changed_x, changed_texts = x_BLF.clone(), texts_BLKD.clone()
    changed_x[:, 3:] += by
    changed_texts[:, 3:] = 5.0 * by
    return changed_x, changed_texts


@pytest.mark.parametrize("name", VARIATIONAL)
def test_states_do_not_depend_on_later_days(name: str) -> None:
    """In float64: a document more moves the others to other rows of a matrix product, which some CPUs sum otherwise."""
    model, x_BLF, texts_BLKD = build(name).eval().double(), windows().double(), documents().double()
    before, after = (
        model.states(x, texts) for x, texts in ((x_BLF, texts_BLKD), changed_later(x_BLF, texts_BLKD, by=1.0))
    )
    torch.testing.assert_close(after[:, :3], before[:, :3], rtol=0, atol=ROUNDING_FLOAT64)
    assert (after[:, 3:] != before[:, 3:]).any()


@pytest.mark.parametrize("name", VARIATIONAL)
@pytest.mark.parametrize("share", [1e-9, 1.0])
def test_a_state_that_sees_a_trace_of_a_later_day_is_caught(name: str, share: float) -> None:
    """A leak of a billionth is far above the bound of the test before, and below what float32 could show."""
    model, x_BLF, texts_BLKD = build(name).eval().double(), windows().double(), documents().double()

    def leaking_states(x: Tensor, texts: Tensor) -> Tensor:
        return model.states(x + share * x[:, -1:], texts)

    before, after = (
        leaking_states(x, texts) for x, texts in ((x_BLF, texts_BLKD), changed_later(x_BLF, texts_BLKD, by=1.0))
    )
    assert (after[:, :3] - before[:, :3]).abs().max() > 10 * ROUNDING_FLOAT64


@pytest.mark.parametrize("name", VARIATIONAL)
def test_predictions_do_not_see_the_target_and_training_samples(name: str) -> None:
    model = build(name)
    told = batch(texts=documents())
    objective = Objective(model, get_loss("mse"))
    first, again = (objective(told) for _ in range(2))
    assert first["mse"] != again["mse"]  # the latents are drawn
    assert first["kl"] > 0
    without_draws = build(name, prior_share=1.0, kl_weight=0.0)
    terms = Objective(without_draws, get_loss("mse"))(told)
    plain = get_loss("mse")(without_draws(told.windows, texts=told.texts), told.targets, told.groups, told.num_dates)
    torch.testing.assert_close(terms["mse"], plain["mse"])


@pytest.mark.parametrize("name", VARIATIONAL)
def test_the_weight_of_the_divergence_scales_its_term_alone(name: str) -> None:
    told, divergences = batch(texts=documents()), {}
    light = build(name, kl_weight=0.01)
    heavy = build(name, kl_weight=0.2)
    heavy.load_state_dict(light.state_dict())
    for weight, model in ((0.01, light), (0.2, heavy)):
        set_seed(5)
        divergences[weight] = Objective(model, get_loss("mse"))(told)
    torch.testing.assert_close(divergences[0.2]["kl"], 20 * divergences[0.01]["kl"])
    torch.testing.assert_close(divergences[0.2]["mse"], divergences[0.01]["mse"])


def test_the_divergence_of_normals_equals_torch_distributions() -> None:
    first, second = (Normal(torch.randn(9, 4), torch.randn(9, 4)) for _ in range(2))
    reference = kl_divergence(
        *(TorchNormal(normal.mean, (0.5 * normal.log_variance).exp()) for normal in (first, second))
    )
    torch.testing.assert_close(normal_divergence(first, second), reference.sum(dim=1))
    assert normal_divergence(first, first).abs().max() < 1e-6


def test_samples_have_the_mean_and_the_variance() -> None:
    normal = Normal(torch.tensor([2.0]), torch.tensor([9.0]).log())
    draws = Normal(*(value.expand(20_000) for value in normal)).sample()
    assert abs(draws.mean() - 2.0) < 0.1
    assert abs(draws.std() - 3.0) < 0.1


def test_windows_without_a_target_have_no_share_in_an_average_and_dates_weigh_the_same() -> None:
    targets = torch.tensor([[1.0], [2.0], [torch.nan], [1.0], [1.0], [5.0]])
    groups = torch.tensor([0, 0, 0, 1, 1, 1])
    told = TensorBatch(windows=torch.zeros(6, 1, 1), groups=groups, num_dates=2, targets=targets)
    values_B = torch.tensor([1.0, 3.0, 100.0, 4.0, 5.0, 6.0])
    assert average_over_dates(values_B, told).item() == pytest.approx((2.0 + 5.0) / 2)


def test_attention_weights_sum_to_one_where_there_is_a_document_and_are_zero_elsewhere() -> None:
    texts_BLKD = documents()
    cleaned_BLKD, present_BLK = read_documents(texts_BLKD, windows(), D)
    vector_BLE, weight_BLK = DocumentAttention(D, 8, 0.0)(cleaned_BLKD, present_BLK)
    has_any_BL = present_BLK.any(dim=2)
    assert (~has_any_BL).any()
    torch.testing.assert_close(weight_BLK.sum(dim=2), has_any_BL.float())
    assert (weight_BLK[~present_BLK] == 0).all()
    assert (vector_BLE[~has_any_BL] == 0).all()
    score = torch.tensor([[0.3, -1.0, 2.0]])
    torch.testing.assert_close(masked_softmax(score, torch.ones(1, 3).bool()), score.softmax(dim=1))


def test_the_weights_of_han_over_days_vary_and_sum_to_one() -> None:
    """The superseded model took its softmax over an axis of size 1: all weights were 1."""
    model = build("han").eval()
    weight_BL = model.day_weights(windows(), documents())
    assert weight_BL.shape == (B, L)
    torch.testing.assert_close(weight_BL.sum(dim=1), torch.ones(B))
    assert (weight_BL.std(dim=1) > 1e-3).all()
    assert (weight_BL.std(dim=0) > 1e-5).all()


def test_han_without_prices_reads_the_news_alone() -> None:
    model, texts_BLKD = build("han", prices=False).eval(), documents()
    assert torch.equal(model(windows(), texts=texts_BLKD), model(windows(), texts=texts_BLKD))
    with pytest.raises(ValueError, match="there are no news to read instead"):
        build("han", text_dim=0, prices=False)


def test_the_salience_of_pen_sums_to_one_and_depends_on_the_days_before() -> None:
    model, x_BLF, texts_BLKD = build("pen").eval(), windows(), documents()
    salience_BLK = model.salience(x_BLF, texts_BLKD)
    has_any_BL = (~texts_BLKD.isnan().any(dim=3)).any(dim=2)
    torch.testing.assert_close(salience_BLK.sum(dim=2), has_any_BL.float())
    x_BLF[:, 0] += 3.0
    assert (model.salience(x_BLF, texts_BLKD)[:, 2] != salience_BLK[:, 2]).any()


def test_the_divergence_from_uniform_salience_is_that_of_the_definition() -> None:
    salience_BLK = torch.tensor([[[0.7, 0.3, 0.0], [1.0, 0.0, 0.0]], [[0.25, 0.25, 0.5], [1 / 3, 1 / 3, 1 / 3]]])
    present_BLK = torch.tensor([[[True, True, False], [True, False, False]], [[True] * 3, [True] * 3]])
    expected = [
        0.7 * np.log(0.7 * 2) + 0.3 * np.log(0.3 * 2),  # the day of one text does not count
        (0.5 * np.log(0.75) + 0.5 * np.log(1.5)) / 2,
    ]
    np.testing.assert_allclose(salience_divergence(salience_BLK, present_BLK), expected, atol=1e-6)
    nothing = salience_divergence(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3).bool())
    assert nothing.tolist() == [0.0]


def test_the_top_text_ratio_counts_days_of_three_texts_or_more() -> None:
    model, x_BLF = build("pen").eval(), windows()
    texts_BLKD = documents()
    salience_BLK = model.salience(x_BLF, texts_BLKD).detach().numpy()
    present_BLK = ~texts_BLKD.isnan().any(dim=3).numpy()
    top = [
        np.sort(s[p])[-2:].sum()
        for s, p in zip(salience_BLK.reshape(-1, K), present_BLK.reshape(-1, K), strict=True)
        if p.sum() >= 3
    ]
    assert model.top_text_ratio(x_BLF, texts_BLKD, share=0.55) == pytest.approx(np.mean(np.array(top) > 0.55))
    assert np.isnan(model.top_text_ratio(x_BLF, None))


def test_rewarding_salience_concentrates_it() -> None:
    x_BLF, told = windows(), batch(texts=documents(0.0))
    ratios = []
    for weight in (0.0, 1.0):
        set_seed(1)
        model = build("pen", salience_weight=weight)
        objective = Objective(model, get_loss("mse"))
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
        for _ in range(20):
            optimizer.zero_grad()
            torch.stack(list(objective(told).values())).sum().backward()
            optimizer.step()
        ratios.append(model.top_text_ratio(x_BLF, told.texts))
    assert ratios[1] > ratios[0]


def test_the_earlier_movements_of_stocknet_are_the_signs_of_the_next_bar() -> None:
    x_BLF = windows()
    model = build("stocknet", movement_feature=2)
    moved_BL = model._earlier_movements(x_BLF)
    np.testing.assert_array_equal(moved_BL[:, :-1], np.sign(x_BLF[:, 1:, 2]))
    assert (moved_BL[:, -1] == 0).all()
    logit_BL, signs_BL = torch.tensor([[0.4, -2.0, 1.0]]), torch.tensor([[1.0, 0.0, -1.0]])
    expected = np.mean([np.log1p(np.exp(-0.4)), np.log1p(np.exp(1.0))])
    assert movement_error(logit_BL, signs_BL).item() == pytest.approx(expected, rel=1e-5)
    untold = build("stocknet", movement_feature=None)
    assert "auxiliary" not in Objective(untold, get_loss("mse"))(batch())


def test_a_window_of_one_bar_is_enough() -> None:
    for name in NEWS_MODELS:
        model = build_model(name, num_features=F, num_horizons=H, text_dim=D, **(SMALL[name] | {"lookback": 1}))
        assert isinstance(model, torch.nn.Module)
        assert model(torch.randn(3, 1, F), texts=torch.randn(3, 1, K, D)).isfinite().all()
        one = TensorBatch(
            windows=torch.randn(3, 1, F), groups=torch.zeros(3).long(), num_dates=1, targets=torch.randn(3, H)
        )
        assert all(term.isfinite() for term in Objective(model, get_loss("mse"))(one).values())


@pytest.mark.parametrize("base", ["lstm", "tcn_attention", "han"])
def test_the_gate_wraps_price_models_and_refuses_others(base: str) -> None:
    if base == "han":
        with pytest.raises(ValueError, match="base = 'han': must read windows of features and no texts"):
            build("gated_news", base=base, settings={})
        return
    model = build("gated_news", base=base, settings={}).eval()
    x_BLF, texts_BLKD = windows(), documents()
    gate_BL2 = model.news(x_BLF, texts_BLKD)[1]
    torch.testing.assert_close(gate_BL2.sum(dim=2), torch.ones(B, L))
    fused_BLF = model.fused(x_BLF, texts_BLKD)
    torch.testing.assert_close(model(x_BLF, texts=texts_BLKD), model.base(fused_BLF))
    no_news_BL = texts_BLKD.isnan().all(dim=3).all(dim=2)
    torch.testing.assert_close(fused_BLF[no_news_BL], 2.0 * x_BLF[no_news_BL])
    alone = build("gated_news", text_dim=0, base=base, settings={}).eval()
    assert torch.equal(alone(x_BLF), alone.base(x_BLF))


class OwnTerms(torch.nn.Module):
    """A price model with a training of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(F, H)

    def forward(self, x_BLF: Tensor) -> Tensor:
        return self.head(x_BLF[:, -1])

    def training_terms(self, batch: TensorBatch, criterion: Any) -> dict[str, Tensor]:
        return criterion(self(batch.windows)) | {"own": batch.windows.square().mean()}


def test_the_gate_keeps_the_training_of_its_price_model() -> None:
    model = build("gated_news")
    model.base = OwnTerms()
    told = batch(texts=documents())
    terms = Objective(model, get_loss("mse"))(told)
    torch.testing.assert_close(terms["own"], model.fused(told.windows, told.texts).square().mean())


def test_texts_of_another_shape_and_bad_settings_are_refused() -> None:
    model = build("stocknet")
    with pytest.raises(ValueError, match=r"texts have shape \(24, 5, 4, 6\)"):
        model(windows(), texts=torch.randn(B, L, K, D - 1))
    for name, wrong, message in (
        ("stocknet", {"prior_share": 1.5}, r"prior_share = 1.5: must be in \[0, 1\]"),
        ("stocknet", {"kl_weight": -1.0}, "kl_weight = -1.0: must be >= 0"),
        ("stocknet", {"movement_feature": F}, "movement_feature = 6: must be < num_features = 6"),
        ("pen", {"salience_weight": -0.1}, "salience_weight = -0.1: must be >= 0"),
        ("pen", {"prior_share": 2.0}, "prior_share = 2.0"),
        ("gated_news", {"settings": {"lookback": 3}}, "the price model takes that beside it"),
        ("gated_news", {"base": "lstmm"}, "did you mean 'lstm'"),
        ("gated_news", {"settings": {"hiden": 3}}, "did you mean 'hidden'"),
    ):
        with pytest.raises(ValueError, match=message):
            build(name, **wrong)


@pytest.mark.parametrize("name", NEWS_MODELS)
def test_a_model_trains_through_the_engine_in_micro_batches(name: str) -> None:
    from factor_models import Engine

    class NumpyBatch:
        windows = windows().numpy()
        targets = torch.randn(B, H).numpy()
        groups = np.arange(B) // 6
        rows = np.arange(B)
        texts = documents().numpy()

    model = build(name)
    before = copy.deepcopy(model.state_dict())
    config = EngineConfig(lr=1e-2, accumulation=3)
    engine = Engine(model, get_loss("mse"), config, total_steps=4)
    records = [engine.train_step(NumpyBatch) for _ in range(4)]
    after = engine.full_state_dict()
    engine.close()
    assert all(np.isfinite(value) for record in records for value in record.terms.values())
    assert any(not torch.equal(before[key], after[key]) for key in before)
    if name in VARIATIONAL:
        assert records[0].terms["kl"] > 0
