"""The estimators among scikit-learn's tools: settings in a grid, scores by date, saving without pickle, going on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from factor_data import FoldConfig, FoldSplitter
from factor_metrics import rank_ic
from factor_models import FactorClassifier, FactorRegressor, build_model, from_pretrained, save_pretrained
from factor_models.checkpoints import content_hash
from factor_models.writing import write_json

pytestmark = pytest.mark.numeric

DAYS = pd.date_range("2024-01-01", periods=24)
SYMBOLS = [f"S{number:02d}" for number in range(12)]
NAMES = ["value", "size", "noise"]
SPLITTER = FoldSplitter(FoldConfig(scheme="cpcv", num_groups=4, num_test_groups=1, valid_groups=0), reach=1)
TINY: dict[str, Any] = {"settings": {"hidden": 8}, "epochs": 4, "lr": 0.02}


@pytest.fixture(scope="module")
def market() -> tuple[pd.DataFrame, pd.Series]:
    """Features and targets by date and symbol; each date has a level of its own, far above what tells symbols apart."""
    generator = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([DAYS, SYMBOLS], names=["timestamp", "symbol"])
    X = pd.DataFrame(generator.standard_normal((len(index), 3)), index=index, columns=NAMES)
    level = np.repeat(20 * generator.standard_normal(len(DAYS)), len(SYMBOLS))
    return X, X["value"] - X["size"] + 0.5 * pd.Series(generator.standard_normal(len(index)), index=index) + level


def within_dates(y: pd.Series) -> pd.Series:
    return y - y.groupby(level="timestamp").transform("mean")


def test_the_score_is_the_mean_rank_ic_by_date(market: tuple[pd.DataFrame, pd.Series]) -> None:
    X, y = market
    fitted = FactorRegressor("linear").fit(X, within_dates(y))
    forecast = fitted.predict(X).reshape(len(DAYS), -1)
    expected = np.mean(rank_ic(forecast, y.to_numpy().reshape(len(DAYS), -1), min_symbols=3))
    assert fitted.score(X, y) == pytest.approx(expected, abs=1e-12)
    assert fitted.score(X.to_numpy(), y, dates=X.index.get_level_values(0)) == pytest.approx(expected, abs=1e-12)
    assert fitted.score(X.to_numpy(), y) < 0.5 < expected  # all rows as one date: the levels drown the order
    gaps = y.where(np.arange(len(y)) % 5 > 0)
    assert np.isfinite(fitted.score(X, gaps))
    assert np.isnan(fitted.score(X, gaps * np.nan))


def test_a_setting_of_the_model_is_a_parameter(market: tuple[pd.DataFrame, pd.Series]) -> None:
    X, y = market
    model = FactorRegressor("linear", settings={"alpha": 3.0})
    assert model.get_params()["settings__alpha"] == 3.0
    assert FactorRegressor("lstm").get_params()["settings__hidden"] == 32
    before = model.settings
    model.set_params(settings__alpha=5.0)
    assert (model.settings, before) == ({"alpha": 5.0}, {"alpha": 3.0})
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(ValueError, match="settings__alhpa: 'linear' has no such setting: did you mean 'alpha'"):
        model.set_params(settings__alhpa=1.0)
    search = GridSearchCV(FactorRegressor("linear"), {"settings__alpha": [1.0, 1e7]}, cv=SPLITTER, error_score="raise")
    search.fit(X.assign(noise=X["noise"] * 1e3), within_dates(y))
    assert set(search.best_params_) == {"settings__alpha"}
    assert search.best_score_ > 0.7


def test_a_pipeline_forecasts_every_row_out_of_fold(market: tuple[pd.DataFrame, pd.Series]) -> None:
    X, y = market
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), FactorRegressor("mlp", **TINY))
    pipeline.set_params(factorregressor__settings__hidden=4)
    forecasts = cross_val_predict(pipeline, X, y, cv=SPLITTER)
    assert forecasts.shape == y.shape
    assert np.isfinite(forecasts).all()


@pytest.mark.parametrize("name", ["linear", "lightgbm", "mlp", "lstm", "token_transformer", "tcn_attention"])
def test_an_estimator_is_saved_without_pickle_and_forecasts_the_same_bits(
    name: str, market: tuple[pd.DataFrame, pd.Series], tmp_path: Path
) -> None:
    X, y = market
    settings = {"linear": {}, "lightgbm": {"settings": {"rounds": 5, "num_threads": 1}}}.get(name, {"epochs": 1})
    fitted = FactorRegressor(name, **settings).fit(X, pd.DataFrame({"h1": y, "h5": -y}))
    fitted.save(tmp_path / "model")
    loaded = FactorRegressor.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))
    assert loaded.get_params() == fitted.get_params()
    assert loaded.get_feature_names_out().tolist() == ["h1", "h5"]
    assert loaded.feature_names_in_.tolist() == NAMES
    assert sorted(path.suffix for path in (tmp_path / "model").iterdir())[:3] == [".json", ".json", ".md"]
    assert json.loads((tmp_path / "model" / "config.json").read_text())["name"] == name
    with pytest.raises(ValueError, match="holds a FactorRegressor, not a FactorClassifier"):
        FactorClassifier.load(tmp_path / "model")
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.predict(X.rename(columns={"value": "worth"}))


def test_a_classifier_is_saved_with_its_labels(market: tuple[pd.DataFrame, pd.Series], tmp_path: Path) -> None:
    X, y = market
    labels = np.where(y > y.median(), "up", "down")
    fitted = FactorClassifier("mlp", **TINY).fit(X, labels)
    fitted.save_pretrained(tmp_path)
    loaded = FactorClassifier.from_pretrained(tmp_path)
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    assert loaded.predict(X).tolist() == fitted.predict(X).tolist()
    assert loaded.get_feature_names_out().tolist() == ["log_odds_up"]


def test_what_is_no_plain_data_is_not_saved_and_a_changed_folder_not_loaded(
    market: tuple[pd.DataFrame, pd.Series], tmp_path: Path
) -> None:
    X, y = market
    odd = FactorRegressor("linear", random_state=np.random.RandomState(0)).fit(X, y)
    with pytest.raises(ValueError, match=r"random_state = RandomState\(MT19937\).* cannot be written as plain data"):
        odd.save(tmp_path / "odd")
    FactorRegressor("linear").fit(X, y).save(tmp_path / "good")
    path = tmp_path / "good" / "metadata.json"
    path.write_text(path.read_text().replace('"lookback_": 1', '"lookback_": 2'))
    with pytest.raises(ValueError, match="was changed after it was written"):
        FactorRegressor.load(tmp_path / "good")
    save_pretrained(build_model("linear", num_features=1, num_horizons=1).fit(_table()), tmp_path / "plain")
    with pytest.raises(ValueError, match="holds a model without an estimator, not a FactorRegressor"):
        FactorRegressor.load(tmp_path / "plain")


def _table() -> Any:
    from factor_models import Table

    return Table(features=np.arange(9.0).reshape(-1, 1), targets=np.arange(9.0).reshape(-1, 1) ** 2)


def test_training_goes_on_from_the_weights_that_there_are(market: tuple[pd.DataFrame, pd.Series]) -> None:
    X, y = market
    early, late = X[:144], X[144:]
    model = FactorRegressor("mlp", **TINY).partial_fit(early, y[:144])
    np.testing.assert_array_equal(model.predict(late), FactorRegressor("mlp", **TINY).fit(early, y[:144]).predict(late))
    center, before = model.center_, model.predict(late)
    losses = []
    for _ in range(4):
        model.partial_fit(late, y[144:])
        losses.append(np.mean((model.predict(late) - y[144:]) ** 2))
    assert losses[-1] < np.mean((before - y[144:]) ** 2)
    np.testing.assert_array_equal(model.center_, center)
    with pytest.raises(ValueError, match="y has 2 columns: the model was fitted to 1"):
        model.partial_fit(late, np.column_stack([y[144:], y[144:]]))
    assert not hasattr(FactorRegressor("linear"), "partial_fit")
    told = FactorClassifier("mlp", **TINY)
    told.partial_fit(early, np.full(144, "up"), classes=["up", "down"])
    told.partial_fit(late, np.where(y[144:] > 0, "up", "down"))
    with pytest.raises(ValueError, match=r"y holds 'flat': the classes are \['down', 'up'\]"):
        told.partial_fit(late, np.full(144, "flat"))


@pytest.mark.parametrize("name", ["lstm", "linear"])
def test_models_of_the_zoo_are_folders_with_a_card(name: str, tmp_path: Path) -> None:
    model = build_model(name, num_features=1, num_horizons=1)
    if name == "linear":
        model = model.fit(_table())
        save_pretrained(model, tmp_path, metadata={"features": ["momentum"]})
    else:
        model.save_pretrained(tmp_path, {"features": ["momentum"]})
        assert type(model).from_pretrained(tmp_path).build_config == model.build_config
        with pytest.raises(ValueError, match="holds a LSTMForecaster, not a MLPForecaster"):
            type(build_model("mlp", num_features=1, num_horizons=1)).from_pretrained(tmp_path)
    assert type(from_pretrained(tmp_path)) is type(model)
    card = (tmp_path / "README.md").read_text()
    front = dict(line.split(": ", 1) for line in card.split("---")[1].strip().splitlines())
    assert json.loads(front["library_name"]) == "factor_models"
    assert name in json.loads(front["tags"])
    assert "Features: momentum." in card


def test_a_name_of_a_repository_needs_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    for load in (from_pretrained, FactorRegressor.from_pretrained):
        with pytest.raises(ValueError, match=r"owner/model: no such folder; .* pip install huggingface_hub"):
            load("owner/model")
        with pytest.raises(ValueError, match="no such folder, and not a repository name"):
            load(tmp_path / "nowhere")


def test_a_name_of_a_repository_is_downloaded_where_the_extra_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_model("lstm", num_features=1, num_horizons=1).save_pretrained(tmp_path)
    asked: list[Any] = []

    class Hub:
        @staticmethod
        def snapshot_download(name: str, revision: str | None, allow_patterns: list[str]) -> str:
            asked.append((name, revision, "metadata.json" in allow_patterns))
            return str(tmp_path)

    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", Hub)
    assert type(from_pretrained("owner/model", revision="v1")).__name__ == "LSTMForecaster"
    assert asked == [("owner/model", "v1", True)]


def test_frames_of_polars_and_pyarrow_are_read_like_those_of_pandas(market: tuple[pd.DataFrame, pd.Series]) -> None:
    X, y = market
    dates = X.index.get_level_values("timestamp").to_numpy()
    expected = FactorRegressor("linear").fit(X, y)
    plain = X.reset_index(drop=True)
    polars = pytest.importorskip("polars")
    for frame, target in ((polars.from_pandas(plain), polars.Series(y.to_numpy())), (pa.table(plain), pa.array(y))):
        fitted = FactorRegressor("linear").fit(frame, target, dates=polars.Series(dates))
        np.testing.assert_array_equal(fitted.predict(frame), expected.predict(X))
        assert fitted.feature_names_in_.tolist() == NAMES
        assert fitted.score(frame, target, dates=polars.Series(dates)) == expected.score(X, y)
    both = pd.DataFrame({"h1": y.to_numpy(), "h5": -y.to_numpy()})
    for targets in (both, polars.from_pandas(both), pa.table(both)):
        assert FactorRegressor("linear").fit(plain, targets).get_feature_names_out().tolist() == ["h1", "h5"]


def rewritten(folder: Path, change: dict[str, Any], said: dict[str, Any] | None = None) -> Path:
    """The folder with another configuration or estimator, whose hashes fit: as who means harm would write it."""
    config = json.loads((folder / "config.json").read_text()) | change
    write_json(folder / "config.json", config)
    kept = json.loads((folder / "metadata.json").read_text())
    kept = {key: value for key, value in kept.items() if key != "metadata_sha256"} | (said or {})
    kept["config_sha256"] = hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()
    write_json(folder / "metadata.json", kept | {"metadata_sha256": content_hash(kept)})
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden": 10**9}, "hidden = 1000000000: must be at most 16384, by the weights beside it"),
        ({"layers": 10**9}, "layers = 1000000000: must be at most"),
        ({"hidden": 16000, "layers": 1000}, "does not hold the network of config.json: .* has shape"),
        ({"num_features": 200}, "has shape .*, the configuration makes"),
    ],
)
def test_no_size_is_believed_that_weights_do_not_bear_out(change: dict[str, int], said: str, tmp_path: Path) -> None:
    save_pretrained(build_model("lstm", num_features=3, num_horizons=1, hidden=8), tmp_path)
    with pytest.raises(ValueError, match=said):
        from_pretrained(rewritten(tmp_path, change))


def test_a_linear_model_of_endless_columns_is_refused(market: tuple[pd.DataFrame, pd.Series], tmp_path: Path) -> None:
    FactorRegressor("linear").fit(*market).save(tmp_path)
    with pytest.raises(ValueError, match=r"num_features = 1000000000000: must be a whole number from 1 to"):
        from_pretrained(rewritten(tmp_path, {"num_features": 10**12}))


def test_the_width_and_type_of_kept_text_are_not_believed(
    market: tuple[pd.DataFrame, pd.Series], tmp_path: Path
) -> None:
    FactorRegressor("linear").fit(*market).save(tmp_path)
    state = json.loads((tmp_path / "metadata.json").read_text())["estimator"]
    state["target_names_"]["dtype"] = "<U500000000"
    loaded = FactorRegressor.load(rewritten(tmp_path, {}, {"estimator": state}))
    assert loaded.target_names_.itemsize < 100
    for kind, said in (("(1000,)f8", "only text and numbers"), ("nothing", "nothing")):
        state["target_names_"]["dtype"] = kind
        with pytest.raises(ValueError, match=f"target_names_.*{said}"):
            FactorRegressor.load(rewritten(tmp_path, {}, {"estimator": state}))


def test_a_large_network_is_read_and_moves_no_random_number(tmp_path: Path) -> None:
    model = build_model("gated_news", num_features=3, num_horizons=1, text_dim=200, settings={"hidden": 160})
    save_pretrained(model, tmp_path)
    torch.manual_seed(0)
    from_pretrained(tmp_path)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    build_model("gated_news", num_features=3, num_horizons=1, text_dim=200, settings={"hidden": 160})
    assert drawn == torch.rand(1)


def test_targets_in_another_order_than_their_features_are_refused(market: tuple[pd.DataFrame, pd.Series]) -> None:
    X, y = market
    shuffled = y.sample(frac=1, random_state=0)
    fitted = FactorRegressor("linear").fit(X, y)
    for call in (FactorRegressor("linear").fit, fitted.score):
        with pytest.raises(ValueError, match="X and y must have the same index in the same order: row 1 is"):
            call(X, shuffled)
    with pytest.raises(ValueError, match="must have the same index"):
        FactorClassifier("linear").fit(X, shuffled > 0)
    assert fitted.score(X, shuffled.reindex(X.index)) == fitted.score(X, y)
    FactorRegressor("linear").fit(X, y.reset_index(drop=True))
