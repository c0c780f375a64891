"""The look-ahead gate on the whole pipeline: change or drop every bar after t, and nothing up to t may change.

Features, inputs, tokens and trees not by a bit; forecasts that come from matrix products of batches, whose size is
another when bars are dropped, not by more than float32 rounds (`ROUNDING_FLOAT32`).

Features, fitted inputs, tokens and out-of-fold predictions are made by the code of the stages themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from factor_data import (
    FEATURE_SETS,
    FEATURES,
    Augmentation,
    DirectionRule,
    FeatureStore,
    Fold,
    LookAheadError,
    MarketConfig,
    Panel,
    WeightParams,
    Workers,
    assert_no_lookahead,
    assert_scale_free,
    clean_bars,
    compute_features,
    expand_features,
    forward_return,
    open_panel,
    simulate_market,
    training_targets,
    walk_forward,
)
from factor_data.lookahead import Scale
from factor_models import Members, StackConfig, stack_oof
from factor_models.kline import normalise
from rounding import ROUNDING_FLOAT32
from stages.fitting.contract import Conditions, Fitted, FoldModel
from stages.fitting.families import family_of
from stages.fitting.inputs import FoldInputs
from stages.fitting.network import NetworkFold
from stages.fitting.tabular import TabularFold
from stages.kline.bars import KlineData
from stages.kline.predictor import STATISTICS, KronosFold
from stages.kline.tokenizer import fit_tokenizers
from stages.params.reading import Params
from stages.params.tabular import TabularParams
from stages.params.train import DistillationParams, ListedLabels, with_loss_settings
from stages.planning.stages import plan_of
from stages.processes.progress import TrainingProgress
from stages.processes.watch import Watch
from stages.running.planned import Plan
from stages.scoring import Scoring
from stages.tokenize_features import fill_store

pytestmark = pytest.mark.numeric

RIDGE = StackConfig(weights="ridge")


@pytest.fixture(scope="module")
def market(smoke: Params) -> tuple[Panel, pd.DataFrame]:
    simulated = simulate_market(MarketConfig(symbols=30, bars=330, seed=5))
    panel, _ = clean_bars(Panel.from_frame(simulated.bars), smoke.split.clean)
    return panel, simulated.news


@pytest.fixture(scope="module")
def fold(market: tuple[Panel, pd.DataFrame]) -> Fold:
    return walk_forward(market[0].dates, train=150, valid=30, test=60, step=60, purge=21, embargo=0)[0]


@pytest.fixture(scope="module")
def cut(fold: Fold) -> np.datetime64:
    """Some dates into the test range: whatever was fitted or chosen before it was known by then."""
    return fold.test[20]


@dataclass(frozen=True)
class Stores:
    """Stores as tokenize writes them, each written once: tests that fit on equal bars, folds and settings share it."""

    root: Path
    written: dict[str, Path] = field(default_factory=dict)

    def write(
        self, panel: Panel, news: pd.DataFrame | None, folds: Sequence[Fold], params: Params
    ) -> tuple[FeatureStore, Path]:
        """Return the store and the folder of the panel; news of dates that it has no bar of are not known yet."""
        known = None if news is None else news[news["timestamp"] <= panel.timestamp.max() + np.timedelta64(1, "D")]
        bars = {"symbol": panel.symbol, "timestamp": panel.timestamp, **panel.columns}
        texts = None if known is None else pd.util.hash_pandas_object(known).sum()
        parts = [hashlib.sha256(np.ascontiguousarray(values)).hexdigest() for values in bars.values()]
        ranges = [(fold.index, *(array.tolist() for array in (fold.train, fold.valid, fold.test))) for fold in folds]
        name = repr((params.tokenize, list(bars), parts, ranges, texts))
        if name not in self.written:
            folder = self.root / str(len(self.written))
            panel.save(folder / "panel")
            workers = Workers(max_bytes=300_000)
            fill_store(folder / "store", open_panel(folder / "panel"), folds, known, params.tokenize, workers, None)
            self.written[name] = folder
        return FeatureStore(self.written[name] / "store"), self.written[name] / "panel"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return Stores(tmp_path_factory.mktemp("stores"))


def expected_at(panel: Panel, expected: NDArray, function: Callable[[Panel], NDArray]) -> Callable[[Panel], NDArray]:
    """The function, whose values on this panel are known already."""
    return lambda bars: expected if bars is panel else function(bars)


@pytest.mark.parametrize("name", [*FEATURES, *FEATURE_SETS, "return_1@S0003"])
def test_no_feature_looks_ahead(name: str, market: tuple[Panel, pd.DataFrame], cut: np.datetime64) -> None:
    names = expand_features([name])
    early = market[0].dates[80]
    assert_no_lookahead(lambda panel: compute_features(panel, names), market[0], cut, names=names)
    assert_no_lookahead(lambda panel: compute_features(panel, names), market[0], early, seed=1, names=names)


@pytest.mark.parametrize("scale", ["adj_close", "price", "volume"])
def test_no_window_of_bars_changes_with_a_later_split_or_a_unit(
    scale: Scale, market: tuple[Panel, pd.DataFrame]
) -> None:
    """A K-line model reads windows of prices and volumes: in units of each, to the last bit of float32."""

    def windows(panel: Panel) -> NDArray:
        bars = KlineData(panel).bars
        ends = bars.ends(np.ones(panel.num_rows, dtype=bool), 16)
        result = np.full((panel.num_rows, 16 * 6), np.nan, dtype=np.float32)
        result[ends] = normalise(bars.read(bars.position_of_row[ends], 16), 16, clip=8.0)[0].reshape(len(ends), -1)
        assert np.isfinite(result).any()
        return result

    assert_scale_free(windows, market[0], scale)


@pytest.mark.parametrize("what", ["inputs", "tokens"])
def test_nothing_fitted_per_fold_looks_ahead(
    what: str, market: tuple[Panel, pd.DataFrame], fold: Fold, cut: np.datetime64, smoke: Params,
    stores: Stores,
) -> None:  # fmt: skip
    def fitted(panel: Panel) -> NDArray:
        return np.array(getattr(stores.write(panel, market[1], [fold], smoke)[0], what)(fold.index))

    assert_no_lookahead(fitted, market[0], cut)


def predictions_of(
    model: str, news: pd.DataFrame, fold: Fold, params: Params, stores: Stores
) -> Callable[[Panel], NDArray]:
    """Train and predict as the stages do; (num_rows, num_labels), NaN where the fold predicts nothing."""

    def predict(panel: Panel) -> NDArray:
        store, bars = stores.write(panel, news, [fold], params)
        fitted = fit(fold_model(model, store, fold, params, bars), model)
        fitted.discard_checkpoints()
        result = np.full((panel.num_rows, len(store.heads)), np.nan)
        for segment in ("valid", "test"):
            if store.rows(fold, segment).any():
                rows, values = by_row(fitted.predict(segment).frame, store)
                result[rows] = values
        return result

    return predict


def fold_model(model: str, store: FeatureStore, fold: Fold, params: Params, panel: Path) -> FoldModel:
    """The model on the fold; `panel` is the folder that sample weights are read from."""
    train = params.train
    targets = training_targets(store, train.target)
    scoring = Scoring.of(vars(params.evaluate))
    inputs = FoldInputs(model, params.zoo[model].settings, store, targets, fold, train.weights, panel, scoring)
    if family_of(model) == "tabular":
        return TabularFold(inputs, plan_of("train", model, params).section("train", TabularParams))
    return NetworkFold(inputs, train, code="of this test")


def fit(run: FoldModel, name: str, earlier: Sequence[Fitted] = ()) -> Fitted:
    with TrainingProgress(name, 1, run.num_steps, shown=False) as progress, Watch() as watch:
        return run.fit(Conditions(progress=progress, live=None, watch=watch, earlier=list(earlier)))


def by_row(frame: pd.DataFrame, store: FeatureStore) -> tuple[NDArray, NDArray]:
    """Rows of the panel, and their predictions (num_rows, num_labels), of the long frame."""
    first = frame[frame["label"] == next(iter(store.heads))]
    dates = np.searchsorted(store.dates, first["timestamp"].to_numpy().astype(store.dates.dtype))
    symbols = np.searchsorted(store.symbols, first["symbol"].to_numpy().astype(str))
    place = {key: row for row, key in enumerate(zip(store.symbol_code, store.date_code, strict=True))}
    rows = np.array([place[key] for key in zip(symbols, dates, strict=True)])
    return rows, frame["prediction"].to_numpy().reshape(len(store.heads), -1).T


@pytest.mark.slow
@pytest.mark.parametrize("model", ["linear", "lightgbm", "lstm", "tcn_attention", "token_transformer"])
def test_no_prediction_looks_ahead(
    model: str, market: tuple[Panel, pd.DataFrame], fold: Fold, cut: np.datetime64, smoke: Params,
    stores: Stores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    predict = predictions_of(model, market[1], fold, smoke, stores)
    expected = predict(market[0])
    assert np.isfinite(expected[fold.rows(market[0], "test")]).any(), "nothing was predicted: the gate would be blind"
    predict = expected_at(market[0], expected, predict)
    assert_no_lookahead(predict, market[0], cut, rounding=0.0 if model == "lightgbm" else ROUNDING_FLOAT32)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["linear", "lstm"])
def test_directions_weights_and_a_teacher_do_not_look_ahead(
    model: str, market: tuple[Panel, pd.DataFrame], fold: Fold, cut: np.datetime64, smoke: Params,
    stores: Stores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    teacher = DistillationParams(teacher="lightgbm", settings={"rounds": 5}, share=0.5, blocks=3)
    train = replace(
        smoke.train,
        loss="bce",
        loss_settings={},
        target="direction",
        weights=WeightParams(dollar_volume_bars=20, half_life=40.0),
        distillation=teacher,
    )
    rule = DirectionRule(up=0.005, down=-0.005)
    labels = {name: replace(label, direction=rule) for name, label in smoke.tokenize.labels.items()}
    heads = ListedLabels(listed=tuple(labels), heads=tuple(labels))
    chosen = replace(
        smoke,
        train=with_loss_settings(train, heads, where="train."),
        tokenize=replace(smoke.tokenize, labels=labels),
    )
    predict = predictions_of(model, market[1], fold, chosen, stores)
    expected = predict(market[0])
    assert np.isfinite(expected[fold.rows(market[0], "test")]).any()
    assert_no_lookahead(expected_at(market[0], expected, predict), market[0], cut, rounding=ROUNDING_FLOAT32)


def stack_of_folds(
    models: Sequence[str], folds: Sequence[Fold], params: Params, stores: Stores
) -> Callable[[Panel], NDArray]:
    """Train fold by fold, each with those before it at hand; (num_rows, num_models + 1) forecasts and their stack.

    At the first horizon, on test dates; a fold of which no test date is there yet is not trained. The valid dates of
    the first fold teach the stack.
    """

    def predict(panel: Panel) -> NDArray:
        store, bars = stores.write(panel, None, folds, params)
        there = [fold for fold in folds if store.rows(fold, "test").any()]
        result, of_row = np.full((len(models), panel.num_rows), np.nan), np.full(panel.num_rows, -1)
        lessons, taught = np.full_like(result, np.nan), there[0].rows(panel, "valid")
        for place, model in enumerate(models):
            fitted: list[Fitted] = []
            for fold in there:
                fitted.append(fit(fold_model(model, store, fold, params, bars), model, fitted))
                if fold is there[0]:
                    rows, values = by_row(fitted[0].predict("valid").frame, store)
                    lessons[place, rows] = values[:, 0]
                rows, values = by_row(fitted[-1].predict("test").frame, store)
                result[place, rows], of_row[rows] = values[:, 0], fold.index
            for one in fitted:
                one.discard_checkpoints()
        purge = next(iter(store.heads.values())).ahead
        label, date_code = store.labels[:, 0], np.asarray(store.date_code)
        before = Members(lessons, label, date_code, np.where(taught, 0, -1))
        stacked = stack_oof(result, label, date_code, of_row, config=RIDGE, purge=purge, before=before)
        return np.vstack([result, stacked.prediction]).T

    return predict


def with_every_inheritance(smoke: Params) -> Params:
    """Whatever a network of one fold can take over from another date or fold: weights, an average, noise, weights."""
    train = replace(
        smoke.train,
        start="previous",
        ema_decay=0.9,
        augmentation=Augmentation(noise_std=0.05, mask_share=0.1, time_warp=0.2),
        weights=WeightParams(dollar_volume_bars=20, half_life=40.0),
    )
    return replace(smoke, train=train)


def test_folds_that_begin_with_each_other_and_their_stack_do_not_look_ahead(
    market: tuple[Panel, pd.DataFrame], smoke: Params, stores: Stores,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    """Two cuts: in the test range of the fold that inherits and is stacked, and in that of the one before."""
    monkeypatch.chdir(tmp_path)
    folds = walk_forward(market[0].dates, train=120, valid=20, test=45, step=45, purge=21, embargo=0)[:2]
    params = with_every_inheritance(smoke)
    predict = stack_of_folds(("linear", "lstm"), folds, params, stores)
    expected = predict(market[0])
    last = folds[1].rows(market[0], "test")
    assert np.isfinite(expected[last]).any(axis=0).all(), "nothing was predicted or stacked: the gate would be blind"
    for cut in (folds[1].test[20], folds[0].test[20]):
        assert_no_lookahead(expected_at(market[0], expected, predict), market[0], cut, rounding=ROUNDING_FLOAT32)


def test_weights_that_a_fold_inherits_from_one_that_trained_on_its_test_dates_are_caught(
    market: tuple[Panel, pd.DataFrame], smoke: Params, stores: Stores,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    """What split.folds.scheme: cpcv with train.start: previous would do, were it not refused."""
    monkeypatch.chdir(tmp_path)
    dates = market[0].dates
    before = Fold(index=0, train=dates[180:300], valid=dates[140:160], test=dates[60:100])
    after = Fold(index=1, train=dates[60:160], valid=dates[185:205], test=dates[230:270])
    predict = stack_of_folds(("lstm",), (before, after), with_every_inheritance(smoke), stores)
    judged = after.rows(market[0], "test")

    def of_the_last_fold(panel: Panel) -> NDArray:
        return np.where(judged[:, None], predict(panel), 0.0)

    with pytest.raises(LookAheadError, match="when later bars were changed"):
        assert_no_lookahead(of_the_last_fold, market[0], after.test[10], rounding=ROUNDING_FLOAT32)


@pytest.mark.parametrize("purge", [6, 0])
def test_a_stack_that_learns_from_labels_not_known_yet_is_caught(
    purge: int, market: tuple[Panel, pd.DataFrame]
) -> None:
    dates = market[0].dates

    def stacked(panel: Panel) -> NDArray:
        drawn = np.random.default_rng(0).standard_normal((2, len(dates), panel.num_symbols))
        of_row = np.searchsorted([100, 160, 220], panel.date_code, side="right") - 1
        forecasts = drawn[:, panel.date_code, panel.symbol_code]
        label = forward_return(panel, horizon=5, delay=1)
        return stack_oof(forecasts, label, panel.date_code, of_row, config=RIDGE, purge=purge).prediction

    with nullcontext() if purge == 6 else pytest.raises(LookAheadError):
        assert_no_lookahead(stacked, market[0], dates[161])


def test_a_forecast_that_knows_a_trace_of_the_next_return_is_caught(
    market: tuple[Panel, pd.DataFrame], fold: Fold, cut: np.datetime64, smoke: Params,
    stores: Stores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    """Forecasts are of order 1; the trace moves them by little more than the bound."""
    monkeypatch.chdir(tmp_path)
    predict = predictions_of("linear", market[1], fold, smoke, stores)

    def knowing(panel: Panel) -> NDArray:
        is_up = np.nan_to_num(forward_return(panel, horizon=1, delay=0)) > 0
        return predict(panel) + 1.5 * ROUNDING_FLOAT32 * is_up[:, None]

    with pytest.raises(LookAheadError, match="where rounding is at most 1e-05"):
        assert_no_lookahead(knowing, market[0], cut, rounding=ROUNDING_FLOAT32)


@pytest.mark.slow
def test_no_token_tokenizer_or_path_looks_ahead(
    market: tuple[Panel, pd.DataFrame], fold: Fold, cut: np.datetime64, smoke: Params,
    stores: Stores, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    fitted: list[tuple[str, bytes, str]] = []

    def predict(panel: Panel) -> NDArray:
        folder = tmp_path_factory.mktemp("kline")
        store, data = stores.write(panel, market[1], [fold], smoke)[0], KlineData(panel)
        plan = Plan(stage="train@kronos", settings={"evaluate": {"min_symbols": 10}}, modules={})
        (report,) = fit_tokenizers(data, [fold], smoke.tokenize_kline, store.reach, folder, plan.code)
        tokens = np.load(folder / "fold_00" / "train_tokens.npy").tobytes()
        kronos, train = smoke.zoo["kronos"].settings, smoke.train_of("kronos")
        run = KronosFold("kronos", kronos, train, store, fold, data, folder, plan)
        done = fit(run, "kronos")
        model = done.model
        done.discard_checkpoints()
        fitted.append((report["tokenizer_sha256"], tokens, model.content_hash))
        result = np.full((panel.num_rows, len(store.heads), len(STATISTICS)), np.nan)
        for segment in ("valid", "test"):
            if store.rows(fold, segment).any():
                rows, values = run.statistics(model, segment)
                result[rows] = values
        return result.reshape(panel.num_rows, -1)

    expected = predict(market[0])
    assert np.isfinite(expected[fold.rows(market[0], "test")]).any()
    assert_no_lookahead(expected_at(market[0], expected, predict), market[0], cut, rounding=ROUNDING_FLOAT32)
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
    market: tuple[Panel, pd.DataFrame], fold: Fold, cut: np.datetime64, smoke: Params,
    stores: Stores,
) -> None:  # fmt: skip
    """A tokenizer fitted on test dates too is what the gate must not let pass."""
    everything = replace(fold, train=market[0].dates)

    def fitted(panel: Panel) -> NDArray:
        return np.array(stores.write(panel, market[1], [everything], smoke)[0].tokens(fold.index))

    with pytest.raises(LookAheadError):
        assert_no_lookahead(fitted, market[0], cut)
