"""News: hand cases for timing, decay and word tones; training dates only."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from factor_data import (
    MarketConfig,
    NewsConfig,
    NewsScorer,
    Panel,
    SimulatedMarket,
    fit_news_scorer,
    forward_return,
    simulate_market,
)
from factor_data.news import words_of

DATES = pd.bdate_range("2020-01-01", periods=6)  # Wednesday 1st .. Wednesday 8th


def two_symbols(absent: tuple[int, ...] = ()) -> Panel:
    frames = [pd.DataFrame({"timestamp": DATES.delete(list(absent)), "symbol": "A"})]
    frames.append(pd.DataFrame({"timestamp": DATES, "symbol": "B"}))
    prices = dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0)
    return Panel.from_frame(pd.concat(frames).assign(**prices))


def documents(*rows: tuple[str, str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["timestamp", "symbol", "text"])
    return frame.assign(timestamp=pd.to_datetime(frame["timestamp"], format="ISO8601"))


SCORER = NewsScorer(config=NewsConfig(half_life=1.0), tones={"bad": -1.0, "good": 0.5})


def of_symbol(panel: Panel, values: np.ndarray, symbol: str) -> list[list[float]]:
    return values[panel.symbol == symbol].T.tolist()


def test_tone_and_count_halve_every_half_life_from_the_first_bar_that_may_know() -> None:
    panel = two_symbols()
    news = documents(("2020-01-02", "A", "good good thing"), ("2020-01-03 10:00", "A", "bad good"))
    tone, count = of_symbol(panel, SCORER.transform(news, panel).values, "A")
    assert tone == [0.0, 0.5, 0.25, 0.125 - 0.25, 0.0625 - 0.125, 0.03125 - 0.0625]
    assert count == [0.0, 1.0, 0.5, 0.25 + 1.0, 0.125 + 0.5, 0.0625 + 0.25]


def test_the_cut_off_decides_to_which_day_a_stamp_belongs() -> None:
    panel = two_symbols()
    news = documents(("2020-01-02 16:00", "A", "good"), ("2020-01-03 16:01", "B", "good"))
    late = NewsScorer(config=NewsConfig(half_life=1.0, cutoff_minutes=960), tones=SCORER.tones)
    values = late.transform(news, panel).values
    assert np.flatnonzero(of_symbol(panel, values, "A")[1])[0] == 1
    assert np.flatnonzero(of_symbol(panel, values, "B")[1])[0] == 3  # after Friday's cut-off: Monday
    assert np.flatnonzero(of_symbol(panel, SCORER.transform(news, panel).values, "A")[1])[0] == 2


def test_news_on_a_day_without_a_bar_waits_and_decays_meanwhile() -> None:
    panel = two_symbols(absent=(1, 2))
    tone, _ = of_symbol(panel, SCORER.transform(documents(("2020-01-02", "A", "good")), panel).values, "A")
    assert tone == [0.0, 0.125, 0.0625, 0.03125]


def test_no_news_is_zero_and_strangers_and_latecomers_are_left_out() -> None:
    panel = two_symbols()
    news = documents(("2020-01-02", "C", "good"), ("2020-01-02", "AA", "good"), ("2021-01-01", "A", "good"))
    assert (SCORER.transform(news, panel).values == 0.0).all()
    assert (SCORER.transform(news.iloc[:0], panel).values == 0.0).all()


def test_word_tone_is_the_shrunk_mean_of_label_ranks() -> None:
    panel = two_symbols()
    label = np.where(panel.symbol == "A", 1.0, 0.0)  # A always ranks +1, B -1
    news = documents(*((str(d.date()), s, t) for d in DATES for s, t in (("A", "Up same"), ("B", "down, SAME!"))))
    config = NewsConfig(min_count=4, shrinkage=4.0)
    scorer = fit_news_scorer(news, panel, label, panel.date_code < 4, config)
    assert scorer.tones == {"down": -4 / 8, "same": 0.0, "up": 4 / 8}
    assert scorer.score("up down") == 0.0
    assert scorer.score("unheard of") == 0.0
    assert fit_news_scorer(news, panel, label, panel.date_code < 3, config).tones == {"same": 0.0}


def test_words_are_lower_case_runs_of_letters_once_each() -> None:
    assert words_of("Beats! beats $AAPL's Q3 größer") == ["aapl", "beats", "größer"]


def test_fit_looks_at_training_rows_only(market: SimulatedMarket) -> None:
    panel = Panel.from_frame(market.bars)
    label = forward_return(panel, 5)
    train = panel.date_code < 250
    scorer = fit_news_scorer(market.news, panel, label, train)
    border = panel.dates[249]
    scrambled = market.news.assign(
        text=market.news["text"].where(market.news["timestamp"] <= border, "beats misses record")
    )
    assert fit_news_scorer(scrambled, panel, np.where(train, label, 9.9), train).hash == scorer.hash
    early = panel.date_code < 250
    same = scorer.transform(market.news, panel).values[early] == scorer.transform(scrambled, panel).values[early]
    assert same.all()


def test_planted_words_get_the_tone_they_were_planted_with() -> None:
    market = simulate_market(MarketConfig(symbols=60, bars=400, seed=3, signals="impulses"))
    panel = Panel.from_frame(market.bars)
    config = NewsConfig(cutoff_minutes=960)
    scorer = fit_news_scorer(market.news, panel, forward_return(panel, 5), np.ones(panel.num_rows, dtype=bool), config)
    good = np.mean([scorer.tones[w] for w in ("beats", "upgrade", "record", "growth", "strong", "gains", "wins")])
    bad = np.mean([scorer.tones[w] for w in ("misses", "downgrade", "weak", "loses", "cuts", "warning", "falls")])
    assert good > 0.02
    assert bad < -0.02


def test_scorer_survives_json_and_bad_settings_are_refused() -> None:
    again = NewsScorer.from_dict(json.loads(json.dumps(SCORER.to_dict())))
    assert again == SCORER
    assert again.hash == SCORER.hash
    with pytest.raises(ValueError, match="half_life must be positive, got 0"):
        NewsConfig(half_life=0.0)
    with pytest.raises(ValueError, match="cutoff_minutes must lie in"):
        NewsConfig(cutoff_minutes=1440)
    with pytest.raises(ValueError, match="must have shape"):
        fit_news_scorer(documents(), two_symbols(), np.zeros(3), np.zeros(3, dtype=bool))
