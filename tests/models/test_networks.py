"""Parts of the torch models against their formulas, what they read, clear refusals; test_every_model has the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from factor_models import build_model, input_tensor, set_seed
from factor_models.networks.token_transformer import FeatureEmbedding

pytestmark = pytest.mark.numeric

NETWORKS = ("lstm", "tcn_attention", "token_transformer")
SIZES = {"num_features": 6, "num_horizons": 3}
NUM_TOKENS = 8
LOOKBACK = 9


def build(name: str, **config: Any) -> nn.Module:
    tokens = {"num_tokens": NUM_TOKENS} if name == "token_transformer" else {}
    return build_model(name, **(SIZES | tokens | {"lookback": LOOKBACK} | config))


def make_windows(name: str, num_windows: int = 64, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    shape = (num_windows, LOOKBACK, SIZES["num_features"])
    if name == "token_transformer":
        return generator.integers(0, NUM_TOKENS + 1, shape, dtype=np.uint8)
    return generator.standard_normal(shape, np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_prediction_uses_every_bar_and_every_feature(name: str) -> None:
    set_seed(2)
    model = build(name, **({"levels": 2} if name == "tcn_attention" else {})).eval()
    if name == "token_transformer":
        gradient = []
        model.embedding.register_forward_hook(lambda *args: gradient.append(args[2]) or args[2].retain_grad())
        model(input_tensor(make_windows(name))).square().sum().backward()
        assert (gradient[0].grad.abs().sum(dim=(0, 2)) > 0).all()
        return
    x_BLF = input_tensor(make_windows(name)).requires_grad_()
    model(x_BLF).square().sum().backward()
    assert (x_BLF.grad.abs().sum(dim=0) > 0).all()


def test_the_last_block_alone_equals_the_last_bar_of_all_states() -> None:
    model = build("token_transformer", layers=3).eval()
    x_BLF = input_tensor(make_windows("token_transformer"))
    from_states = model.head(model.norm(model.states(x_BLF)[:, -1]))
    torch.testing.assert_close(model(x_BLF), from_states, rtol=1e-5, atol=1e-6)


def test_embeddings_are_the_sum_of_one_table_per_feature() -> None:
    embedding = FeatureEmbedding(num_features=3, num_tokens=4, dim=2)
    tables = embedding.tables.detach().view(3, 5, 2)
    token_BLF = torch.tensor([[[0, 1, 4], [3, 0, 0]]], dtype=torch.uint8)
    expected = torch.stack([tables[0, 0] + tables[1, 1] + tables[2, 4], tables[0, 3] + tables[1, 0] + tables[2, 0]])
    torch.testing.assert_close(embedding(token_BLF)[0], expected)


def test_the_gradient_of_the_tables_equals_that_of_embedding_bag() -> None:
    embedding = FeatureEmbedding(num_features=3, num_tokens=4, dim=2)
    token_BLF = torch.randint(0, 5, (6, 7, 3))
    weight_BLD = torch.randn(6, 7, 2)
    (embedding(token_BLF) * weight_BLD).sum().backward()
    tables = embedding.tables.detach().clone().requires_grad_()
    bags = (token_BLF + embedding.offset_F).flatten(0, 1)
    (torch.nn.functional.embedding_bag(bags, tables, mode="sum") * weight_BLD.flatten(0, 1)).sum().backward()
    torch.testing.assert_close(embedding.tables.grad, tables.grad)


def test_missing_features_enter_as_zero_and_infinite_ones_are_refused() -> None:
    windows = np.array([[[1.0, np.nan]]], np.float32)
    assert input_tensor(windows).tolist() == [[[1.0, 0.0]]]
    assert np.isnan(windows[0, 0, 1]), "the caller's array stays as it is"
    with pytest.raises(ValueError, match="1 infinite values"):
        input_tensor(np.array([[[np.inf]]], np.float32))


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("lstn", {}, "model 'lstn' is unknown: did you mean 'lstm'"),
        (
            "lstm",
            {"hiden": 3},
            "model 'lstm' has no setting 'hiden': did you mean 'hidden'",
        ),
        ("lstm", {"num_tokens": 3}, "model 'lstm' has no setting 'num_tokens'"),
        ("lstm", {"hidden": 0}, "^model 'lstm': hidden = 0: must be >= 1"),
        ("lstm", {"dropout": 1.0}, r"^model 'lstm': dropout = 1.0: must be in \[0, 1\)"),
        (
            "tcn_attention",
            {"channels": 30},
            "^model 'tcn_attention': channels = 30: must be a multiple of heads = 4",
        ),
        ("token_transformer", {"num_tokens": 0}, "num_tokens = 0 must be an integer >= 1"),
        (
            "token_transformer",
            {"dim": 30, "num_tokens": 4},
            "^model 'token_transformer': dim = 30: must be a multiple of heads = 4",
        ),
        ("linear", {"alpha": -1.0}, "^model 'linear': alpha = -1.0: must be >= 0"),
        ("lightgbm", {"row_share": 0.0}, r"^model 'lightgbm': row_share = 0.0: must be in \(0, 1\]"),
    ],
)
def test_a_wrong_name_setting_or_value_is_named(name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(name, **(SIZES | config))


def test_a_missing_size_is_named() -> None:
    with pytest.raises(ValueError, match="model 'token_transformer' needs num_tokens"):
        build_model("token_transformer", **SIZES)


def test_windows_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(64, 9, 6\): the model was built for \(batch, lookback=8, num_fe"):
        build("lstm", lookback=8)(input_tensor(make_windows("lstm")))
    with pytest.raises(ValueError, match=r"tokens have dtype torch.float32: must be integers"):
        build("token_transformer")(torch.zeros(1, LOOKBACK, 6))
