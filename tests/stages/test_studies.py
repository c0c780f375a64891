"""Studies run the stages in folders of their own, by a plan of their own, and go on where they stopped."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factor_data import MarketConfig, simulate_market
from factor_experiments.sweep_run import Job, Status
from factor_models import KLINE_MODELS
from stages.json_files import read_json
from studies import (
    attained,
    defaults,
    forked,
    gates,
    meta_learners,
    net_books,
    planted_signals,
    sweeps,
    volatility,
    workspace,
)
from studies.workspace import Workspace, base_params, changed
from workplace import Workplace, smoke_document


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Stages of studies run in this process; what was started."""
    monkeypatch.setattr(workspace, "STUDIES", tmp_path)
    calls: list[tuple[str, ...]] = []

    def start(self: Workspace, *command: str) -> None:
        calls.append(command)
        Workplace(self.folder).run(*command)

    monkeypatch.setattr(Workspace, "_start", start)
    return calls


def test_the_default_params_can_be_changed_by_the_names_that_dvc_has() -> None:
    params = base_params()
    other = changed(params, {"train.epochs": 77, "zoo.new": {"size": 1}})
    assert other["train"]["epochs"] == 77
    assert other["zoo"]["new"] == {"size": 1}
    assert params["train"]["epochs"] != 77, "the defaults stay as they are"
    with pytest.raises(ValueError, match=r"train\.epohcs: params\.yaml has no such key"):
        changed(params, {"train.epohcs": 1})


def test_a_stage_is_planned_and_run_once_and_a_model_again_when_its_section_changes(
    started: list[tuple[str, ...]],
) -> None:
    params = smoke_document()

    def study(hidden: int) -> Workspace:
        place = Workspace("study", "small", changed(params, {"zoo.linear": {"alpha": float(hidden)}}))
        place.use_sample()
        for stage in ("sample", "split", "tokenize_features"):
            place.run(stage)
        place.run("train", "linear")
        place.run("evaluate", "linear")
        return place

    first = study(1)
    once = [("sample",), ("split",), ("tokenize_features",), ("train", "linear"), ("evaluate", "linear")]
    assert started == [("plan",), *once]
    before = first.results("train/linear/predictions.parquet").read_bytes()
    assert first.results("evaluate/linear/metrics.json").is_file()
    study(1)
    assert started == [("plan",), *once], "nothing is run again"
    again = study(1000)
    assert again.folder == first.folder
    assert started == [("plan",), *once, ("plan",), ("train", "linear"), ("evaluate", "linear")]
    assert again.results("train/linear/predictions.parquet").read_bytes() != before


def test_every_model_of_the_zoo_but_those_of_bars_has_a_plan(started: list[tuple[str, ...]]) -> None:
    """So that no result of a model is thrown away when a study asks for others."""
    params = smoke_document()
    params["models"] = ["linear"]
    place = Workspace("study", "small", params)
    assert set(place.params["models"]) == set(params["zoo"]) - set(KLINE_MODELS)
    shared = {**params, "models": ["lstm"]}
    assert Workspace("study", "small", shared).folder == place.folder
    assert Workspace("study", "small", changed(params, {"train.seed": 3})).folder != place.folder


def test_a_stage_that_fails_stops_the_study_with_its_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In processes of its own, as a study starts them."""
    monkeypatch.setattr(workspace, "STUDIES", tmp_path)
    place = Workspace("study", "without_data", smoke_document())
    with pytest.raises(RuntimeError, match=r"(?s)^plan failed in .*there is neither data/ nor data\.dvc"):
        place.run("split")
    assert not (place.folder / ".done").exists()


@pytest.fixture
def small_markets(started: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Studies of simulated markets on the smallest one, in this process; what was started."""
    document: dict[str, Any] = smoke_document()
    document["tokenize"]["labels"] = planted_signals.CHANGES["tokenize.labels"]
    for module in (attained, defaults):
        monkeypatch.setattr(module, "base_params", lambda: document)
    monkeypatch.setattr(forked.Forked, "_start", Workspace._start)
    for module in (attained, defaults, planted_signals, volatility):
        monkeypatch.setattr(module, "STUDIES", workspace.STUDIES, raising=False)
    return started


def test_the_planted_signals_score_the_setting_that_is_best_on_valid_dates(
    small_markets: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planted_signals, "CHANGES", {})
    for signal in ("reversal", planted_signals.NONE):
        planted_signals.run_market(signal, 3, ["linear"])
    once = small_markets.copy()
    assert once.count(("sample",)) == 2, "a market is made once for all its trials"
    assert once.count(("train", "linear")) == 2 * planted_signals.NUM_TRIALS
    planted_signals.run_market("reversal", 3, ["linear"])
    assert small_markets == once, "nothing is run again"
    trials = planted_signals.known_trials()
    best = planted_signals.chosen(trials)
    for (market, trial), own in best.groupby(["market", "trial"]):
        everyone = trials[trials["market"] == market].groupby("trial")["valid_rank_ic"].mean()
        assert everyone[trial] == everyone.max()
        assert list(own["label"]) == ["h1", "h5"]
    assert (best.loc[best["market"] == "reversal", "attainable"] > 0).all()
    page = planted_signals.page(best)
    row = best[(best["market"] == "reversal") & (best["label"] == "h1")].iloc[0]
    assert f"{100 * row['rank_ic'] / row['attainable']:.0f}" in page
    assert "| best floor |" in page


def test_every_model_of_the_planted_signals_has_the_same_budget() -> None:
    assert {len(trials) for trials in planted_signals.TRIALS.values()} == {planted_signals.NUM_TRIALS}
    assert set(planted_signals.USUAL) <= set(planted_signals.TRIALS)


def trials_of(variant: str, model: str, attained_shares: dict[int, float], **more: float) -> list[dict[str, Any]]:
    return [
        {"market": market, "variant": variant, "model": model, "label": "h1", "attainable": 0.1, "cpu_seconds": 2.0,
         "rank_ic": 0.1 * share, **more}
        for market, share in attained_shares.items()
    ]  # fmt: skip


def test_a_variant_is_marked_only_where_it_is_better_beyond_noise_on_three_markets() -> None:
    usual = {106: 0.5, 107: 0.6, 108: 0.4, 109: 0.5}
    better = {market: share + 0.1 + 0.01 * (market - 107) for market, share in usual.items()}
    luck = {106: 0.9, 107: 0.6, 108: 0.4, 109: 0.5}
    frame = pd.DataFrame(
        trials_of("default", "linear", usual) + trials_of("bars", "linear", better)
        + trials_of("rank_gauss", "linear", luck)
    )  # fmt: skip
    page = defaults.page(frame)
    error = 100 * np.std([0.09, 0.1, 0.11, 0.12], ddof=1) / 2
    assert f"| **60 (+10.5 +- {error:.1f})** | 4 | 2 |" in page
    assert "| 60 (+10.0 +- 10.0) | 4 | 2 |" in page
    assert "| params.yaml as it is | 50 | 4 | 2 |" in page


def test_the_search_of_the_defaults_pairs_markets_and_never_takes_that_of_the_default_run(
    small_markets: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "CHANGES", {"train.threads": 1})
    several = {"lstm": {"train": {"seeds": 2}}}
    variants = {
        "default": defaults.Variant(words="as it is", models=("lstm",)),
        "seeds": defaults.Variant(words="two seeds", zoo=several, models=("lstm",)),
    }
    monkeypatch.setattr(defaults, "VARIANTS", variants)
    frame = pd.concat([defaults.trial(3, name, ["lstm"]) for name in variants])
    page = defaults.page(frame)
    assert "## Seeds alone and averaged" in page
    assert "| two seeds |" in page
    monkeypatch.setattr("sys.argv", ["defaults", "--markets", "7,106"])
    with pytest.raises(SystemExit):
        defaults.main()
    assert not any("7" in call for call in small_markets)


def test_volatility_floors_and_models_stand_on_one_page(
    small_markets: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volatility, "MODELS", ("linear",))
    volatility.kept("simulated_3", {}, None)
    frame = volatility.known_markets()["simulated_3"]
    floors = frame[frame["forecast"].isin(volatility.FLOORS)]
    assert len(floors) == len(volatility.FLOORS) * len(volatility.LABELS)
    model = frame[(frame["forecast"] == "linear") & (frame["label"] == "risk5")].iloc[0]
    best = floors[floors["label"] == "risk5"]["rank_ic"].max()
    assert model["difference"] == pytest.approx(model["rank_ic"] - best, abs=1e-3)
    page = volatility.page({"simulated_3": frame})
    assert f"| linear | {model['rank_ic']:.3f} ({model['difference']:+.3f} [" in page.replace("**", "")


@pytest.mark.parametrize(
    "name", ["acl18", "defaults", "gates", "kline_5min", "nasdaq", "net_books", "planted_signals", "volatility"]
)
def test_a_study_with_options_says_what_it_does(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = importlib.import_module(f"studies.{name}")
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        study.main()
    assert ended.value.code == 0
    assert study.__doc__.splitlines()[0] in " ".join(capsys.readouterr().out.split())


def test_every_meta_learner_is_paired_with_equal_weights_on_the_same_forecasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two markets of 30 symbols and two folds: what the page shows is there for each learner and label."""
    monkeypatch.setattr(meta_learners, "SYMBOLS", 30)
    monkeypatch.setattr(meta_learners, "BARS", 480)
    monkeypatch.setattr(meta_learners, "TREES", meta_learners.TREES | {"rounds": 3})
    monkeypatch.setattr(meta_learners, "FOLDS", meta_learners.FOLDS | {"train": 150, "test": 80, "step": 80})
    markets = {seed: meta_learners.run_market(seed, signal=1.0) for seed in (0, 1)}
    frame = pd.DataFrame([{"market": "small", "seed": seed, **row} for seed, rows in markets.items() for row in rows])
    assert (frame.groupby(["seed", "label"]).size() == len(meta_learners.LEARNERS)).all()
    equal = frame[frame["learner"] == "equal"]
    assert (equal["difference"] == 0).all()
    assert np.isfinite(frame[["rank_ic", "difference", "to_best"]]).all(axis=None)
    page = meta_learners.page(frame)
    assert all(f"| {name} |" in page for name in meta_learners.LEARNERS)
    assert "## small: 2 markets" in page


def test_a_market_of_the_gates_is_judged_once_at_both_labels_as_stages_judge_it(
    started: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smallest market that has folds: to the bit what stages that write everything come to, one after another."""
    small: dict[str, Any] = smoke_document()
    monkeypatch.setattr(gates, "base_params", lambda: small)
    folds = {**gates.CHANGES["split.folds"], "train": 120, "valid": 30, "test": 40, "step": 40}
    changes = gates.CHANGES | {"sample.symbols": 30, "sample.bars": 300, "split.folds": folds}
    monkeypatch.setattr(gates, "CHANGES", changes)
    monkeypatch.setattr(gates, "STUDIES", tmp_path)
    rows = gates.kept_market("weak", 3)
    assert [row["label"] for row in rows] == ["h1", "h20"]
    assert all("stack_interval" in row["failed"] and not row["promoted"] for row in rows)

    place = Workspace("gates", "stages", changed(small, {**changes, "sample.signal": 0.5, "sample.seed": 3}))
    place.use_sample()
    for stage in ("sample", "split", "tokenize_features"):
        place.run(stage)
    for model in gates.MODELS:
        place.run("train", model)
        place.run("evaluate", model)
    Workplace(place.folder).change_params(lambda document: document.update(models=list(gates.MODELS)))
    Workplace(place.folder).run("plan")
    place.run("stack")
    found = read_json(place.results("stack/gates.json"))["gates"]
    metrics = read_json(place.results("stack/metrics.json"))
    for row in rows:
        mine = [gate for gate in found if gate["label"] == row["label"]]
        assert row["failed"] == [gate["name"] for gate in mine if not gate["passed"]]
        assert row["promoted"] == all(gate["passed"] for gate in mine)
        for name in ("rank_ic", "t_stat", "net_sharpe", "attained"):
            assert row[name] == metrics[row["label"]].get(name), (row["label"], name)

    monkeypatch.setattr(gates, "run_market", None)
    assert gates.kept_market("weak", 3) == rows, "from the file"
    page = gates.page(gates.known_markets("weak"))
    assert "| h20 | 1 with a weak signal | 0 |" in page
    assert "| `stack_interval` | 100% | 100% |" in page


def test_books_of_a_market_lose_by_every_basis_point(
    started: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document: dict[str, Any] = smoke_document()
    monkeypatch.setattr(net_books, "base_params", lambda: document)
    monkeypatch.setattr(net_books, "STUDIES", tmp_path)
    bars = simulate_market(MarketConfig(symbols=30, bars=320, seed=1)).bars
    (tmp_path / "acl18").mkdir()
    bars.to_parquet(tmp_path / "acl18" / "bars.parquet")
    market = net_books.Market(title="few", file="acl18/bars.parquet", folds=(120, 30, 40), said="Made up.")
    monkeypatch.setattr(net_books, "MARKETS", {"acl18": market})
    rows = pd.DataFrame(net_books.run_market("acl18", tmp_path))
    returns = rows.pivot(index=["label", "forecast"], columns="cost", values="net_return")
    assert len(returns) == 9
    assert (np.diff(returns.to_numpy(), axis=1) < 0).all()
    page = net_books.page({"acl18": rows})
    assert page.count("| stack |") == 3
    assert "## few" in page


def test_a_sweep_costs_what_its_trials_did_until_one_is_as_good_as_the_grid() -> None:
    def job(learning_rate: float, score: float, cpu_seconds: float) -> Job:
        status: Status = "done" if np.isfinite(score) else "stopped"
        point = {"zoo.lightgbm.learning_rate": learning_rate, "zoo.lightgbm.leaves": 7}
        return Job(name="", point=point, status=status, score=score, cpu_seconds=cpu_seconds, folds=[0.0])

    grid = sweeps.Swept(jobs=[job(0.01, 0.02, 30.0), job(0.03, 0.05, 30.0), job(0.1, 0.04, 40.0)])
    reached = sweeps.Swept(jobs=[job(0.1, 0.04, 40.0), job(0.01, np.nan, 9.0), job(0.03, 0.05, 1.0), job(1, 0.0, 5.0)])
    missed = sweeps.Swept(jobs=[job(0.1, 0.04, 40.0), job(0.01, np.nan, 10.0)])
    page = sweeps.page(grid, [reached, missed])
    assert "learning rate and leaves 0.03, 7, with a rank IC of +0.0500" in page
    assert "| 0 | +0.0500 | trial 3 | 50 | 50% | 1 | 55 | 55% |" in page
    assert "| 1 | +0.0400 | not reached | 50 | 50% | 1 | 50 | 50% |" in page
