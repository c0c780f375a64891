"""Ridge against scikit-learn; boosted trees: deterministic, stopped early, weighted, the same after saving."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from safetensors.numpy import load_file, save, save_file
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from factor_metrics.dispersion import no_dispersion
from factor_models import Table, TabularModel, build_model, load_model, save_model
from factor_models.tabular.base import check_targets, is_constant
from factor_models.tabular.linear import ALPHAS

pytestmark = pytest.mark.numeric

SOURCES = Path(__file__).parents[2] / "packages" / "models" / "src"
NUM_ROWS, NUM_FEATURES, NUM_SYMBOLS = 3000, 5, 10
GROWTH = {"rounds": 40, "patience": 5, "num_threads": 1}
SETTINGS = {
    "linear": {},
    "lightgbm": GROWTH | {"min_rows_in_leaf": 20},
    "xgboost": GROWTH | {"min_leaf_weight": 20.0},
    "cross_asset_lightgbm": GROWTH | {"min_rows_in_leaf": 20, "leaders": 1, "num_symbols": NUM_SYMBOLS + 1},
}
TREES = [name for name in SETTINGS if name != "linear"]


@pytest.fixture(scope="module")
def table() -> Table:
    generator = np.random.default_rng(0)
    x = (generator.standard_normal((NUM_ROWS, NUM_FEATURES)) * [1, 10, 0.1, 1, 1] + 3).astype(np.float32)
    signal = np.stack([x[:, 0] - 0.1 * x[:, 1], np.abs(x[:, 3] - 3)], axis=1)
    y = (signal + generator.standard_normal((NUM_ROWS, 2))).astype(np.float32)
    rows = np.arange(NUM_ROWS)
    return Table(features=x, targets=y, groups=rows // NUM_SYMBOLS, symbols=rows % NUM_SYMBOLS + 1)


def part(table: Table, rows: np.ndarray | slice) -> Table:
    arrays = {name: getattr(table, name) for name in ("features", "targets", "groups", "symbols", "weights")}
    return Table(**{name: None if values is None else values[rows] for name, values in arrays.items()})


def build(name: str, **config: Any) -> Any:
    return build_model(name, num_features=NUM_FEATURES, num_horizons=2, **(SETTINGS.get(name, {}) | config))


@pytest.mark.parametrize("alpha", [0.0, 1.0, 5000.0])
def test_ridge_equals_scikit_learn_on_standardised_features(table: Table, alpha: float) -> None:
    model = build("linear", alpha=alpha).fit(table)
    z = StandardScaler().fit_transform(table.features.astype(np.float64))
    expected = Ridge(alpha=alpha).fit(z, table.targets).predict(z)
    np.testing.assert_allclose(model.predict(table), expected, rtol=1e-5, atol=1e-5)


def test_ridge_leaves_out_rows_without_target_per_horizon(table: Table) -> None:
    x, y = table.features, table.targets
    holed = y.copy()
    holed[:1000, 0] = np.nan
    model = build("linear", alpha=3.0).fit(replace(table, targets=holed))
    z = StandardScaler().fit_transform(x.astype(np.float64))
    first, second = Ridge(alpha=3.0).fit(z[1000:], y[1000:, 0]), Ridge(alpha=3.0).fit(z, y[:, 1])
    np.testing.assert_allclose(model.weights, np.stack([first.coef_, second.coef_], axis=1), rtol=1e-6, atol=1e-9)


def test_ridge_reads_a_missing_feature_as_the_training_mean_and_counts_it(table: Table) -> None:
    holed = table.features.copy()
    holed[:10, 2] = np.nan
    model = build("linear").fit(replace(table, features=holed))
    assert model.num_missing == 10
    filled = holed.copy()
    filled[:10, 2] = np.nanmean(holed[:, 2].astype(np.float64))
    predictions = [model.predict(Table(features=x[:20])) for x in (holed, filled)]
    np.testing.assert_allclose(*predictions, rtol=1e-5)


def test_ridge_with_a_constant_and_a_repeated_feature_stays_finite(table: Table) -> None:
    x = table.features.copy()
    x[:, 1], x[:, 2] = 7.0, x[:, 0]
    model = build("linear", alpha=0.0).fit(replace(table, features=x))
    assert np.abs(model.weights).max() < 10
    assert np.abs(model.weights[1]).max() < 1e-12


def test_ridge_chooses_per_horizon_the_penalty_that_forecasts_the_valid_dates_best() -> None:
    """A little that all features have in common under noise wants a strong penalty, plain weights want a weak one."""
    generator = np.random.default_rng(3)
    x = (generator.standard_normal((4000, 1)) + generator.standard_normal((4000, 50))).astype(np.float32)
    weights = generator.standard_normal(50)
    y = np.stack([0.1 * x.mean(axis=1) + generator.standard_normal(4000), x @ weights], axis=1).astype(np.float32)
    whole = Table(features=x, targets=y, groups=np.arange(4000) // 50)
    train, valid = (part(whole, slice(a, b)) for a, b in ((0, 2000), (2000, 4000)))

    def scores(alpha: float) -> np.ndarray:
        forecast = build_linear(alpha).fit(train).predict(valid)
        days = [slice(first, first + 50) for first in range(0, 2000, 50)]
        return np.mean([[np.corrcoef(forecast[d, h], valid.targets[d, h])[0, 1] for h in (0, 1)] for d in days], axis=0)

    def build_linear(alpha: float | str) -> Any:
        return build_model("linear", num_features=50, num_horizons=2, alpha=alpha)

    model = build_linear("auto").fit(train, valid)
    by_hand = np.array([scores(alpha) for alpha in ALPHAS])
    np.testing.assert_allclose(model.alphas, np.array(ALPHAS)[by_hand.argmax(axis=0)])
    assert model.alphas[0] >= 1e3 > model.alphas[1]
    fixed = build_linear(float(model.alphas[0])).fit(train)
    np.testing.assert_array_equal(model.predict(valid)[:, 0], fixed.predict(valid)[:, 0])
    with pytest.raises(ValueError, match=r"alpha = 'auto': .* on valid rows, none are given"):
        build_linear("auto").fit(train)
    with pytest.raises(ValueError, match="alpha = 'automatic': must be a number >= 0 or auto"):
        build_linear("automatic")


def test_a_linear_model_that_was_saved_without_its_penalties_is_read(table: Table, tmp_path: Path) -> None:
    model = build("linear").fit(table)
    model.save_weights(tmp_path / "weights")
    arrays = load_file(tmp_path / "weights")
    (tmp_path / "weights").write_bytes(save({key: value for key, value in arrays.items() if key != "alphas"}))
    read = build("linear")
    read.load_weights(tmp_path / "weights")
    np.testing.assert_array_equal(read.predict(table), model.predict(table))
    np.testing.assert_array_equal(read.alphas, model.alphas)


@pytest.mark.parametrize("name", TREES)
def test_trees_learn_what_a_line_cannot(table: Table, name: str) -> None:
    half = NUM_ROWS // 2
    model = build(name).fit(part(table, slice(half)), part(table, slice(half, None)))
    prediction = model.predict(part(table, slice(half, None)))
    assert np.corrcoef(prediction[:, 1], np.abs(table.features[half:, 3] - 3))[0, 1] > 0.8


def test_trees_equal_the_library_called_directly(table: Table) -> None:
    """The same settings by hand, on the rows whose target is known."""
    x, y = table.features, table.targets.copy()
    y[:500, 0] = np.nan
    x = np.where(np.arange(NUM_ROWS)[:, None] % 7 == 0, np.nan, x)
    holed = replace(table, features=x, targets=y)
    light = {"num_leaves": 31, "learning_rate": 0.05, "lambda_l2": 10.0, "min_data_in_leaf": 20, "seed": 7}
    light |= {"verbosity": -1, "force_row_wise": True, "deterministic": True}
    light |= {"feature_fraction": 0.8, "bagging_fraction": 0.8, "bagging_freq": 1}
    booster = lightgbm.train(light, lightgbm.Dataset(x[500:], y[500:, 0]), 40)
    ours = build("lightgbm").fit(holed).predict(holed)[:, 0]
    np.testing.assert_allclose(ours, booster.predict(x), rtol=1e-6)
    extreme = {"max_leaves": 31, "max_depth": 0, "grow_policy": "lossguide", "eta": 0.05, "lambda": 10.0}
    extreme |= {"min_child_weight": 20.0, "seed": 7, "subsample": 0.8, "colsample_bytree": 0.8}
    booster = xgboost.train(extreme, xgboost.DMatrix(x[500:], y[500:, 0]), 40)
    ours = build("xgboost").fit(holed).predict(holed)[:, 0]
    np.testing.assert_allclose(ours, booster.predict(xgboost.DMatrix(x)), rtol=1e-6)


def test_a_linear_model_does_not_depend_on_the_number_of_threads() -> None:
    generator = np.random.default_rng(0)
    features = generator.standard_normal((5000, 100)).astype(np.float32)
    targets = features[:, :1] + generator.standard_normal((5000, 1)).astype(np.float32)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            fitted = build_model("linear", num_features=100, num_horizons=1, alpha=10.0)
            found.append(fitted.fit(Table(features=features, targets=targets)).weights.tobytes())
    assert found[0] == found[1], "sums that are shared among threads round differently"


def test_trees_do_not_depend_on_the_run_or_on_the_number_of_threads(table: Table, tmp_path: Path) -> None:
    """In a process of its own: waiting threads that spin would take long where others use the cores too."""
    np.savez(tmp_path / "table.npz", features=table.features, targets=table.targets)
    code = f"""
import numpy as np
from pathlib import Path
from factor_models import Table, build_model
table = Table(**np.load("table.npz"))
valid = Table(features=table.features[:500], targets=table.targets[:500])
for name, settings in {[(name, SETTINGS[name]) for name in ("lightgbm", "xgboost")]}:
    for place, threads in enumerate((1, 1, 2)):
        model = build_model(name, num_features=5, num_horizons=2, **(settings | {{"num_threads": threads}}))
        model.fit(table, valid).save_weights(Path(f"{{name}}{{place}}.txt"))
"""
    environment = os.environ | {"PYTHONPATH": str(SOURCES), "OMP_WAIT_POLICY": "PASSIVE"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    for name in ("lightgbm", "xgboost"):
        texts = []
        for place in range(3):
            lines = (tmp_path / f"{name}{place}.txt").read_text().splitlines()
            texts.append([line for line in lines if not line.startswith("[num_threads")])
        assert texts[0] == texts[1] == texts[2]


@pytest.mark.parametrize("name", TREES)
def test_gain_is_that_of_the_features_that_the_labels_are_made_of(table: Table, name: str) -> None:
    model = build(name).fit(table)
    shares = model.gain_shares()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert set(np.argsort(-shares[0])[:2]) == {0, 1}
    assert shares[1].argmax() == 3
    if name == "lightgbm":
        gain = model.boosters[0].feature_importance("gain")
        np.testing.assert_allclose(shares[0], gain / gain.sum())


@pytest.mark.parametrize("name", TREES)
def test_trees_stop_where_the_valid_error_is_lowest(table: Table, name: str) -> None:
    noise = np.random.default_rng(1).permutation(table.targets)
    shuffled = replace(table, targets=noise)
    stopped = build(name).fit(part(shuffled, slice(2000)), part(shuffled, slice(2000, None)))
    assert max(stopped.num_trees) < 20
    assert build(name).fit(table).num_trees == [40, 40]


@pytest.mark.parametrize("name", ["linear", "lightgbm", "xgboost"])
def test_a_weight_of_two_equals_the_row_given_twice_and_of_zero_the_row_left_out(table: Table, name: str) -> None:
    """Features of few values: then weights do not move the bins of a histogram."""
    small = part(table, slice(600))
    x = np.random.default_rng(5).integers(0, 4, (600, NUM_FEATURES)).astype(np.float32)
    small = replace(small, features=x, targets=(x[:, :2] ** 2 + small.targets).astype(np.float32))
    times = np.arange(600) % 3
    every_row = {"row_share": 1.0, "feature_share": 1.0} if name != "linear" else {}
    limit = {"lightgbm": {"min_rows_in_leaf": 1, "rounds": 5}, "xgboost": {"min_leaf_weight": 0.5}}
    settings = every_row | limit.get(name, {})
    weighted = build(name, **settings).fit(replace(small, weights=times.astype(np.float32)))
    repeated = build(name, **settings).fit(part(small, np.repeat(np.arange(600), times)))
    plain = build(name, **settings).fit(small)
    predictions = [model.predict(small) for model in (weighted, repeated, plain)]
    np.testing.assert_allclose(predictions[0], predictions[1], rtol=1e-4, atol=1e-5)
    assert np.abs(predictions[0] - predictions[2]).max() > 0.01


@pytest.mark.parametrize("name", list(SETTINGS))
def test_weights_of_one_change_nothing(table: Table, name: str) -> None:
    ones = replace(table, weights=np.ones(NUM_ROWS, np.float32))
    np.testing.assert_allclose(
        build(name).fit(ones).predict(table), build(name).fit(table).predict(table), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", TREES)
def test_trees_fit_log_odds_where_the_targets_are_0_and_1(table: Table, name: str) -> None:
    """One feature decides between two shares of ones: the log odds of these shares come out."""
    generator = np.random.default_rng(3)
    x = np.zeros((NUM_ROWS, NUM_FEATURES), np.float32)
    x[:, 0] = np.arange(NUM_ROWS) % 2
    chance = np.where(x[:, 0] == 1, 0.8, 0.3)
    y = np.stack([generator.random(NUM_ROWS) < chance, generator.random(NUM_ROWS) < 0.5], axis=1)
    binary = replace(table, features=x, targets=y.astype(np.float32))
    model = build(name, rounds=300, l2=0.0, feature_share=1.0).fit(binary)
    odds = model.predict(binary)[:, 0]
    for value in (0, 1):
        share = y[x[:, 0] == value, 0].mean()
        assert odds[x[:, 0] == value] == pytest.approx(np.log(share / (1 - share)), abs=0.02)


@pytest.mark.parametrize("name", list(SETTINGS))
def test_a_saved_model_predicts_the_same_and_saves_the_same_bytes(table: Table, tmp_path: Path, name: str) -> None:
    config = {"name": name, "num_features": NUM_FEATURES, "num_horizons": 2} | SETTINGS[name]
    model = build_model(**config).fit(table, part(table, slice(500)))
    assert isinstance(model, TabularModel)
    save_model(tmp_path / "a", model, config, {"features": list("abcde")})
    loaded, metadata = load_model(tmp_path / "a", expected={"features": list("abcde")})
    assert metadata["features"] == list("abcde")
    np.testing.assert_array_equal(loaded.predict(table), model.predict(table))
    assert loaded.num_parameters == model.num_parameters > 0
    save_model(tmp_path / "b", loaded, config, {"features": list("abcde")})
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


def test_a_line_of_the_xgboost_file_is_a_model_that_xgboost_reads(table: Table, tmp_path: Path) -> None:
    model = build("xgboost").fit(table)
    model.save_weights(tmp_path / "model.jsonl")
    for horizon, line in enumerate((tmp_path / "model.jsonl").read_text().splitlines()):
        (tmp_path / "one.json").write_text(line)
        booster = xgboost.Booster(model_file=tmp_path / "one.json")
        expected = booster.predict(xgboost.DMatrix(table.features))
        np.testing.assert_array_equal(model.predict(table)[:, horizon], expected)
        assert booster.num_boosted_rounds() == model.num_trees[horizon]


def test_parameters_of_trees_are_their_leaves(table: Table) -> None:
    stump = {"rounds": 3, "leaves": 2}
    assert [build(name, **stump).fit(table).num_parameters for name in TREES] == [12, 12, 12]
    assert build("linear").fit(table).num_parameters == 12


@pytest.mark.parametrize("name", list(SETTINGS))
def test_bad_tables_are_refused(table: Table, name: str) -> None:
    x, y = table.features, table.targets
    model = build(name)
    with pytest.raises(ValueError, match="not fitted"):
        model.predict(table)
    with pytest.raises(ValueError, match=r"train.features have shape \(3000, 4\).*num_features=5\)"):
        model.fit(replace(table, features=x[:, :4]))
    with pytest.raises(ValueError, match=r"train.targets have shape \(3000, 1\).*num_horizons=2\)"):
        model.fit(replace(table, targets=y[:, :1]))
    with pytest.raises(ValueError, match=r"train\.targets are None"):
        model.fit(replace(table, targets=None))
    with pytest.raises(ValueError, match=r"train.targets\[:, 1\] hold no finite value: nothing can be learnt"):
        model.fit(replace(table, targets=np.stack([y[:, 0], np.full(NUM_ROWS, np.nan)], axis=1)))
    with pytest.raises(ValueError, match=r"train.targets\[:, 0\] are constant \(1.0\)"):
        model.fit(replace(table, targets=np.ones_like(y)))


def test_a_table_whose_columns_do_not_belong_together_is_refused(table: Table) -> None:
    with pytest.raises(ValueError, match=r"targets have shape \(2999, 2\)"):
        replace(table, targets=table.targets[1:])
    with pytest.raises(ValueError, match="features hold 1 infinite values"):
        replace(table, features=np.where(np.arange(15000).reshape(-1, 5) == 3, np.inf, table.features))
    for name in ("groups", "symbols", "weights"):
        with pytest.raises(ValueError, match=rf"{name} have shape \(2,\): must be \(num_rows=3000,\)"):
            replace(table, **{name: np.ones(2)})
    for wrong in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="weights hold a negative or not finite value"):
            replace(table, weights=np.full(NUM_ROWS, wrong))


@pytest.mark.parametrize("name", TREES)
def test_trees_refuse_valid_rows_without_targets(table: Table, name: str) -> None:
    unknown = replace(table, targets=np.full_like(table.targets, np.nan))
    with pytest.raises(ValueError, match=r"valid.targets\[:, 0\] hold no finite value"):
        build(name).fit(table, unknown)


def test_ridge_of_a_direction_gives_the_tangent_of_the_log_odds(table: Table) -> None:
    up = (table.targets > np.median(table.targets, axis=0)).astype(np.float32)
    model = build("linear", alpha=1.0).fit(replace(table, targets=up))
    z = StandardScaler().fit_transform(table.features.astype(np.float64))
    chance = Ridge(alpha=1.0).fit(z, up).predict(z)
    np.testing.assert_allclose(model.predict(table), 4 * (chance - 0.5), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_targets_that_differ_by_rounding_alone_are_constant_by_the_rule_of_the_metrics(dtype: type) -> None:
    generator = np.random.default_rng(0)
    for size in (1e-30, 3.7, 1e12):
        for units in (1, 20, 200, 1e5):
            values = (size * (1.0 + units * np.finfo(dtype).eps * generator.random(50))).astype(dtype)
            assert is_constant(values) == no_dispersion(values, scale=0.0)
    targets = np.full((50, 1), 0.3, dtype=np.float32)
    targets[7] = np.nextafter(np.float32(0.3), np.float32(1.0))
    with pytest.raises(ValueError, match=r"train.targets\[:, 0\] are constant"):
        check_targets(Table(features=np.zeros((50, 1), np.float32), targets=targets), 1)


def test_weights_of_another_version_are_refused_by_what_they_lack(table: Table, tmp_path: Path) -> None:
    model = build("linear").fit(table)
    model.save_weights(tmp_path / "weights.safetensors")
    kept = {name: array for name, array in load_file(tmp_path / "weights.safetensors").items() if name != "scale"}
    save_file(kept, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"weights\.safetensors: no scale: written by another version"):
        model.load_weights(tmp_path / "weights.safetensors")
