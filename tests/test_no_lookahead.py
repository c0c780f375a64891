"""The look-ahead gate on the whole pipeline: change or drop every bar after t, and nothing up to t may change by a bit.

Features, fitted inputs, tokens and out-of-fold predictions are made by the code of the stages themselves.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from factor_data import (
    FEATURE_SETS,
    FEATURES,
    FeatureStore,
    Fold,
    LookAheadError,
    MarketConfig,
    Panel,
    Workers,
    assert_no_lookahead,
    clean_bars,
    compute_features,
    forward_return,
    open_panel,
    simulate_market,
    walk_forward,
)
from stages import ROOT
from stages.fold import FoldRun
from stages.kline import KlineData
from stages.kline_tokenizer import fit_tokenizers
from stages.kronos import STATISTICS, KronosRun
from stages.network import NetworkFit
from stages.params import Params, read_params, validate_loss
from stages.progress import TrainingProgress
from stages.run import RESULTS
from stages.sample_weights import WeightParams
from stages.targets import DirectionParams, training_targets
from stages.teacher import DistillationParams
from stages.tokenize_features import fill_store
from stages.watch import Watch


@pytest.fixture(scope="module")
def params() -> Params:
    return read_params(ROOT / "presets" / "smoke.yaml")


@pytest.fixture(scope="module")
def market(params: Params) -> tuple[Panel, pd.DataFrame]:
    simulated = simulate_market(MarketConfig(symbols=30, bars=330, seed=5))
    panel, _ = clean_bars(Panel.from_frame(simulated.bars), params.split.clean)
    return panel, simulated.news


@pytest.fixture(scope="module")
def fold(market: tuple[Panel, pd.DataFrame]) -> Fold:
    return walk_forward(market[0].dates, train=150, valid=30, test=60, step=60, purge=21, embargo=0)[0]


@pytest.fixture(scope="module")
def cut(fold: Fold) -> np.datetime64:
    """Some dates into the test range: whatever was fitted or chosen before it was known by then."""
    return fold.test[20]


def write_store(folder: Path, panel: Panel, news: pd.DataFrame, fold: Fold, params: Params) -> FeatureStore:
    """The store as tokenize writes it; news of dates that the panel has no bar of are not known yet."""
    known = news[news["timestamp"] <= panel.timestamp.max() + np.timedelta64(1, "D")]
    panel.save(folder / "panel")
    workers = Workers(max_bytes=300_000)
    fill_store(folder / "store", open_panel(folder / "panel"), [fold], known, params.tokenize, workers)
    return FeatureStore(folder / "store")


@pytest.mark.parametrize("name", [*FEATURE_SETS["bars"], *FEATURE_SETS, "return_1@S0003"])
def test_no_feature_looks_ahead(name: str, market: tuple[Panel, pd.DataFrame], cut: np.datetime64) -> None:
    assert_no_lookahead(lambda panel: compute_features(panel, [name]), market[0], cut)


@pytest.mark.parametrize("what", ["inputs", "tokens"])
def test_nothing_fitted_per_fold_looks_ahead(
    what: str, market: tuple[Panel, pd.DataFrame], fold: Fold, cut: np.datetime64, params: Params,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    def fitted(panel: Panel) -> NDArray:
        folder = tmp_path_factory.mktemp("store")
        return np.array(getattr(write_store(folder, panel, market[1], fold, params), what)(fold.index))

    assert_no_lookahead(fitted, market[0], cut)


def predictions_of(
    model: str, news: pd.DataFrame, fold: Fold, params: Params, new_folder: Callable[[], Path]
) -> Callable[[Panel], NDArray]:
    """Train and predict as the stages do; (num_rows, num_horizons), NaN where the fold predicts nothing."""

    def predict(panel: Panel) -> NDArray:
        store = write_store(new_folder(), panel, news, fold, params)
        shutil.rmtree(RESULTS, ignore_errors=True)
        panel.save(RESULTS / "split" / "panel")  # where sample weights are read from
        targets = training_targets(store, params.train.target, params.train.direction)
        run = FoldRun(model, params, store, targets, fold)
        if run.is_tabular:
            fitted = run.fit_tabular()
        else:
            with TrainingProgress(model, 1, run.num_steps, shown=False) as progress, Watch() as watch:
                done = NetworkFit(run, None).fit(progress, None, watch)
            fitted = done.model
            done.checkpoints.delete()
        result = np.full((panel.num_rows, len(store.horizons)), np.nan)
        for segment in ("valid", "test"):
            if run.store.rows(fold, segment).any():
                rows, values = run.predict_rows(fitted, segment)
                result[rows] = values
        return result

    return predict


@pytest.mark.parametrize("model", ["linear", "lightgbm", "lstm", "tcn_attention", "token_transformer"])
def test_no_prediction_looks_ahead(
    model: str, market: tuple[Panel, pd.DataFrame], fold: Fold, cut: np.datetime64, params: Params,
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    predict = predictions_of(model, market[1], fold, params, lambda: tmp_path_factory.mktemp("store"))
    expected = predict(market[0])
    assert np.isfinite(expected[fold.rows(market[0], "test")]).any(), (
        "nothing was predicted: the gate would be blind"
    )
    assert_no_lookahead(predict, market[0], cut)


@pytest.mark.parametrize("model", ["linear", "lstm"])
def test_directions_weights_and_a_teacher_do_not_look_ahead(
    model: str, market: tuple[Panel, pd.DataFrame], fold: Fold, cut: np.datetime64, params: Params,
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    teacher = DistillationParams(teacher="lightgbm", settings={"rounds": 5}, share=0.5, blocks=3)
    train = replace(
        params.train,
        loss="bce",
        loss_settings={},
        target="direction",
        direction=DirectionParams(up=0.005, down=-0.005),
        weights=WeightParams(dollar_volume_bars=20, half_life=40.0),
        distillation=teacher,
    )
    chosen = replace(params, train=validate_loss(train, params.tokenize.horizons, where="train."))
    predict = predictions_of(model, market[1], fold, chosen, lambda: tmp_path_factory.mktemp("store"))
    assert np.isfinite(predict(market[0])[fold.rows(market[0], "test")]).any()
    assert_no_lookahead(predict, market[0], cut)


def test_no_token_tokenizer_or_path_looks_ahead(
    market: tuple[Panel, pd.DataFrame], fold: Fold, cut: np.datetime64, params: Params,
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    fitted: list[tuple[str, bytes, str]] = []

    def predict(panel: Panel) -> NDArray:
        folder = tmp_path_factory.mktemp("kline")
        store, data = write_store(folder, panel, market[1], fold, params), KlineData(panel)
        num_ahead = store.delay + max(store.horizons)
        (report,) = fit_tokenizers(data, [fold], params.tokenize_kline, num_ahead, "close", folder)
        tokens = np.load(folder / "fold_00" / "train_tokens.npy").tobytes()
        run = KronosRun("kronos", params, store, store.targets("rank"), fold, data=data, source=folder)
        with TrainingProgress("kronos", 1, run.num_steps, shown=False) as progress, Watch() as watch:
            done = run.fit(progress, None, watch)
        model = done.model
        done.checkpoints.delete()
        fitted.append((report["tokenizer_sha256"], tokens, model.content_hash))
        result = np.full((panel.num_rows, len(store.horizons), len(STATISTICS)), np.nan)
        for segment in ("valid", "test"):
            if store.rows(fold, segment).any():
                rows, values = run.statistics(model, segment)
                result[rows] = values
        return result.reshape(panel.num_rows, -1)

    expected = predict(market[0])
    assert np.isfinite(expected[fold.rows(market[0], "test")]).any()
    assert_no_lookahead(predict, market[0], cut)
    assert len(fitted) >= 3
    assert len(set(fitted)) == 1


def leak_whole_sample_maximum(panel: Panel) -> NDArray[np.float64]:
    """The scaling of the published RSR inputs: the close over its maximum of the whole sample, future included."""
    close = panel.adjusted("close")
    highest = np.maximum.reduceat(close, panel.starts[:-1])
    return close / highest[panel.symbol_code]


def leak_next_return(panel: Panel) -> NDArray[np.float64]:
    return forward_return(panel, horizon=1, delay=0)


@pytest.mark.parametrize("leak", [leak_whole_sample_maximum, leak_next_return])
def test_a_leaking_feature_is_caught(
    leak: Callable[[Panel], NDArray[np.float64]],
    market: tuple[Panel, pd.DataFrame],
    cut: np.datetime64,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(FEATURES, "leak", leak)
    with pytest.raises(LookAheadError):
        assert_no_lookahead(lambda panel: compute_features(panel, ["return_1", "leak"]), market[0], cut)


def test_a_leak_through_the_fit_is_caught(
    market: tuple[Panel, pd.DataFrame], fold: Fold, cut: np.datetime64, params: Params,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    """A tokenizer fitted on test dates too is what the gate must not let pass."""
    everything = replace(fold, train=market[0].dates)

    def fitted(panel: Panel) -> NDArray:
        store = write_store(tmp_path_factory.mktemp("store"), panel, market[1], everything, params)
        return np.array(store.tokens(fold.index))

    with pytest.raises(LookAheadError):
        assert_no_lookahead(fitted, market[0], cut)
