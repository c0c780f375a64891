"""The model card: counted parameters and operations against closed forms, what it says, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from factor_models import (
    Table,
    build_model,
    count_flops,
    count_parameters,
    load_model,
    model_card,
    save_model,
)
from models.model_samples import NETWORKS, make_batch, predict, take, tiny_network, tiny_settings

METADATA = {
    "features": ["momentum", "reversal"],
    "labels": {"h1": "return over 1 bar", "h5": "return over 5 bars"},
    "target": "rank",
    "seed": 17,
    "fold": {
        "fold": 2, "train_first": "2015-01-02", "train_last": "2016-12-01", "train_dates": 500, "valid_first": "",
        "valid_last": "", "valid_dates": 0, "test_first": "2017-06-20", "test_last": "2018-06-04", "test_dates": 250,
        "purge_dates": 42, "embargo_dates": 5,
    },
    "train_samples": 119595,
    "missing_inputs": 1082,
    "valid_rank_ic": {"h1": 0.076, "h5": -0.01234},
    "best_head": "h1",
    "best_epoch": 3,
    "num_parameters": 84000,
    "flops_per_window": 162000,
    "normaliser_sha256": "80ab69e185282455ec086d0f7140c276",
    "tokenizer_sha256": "23419a52bf8d7543068a7ee8d950fd97",
}  # fmt: skip
CONFIG = {"name": "lstm", "num_features": 2, "num_horizons": 2, "lookback": 10, "hidden": 32}


@pytest.mark.parametrize(("layers", "lookback"), [(1, 10), (2, 7)])
def test_operations_of_an_lstm_are_those_of_its_matrices(layers: int, lookback: int) -> None:
    """4 gates a layer and bar, each of two matrix products; a product of (1, n) and (n, m) takes 2 n m."""
    config = {"name": "lstm", "num_features": 5, "num_horizons": 3, "hidden": 16, "layers": layers}
    config["lookback"] = lookback
    gates = sum(2 * 4 * 16 * (width + 16) for width in [5] + [16] * (layers - 1))
    model = build_model(**config)
    assert count_flops(model, config) == lookback * gates + 2 * 16 * 3
    recurrence = sum(4 * 16 * (width + 16) + 8 * 16 for width in [5] + [16] * (layers - 1))
    norm_and_head = 2 * 16 + 16 * 3 + 3
    assert count_parameters(model) == recurrence + norm_and_head


@pytest.mark.parametrize("name", NETWORKS)
def test_operations_of_every_network_are_counted_and_counting_leaves_no_trace(name: str) -> None:
    model = tiny_network(name).train()
    batch = take(make_batch(name), torch.arange(4))
    torch.manual_seed(0)
    before = predict(model, batch)
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    flops = count_flops(model, tiny_settings(name))
    assert flops > 2 * 8  # at least a head over the smallest state
    assert model.training
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    torch.manual_seed(0)
    assert torch.equal(predict(model, batch), before)


def test_operations_of_attention_grow_with_the_square_of_the_window() -> None:
    """Scores and sums over bars take 4 L^2 D a layer; all else is linear in L."""
    config = {"name": "transformer", "num_features": 3, "num_horizons": 1, "dim": 16, "heads": 2, "layers": 2}
    counts = [count_flops(build_model(**config, lookback=bars), config | {"lookback": bars}) for bars in (8, 16, 32)]
    second_difference = counts[2] - 3 * counts[1] + 2 * counts[0]
    assert second_difference >= 4 * 16 * (32**2 - 3 * 16**2 + 2 * 8**2)


def test_a_linear_model_is_counted_and_trees_are_not() -> None:
    x = np.random.default_rng(0).standard_normal((300, 4)).astype(np.float32)
    table = Table(features=x, targets=x[:, :2])
    for name, flops in (("linear", 16), ("lightgbm", None), ("xgboost", None)):
        config = {"name": name, "num_features": 4, "num_horizons": 2}
        assert count_flops(build_model(**config).fit(table), config) == flops


def test_the_card_says_what_the_model_is_and_reached() -> None:
    card = model_card(CONFIG, METADATA)
    for line in (
        "# lstm, fold 2",
        "| reads | windows of features |",
        "| settings | hidden 32, lookback 10 |",
        "| parameters | 84,000 |",
        "| operations per window | 162,000 FLOPs |",
        "| epoch kept | 4 |",
        "| train | 2015-01-02 to 2016-12-01, 500 dates |",
        "| valid | none |",
        "| purged, embargoed | 42, 5 dates |",
        "| training samples | 119,595 |",
        "| normaliser | 80ab69e185282455 |",
        "| h1 | +0.0760 (best) |",
        "| h5 | -0.0123 |",
        "Features: momentum, reversal.",
    ):
        assert line in card.splitlines(), line
    assert card == model_card(dict(reversed(CONFIG.items())), dict(reversed(METADATA.items())))


def test_the_card_can_be_written_from_the_folder_of_a_model(tmp_path: Path) -> None:
    model = build_model(**CONFIG)
    save_model(tmp_path, model, CONFIG, METADATA)
    _, metadata = load_model(tmp_path)
    card = model_card(CONFIG, metadata)
    assert f"| weights | {metadata['weights_sha256'][:16]} |" in card


def test_what_a_model_has_not_is_left_out_and_what_all_have_is_needed() -> None:
    optional = {"features", "missing_inputs", "target", "best_head", "flops_per_window", "normaliser_sha256"}
    card = model_card(CONFIG, {key: value for key, value in METADATA.items() if key not in optional})
    assert not any(word in card for word in ("Features", "missing", "rank per date", "FLOPs", "normaliser"))
    trees = model_card(CONFIG | {"name": "lightgbm"}, METADATA | {"flops_per_window": None, "best_epoch": None})
    assert "| operations per window | not counted: trees compare |" in trees
    assert "| epoch kept | fitted in one go |" in trees
    with pytest.raises(KeyError, match="train_samples"):
        model_card(CONFIG, {key: value for key, value in METADATA.items() if key != "train_samples"})
