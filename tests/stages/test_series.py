"""What ic.parquet says beside an evaluation, by which two runs are compared."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from stages.judging.pages import Books
from stages.judging.tables import net_returns, scored_symbols

NAMES = np.array(["AAA", "BBB", "CCC"])


def test_the_digest_says_which_symbols_are_scored_and_not_in_which_order() -> None:
    generator = np.random.default_rng(0)
    prediction, outcome = generator.normal(size=(2, 4, 3))
    prediction[1, 0] = outcome[2, 1] = np.nan
    found = scored_symbols(prediction, outcome, NAMES)
    assert found[0] == found[3]
    assert len({int(value) for value in found}) == 3
    order = [2, 0, 1]
    np.testing.assert_array_equal(scored_symbols(prediction[:, order], outcome[:, order], NAMES[order]), found)
    more = np.column_stack([prediction, np.full(4, np.nan)])
    with_another = scored_symbols(more, np.column_stack([outcome, np.ones(4)]), np.append(NAMES, "DDD"))
    np.testing.assert_array_equal(with_another, found)
    assert (scored_symbols(prediction, outcome, np.array(["AAA", "BBB", "XXX"])) != found).all()


def test_the_net_return_of_a_date_is_that_of_its_equity() -> None:
    dates = np.arange("2020-01-01", "2020-01-06", dtype="datetime64[D]").astype("datetime64[ns]")
    book: Any = SimpleNamespace(dates=dates[2:], net=np.array([1.1, 1.1, 0.55]))
    books = Books(found={"h1": book}, without={"h5": "no prices"})
    np.testing.assert_allclose(net_returns(books, "h1", dates), [np.nan, np.nan, 0.1, 0.0, -0.5])
    assert np.isnan(net_returns(books, "h5", dates)).all()
