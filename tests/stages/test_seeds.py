"""train.seeds: each seed is the run that it would be alone, the model is their mean, and the spread is told."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from factor_data import FeatureStore
from factor_models import Engine, SeedEnsemble, load_model
from stages.fitting.network import NetworkFold
from stages.params.reading import parse_params
from stages.running.stage import StageError
from workplace import Workplace, smoke_document

KEYS = ["timestamp", "symbol", "fold", "segment", "label"]
SEEDS = (17, 18)


def train(workplace: Workplace, **own: Any) -> Path:
    """Train the lstm with keys of its own; its folder."""
    workplace.change_params(lambda params: params["zoo"]["lstm"].update(train=own))
    workplace.run("plan")
    workplace.run("train", "lstm")
    return workplace.results / "train" / "lstm"


@pytest.fixture(scope="module")
def workplace(tokenized: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    copy = tokenized.copy(tmp_path_factory.mktemp("seeds") / "factorcast")

    copy.change_params(lambda params: params.update(models=["lstm"]))
    for stage in ("plan", "tokenize_kline", "inputs"):
        copy.run(stage)
    return copy


@pytest.fixture(scope="module")
def alone(workplace: Workplace) -> dict[int, pd.DataFrame]:
    """The forecasts of runs with one seed each."""
    return {seed: pd.read_parquet(train(workplace, seed=seed) / "predictions.parquet") for seed in SEEDS}


@pytest.fixture(scope="module")
def together(workplace: Workplace, alone: dict[int, pd.DataFrame]) -> Path:
    """The folder of a run with as many seeds, judged and drawn."""
    folder = train(workplace, seeds=len(SEEDS))
    workplace.run("evaluate", "lstm")
    workplace.run("report", "lstm")
    return folder


def test_the_model_is_the_mean_of_runs_with_one_seed_each(alone: dict[int, pd.DataFrame], together: Path) -> None:
    frame = pd.read_parquet(together / "predictions.parquet")
    said = np.stack([one["prediction"].to_numpy(np.float64) for one in alone.values()])
    for one in alone.values():
        pd.testing.assert_frame_equal(frame[KEYS], one[KEYS])
    assert np.abs(said[0] - said[1]).max() > 1e-3, "seeds differ, else their mean tells nothing"
    np.testing.assert_allclose(frame["prediction"], said.mean(axis=0), rtol=0, atol=1e-6)


def test_every_seed_is_kept_as_it_would_be_alone(alone: dict[int, pd.DataFrame], together: Path) -> None:
    kept = pd.concat([pd.read_parquet(path) for path in sorted(together.glob("folds/*/seeds.parquet"))])
    for seed, frame in alone.items():
        own = kept[kept["seed"] == seed].drop(columns="seed").reset_index(drop=True)
        tested = frame[frame["segment"] == "test"].reset_index(drop=True)
        pd.testing.assert_frame_equal(own, tested, check_categorical=False)
    for fold in sorted((together / "folds").iterdir()):
        model, metadata = load_model(fold)
        assert isinstance(model, SeedEnsemble)
        assert metadata["seeds"] == list(SEEDS)
        assert len(metadata["best_epoch"]) == len(SEEDS)
        assert "| seeds, averaged | 17, 18 |" in (fold / "model_card.md").read_text()


def by_date(frame: pd.DataFrame, label: str) -> NDArray[np.float64]:
    wanted = frame[(frame["label"] == label) & (frame["segment"] == "test")]
    return wanted.pivot(index="timestamp", columns="symbol", values="prediction").to_numpy(np.float64)


def mean_spearman(first: NDArray, second: NDArray, min_symbols: int) -> float:
    found = []
    for a, b in zip(first, second, strict=True):
        both = np.isfinite(a) & np.isfinite(b)
        if both.sum() >= min_symbols:
            found.append(spearmanr(a[both], b[both]).statistic)
    return float(np.mean(found))


def test_metrics_and_page_tell_what_seeds_are_worth_alone_and_how_far_they_agree(
    workplace: Workplace, alone: dict[int, pd.DataFrame], together: Path
) -> None:
    metrics = json.loads((workplace.results / "evaluate" / "lstm" / "metrics.json").read_text())
    page = (workplace.results / "report" / "lstm" / "report.html").read_text(encoding="utf-8")
    store = FeatureStore(workplace.results / "tokenize")
    for label, scores in metrics.items():
        said = [by_date(frame, label) for frame in alone.values()]
        first = alone[SEEDS[0]]
        dates = np.sort(first.loc[first["segment"] == "test", "timestamp"].unique()).astype("datetime64[ns]")
        symbols = sorted(first["symbol"].unique())
        outcome = store.matrix(store.label(label), dates)[:, np.isin(store.symbols, symbols)]
        ics = [mean_spearman(one, outcome, 10) for one in said]
        pairs = [mean_spearman(a, b, 10) for a, b in combinations(said, 2)]
        assert scores["seeds"] == len(SEEDS)
        assert scores["seed_rank_ic"] == pytest.approx(np.mean(ics), abs=1e-6)
        assert scores["seed_rank_ic_std"] == pytest.approx(np.std(ics, ddof=1), abs=1e-6)
        assert scores["seed_correlation"] == pytest.approx(np.mean(pairs), abs=1e-6)
        assert f"of 2 seeds each alone {scores['seed_rank_ic']:+.4f} +- {scores['seed_rank_ic_std']:.4f}" in page
    curves = {path.parent.name for path in (together / "live" / "plots" / "metrics").glob("*/loss.tsv")}
    assert {f"fold_0_seed_{seed}" for seed in SEEDS} <= curves
    assert "fold 0 seed 18" in page


def test_a_run_that_is_killed_goes_on_in_the_seed_it_was_in(
    workplace: Workplace, together: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = (together / "predictions.parquet").read_bytes()
    fit_network, step, steps = NetworkFold.fit_network, Engine.train_step, []

    def killed(self: NetworkFold, conditions: Any, number: int) -> Any:
        if number == 1:
            raise RuntimeError("killed")
        return fit_network(self, conditions, number)

    def counted(self: Engine, batch: Any) -> Any:
        steps.append(self.config.seed)  # type: ignore[attr-defined]
        return step(self, batch)

    monkeypatch.setattr(Engine, "train_step", counted)
    with monkeypatch.context() as patched:
        patched.setattr(NetworkFold, "fit_network", killed)
        with pytest.raises(RuntimeError, match="killed"):
            train(workplace, seeds=len(SEEDS))
    before = steps.copy()
    assert set(before) == {17}
    again = train(workplace, seeds=len(SEEDS))
    after = steps[len(before) :]
    assert after.count(18) == after.count(17) + len(before), "the first seed of the first fold is not trained again"
    assert (again / "predictions.parquet").read_bytes() == expected


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"train": {"seeds": 0}}, "train.seeds: 0 must be >= 1"),
        ({"train": {"seeds": 65}}, "train.seeds: 65 must be <= 64"),
        ({"zoo": {"linear": {"train": {"seeds": 3}}}}, "zoo.linear.train.seeds: linear is not fitted with it"),
        ({"train": {"seeds": 3}}, "train.seeds: 3: kronos is trained from one seed"),
    ],
)
def test_what_has_no_seeds_is_refused(section: dict[str, Any], said: str) -> None:
    document = smoke_document()
    for key, values in section.items():
        for name, value in values.items():
            document[key][name] = value
    with pytest.raises(StageError) as refused:
        parse_params(document, "params.yaml")
    assert said in str(refused.value)
