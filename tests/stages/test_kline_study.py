"""The study of the K-line predictor against the entropy of its market: new draws of a bar, entropies, sections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from factor_data import Panel, forward_return
from factor_models.kline import path_factors
from studies.kline_5min import write_section
from studies.kline_entropy import MARKET, cross_entropy, entropy, simulate

SMALL = replace(MARKET, symbols=30, bars=150, horizons=(1,))


def test_a_new_draw_of_a_bar_leaves_the_past_as_it_was_and_has_its_law() -> None:
    market = replace(SMALL, symbols=90)  # which take no longer than 30
    paths, values = simulate(market)
    places = []
    for bar in range(40, 148, 48):
        returns = []
        for number in range(19):
            other, bars = simulate(market, bar, number)
            np.testing.assert_array_equal(bars[:bar], values[:bar])
            returns.append(other.returns[bar] - other.returns[bar].mean())
        assert len(np.unique(returns, axis=0)) == 19
        actual = paths.returns[bar] - paths.returns[bar].mean()
        places.append((np.stack(returns) < actual).sum(axis=0))
    # A bar that is one more draw of the same law takes each of the 20 places among 19 draws equally often.
    assert stats.chisquare(np.bincount(np.concatenate(places), minlength=20)).pvalue > 1e-3


def test_the_corrected_entropy_is_that_of_the_law_the_counts_come_from() -> None:
    law = np.array([0.5, 0.2, 0.1, 0.1, 0.05, 0.05])
    counts = np.random.default_rng(0).multinomial(60, law, size=4000)
    expected = stats.entropy(law)
    plain = stats.entropy(counts, axis=1).mean()
    assert abs(entropy(counts).mean() - expected) < 0.1 * (expected - plain)
    np.testing.assert_allclose(cross_entropy(counts, np.log(law)[None]).mean(), expected, atol=0.01)
    other = np.full(6, 1 / 6)
    np.testing.assert_allclose(cross_entropy(counts, np.log(other)[None]), np.log(6))


def test_a_section_is_written_in_its_place(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    write_section(page, "# One", "# One\n\nfirst\n")
    write_section(page, "## Two", "## Two\n\nsecond\n")
    write_section(page, "# One", "# One\n\nchanged\n")
    assert page.read_text() == "# One\n\nchanged\n\n## Two\n\nsecond\n"


@pytest.mark.parametrize(("delay", "horizon"), [(0, 1), (1, 1), (1, 5), (2, 3)])
def test_a_path_of_the_bars_that_came_has_the_return_of_the_label(delay: int, horizon: int) -> None:
    num_bars, last = 40, 25
    close = np.random.default_rng(1).uniform(5.0, 9.0, (3, num_bars))
    dates = pd.bdate_range("2024-01-01", periods=num_bars)
    frame = pd.DataFrame(
        {
            "timestamp": np.tile(dates, 3),
            "symbol": np.repeat(["A", "B", "C"], num_bars),
            **{name: close.ravel() for name in ("open", "high", "low", "close", "adj_close")},
            "volume": 1.0,
        }
    )
    panel = Panel.from_frame(frame, dates.to_numpy())
    label = forward_return(panel, horizon, delay=delay).reshape(3, num_bars)[:, last]
    ahead = close[:, None, last + 1 :]
    np.testing.assert_allclose(path_factors(ahead, close[:, last], delay, horizon).mean, label, rtol=1e-6)
