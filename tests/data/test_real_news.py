"""Real tweets, stamped in UTC, on real bars, which New York closes: joined at the close, in summer and in winter."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from factor_data import (
    NewsVectorConfig,
    Panel,
    clean_bars,
    fit_news_vectors,
    news_coverage,
    read_bars,
    read_news,
)
from factor_data.news import document_rows

REAL = Path(__file__).parents[3] / "shared" / "data" / "acl18"
CLOSE = {"cutoff_minutes": 960, "stamp_zone": "UTC", "market_zone": "America/New_York"}

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not REAL.is_dir(), reason=f"real market data not found at {REAL}"),
]


@pytest.fixture(scope="module")
def panel() -> Panel:
    return clean_bars(read_bars(REAL / "bars.parquet"))[0]


@pytest.fixture(scope="module")
def news() -> pd.DataFrame:
    return read_news(REAL / "news.parquet")


def test_each_tweet_belongs_to_the_first_close_after_it(panel: Panel, news: pd.DataFrame) -> None:
    config = NewsVectorConfig(**CLOSE)  # type: ignore[arg-type]
    row, _, kept = document_rows(news, panel, config)
    assert len(kept) == len(news)
    utc, new_york = ZoneInfo("UTC"), ZoneInfo("America/New_York")
    shifted = 0
    for position in np.random.default_rng(0).integers(0, len(kept), 500):
        at = row[position]
        stamp = news["timestamp"].iloc[kept[position]].to_pydatetime().replace(tzinfo=utc)
        assert news["symbol"].iloc[kept[position]] == panel.symbol[at]

        def close(of_row: int) -> datetime:
            day = pd.Timestamp(panel.timestamp[of_row]).to_pydatetime()
            return (day + timedelta(hours=16)).replace(tzinfo=new_york).astimezone(utc)

        assert stamp <= close(at)
        if at > panel.starts[panel.symbol_code[at]]:
            assert close(at - 1) < stamp
        shifted += close(at).hour == 20
    assert 0 < shifted < 500  # both offsets of New York occur


def test_vectors_of_real_tweets_are_there_where_tweets_are_and_do_not_look_ahead(
    panel: Panel, news: pd.DataFrame
) -> None:
    config = NewsVectorConfig(dimensions=8, max_words=1_000, **CLOSE)  # type: ignore[arg-type]
    train = panel.timestamp < np.datetime64("2015-08-01")
    features = fit_news_vectors(news, panel, train, config).transform(news, panel)
    count = features.column("news_documents")
    coverage = news_coverage(news, panel, config, memory=1)
    assert coverage.unknown_symbol == coverage.after_last_bar == 0
    assert 0 < coverage.forgotten < 200  # Alibaba before it was listed
    assert count.sum() == coverage.used == len(news) - coverage.forgotten
    vectors = features.values[:, :-1]
    np.testing.assert_array_equal(np.isfinite(vectors).all(axis=1), count > 0)
    np.testing.assert_array_equal(np.isnan(vectors).all(axis=1), count == 0)
    cut = np.datetime64("2015-10-15")
    known = news[news["timestamp"] <= cut + np.timedelta64(20, "h")]  # New York closed at 20:00 UTC
    again = fit_news_vectors(known, panel, train, config).transform(known, panel)
    early = panel.timestamp <= cut
    np.testing.assert_array_equal(again.values[early], features.values[early])
