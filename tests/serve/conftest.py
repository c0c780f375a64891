"""Shared by the tests of factor_serve: the bundle of the finished run, and the bars and news that it was made from."""

from __future__ import annotations

import pandas as pd
import pytest

from checkout import Checkout
from factor_data import Panel, read_bars, read_news
from factor_serve import Bundle, load_bundle


@pytest.fixture(scope="session")
def bundle(finished_run: Checkout) -> Bundle:
    return load_bundle(finished_run.path / "results" / "stack" / "bundle")


@pytest.fixture(scope="session")
def panel(finished_run: Checkout) -> Panel:
    return read_bars(finished_run.path / "data" / "bars")


@pytest.fixture(scope="session")
def news(finished_run: Checkout, panel: Panel) -> pd.DataFrame:
    return read_news(finished_run.path / "data" / "news", calendar=panel.dates)
