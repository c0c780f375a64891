"""Exchanges with days of their own in one data set: split tells them apart, says so, and no label goes missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factor_data import FeatureStore, import_data, read_folds
from workplace import Workplace, make_workplace, smoke_document

NEW_YORK = [f"US{number}" for number in range(6)]
FRANKFURT = [f"DE{number}.DE" for number in range(6)]


def market(folder: Path, names: list[str], days: pd.DatetimeIndex) -> None:
    draw = np.random.default_rng(len(names[0]))
    for name in names:
        close = 100 * np.exp(draw.normal(0, 0.01, len(days)).cumsum()).round(4)
        prices = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close}
        frame = pd.DataFrame({"timestamp": days, "symbol": name, **prices, "volume": draw.lognormal(13, 1, len(days))})
        frame.to_csv(folder / f"{name}.csv", index=False)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """New York at 05:00 and Frankfurt at 23:00 of the day before, both in UTC; on no date do both have a bar."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "source").mkdir()
    days = pd.bdate_range("2022-01-03", periods=200)
    market(folder / "source", NEW_YORK, days + pd.Timedelta(hours=5))
    market(folder / "source", FRANKFURT, days - pd.Timedelta(hours=1))
    document = smoke_document()
    document["models"] = ["linear"]
    document["split"]["folds"] |= {"train": 180, "valid": 30, "test": 40, "step": 40, "purge": None}
    document["evaluate"] |= {"min_symbols": 4, "quantiles": 3}
    work = make_workplace(folder / "factorcast", document)
    (work.path / "data").unlink()
    import_data(folder / "source", work.path / "data")
    return work


def test_horizons_count_the_dates_of_a_symbols_own_market_and_folds_keep_their_labels_apart(
    mixed: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    for stage in ("plan", "split", "tokenize_features"):
        mixed.run(stage)
    said = capsys.readouterr().err
    assert "2 markets count bars on dates of their own" in said
    assert "US0, US1, US2 and 3 more, on 200 of 400 dates" in said
    assert "warning" not in said
    store = FeatureStore(mixed.results / "tokenize")
    for column, horizon in enumerate((1, 5, 20)):
        known = np.isfinite(store.labels[:, column]).reshape(12, 200).sum(axis=1)
        assert known.tolist() == [200 - 1 - horizon] * 12
    assert store.dates_ahead("h20") == 42
    assert store.overlap("h20") == 41
    for fold in read_folds(mixed.results / "split" / "folds.json"):
        assert (np.searchsorted(store.dates, fold.valid[0]) - np.searchsorted(store.dates, fold.train[-1])) > 42


def test_a_purge_that_does_not_reach_over_all_markets_is_refused(mixed: Workplace, tmp_path: Path) -> None:
    work = mixed.copy(tmp_path / "factorcast")
    work.change_params(lambda document: document["split"]["folds"].update(purge=21))
    work.run("plan")
    assert "split.folds.purge: 21 must be at least 42" in work.refused("split")


@pytest.mark.parametrize(
    ("calendars", "told"),
    [
        ({"all": ["*"]}, "of the labels h"),
        ({"us": ["US*"], "xetra": ["*.DE"]}, "us: US0, US1, US2 and 3 more"),
    ],
)
def test_markets_are_named_in_params_yaml_and_one_calendar_says_what_it_costs(
    calendars: dict[str, Any], told: str, mixed: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = mixed.copy(tmp_path / "factorcast")
    work.change_params(lambda document: document["split"].update(calendars=calendars))
    for stage in ("plan", "split"):
        work.run(stage)
    said = capsys.readouterr().err
    assert told in said
    assert "split.calendars" in said
    assert ("warning" in said) == ("all" in calendars)


def test_a_calendar_of_unknown_symbols_is_refused_by_its_key(mixed: Workplace, tmp_path: Path) -> None:
    work = mixed.copy(tmp_path / "factorcast")
    work.change_params(lambda document: document["split"].update(calendars={"us": ["US*"], "tse": ["*.T"]}))
    work.run("plan")
    assert "params.yaml: split.calendars: tse: '*.T' fits no symbol" in work.refused("split")
    work.change_params(lambda document: document["split"].update(calendars={"us": []}))
    assert "split.calendars.us: must name at least one symbol" in work.refused("plan")


def test_a_coin_beside_stocks_is_labelled_on_its_own_days_and_judged_where_there_are_others(tmp_path: Path) -> None:
    """A coin has a bar every day, eight stocks on weekdays: from files to the stack."""
    source = tmp_path / "source"
    source.mkdir()
    days = pd.date_range("2022-01-03", periods=300)
    week = days[days.weekday < 5]
    stocks = [f"STOCK{number}" for number in range(8)]
    market(source, stocks, week)
    market(source, ["BTC"], days)
    document = smoke_document()
    document["models"] = ["linear"]
    document["tokenize"] |= {"use_news": False, "labels": {"h1": {"horizon": 1}, "h5": {"horizon": 5}}}
    document["split"]["folds"] |= {"train": 150, "valid": 30, "test": 40, "step": 40, "purge": None}
    document["evaluate"] |= {"min_symbols": 5, "quantiles": 3, "bootstrap": 100}
    work = make_workplace(tmp_path / "factorcast", document)
    (work.path / "data").unlink()
    import_data(source, work.path / "data")
    for stage in ("plan", "split", "tokenize_features", "tokenize_kline", "inputs"):
        work.run(stage)
    for stage in ("train", "evaluate"):
        for model in document["models"]:
            work.run(stage, model)
    work.run("stack")

    store = FeatureStore(work.results / "tokenize")
    label = pd.DataFrame(store.matrix(store.label("h1"), store.dates), index=store.dates, columns=store.symbols)
    for symbol, own in (("BTC", days), ("STOCK3", week)):
        close = pd.read_csv(source / f"{symbol}.csv")["close"].to_numpy()
        expected = pd.Series(np.r_[close[2:] / close[1:-1] - 1, np.nan, np.nan], index=own)
        found = label[symbol].dropna()
        assert len(found) > 0.7 * len(own)
        np.testing.assert_allclose(found, expected[found.index], rtol=1e-9)
    for part, on_weekends in (("train/linear", {"BTC"}), ("stack", set())):  # a stack of ranks needs a second symbol
        said = pd.read_parquet(work.results / part / "predictions.parquet")
        weekend = pd.DatetimeIndex(said["timestamp"]).weekday >= 5
        assert set(said["symbol"][weekend]) == on_weekends, part
        assert set(said["symbol"][~weekend]) == {"BTC", *stocks}, part
    by_date = pd.read_parquet(work.results / "evaluate" / "linear" / "ic.parquet")
    judged = pd.DatetimeIndex(by_date["timestamp"][by_date["rank_ic"].notna()])
    assert len(judged) > 0
    assert (judged.weekday < 5).all()
