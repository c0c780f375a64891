"""What models are trained on as params.yaml says: directions, weights of windows and dates, a teacher, the loss."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factor_data import (
    Batch,
    FeatureStore,
    Fold,
    Panel,
    walk_forward,
)
from market_samples import make_store
from stages import ROOT
from stages.judge import direction_summary
from stages.params import Params, read_params, validate_loss
from stages.run import StageError
from stages.sample_weights import (
    DatedBatch,
    SampleWeights,
    WeightParams,
    mean_money_traded,
    recency_weights,
    relative_weights,
)
from stages.targets import DirectionParams, directions, training_targets
from stages.teacher import DistillationParams, cross_fit_rows, teach

HORIZONS = (1, 5)


@pytest.fixture(scope="module")
def params() -> Params:
    return read_params(ROOT / "presets" / "smoke.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store and the cleaned panel it was made of."""
    folder = tmp_path_factory.mktemp("store")
    make_store(folder, 15, HORIZONS)
    return folder


@pytest.fixture(scope="module")
def store(folder: Path) -> FeatureStore:
    return FeatureStore(folder)


@pytest.fixture(scope="module")
def fold(store: FeatureStore) -> Fold:
    return walk_forward(store.dates, train=90, valid=20, test=30, step=30, purge=6, embargo=0)[0]


def test_a_direction_is_up_down_or_unknown(store: FeatureStore) -> None:
    rule = DirectionParams(up=0.01, down=-0.005)
    target = training_targets(store, "direction", rule)
    labels = np.where(store.in_universe[:, None], store.labels, np.nan)
    for value, chosen in ((1.0, labels >= 0.01), (0.0, labels <= -0.005)):
        assert chosen.any()
        assert (target[chosen] == value).all()
    dead_zone = (labels > -0.005) & (labels < 0.01)
    assert np.isnan(target[dead_zone]).all()
    np.testing.assert_array_equal(np.isnan(target), np.isnan(labels) | dead_zone)


def test_the_last_dates_have_no_direction_rather_than_a_down(store: FeatureStore) -> None:
    target = directions(store, DirectionParams())
    for head, horizon in enumerate(store.horizons):
        last = store.date_code >= len(store.dates) - store.delay - horizon
        assert np.isnan(target[last, head]).all()
        assert np.isfinite(target[~last & store.in_universe, head]).any()


def test_other_targets_are_those_of_the_store(store: FeatureStore) -> None:
    np.testing.assert_array_equal(training_targets(store, "rank", DirectionParams()), store.targets("rank"))


def test_money_traded_is_a_mean_of_the_symbols_own_last_bars(folder: Path) -> None:
    panel = Panel.load(folder / "panel")
    money = panel.columns["close"] * panel.columns["volume"]
    mean = mean_money_traded(panel, bars=20)
    for row in (0, 5, 19, 20, 500, int(panel.starts[3]), int(panel.starts[3]) + 30, panel.num_rows - 1):
        first = max(panel.starts[panel.symbol_code[row]], row - 19)
        known = money[first : row + 1]
        expected = np.nanmean(known) if np.isfinite(known).any() else np.nan
        assert mean[row] == pytest.approx(expected, nan_ok=True)


def test_money_not_known_or_not_positive_has_the_weight_of_the_median() -> None:
    money = np.array([4.0, 1.0, 2.0, np.nan, 0.0, 8.0, 2.0])
    date_code = np.array([0, 0, 0, 0, 0, 1, 1])
    in_universe = np.ones(7, dtype=bool)
    weight = relative_weights(money, date_code, in_universe, power=1.0)
    np.testing.assert_allclose(weight, [2.0, 0.5, 1.0, 1.0, 1.0, 8 / 5, 2 / 5], rtol=1e-6)
    rooted = relative_weights(money, date_code, in_universe, power=0.5)
    np.testing.assert_allclose(rooted, np.sqrt(weight), rtol=1e-6)


def test_weights_by_money_traded_do_not_look_ahead(folder: Path, store: FeatureStore) -> None:
    panel = Panel.load(folder / "panel", mmap=False)
    later = panel.date_code > 100
    columns = {name: values.copy() for name, values in panel.columns.items()}
    columns["volume"][later] *= 7
    changed = replace(panel, columns=columns)
    before, after = (
        relative_weights(mean_money_traded(one, 20), store.date_code, store.in_universe, 1.0)
        for one in (panel, changed)
    )
    np.testing.assert_array_equal(before[~later], after[~later])
    assert (before[later] != after[later]).any()


def test_recency_halves_the_weight_of_a_date_and_leaves_their_mean_at_one() -> None:
    dates = np.arange(10).astype("datetime64[D]").astype("datetime64[ns]")
    weights = recency_weights(dates, dates[2:8], half_life=2.0)
    assert weights[2:8].mean() == pytest.approx(1.0, rel=1e-6)
    assert weights[7] / weights[5] == pytest.approx(2.0, rel=1e-6)
    assert (weights[[0, 1, 8, 9]] == 1).all()


def test_weights_of_a_fold_reach_batches(folder: Path, store: FeatureStore, fold: Fold) -> None:
    config = WeightParams(dollar_volume_bars=20, half_life=30.0)
    weights = SampleWeights.of_fold(config, store, fold, folder / "panel")
    assert weights.within_date is not None
    assert weights.of_date is not None
    assert weights.product is not None
    np.testing.assert_allclose(weights.product, weights.within_date * weights.of_date)
    rows = np.array([3, 70, 500])
    batch = Batch(
        windows=np.zeros((3, 1, 1), np.float32),
        targets=np.zeros((3, 2), np.float32),
        groups=np.arange(3),
        rows=rows,
    )
    np.testing.assert_array_equal(DatedBatch.of(batch, weights.of_date).date_weights, weights.of_date[rows])
    assert SampleWeights.of_fold(None, store, fold, folder / "panel").product is None


@pytest.mark.parametrize("gap", [0, 6])
def test_each_row_is_forecast_once_by_a_fit_that_is_a_gap_away(gap: int) -> None:
    date_code = np.random.default_rng(0).permutation(np.repeat(np.r_[10:40, 55:95], 3))
    times = np.zeros(len(date_code), dtype=int)
    for fitted, taught in cross_fit_rows(date_code, blocks=5, gap=gap):
        times += taught
        apart = np.abs(date_code[fitted][:, None] - date_code[taught][None])
        assert apart.min() > gap
        nearest = np.abs(date_code[~fitted & ~taught][:, None] - date_code[taught][None]).min(axis=1)
        assert (nearest <= gap).all()
    assert (times == 1).all()


def test_blocks_that_leave_nothing_to_fit_on_are_refused() -> None:
    with pytest.raises(ValueError, match="20 training dates in 2 blocks leave none to fit a teacher on"):
        list(cross_fit_rows(np.arange(20), blocks=2, gap=15))


class Inputs:
    """A store with inputs; the first feature is what the targets follow."""

    def __init__(self, store: FeatureStore, values: np.ndarray) -> None:
        self.store, self.values = store, values

    def inputs(self, fold: int) -> np.ndarray:
        return self.values

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@pytest.fixture(scope="module")
def taught(store: FeatureStore, fold: Fold) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    values = generator.standard_normal((len(store.date_code), 3)).astype(np.float32)
    rows = np.flatnonzero(store.rows(fold, "train"))
    config = DistillationParams(teacher="linear", settings={"alpha": 1.0}, share=0.5, blocks=4)

    def run(targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return rows, teach(config, Inputs(store, values), fold, targets, rows, None)  # type: ignore[arg-type]

    run.values = values  # type: ignore[attr-defined]
    return run


def test_a_teacher_forecasts_training_rows_and_no_others(taught: Any, store: FeatureStore) -> None:
    targets = np.repeat(taught.values[:, :1], 2, axis=1)
    rows, forecasts = taught(targets)
    np.testing.assert_allclose(forecasts[rows], targets[rows], atol=0.1)
    others = np.ones(len(forecasts), dtype=bool)
    others[rows] = False
    assert np.isnan(forecasts[others]).all()


def test_a_teacher_does_not_know_the_labels_it_forecasts_nor_any_outside_training(
    taught: Any, store: FeatureStore
) -> None:
    """Targets near a date are replaced by noise: the forecasts of that date do not move by a bit."""
    targets = np.random.default_rng(1).standard_normal((len(store.date_code), 2)).astype(np.float32)
    rows, before = taught(targets)
    codes = store.date_code[rows]
    middle = np.unique(codes)[15]
    near = np.abs(store.date_code - middle) <= store.delay + max(store.horizons)
    outside = np.ones(len(targets), dtype=bool)
    outside[rows] = False
    for changed in (near, outside):
        other = np.where(changed[:, None], np.float32(9.0), targets)
        after = taught(other)[1]
        np.testing.assert_array_equal(after[rows[codes == middle]], before[rows[codes == middle]])
    assert (taught(np.where(near[:, None], np.float32(9.0), targets))[1][rows] != before[rows]).any()


def test_direction_scores_of_a_hand_case(params: Params) -> None:
    generator = np.random.default_rng(0)
    outcome = generator.integers(0, 2, size=(60, 20)).astype(float)
    logit = np.where(generator.random((60, 20)) < 0.75, 1.0, -1.0) * (2 * outcome - 1)
    outcome[3, 4] = np.nan
    scores = direction_summary(logit, outcome, 1, replace(params.evaluate, bootstrap=100))
    known = np.isfinite(outcome)
    right = ((logit > 0) == (outcome == 1))[known]
    assert scores["accuracy"] == pytest.approx(right.mean())
    assert scores["majority_accuracy"] == pytest.approx(max(outcome[known].mean(), 1 - outcome[known].mean()))
    assert scores["accuracy_by_date_low"] < scores["accuracy"] < scores["accuracy_by_date_high"]
    assert scores["num_directions"] == 60 * 20 - 1
    assert scores["mcc"] == pytest.approx(np.corrcoef(logit[known], outcome[known])[0, 1])


REFUSALS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a loss of directions without directions": (
        {"loss": "bce"},
        ["train.loss: bce needs directions", "target: rank"],
    ),
    "directions without a loss of directions": (
        {"target": "direction"},
        ["train.loss: mse_ic does not suit target: direction", "bce, focal or hinge"],
    ),
    "a setting of another loss": (
        {"loss_settings": {"delta": 1.0}},
        ["train.loss_settings.delta: unknown key"],
    ),
    "a misspelt setting": (
        {"loss": "huber", "loss_settings": {"detla": 1.0}},
        ["train.loss_settings.detla: unknown key; did you mean 'delta'"],
    ),
    "a misspelt setting further in": (
        {"loss": "quantitative", "loss_settings": {"bounds": {"leverge": 1.0}}},
        ["train.loss_settings.bounds.leverge: unknown key; did you mean 'leverage'"],
    ),
    "a wrong type of a setting": (
        {"loss": "huber", "loss_settings": {"delta": "one"}},
        ["train.loss_settings.delta", "'one'"],
    ),
    "settings for other horizons": (
        {"loss": "quantitative", "loss_settings": {"rho": [1.0, 2.0]}},
        ["train.loss_settings", "rho", "2 numbers", "h1, h5, h20"],
    ),
    "a regime of targets that never change their dispersion": (
        {"loss": "quantitative", "loss_settings": {"regime": {}}},
        ["train.loss_settings.regime", "target: rank", "use raw or demeaned"],
    ),
    "a teacher for several outputs": (
        {"loss": "quantile", "distillation": DistillationParams(teacher="linear", settings={}, share=0.5)},
        ["several outputs per target"],
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_choices_that_do_not_belong_together_are_refused(case: str, params: Params) -> None:
    change, expected = REFUSALS[case]
    train = replace(params.train, **{"loss_settings": {}} | change)
    with pytest.raises(StageError) as refusal:
        validate_loss(train, params.tokenize.horizons, where="train.")
    for part in expected:
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DirectionParams(up=0.0, down=0.1), "down: 0.1 must not lie above up: 0.0"),
        (WeightParams, "needs dollar_volume_bars, half_life or both"),
        (lambda: WeightParams(half_life=0.0), "half_life: 0.0 must be > 0"),
        (lambda: DistillationParams(teacher="lstm", settings={}, share=0.5), "lstm is a network"),
        (lambda: DistillationParams(teacher="lihgtgbm", settings={}, share=0.5), "did you mean 'lightgbm'"),
        (
            lambda: DistillationParams(teacher="linear", settings={"rounds": 1}, share=0.5),
            "settings.rounds: unknown",
        ),
        (lambda: DistillationParams(teacher="linear", settings={}, share=0.0), "share: 0.0 must be in"),
        (
            lambda: DistillationParams(teacher="linear", settings={}, share=0.5, blocks=1),
            "blocks: 1 must be >= 2",
        ),
    ],
)
def test_sections_are_checked(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_the_settings_of_a_loss_are_its_configuration_in_full(params: Params) -> None:
    train = replace(
        params.train, loss="quantitative", loss_settings={"target_ic": [0.1, 0.2, 0.3], "bounds": {}}
    )
    checked = validate_loss(train, params.tokenize.horizons, where="train.")
    assert checked.loss_settings.target_ic == (0.1, 0.2, 0.3)
    assert checked.loss_settings.bounds.leverage == 2.0


def test_runs_of_dates_divide_a_batch(params: Params) -> None:
    with pytest.raises(ValueError, match="consecutive_dates: 3 must divide batch_dates = 20"):
        replace(params.train, loss_settings={}, consecutive_dates=3)
