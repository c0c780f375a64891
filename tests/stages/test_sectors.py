"""A column of the bars says the sector: rank IC and books neutral to it, and a column that is not there is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factor_data import FeatureStore, Panel
from factor_metrics import rank_within_groups
from stages.judging.books import inside_sectors
from stages.judging.pages import ModelPage
from stages.params.reading import parse_params
from stages.predictions import OutOfFold
from stages.records import read_record
from workplace import make_workplace, smoke_document


def test_a_book_that_is_neutral_to_sectors_has_as_many_of_each_on_both_sides(tmp_path: Path) -> None:
    document: dict[str, Any] = smoke_document()
    document["models"] = ["linear"]
    document["evaluate"] |= {"sector": "sectr", "bootstrap": 100}
    document["evaluate"]["portfolio"]["sector_neutral"] = True
    place = make_workplace(tmp_path / "factorcast", document)
    for stage in ("plan", "sample"):
        place.run(stage)
    for path in (place.results / "sample" / "bars").iterdir():
        bars = pd.read_parquet(path)
        bars.assign(sector=bars["symbol"].str[-1].astype(float) % 3).to_parquet(path, index=False)
    (place.results / "sample" / "sums.json").unlink()
    assert "evaluate.sector: 'sectr' must be null or one of the columns of the bars" in place.refused("split")
    place.change_params(lambda changed: changed["evaluate"].update(sector="sector"))
    for stage in ("plan", "split", "tokenize_features", "tokenize_kline", "inputs"):
        place.run(stage)
    place.run("train", "linear")
    place.run("evaluate", "linear")
    place.run("report", "linear")
    page = read_record(place.results / "evaluate" / "linear" / "page.json", ModelPage)
    for one in page.anatomies.values():
        assert one.neutral.names[-2:] == ("sector", "all")
        assert np.isfinite(one.neutral.mean).all()
    assert "ranked inside sectors" in (place.results / "report" / "linear" / "report.html").read_text()
    store, panel = FeatureStore(place.results / "tokenize"), Panel.load(place.results / "split" / "panel")
    oof = OutOfFold(place.results / "train" / "linear" / "predictions.parquet", store)
    forecast = oof.matrix("h1", "test")
    sectors = panel.to_matrix(panel.columns["sector"])[np.searchsorted(panel.dates, oof.dates("test"))]
    ranks = inside_sectors(forecast, sectors)
    for row in range(len(ranks)):
        for sector in range(3):
            inside = ranks[row, (sectors[row] == sector) & np.isfinite(forecast[row])]
            assert (inside > 0.8).sum() == (inside < 0.2).sum() > 0


def test_ranks_inside_groups_are_those_of_pandas_with_ties_and_gaps() -> None:
    generator = np.random.default_rng(0)
    values = generator.integers(0, 5, size=(30, 20)).astype(float)
    group = generator.integers(0, 3, size=values.shape).astype(float)
    values[generator.random(values.shape) < 0.1] = np.nan
    group[generator.random(values.shape) < 0.1] = np.nan
    found = rank_within_groups(values, group)
    for row in range(30):
        ranked = pd.Series(values[row]).groupby(group[row]).rank()
        count = pd.Series(values[row]).groupby(group[row]).transform("count")
        np.testing.assert_allclose(found[row], ((ranked - 0.5) / count).to_numpy())
    constant = inside_sectors(np.full((2, 6), 0.1, dtype=np.float32), np.array([[1.0, 1, 1, 2, 2, 2]] * 2))
    assert (constant == 0.5).all()


def test_without_a_column_of_sectors_no_book_is_neutral_to_them() -> None:
    document = smoke_document()
    document["evaluate"]["portfolio"]["sector_neutral"] = True
    with pytest.raises(ValueError, match=r"portfolio\.sector_neutral: needs sector"):
        parse_params(document, "params.yaml")
