"""The simulated market: deterministic, realistic, honest about what is planted in it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr

from factor_data import (
    NEWS_FEATURES,
    MarketConfig,
    NewsConfig,
    NewsScorer,
    Panel,
    SimulatedMarket,
    clean_bars,
    compute_features,
    cross_sectional_target,
    fit_news_scorer,
    fit_normaliser,
    forward_return,
    read_bars,
    read_news,
    simulate_market,
    stylised_facts,
    walk_forward,
    write_market,
)
from factor_data.simulate.alpha import amplitudes, expected_return, kernels
from factor_data.simulate.config import KINDS, MIXES
from factor_data.simulate.texts import NEGATIVE, POSITIVE

SMALL = MarketConfig(symbols=60, bars=400, seed=3)


@pytest.fixture(scope="module")
def barren() -> SimulatedMarket:
    return simulate_market(MarketConfig(symbols=150, bars=700, seed=3, signal=0.0))


def t_of_rank_ic(feature: np.ndarray, label: np.ndarray) -> float:
    """t-statistic of the mean rank IC of two (num_dates, num_symbols) matrices."""
    known = ~(np.isnan(feature) | np.isnan(label))
    x, y = (pd.DataFrame(np.where(known, m, np.nan)).rank(axis=1) for m in (feature, label))
    ic = x.corrwith(y, axis=1)[known.sum(axis=1) > 20].dropna()
    return float(ic.mean() / ic.std() * np.sqrt(len(ic)))


def test_the_same_config_gives_the_same_bytes(market: SimulatedMarket, tmp_path: Path) -> None:
    facts = [write_market(m, tmp_path / n) for m, n in ((market, "a"), (simulate_market(SMALL), "b"))]
    assert facts[0] == facts[1]
    files = sorted(f.relative_to(tmp_path / "a") for f in (tmp_path / "a").rglob("*.parquet"))
    assert [str(f) for f in files] == ["bars/2015.parquet", "bars/2016.parquet",
                                       "expected.parquet",
                                       "news/2015.parquet", "news/2016.parquet", "truth.parquet"]  # fmt: skip
    for file in files:
        digests = {hashlib.sha256((tmp_path / n / file).read_bytes()).hexdigest() for n in ("a", "b")}
        assert len(digests) == 1, file


def test_the_expectation_is_written_for_every_listed_symbol(market: SimulatedMarket, tmp_path: Path) -> None:
    write_market(market, tmp_path / "data")
    frame = pd.read_parquet(tmp_path / "data" / "expected.parquet")
    for horizon, expected in market.expected.items():
        found = frame[frame["horizon"] == horizon].set_index("timestamp")[list(market.symbols)]
        assert (found.index.to_numpy() == market.dates).all()
        np.testing.assert_allclose(found.to_numpy(), expected, atol=1e-8)


def test_another_seed_gives_another_market(market: SimulatedMarket) -> None:
    other = simulate_market(replace(SMALL, seed=4))
    assert not other.bars["close"].head(1000).equals(market.bars["close"].head(1000))


def test_the_readers_take_what_is_written(market: SimulatedMarket, tmp_path: Path) -> None:
    write_market(market, tmp_path)
    panel = read_bars(tmp_path / "bars")
    pd.testing.assert_frame_equal(panel.to_pandas(), Panel.from_frame(market.bars).to_pandas(), check_dtype=False)
    news = read_news(tmp_path / "news", calendar=panel.dates)
    assert news["text"].tolist() == market.news["text"].tolist()


def test_it_has_the_defects_it_should_and_no_others(market: SimulatedMarket) -> None:
    _, report = clean_bars(Panel.from_frame(market.bars))
    bars = len(market.bars)
    assert 0.0004 < report.count("open_unusable") / bars < 0.002
    assert 0.001 < report.count("calendar_gap") / bars < 0.006
    impossible = (
        "close_unusable",
        "high_unusable",
        "range_crossed",
        "close_outside_range",
        "open_outside_range",
    )
    assert [report.count(name) for name in impossible] == [0] * 5
    lives = market.bars.groupby("symbol")["timestamp"].agg(["min", "max"])
    changed = (lives["min"] > market.dates[10]) | (lives["max"] < market.dates[-10])
    assert changed.mean() == pytest.approx(0.2, abs=0.05)


def test_splits_move_the_close_but_not_the_adjusted_close(market: SimulatedMarket) -> None:
    by_symbol = market.bars.groupby("symbol")
    close, adjusted = by_symbol["close"].pct_change(), by_symbol["adj_close"].pct_change()
    split = (close - adjusted).abs() > 0.4
    assert 2 <= split.sum() <= 60
    assert (adjusted.abs() < 0.61).mean() > 0.98
    assert adjusted[split].abs().median() < 0.1


def test_returns_have_the_stylised_facts_of_stocks() -> None:
    market = simulate_market(MarketConfig(symbols=80, bars=1200))
    panel = Panel.from_frame(market.bars)
    facts = stylised_facts(pd.DataFrame(panel.to_matrix(compute_features(panel, ["return_1"]).values[:, 0])))
    assert facts["kurtosis"] > 3
    assert abs(facts["acf_return_1"]) < 0.05
    assert facts["acf_abs_return_1"] > 0.1
    assert facts["acf_abs_return_20"] > 0.03
    assert 0.1 < facts["cross_correlation"] < 0.4
    assert facts["leverage"] < 0


def test_news_is_stamped_before_the_close_of_its_day(market: SimulatedMarket) -> None:
    minute = market.news["timestamp"].dt.hour * 60 + market.news["timestamp"].dt.minute
    assert minute.between(360, 955).all()
    per_month = len(market.news) / 60 / (400 / 21)
    assert 2 < per_month < 5


def test_truth_is_the_correlation_of_expectation_and_label(market: SimulatedMarket) -> None:
    panel = Panel.from_frame(market.bars, market.dates)
    for horizon in (1, 5, 20):
        label = panel.to_matrix(forward_return(panel, horizon))
        expected = np.where(np.isnan(label), np.nan, market.expected[horizon])
        truth = market.truth[market.truth["horizon"] == horizon].set_index("timestamp")
        for t in (30, 200, 350):
            both = ~np.isnan(expected[t]) & ~np.isnan(label[t])
            row = truth.loc[pd.Timestamp(market.dates[t])]
            assert row["num_symbols"] == both.sum()
            assert row["attainable_ic"] == pytest.approx(pearsonr(expected[t][both], label[t][both])[0], abs=1e-5)
            assert row["attainable_rank_ic"] == pytest.approx(spearmanr(expected[t][both], label[t][both])[0], abs=1e-5)


def test_expected_return_of_one_impulse_is_its_kernel() -> None:
    config = MarketConfig(symbols=10, bars=100, signals=dict.fromkeys(KINDS, 0.05))
    for kind, kernel in kernels(config).items():
        history = {k: np.zeros((40, 1)) for k in KINDS}
        history[kind][3] = 1.0
        lags = np.arange(60) - kernel.skip
        is_paid = (lags >= 0) & (lags % kernel.period == 0)
        weight = amplitudes(config)[kind] * np.where(is_paid, kernel.decay ** np.maximum(lags, 0), 0.0)
        for horizon in (1, 5, 20):
            expected = expected_return(history, config, horizon)[:, 0]
            by_hand = [sum(weight[t - 3 + m] for m in range(horizon)) if t >= 3 else 0.0 for t in range(40)]
            np.testing.assert_allclose(expected, by_hand, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_signal_pays_what_is_expected_when_it_alone_is_planted(kind: str) -> None:
    """Label on expectation, each less the mean of its date, has slope 1: the truth is neither too high nor too low."""
    market = simulate_market(MarketConfig(symbols=120, bars=400, seed=5, horizons=(1,), signals={kind: 0.1}))
    truth = market.truth["attainable_rank_ic"]
    assert truth.mean() > 3 * truth.std() / np.sqrt(truth.notna().sum())
    panel = Panel.from_frame(market.bars, market.dates)
    assert panel.num_symbols == len(market.symbols)
    label = panel.to_matrix(forward_return(panel, 1))
    expected = np.where(np.isnan(label), np.nan, market.expected[1])
    x, y = (matrix - np.nanmean(matrix, axis=1, keepdims=True) for matrix in (expected[100:-2], label[100:-2]))
    by_date = np.nansum(x * y, axis=1) / np.nansum(x * x, axis=1).mean()
    error = by_date.std() / np.sqrt(len(by_date))
    assert error < 0.15
    assert abs(by_date.mean() - 1.0) < 3 * error


def test_only_a_market_with_signals_of_groups_tells_the_groups(market: SimulatedMarket) -> None:
    assert "sector" not in market.bars
    grouped = simulate_market(replace(SMALL, signals={"lead_lag": 0.1, "sector": 0.0}))
    sectors = grouped.bars.groupby("symbol")["sector"]
    assert (sectors.nunique() == 1).all()
    assert set(sectors.first()) == set(range(10))


def test_a_named_mix_is_the_table_of_its_name() -> None:
    for name, table in MIXES.items():
        assert MarketConfig(signals=name).spreads == table
    one, other = (simulate_market(replace(SMALL, bars=120, signals=s)) for s in ("impulses", MIXES["impulses"]))
    pd.testing.assert_frame_equal(one.bars, other.bars)


def test_a_season_is_a_week_of_days_or_a_day_of_bars() -> None:
    """The impulse of a bar moves the bars of the same place in later seasons, and no others."""
    for frequency, season in (("day", 5), ("30min", 8)):
        config = MarketConfig(symbols=10, bars=100, frequency=frequency, signals={"seasonal": 0.1})  # type: ignore[arg-type]
        impulse = np.zeros((60, 1))
        impulse[0] = 1.0
        moved = np.flatnonzero(expected_return({"seasonal": impulse}, config, 1)[:, 0]) + 2
        assert moved.tolist() == list(range(season, 62, season))


def test_the_mix_wants_more_than_a_line_through_the_last_bar_and_the_impulses_do_not() -> None:
    """Ridge on the default features, its share of the attainable; with one product more in the mix."""
    shares = {name: shares_of_ridge(name) for name in MIXES}
    assert shares["mix"]["alone"] < 0.6
    assert shares["mix"]["with product"] > 0.7
    assert 0.65 < shares["impulses"]["alone"] < 1.0


def shares_of_ridge(signals: str) -> dict[str, float]:
    """Attained over attainable rank IC of horizon 1 on the last 200 dates."""
    market = simulate_market(MarketConfig(symbols=200, bars=900, seed=11, signals=signals, horizons=(1,)))
    panel = Panel.from_frame(market.bars)
    fold = walk_forward(panel.dates, 600, 40, 200, 200, purge=7, embargo=0)[0]
    train, label = fold.rows(panel, "train"), forward_return(panel, 1)
    scorer = fit_news_scorer(market.news, panel, forward_return(panel, 5), train, NewsConfig(cutoff_minutes=960))
    features = compute_features(panel, ["bars", "memory"])
    values = np.column_stack([features.values, scorer.transform(market.news, panel).values])
    names = (*features.names, *NEWS_FEATURES)
    ranks = fit_normaliser(values, train, names, kind="rank").transform(values, panel.date_code)
    x = np.nan_to_num(ranks).astype(float)
    product = np.sign(x[:, names.index("return_1")] * x[:, names.index("return_20")])
    target = cross_sectional_target(label, panel.date_code).astype(float)
    rows = train & ~np.isnan(target)
    test = np.isin(panel.dates, fold.test)
    realised = pd.DataFrame(panel.to_matrix(label)[test])
    truth = market.truth[(market.truth["horizon"] == 1) & market.truth["timestamp"].isin(fold.test)]
    shares = {}
    for name, inputs in (("alone", x), ("with product", np.column_stack([x, product]))):
        gram = inputs[rows].T @ inputs[rows] + 1000.0 * np.eye(inputs.shape[1])
        weights = np.linalg.solve(gram, inputs[rows].T @ target[rows])
        prediction = pd.DataFrame(panel.to_matrix(inputs @ weights)[test]).where(realised.notna())
        attained = prediction.rank(axis=1).corrwith(realised.rank(axis=1), axis=1)
        shares[name] = attained.mean() / truth["attainable_rank_ic"].mean()
    return shares


def test_default_signal_is_moderate() -> None:
    truth = simulate_market(MarketConfig(horizons=(1,))).truth
    assert 0.08 < truth["attainable_rank_ic"].mean() < 0.14


def test_without_signal_nothing_is_expected_and_nothing_known_predicts(barren: SimulatedMarket) -> None:
    assert barren.truth["attainable_rank_ic"].isna().all()
    assert all(np.nan_to_num(matrix).max() == 0.0 for matrix in barren.expected.values())
    panel = Panel.from_frame(barren.bars)
    features = compute_features(panel)
    label = panel.to_matrix(forward_return(panel, 1))
    matrices = {name: panel.to_matrix(features.column(name)) for name in features.names}
    risk = np.tile(np.nanmean(panel.to_matrix(features.column("volatility_60")), axis=0), (panel.num_dates, 1))
    tone = NewsScorer(
        config=NewsConfig(cutoff_minutes=960), tones=dict.fromkeys(POSITIVE, 1) | dict.fromkeys(NEGATIVE, -1)
    )
    matrices["whole_sample_volatility"] = risk
    matrices["news_tone"] = panel.to_matrix(tone.transform(barren.news, panel).column("news_tone"))
    t_statistics = {name: t_of_rank_ic(matrix, label) for name, matrix in matrices.items()}
    assert max(abs(t) for t in t_statistics.values()) < 3.5, t_statistics


def test_five_minute_bars_have_sessions_and_a_u_shape() -> None:
    market = simulate_market(MarketConfig(symbols=40, bars=480, frequency="5min"))
    stamps = pd.DatetimeIndex(market.dates)
    assert len(stamps) == 480
    assert (stamps.normalize().value_counts() == 48).all()
    bars = market.bars.assign(minute=market.bars["timestamp"].dt.hour * 60 + market.bars["timestamp"].dt.minute)
    volume = bars.groupby("minute")["volume"].median()
    assert volume.iloc[0] > 1.4 * volume.iloc[24]
    assert volume.iloc[-1] > 1.4 * volume.iloc[24]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("symbols", 5),
        ("bars", 10),
        ("signal", -1.0),
        ("frequency", "week"),
        ("horizons", (0,)),
        ("signals", "mixx"),
        ("signals", {"xorr": 0.1}),
        ("signals", {"xor": -0.1}),
        ("signals", {"xor": "strong"}),
        ("signals", {}),
    ],
)
def test_impossible_settings_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        MarketConfig(**{field: value})
