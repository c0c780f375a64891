"""Several seeds of a network as one model: the mean of what they say, saved and loaded as any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from factor_models import (
    FactorRegressor,
    SeedEnsemble,
    build_model,
    count_flops,
    count_parameters,
    from_pretrained,
    load_model,
    save_model,
    save_pretrained,
)
from models.model_samples import make_batch, predict, tiny_network, tiny_settings

READS = ("lstm", "tcn_attention", "dtml", "token_transformer", "stocknet")
"""Windows alone; symbols too; whole dates; tokens; texts."""


@pytest.mark.parametrize("name", READS)
def test_the_ensemble_says_the_mean_of_its_members(name: str) -> None:
    members = [tiny_network(name, num_horizons=2, seed=seed).eval() for seed in (3, 4, 5)]
    batch = make_batch(name, num_horizons=2)
    apart = np.stack([predict(one, batch).detach().double().numpy() for one in members])
    assert np.abs(apart[0] - apart[1]).max() > 1e-3, "the members differ, else the mean tells nothing"
    together = predict(SeedEnsemble(members).eval(), batch).detach().numpy()
    np.testing.assert_allclose(together, apart.mean(axis=0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", READS)
def test_it_comes_back_from_its_folder_bit_for_bit(name: str, tmp_path: Path) -> None:
    config = {**tiny_settings(name), "seeds": 2}
    torch.manual_seed(0)
    built = build_model(**config)
    assert isinstance(built, SeedEnsemble)
    built.eval()
    save_model(tmp_path / "own", built, config, {"seeds": [1, 2]})
    save_pretrained(built, tmp_path / "hub", metadata={})
    batch = make_batch(name)
    for loaded in (load_model(tmp_path / "own")[0], from_pretrained(tmp_path / "hub")):
        assert isinstance(loaded, SeedEnsemble)
        assert torch.equal(predict(loaded, batch), predict(built, batch))


def test_it_counts_as_its_members_together() -> None:
    config = tiny_settings("lstm")
    one, three = build_model(**config), build_model(**config, seeds=3)
    assert count_parameters(three) == 3 * count_parameters(one)
    flops = count_flops(one, config)
    assert flops
    assert count_flops(three, config | {"seeds": 3}) == 3 * flops


@pytest.mark.parametrize(
    ("name", "seeds", "said"),
    [
        ("lstm", 0, "seeds = 0 must be an integer from 1 to 64"),
        ("lstm", 65, "seeds = 65 must be"),
        ("lstm", 2.0, "seeds = 2.0 must be"),
        ("lstm", [2], r"seeds = \[2\] must be"),
        ("linear", 3, "seeds = 3: only networks have several"),
    ],
)
def test_other_numbers_of_seeds_are_refused(name: str, seeds: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"model {name!r}: {said}"):
        build_model(name, seeds=seeds, num_features=2, num_horizons=1)


def test_an_estimator_is_one_network() -> None:
    regressor = FactorRegressor("mlp", settings={"seeds": 3})
    with pytest.raises(ValueError, match="settings hold 'seeds'"):
        regressor.fit(np.zeros((8, 2)), np.arange(8.0))
