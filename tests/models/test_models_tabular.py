"""Ridge against scikit-learn; boosted trees: deterministic, stopped early, the same after saving."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from factor_models import TabularModel, build_model, load_model, save_model

SOURCES = Path(__file__).parents[2] / "packages" / "models" / "src"
NUM_ROWS, NUM_FEATURES = 3000, 5
TREES = {"rounds": 40, "min_rows_in_leaf": 20, "patience": 5, "num_threads": 1}


@pytest.fixture(scope="module")
def table():
    generator = np.random.default_rng(0)
    x = (generator.standard_normal((NUM_ROWS, NUM_FEATURES)) * [1, 10, 0.1, 1, 1] + 3).astype(np.float32)
    signal = np.stack([x[:, 0] - 0.1 * x[:, 1], np.abs(x[:, 3] - 3)], axis=1)
    y = (signal + generator.standard_normal((NUM_ROWS, 2))).astype(np.float32)
    return x, y


def build(name, **config):
    return build_model(name, num_features=NUM_FEATURES, num_horizons=2, **config)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 5000.0])
def test_ridge_equals_scikit_learn_on_standardised_features(table, alpha):
    x, y = table
    model = build("linear", alpha=alpha).fit(x, y)
    z = StandardScaler().fit_transform(x.astype(np.float64))
    expected = Ridge(alpha=alpha).fit(z, y).predict(z)
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-5)


def test_ridge_leaves_out_rows_without_target_per_horizon(table):
    x, y = table
    holed = y.copy()
    holed[:1000, 0] = np.nan
    model = build("linear", alpha=3.0).fit(x, holed)
    z = StandardScaler().fit_transform(x.astype(np.float64))
    first, second = Ridge(alpha=3.0).fit(z[1000:], y[1000:, 0]), Ridge(alpha=3.0).fit(z, y[:, 1])
    np.testing.assert_allclose(
        model.weights, np.stack([first.coef_, second.coef_], axis=1), rtol=1e-6, atol=1e-9
    )


def test_ridge_reads_a_missing_feature_as_the_training_mean_and_counts_it(table):
    x, y = table
    holed = x.copy()
    holed[:10, 2] = np.nan
    model = build("linear").fit(holed, y)
    assert model.num_missing == 10
    filled = holed.copy()
    filled[:10, 2] = np.nanmean(holed[:, 2].astype(np.float64))
    np.testing.assert_allclose(model.predict(holed[:20]), model.predict(filled[:20]), rtol=1e-5)


def test_ridge_with_a_constant_and_a_repeated_feature_stays_finite(table):
    x, y = table
    x = x.copy()
    x[:, 1], x[:, 2] = 7.0, x[:, 0]
    model = build("linear", alpha=0.0).fit(x, y)
    assert np.abs(model.weights).max() < 10
    assert np.abs(model.weights[1]).max() < 1e-12


def test_trees_learn_what_a_line_cannot(table):
    x, y = table
    half = NUM_ROWS // 2
    model = build("lightgbm", **TREES).fit(x[:half], y[:half], x[half:], y[half:])
    prediction = model.predict(x[half:])
    assert np.corrcoef(prediction[:, 1], np.abs(x[half:, 3] - 3))[0, 1] > 0.8


def test_trees_do_not_depend_on_the_run_or_on_the_number_of_threads(table, tmp_path):
    """In a process of its own: waiting threads that spin would take long where others use the cores too."""
    np.savez(tmp_path / "table.npz", x=table[0], y=table[1])
    code = f"""
import numpy as np
from pathlib import Path
from factor_models import build_model
table = np.load("table.npz")
x, y = table["x"], table["y"]
for place, threads in enumerate((1, 1, 2)):
    model = build_model("lightgbm", num_features=5, num_horizons=2, **({TREES} | {{"num_threads": threads}}))
    model.fit(x, y, x[:500], y[:500]).save_weights(Path(f"{{place}}.txt"))
"""
    environment = os.environ | {"PYTHONPATH": str(SOURCES), "OMP_WAIT_POLICY": "PASSIVE"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    texts = []
    for place in range(3):
        lines = (tmp_path / f"{place}.txt").read_text().splitlines()
        texts.append([line for line in lines if not line.startswith("[num_threads")])
    assert texts[0] == texts[1] == texts[2]


def test_trees_stop_where_the_valid_error_is_lowest(table):
    x, y = table
    noise = np.random.default_rng(1).permutation(y)
    stopped = build("lightgbm", **TREES).fit(x[:2000], noise[:2000], x[2000:], noise[2000:])
    assert max(stopped.num_trees) < 20
    assert build("lightgbm", **TREES).fit(x, y).num_trees == [40, 40]


@pytest.mark.parametrize("name", ["linear", "lightgbm"])
def test_a_saved_model_predicts_the_same_and_saves_the_same_bytes(table, tmp_path, name):
    x, y = table
    config = {"name": name, "num_features": NUM_FEATURES, "num_horizons": 2} | (
        TREES if name == "lightgbm" else {}
    )
    model = build_model(**config).fit(x, y, x[:500], y[:500])
    assert isinstance(model, TabularModel)
    save_model(tmp_path / "a", model, config, {"features": list("abcde")})
    loaded, metadata = load_model(tmp_path / "a", expected={"features": list("abcde")})
    assert metadata["features"] == list("abcde")
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    save_model(tmp_path / "b", loaded, config, {"features": list("abcde")})
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


@pytest.mark.parametrize("name", ["linear", "lightgbm"])
def test_bad_tables_are_refused(table, name):
    x, y = table
    model = build(name)
    with pytest.raises(ValueError, match="not fitted"):
        model.predict(x)
    with pytest.raises(ValueError, match=r"x has shape \(3000, 4\): must be \(num_rows, num_features=5\)"):
        model.fit(x[:, :4], y)
    with pytest.raises(ValueError, match=r"y has shape \(2999, 2\)"):
        model.fit(x, y[1:])
    with pytest.raises(ValueError, match="x holds 1 infinite values"):
        model.fit(np.where(np.arange(NUM_ROWS * 5).reshape(-1, 5) == 3, np.inf, x), y)
    with pytest.raises(ValueError, match=r"y\[:, 1\] holds no finite value: nothing can be learnt"):
        model.fit(x, np.stack([y[:, 0], np.full(NUM_ROWS, np.nan)], axis=1))
    with pytest.raises(ValueError, match=r"y\[:, 0\] is constant \(1.0\)"):
        model.fit(x, np.ones_like(y))


def test_trees_refuse_valid_rows_without_targets(table):
    x, y = table
    with pytest.raises(ValueError, match="given together"):
        build("lightgbm").fit(x, y, x, None)
    with pytest.raises(ValueError, match=r"y_valid\[:, 0\] holds no finite value"):
        build("lightgbm").fit(x, y, x, np.full_like(y, np.nan))
