"""The ACL18 study: published samples, inputs known at the close, tweets on their day, and a run that is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages import ROOT
from studies import acl18_data
from studies.acl18 import VARIANTS
from studies.acl18_data import (
    INPUTS,
    OWN_MOVE,
    PUBLISHED_COUNTS,
    Protocol,
    last_trading_day,
    raw_inputs,
    read_protocol,
    read_tweets,
    tweet_config,
)
from studies.acl18_report import error_by_day, number, scores_of, within_days
from studies.acl18_runs import Runner, Setting, sources

REAL = ROOT.parent / "shared" / "data" / "acl18"
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"real market data not found at {REAL}")


@pytest.fixture(scope="module")
def protocol() -> Protocol:
    return read_protocol(REAL)


def test_the_error_by_day_is_that_of_days_drawn_with_replacement() -> None:
    generator = np.random.default_rng(0)
    days = np.repeat(np.arange(60), generator.integers(5, 40, 60))
    right = (generator.random(len(days)) < 0.5 + 0.3 * generator.standard_normal(60)[days]).astype(float)
    totals, sizes = np.bincount(days, weights=right), np.bincount(days)
    drawn = generator.integers(0, 60, (4000, 60))
    bootstrap = (totals[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)).std()
    assert error_by_day(right, days) == pytest.approx(bootstrap, rel=0.05)
    alone = error_by_day(right, np.arange(len(right)))
    assert alone == pytest.approx(right.std() / np.sqrt(len(right)))


def test_logits_within_days_tell_stocks_apart_not_days() -> None:
    days = np.array([7, 7, 9, 9, 9])
    within = within_days(np.array([1.0, 3.0, 10.0, 10.0, 13.0]), days)
    np.testing.assert_allclose(within, [-1.0, 1.0, -1.0, -1.0, 2.0])


def test_scores_call_a_positive_logit_up() -> None:
    scores = scores_of(np.array([2.0, -1.0, 0.5, -0.1]), np.array([1.0, 0.0, 0.0, 0.0]))
    assert scores.accuracy == 0.75
    assert number(-0.0167) == "-.0167"
    assert number(0.0674) == ".0674"


def test_tweets_of_days_without_trading_belong_to_the_last_trading_day() -> None:
    dates = np.array(["2015-01-02", "2015-01-05"], dtype="datetime64[ns]")
    stamps = np.array(
        ["2015-01-01T05:00", "2015-01-02T23:59", "2015-01-04T12:00", "2015-01-05T00:00"],
        dtype="datetime64[ns]",
    )
    expected = np.array(["2015-01-01", "2015-01-02", "2015-01-02", "2015-01-05"], dtype="datetime64[ns]")
    np.testing.assert_array_equal(last_trading_day(stamps, dates), expected)


def test_hyper_parameters_of_a_variant_are_its_own_or_those_of_one_that_is_searched() -> None:
    names = {variant.name for variant in VARIANTS if not variant.settings_of}
    assert {variant.settings_of for variant in VARIANTS if variant.settings_of} <= names
    assert all((variant.clock is None) or "text_width" in variant.grid()[0].config for variant in VARIANTS)


def test_a_kept_run_depends_on_all_that_its_network_is_built_of() -> None:
    names = {path.stem for path in sources("adv_alstm")}
    assert {"adv_alstm", "alstm", "temporal_attention", "recurrent_layers", "lstm_pass"} < names
    assert {path.stem for path in sources("pen")} == {"pen", "documents", "variational", "pretrained"}


@real
@pytest.mark.real_data
def test_the_samples_are_those_that_were_published(protocol: Protocol) -> None:
    assert {name: len(protocol.dataset(name)) for name in PUBLISHED_COUNTS} == PUBLISHED_COUNTS
    inputs = protocol.inputs[protocol.rows["train"]]
    assert inputs.shape[1] == len(INPUTS) == 11
    assert np.isfinite(inputs).all()
    np.testing.assert_allclose(inputs.mean(axis=0), 0.0, atol=0.05)  # clipped after they are standardised
    for segment in PUBLISHED_COUNTS:
        windows = protocol.dataset(segment).windows(np.arange(PUBLISHED_COUNTS[segment]))
        assert np.isfinite(windows).all()


@real
@pytest.mark.real_data
def test_other_samples_than_the_published_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(acl18_data.SEGMENTS, "test", ("2015-10-01", "2015-12-31"))
    with pytest.raises(ValueError, match="published are"):
        read_protocol(REAL)


@real
@pytest.mark.real_data
def test_inputs_are_the_formulas_and_know_nothing_later(protocol: Protocol) -> None:
    panel = protocol.panel
    values = raw_inputs(panel)
    row = int(np.flatnonzero(protocol.rows["test"])[7])
    close, adjusted = panel.columns["close"], panel.columns["adj_close"]
    assert values[row, 0] == pytest.approx(panel.columns["open"][row] / close[row] - 1)
    assert values[row, OWN_MOVE] == pytest.approx(adjusted[row] / adjusted[row - 1] - 1)
    assert values[row, -1] == pytest.approx(adjusted[row - 29 : row + 1].mean() / adjusted[row] - 1)
    cut = np.datetime64("2015-06-30")
    early = panel.select(panel.timestamp <= cut)
    np.testing.assert_allclose(raw_inputs(early), values[panel.timestamp <= cut], rtol=1e-9, atol=1e-12)


@real
@pytest.mark.real_data
def test_tweets_to_the_close_are_known_then_and_vectors_are_fitted_on_training_tweets(
    protocol: Protocol, tmp_path: Path
) -> None:
    config = tweet_config("close", 4, 3)
    assert (config.cutoff_minutes, config.market_zone) == (960, "America/New_York")
    news = pd.read_parquet(REAL / "news.parquet")
    expected = read_tweets(REAL, protocol, "close", 4, 3)
    late = news["timestamp"] > pd.Timestamp("2015-10-15 20:00", tz="UTC")  # 16:00 in New York
    news.assign(text=news["text"].where(~late, "changed words")).to_parquet(tmp_path / "news.parquet")
    changed = read_tweets(tmp_path, protocol, "close", 4, 3)
    early = np.flatnonzero(protocol.panel.timestamp <= np.datetime64("2015-10-15"))
    for row in early[protocol.rows["test"][early]]:
        first, last = expected.documents.bounds[row]
        np.testing.assert_array_equal(changed.documents.vectors[first:last], expected.documents.vectors[first:last])
    assert expected.counts["training_tweets"] > 50_000
    assert expected.counts["tweets_used"] <= expected.counts["tweets"] == 106_338


@real
@pytest.mark.real_data
def test_a_run_is_sane_and_kept(protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Runner(protocol=protocol, tweets={}, cache=tmp_path)
    setting = Setting(model="lstm", config={"hidden": 8}, lr=1e-2, epochs=2, patience=2)
    outcome = runner.run(setting, seed=0)
    assert outcome.valid.shape == (2_555,)
    assert 0.45 < scores_of(outcome.test, runner.outcome_of("test")).accuracy < 0.62
    monkeypatch.setattr(Runner, "_train", None)
    again = runner.run(setting, seed=0)
    np.testing.assert_array_equal(again.test, outcome.test)
    assert again.facts == outcome.facts
